//! The Jamf Pro plane against a simulated server: what it sees, what it does, what that costs.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod jamf_rig;

use jamf_rig::{Rig, Setup, assign, brief, check, check_of, config, group, start, target, versions};
use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::target::JamfTarget;
use trueup_model::{Action, Duration, Fault, Target};
use trueup_planes::Plane;
use trueup_planes::jamf::Jamf;
use trueup_simulators::jamf::{
    JamfMischief, JamfSeed, computer_id, failing_group_id, group_id, old_policy_id, policy_id,
    remedy_group_id,
};

#[tokio::test]
async fn a_fleet_as_it_was_meant() {
    let rig = Rig::new().await;
    for answer in rig.observe(&[check(0), check(5)]).await {
        let seen = answer.unwrap();
        assert_eq!(seen.at, start());
        let assignments = seen.assignments.as_ref().unwrap();
        assert_eq!((assignments.here.len(), assignments.replaced.len()), (1, 0));
        assert_eq!(versions(&seen), [("1.0.0", 4)]);
        let reported = seen.versions.as_ref().unwrap()[0].reported.unwrap();
        assert!(reported <= start() && start() - reported <= Duration::minutes(15), "{reported}");
        let compliance = seen.compliance.unwrap();
        assert_eq!((compliance.devices, compliance.noncompliant, compliance.failing.len()), (40, 0, 0));
        assert!(compliance.reported.is_some());
    }
}

#[tokio::test]
async fn a_missing_assignment_is_made() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::RemoveScope { policy: policy_id(3) });
    assert_eq!(rig.look(3).await.unwrap().assignments.unwrap().here, []);
    let receipt = rig.assign(3, &[group(3)]).await.unwrap();
    assert_eq!(receipt.note, "201 from PUT policies/id/4: scope changed");
    assert_eq!(
        brief(&rig.look(3).await.unwrap().assignments.unwrap().here),
        [format!("group:{}", group_id(3))]
    );
    let again = rig.assign(3, &[group(3)]).await.unwrap();
    assert!(!again.changed && rig.sim.writes().len() == 1, "{again:?}");
}

#[tokio::test]
async fn a_version_is_moved_and_computers_follow_at_their_check_in() {
    let rig = Rig::new().await;
    let (new, old) = (policy_id(2), old_policy_id(2));
    rig.mischief(&JamfMischief::MoveScope { from: new, to: old });
    let seen = rig.look(2).await.unwrap();
    assert_eq!(versions(&seen), [("0.9.0", 4)]);
    let assignments = seen.assignments.unwrap();
    assert_eq!((assignments.here.len(), assignments.replaced[0].app.clone()), (0, old.to_string()));
    rig.assign(2, &[group(2)]).await.unwrap();
    let unassign = Action::Unassign { app: old.to_string(), remove: [group(2)].into() };
    assert!(rig.apply(2, &unassign).await.unwrap().changed);
    let seen = rig.look(2).await.unwrap();
    assert_eq!(versions(&seen), [("0.9.0", 4)], "nobody has checked in yet");
    assert_eq!(seen.assignments.unwrap().replaced, []);
    rig.pass(16);
    assert_eq!(versions(&rig.look(2).await.unwrap()), [("1.0.0", 4)]);
}

#[tokio::test]
async fn a_scope_is_mended_and_others_stay() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::AddGroup { policy: policy_id(0), group: group_id(7) });
    rig.mischief(&JamfMischief::ExcludeGroup { policy: policy_id(0), group: group_id(8) });
    let seen = rig.look(0).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "group:8", "not group:9"]);
    rig.assign(0, &[group(0), Scope::Building("2".into())]).await.unwrap();
    let Action::Assign { app, install, include, exclude, .. } = assign(0, &[group(0)]) else {
        unreachable!()
    };
    let take = Action::Assign { app, install, include, exclude, remove: [group(7), group(8)].into() };
    rig.apply(0, &take).await.unwrap();
    let seen = rig.look(0).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "Building(\"2\")"]);
}

