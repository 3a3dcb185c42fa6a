//! The ConfigMgr plane against an AdminService as strict as its documented classes: looking.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "the rig serves several tests")]

mod configmgr_rig;

use configmgr_rig::*;
use serde_json::json;
use trueup_model::intent::Install;
use trueup_model::{Duration, Fault, Target};
use trueup_planes::Plane;
use trueup_planes::configmgr::ConfigMgrConfig;
use trueup_simulators::{ConfigMgrMischief as M, *};

#[tokio::test]
async fn sees_deployments_versions_and_compliance() {
    let rig = Rig::new().await;
    rig.mischief(M::MoveDeployments { from: ci_id(2), to: old_ci_id(2) });
    rig.mischief(M::BreakCompliance { baseline: baseline_id(3), devices: 2 });
    rig.mischief(M::ChangeVersion { ci: ci_id(4), version: "0.5".into(), devices: 1 });

    let seen = rig.look(1).await.unwrap();
    let assignments = seen.assignments.unwrap();
    assert_eq!(assignments.here.len(), 1);
    let here = &assignments.here[0];
    assert_eq!(
        (here.app.clone(), &here.scope, here.install),
        (ci_id(1).to_string(), &group(1), Install::Required)
    );
    assert!(assignments.replaced.is_empty());
    let versions = seen.versions.unwrap();
    assert_eq!((versions[0].version.as_str(), versions[0].devices), ("1.0.0", 4));
    assert_eq!(seen.compliance.unwrap().devices, 4);
    assert_eq!(seen.at, start());

    let seen = rig.look(2).await.unwrap();
    let assignments = seen.assignments.unwrap();
    assert!(assignments.here.is_empty());
    assert_eq!(assignments.replaced[0].app, old_ci_id(2).to_string());
    assert_eq!(seen.versions.unwrap()[0].version, "0.9.0");

    let broken = rig.look(3).await.unwrap().compliance.unwrap();
    assert_eq!(
        (broken.devices, broken.noncompliant, broken.failing.len()),
        (4, 2, 2),
        "devices, not failed rules"
    );
    assert_eq!(broken.reported, Some(start()));
    assert_eq!(broken.details, ["Disk is encrypted: 2 failing", "Firewall is on: 2 failing"]);

    let versions: Vec<_> =
        rig.look(4).await.unwrap().versions.unwrap().into_iter().map(|v| (v.version, v.devices)).collect();
    assert_eq!(versions, [("0.5".to_owned(), 1), ("1.0.0".to_owned(), 3)]);
}

/// planes.md: an inventory sends only what changed, so the time of a row is not the time of the report.
#[tokio::test]
async fn a_report_is_as_old_as_the_last_inventory_not_as_its_row() {
    let rig = Rig::new().await;
    rig.pass(24 * 60);
    let reported = rig.look(1).await.unwrap().versions.unwrap()[0].reported.unwrap();
    let age = start() + Duration::hours(24) - reported;
    assert!(age <= Duration::hours(4), "rows are 31 days old, the devices' inventories are not: {age}");
}

#[tokio::test]
async fn observation_costs_by_fleet_not_by_intent() {
    let seed = ConfigMgrSeed { apps: 1000, devices: 200, devices_per_app: 2, ..Default::default() };
    let rig = Rig::with(seed, 10_000).await;
    let plain = |n: usize| {
        let target = json!({"ci_id": ci_id(n), "app_name": app_name(n)});
        check_of(Target::parse(trueup_model::PlaneKind::ConfigMgr, target).unwrap())
    };
    let checks: Vec<_> = (0..10_000).map(|i| plain(i % 1000)).collect();
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    let first = rig.sim.counts().requests;
    assert!(first <= 10_000 / 20, "{first} calls for 10,000 intents");
    assert!(first < 60, "{first}: products are asked for many in one call");
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    assert_eq!(rig.sim.counts().requests, first, "the second time nothing is asked");
    assert_eq!(rig.sim.counts().tokens, 1);
}

#[tokio::test]
async fn newer_answers_are_fetched_when_demanded() {
    let rig = Rig::new().await;
    rig.look(1).await.unwrap();
    rig.clock.advance(Duration::seconds(5));
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    assert_eq!(rig.reached(1).await.len(), 1, "an answer of 5 s ago may serve");
    let mut demanding = check(1);
    demanding.newer_than = Some(start() + Duration::seconds(1));
    let seen = rig.observe(&[demanding]).await.remove(0).unwrap();
    assert!(seen.assignments.unwrap().here.is_empty());
    assert_eq!(seen.at, start() + Duration::seconds(5));
}

/// planes.md §3: `$filter,$select,$orderby,$top,$skip`, `@odata.nextLink` if present.
#[tokio::test]
async fn next_links_are_followed_if_present() {
    for (apps, page) in [(1100, 300), (1001, 100_000), (30, 7)] {
        let rig =
            Rig::with(ConfigMgrSeed { apps, devices: 10, devices_per_app: 1, ..Default::default() }, page)
                .await;
        let looked_at = [0, apps / 2, apps - 2, apps - 1];
        let checks: Vec<_> = looked_at.into_iter().map(check).collect();
        for (n, seen) in looked_at.into_iter().zip(rig.observe(&checks).await) {
            let here = seen.unwrap().assignments.unwrap().here;
            assert_eq!((here.len(), &here[0].scope), (1, &group(n)), "pages of {page}");
        }
    }
}