#[tokio::test]
async fn computers_that_fail_join_the_group_that_mends_them() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::BreakCompliance { policy: policy_id(1), computers: 2 });
    let compliance = rig.look(1).await.unwrap().compliance.unwrap();
    assert_eq!((compliance.noncompliant, compliance.failing.clone()), (2, vec!["5".into(), "6".into()]));
    let failing = failing_group_id(1);
    assert_eq!(
        compliance.details[0],
        format!("computer 5 (Mac-00004) is in group {failing} (Failing App 00001)")
    );
    assert_eq!(compliance.reported, Some(start()));
    let comply = Action::Comply { devices: compliance.failing };
    let receipt = rig.apply(1, &comply).await.unwrap();
    assert!(receipt.note.contains("2 computers joined, 0 were there, 0 do not fail any more"), "{receipt:?}");
    assert!(rig.sim.writes()[0].body.contains("<computer_additions><computer><id>5</id>"));
    assert!(!rig.apply(1, &comply).await.unwrap().changed, "the second time they are members");
    rig.pass(16);
    assert_eq!(rig.look(1).await.unwrap().compliance.unwrap().noncompliant, 0);
    let receipt = rig.apply(1, &comply).await.unwrap();
    assert_eq!(
        receipt.note,
        format!("0 computers are in group {} already, 2 do not fail any more", remedy_group_id(1))
    );
}

#[tokio::test]
async fn nobody_can_join_a_smart_group() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::BreakCompliance { policy: policy_id(1), computers: 1 });
    let Target::Jamf(mut other) = target(1) else { unreachable!() };
    other.compliance.as_mut().unwrap().remedy_group = failing_group_id(2);
    let comply = Action::Comply { devices: vec![computer_id(4).to_string()] };
    let key = trueup_model::EffectKey::of(&trueup_model::JobId::derive(&["j"]));
    let fault = rig.plane.apply(&Target::Jamf(other), &comply, &key).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent { what } if what.contains("is a smart group: nobody can join it")),
        "{fault}"
    );
    assert_eq!(rig.sim.writes(), []);
}