/// planes.md §3: by key also `{value:[…]}`. The rules of a device collection are read by key.
#[tokio::test]
async fn by_key_also_answers_a_list() {
    let rig = Rig::new().await;
    rig.apply(1, &required(1, &[device(9)])).await.unwrap();
    let again = rig.apply(1, &required(1, &[device(9)])).await.unwrap();
    assert!(!again.changed, "the rule was found: {again:?}");
}

#[tokio::test]
async fn single_devices_are_seen_through_their_collection() {
    let rig = Rig::new().await;
    rig.apply(1, &required(1, &[device(9), device(10)])).await.unwrap();
    assert_eq!(rig.reached(1).await, [group(1)], "before the collection was evaluated");
    rig.pass(1);
    assert_eq!(rig.reached(1).await, [group(1), device(9), device(10)]);
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    rig.pass(1);
    assert!(
        rig.reached(1).await.is_empty(),
        "members of a collection to which nothing is deployed reach nothing"
    );
}

#[tokio::test]
async fn deployments_that_reach_nobody_are_not_seen() {
    let rig = Rig::new().await;
    rig.mischief(M::DisableDeployments { ci: ci_id(1) });
    rig.mischief(M::DeleteCollection { collection: collection_id(2) });
    assert!(rig.reached(1).await.is_empty(), "disabled");
    assert!(rig.reached(2).await.is_empty(), "the collection is gone");
    assert_eq!(rig.reached(3).await, [group(3)]);
}

/// An empty fleet is not a fleet in which everything drifted.
#[tokio::test]
async fn an_empty_inventory_says_nothing_about_versions() {
    let rig = Rig::new().await;
    rig.mischief(M::EmptyInventory { on: true });
    let seen = rig.look(1).await.unwrap();
    assert_eq!(seen.versions, None);
    assert_eq!(seen.assignments.unwrap().here.len(), 1, "deployments are known all the same");
    let nobody = Rig::with(ConfigMgrSeed { apps: 2, devices: 0, ..Default::default() }, 500).await;
    let seen = nobody.look(1).await.unwrap();
    assert_eq!(
        (seen.versions, seen.compliance),
        (None, None),
        "a baseline that reaches nobody tells nothing"
    );
}

#[tokio::test]
async fn an_empty_list_of_deployments_is_not_believed_alone() {
    let rig = Rig::new().await;
    rig.sim.answer_instead("/SMS_ApplicationAssignment?", 200, br#"{"value":[]}"#.to_vec());
    let fault = rig.look(1).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Transient { what } if what.contains("SMS_DeploymentSummary counts 30")),
        "{fault}"
    );
    rig.sim.answer_instead("/SMS_Collection?", 200, br#"{"value":[]}"#.to_vec());
    let fault = rig.look(1).await.unwrap_err();
    assert!(matches!(&fault, Fault::Transient { what } if what.contains("no collection at all")), "{fault}");
    let bare = Rig::with(ConfigMgrSeed { apps: 1, devices: 1, ..Default::default() }, 500).await;
    bare.mischief(M::DeleteDeployments { ci: ci_id(0) });
    assert!(bare.reached(0).await.is_empty(), "two answers agree: it is gone");
}

#[tokio::test]
async fn a_site_that_collects_no_software_is_not_in_sync() {
    let rig = Rig::new().await;
    rig.sim.answer_instead("INSTALLED_SOFTWARE", 200, br#"{"value":[]}"#.to_vec());
    assert_eq!(rig.look(1).await.unwrap().versions, None);
}

#[tokio::test]
async fn a_baseline_that_is_not_deployed_says_what_to_do() {
    let rig = Rig::new().await;
    let target = json!({"ci_id": ci_id(1), "app_name": app_name(1),
        "compliance": {"baseline_assignment": 5, "remedy": {"script": approved_script()}}});
    let wrong = check_of(Target::parse(trueup_model::PlaneKind::ConfigMgr, target).unwrap());
    let answers = rig.observe(&[wrong, check(1)]).await;
    let fault = answers[0].clone().unwrap_err().to_string();
    assert!(
        fault.contains("connection 'site'") && fault.contains("target.compliance.baseline_assignment"),
        "{fault}"
    );
    assert!(answers[1].is_ok(), "one target's trouble is not another's");
}

#[tokio::test]
async fn another_planes_target_is_refused() {
    let rig = Rig::new().await;
    let foreign =
        trueup_model::target::AnsibleTarget { playbook: "p".into(), inventory: "i".into(), limit: None };
    let strange = rig.observe(&[check_of(Target::Ansible(foreign.clone())), check(0)]).await;
    assert!(matches!(strange[0], Err(Fault::Bug { .. })) && strange[1].is_ok());
    let applied = rig.plane.apply(&Target::Ansible(foreign), &required(0, &[]), &key("j")).await;
    assert!(matches!(applied, Err(Fault::Bug { .. })));
}

/// planes.md §3: no documented throttling, so be gentle by default.
#[test]
fn gentle_by_default() {
    let config: ConfigMgrConfig =
        serde_json::from_value(json!({"name": "n", "tenant": "t", "url": "https://p/AdminService",
        "auth": {"token": {"token_env": "T"}}}))
        .unwrap();
    assert_eq!((config.quota.calls, config.quota.writes), (100, 20));
    assert_eq!(config.reuse_seconds, 225);
}

#[tokio::test]
async fn the_probe_is_one_read() {
    let rig = Rig::new().await;
    let said = rig.plane.probe().await.unwrap();
    assert!(said.ends_with("/AdminService answers, deployments are readable"), "{said}");
    assert_eq!(rig.sim.counts().requests, 1);
}