#[tokio::test]
async fn a_disabled_policy_reaches_nobody_and_assigning_enables_it() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::Disable { policy: policy_id(4) });
    assert_eq!(rig.look(4).await.unwrap().assignments.unwrap().here, []);
    let receipt = rig.assign(4, &[group(4)]).await.unwrap();
    assert_eq!(receipt.note, "201 from PUT policies/id/5: general changed");
    assert_eq!(rig.look(4).await.unwrap().assignments.unwrap().here.len(), 1);

    rig.mischief(&JamfMischief::Disable { policy: policy_id(4) });
    rig.mischief(&JamfMischief::AllComputers { policy: policy_id(4) });
    let fault = rig.assign(4, &[group(4)]).await.unwrap_err().to_string();
    assert!(
        fault.starts_with(
            "connection 'c': policy 5: it is disabled; enabling it would also concern all computers"
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn self_service_is_available() {
    let rig = Rig::new().await;
    rig.mischief(&JamfMischief::SelfService { policy: policy_id(4) });
    let seen = rig.look(4).await.unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:5 (available)"]);
    rig.assign(4, &[group(4)]).await.unwrap();
    assert_eq!(brief(&rig.look(4).await.unwrap().assignments.unwrap().here), ["group:5"]);
    let Action::Assign { app, include, exclude, remove, .. } = assign(4, &[group(4)]) else { unreachable!() };
    let offer = Action::Assign { app, install: Install::Available, include, exclude, remove };
    rig.apply(4, &offer).await.unwrap();
    assert_eq!(brief(&rig.look(4).await.unwrap().assignments.unwrap().here), ["group:5 (available)"]);
}

#[tokio::test]
async fn one_read_serves_all_who_wait() {
    let seed = JamfSeed { policies: 12, computers: 250, computers_per_policy: 4, ..JamfSeed::default() };
    let rig = Rig::with(Setup { seed, ..Setup::default() }).await;
    // 200 checks of 12 policies, each with one that does not exist before it and a failing group; 3 pages of computers.
    let checks: Vec<Check> = (0..200).map(|i| check(i % 12)).collect();
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    assert_eq!(rig.sim.counts().requests, 12 * 3 + 3);
    rig.pass(3);
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    assert_eq!(rig.sim.counts().requests, 12 * 3 + 3, "what was read a moment ago is used");
    rig.pass(1);
    assert!(rig.observe(&checks[..1]).await.iter().all(Result::is_ok));
    assert_eq!(rig.sim.counts().requests, 12 * 3 + 3 + 3 + 3);
    assert_eq!(rig.sim.counts().tokens, 1);
}

#[tokio::test]
async fn what_was_read_before_an_action_does_not_count_after_it() {
    let rig = Rig::new().await;
    rig.observe(&[check(0)]).await.remove(0).unwrap();
    rig.assign(0, &[group(0), group(1)]).await.unwrap();
    let seen = rig.observe(&[check(0)]).await.remove(0).unwrap().assignments.unwrap();
    assert_eq!(brief(&seen.here), ["group:1", "group:2"]);
    rig.mischief(&JamfMischief::RemoveScope { policy: policy_id(0) });
    let demanding = Check { newer_than: Some(start()), ..check(0) };
    rig.clock.advance(Duration::seconds(1));
    let seen = rig.observe(&[demanding]).await.remove(0).unwrap();
    assert_eq!((seen.assignments.unwrap().here.len(), seen.at), (0, start() + Duration::seconds(1)));
}

#[tokio::test]
async fn one_target_s_trouble_is_not_another_s() {
    let rig = Rig::new().await;
    let unknown = Target::Jamf(JamfTarget {
        policy_id: 77_777,
        app_name: "x".into(),
        bundle_id: None,
        replaces: vec![],
        compliance: None,
    });
    let answers = rig.observe(&[check(0), check_of(unknown), check(1)]).await;
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let fault = answers[1].as_ref().unwrap_err().to_string();
    assert_eq!(
        fault,
        "connection 'c': there is no policy 77777: create it in Jamf Pro or correct target.policy_id of the intent"
    );
}

#[tokio::test]
async fn an_action_touches_its_own_target_only() {
    let rig = Rig::new().await;
    let fault = rig.apply(0, &assign(1, &[group(0)])).await.unwrap_err().to_string();
    assert!(fault.contains("policy '2', which is not the target's"), "{fault}");
    assert_eq!(rig.sim.counts().requests, 0);
}

#[tokio::test]
async fn a_probe_names_the_server() {
    let rig = Rig::new().await;
    let said = rig.plane.probe().await.unwrap();
    assert_eq!(said, format!("{} answers, Jamf Pro 11.30.0-t1790000000", rig.url));
    assert_eq!(rig.sim.counts().requests, 1);
}

#[test]
fn wrong_configurations_are_refused() {
    let clock = std::sync::Arc::new(trueup_model::SystemClock);
    let secrets = trueup_planes::FixedSecrets([("S".to_owned(), trueup_planes::Secret::new("x"))].into());
    let base = serde_json::to_value(config("https://c.jamfcloud.com", false, 100)).unwrap();
    for (change, expected) in [
        (serde_json::json!({"url": "http://c.jamfcloud.com"}), "url"),
        (serde_json::json!({"page_size": 0}), "page_size: must be 1 to 2000"),
        (serde_json::json!({"quota": 0}), "quota"),
        (serde_json::json!({"username": "u"}), "either client_id (OAuth) or username"),
        (serde_json::json!({"client_id": null}), "either client_id (OAuth) or username"),
        (serde_json::json!({"client_secret_env": null}), "client_secret_file and client_secret_env"),
        (serde_json::json!({"password_env": "S"}), "go with username"),
        (serde_json::json!({"secret": "inline"}), "unknown field `secret`"),
    ] {
        let mut value = base.clone();
        for (key, new) in change.as_object().unwrap() {
            value[key] = new.clone();
        }
        let error = match serde_json::from_value(value) {
            Err(e) => e.to_string(),
            Ok(config) => {
                let broker = std::sync::Arc::new(trueup_planes::LocalBroker::new(clock.clone()));
                Jamf::new(&config, clock.clone(), &secrets, broker).unwrap_err().to_string()
            }
        };
        assert!(error.contains(expected), "{change}: {error}");
    }
}
