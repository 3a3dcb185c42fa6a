//! The ConfigMgr plane against an AdminService as strict as its documented classes: changing.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "the rig serves several tests")]

mod configmgr_rig;

use configmgr_rig::*;
use serde_json::json;
use trueup_model::intent::{Install, Scope};
use trueup_model::{Action, Duration, Fault};
use trueup_planes::Plane;
use trueup_simulators::{ConfigMgrMischief as M, *};

/// planes.md §3: POST wmi/SMS_ApplicationAssignment → 201 AssignmentID.
#[tokio::test]
async fn a_missing_deployment_is_created() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    let receipt = rig.apply(1, &required(1, &[group(1), group(2)])).await.unwrap();
    assert!(receipt.changed && receipt.note.starts_with("201: deployment "), "{receipt:?}");
    assert_eq!(rig.reached(1).await, [group(1), group(2)]);
    let writes = rig.sim.writes();
    assert_eq!(writes.len(), 2);
    assert_eq!(
        writes[0].body["AssignmentName"],
        format!("{}_{}_{}_Required", app_name(1), ci_id(1), collection_id(1))
    );
    let why = writes[0].body["AssignmentDescription"].as_str().unwrap();
    assert!(why.contains(key("j").as_str()), "who did it can be found: {why}");
    assert!(!rig.apply(1, &required(1, &[group(1), group(2)])).await.unwrap().changed);
}

/// planes.md §3: visible only after a while.
#[tokio::test]
async fn a_deployment_that_is_not_visible_yet_is_not_made_twice() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    rig.mischief(M::VisibleAfter { seconds: 300 });
    rig.apply(1, &required(1, &[group(1)])).await.unwrap();
    assert!(rig.reached(1).await.is_empty(), "acceptance is not success");
    let again = rig.plane.apply(&target(1), &required(1, &[group(1)]), &key("another job")).await.unwrap();
    assert!(!again.changed, "{again:?}");
    assert_eq!(rig.sim.deployments_of(ci_id(1)).len(), 1);
    rig.pass(5);
    assert_eq!(rig.reached(1).await, [group(1)]);
    // Another process knows it by what it deploys.
    assert!(!rig.another().apply(&target(1), &required(1, &[group(1)]), &key("k")).await.unwrap().changed);
}

#[tokio::test]
async fn a_creation_without_an_answer_is_not_repeated_blindly() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    rig.mischief(M::VisibleAfter { seconds: 300 });
    let lost = Planned {
        trouble: Trouble::Drop,
        times: Some(1),
        only: Some("POST /AdminService/wmi/SMS_App".into()),
    };
    rig.sim.trouble(lost);
    let until = start() + Duration::minutes(15);
    for _ in 0..2 {
        let fault = rig.apply(1, &required(1, &[group(1)])).await.unwrap_err();
        assert!(
            matches!(&fault, Fault::Throttled { until: u, what } if *u == until && what.contains("not answered")),
            "put off for every worker: {fault}"
        );
    }
    assert_eq!(rig.sim.deployments_of(ci_id(1)).len(), 1, "it had arrived");
    rig.pass(6);
    assert!(!rig.apply(1, &required(1, &[group(1)])).await.unwrap().changed, "now it is listed");
}

#[tokio::test]
async fn a_deployment_that_never_arrived_is_made_in_the_end() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    rig.sim.answer_instead("POST /AdminService/wmi/SMS_ApplicationAssignment", 502, Vec::new());
    assert!(matches!(rig.apply(1, &required(1, &[group(1)])).await, Err(Fault::Throttled { .. })));
    rig.sim.no_more_trouble();
    assert!(matches!(rig.apply(1, &required(1, &[group(1)])).await, Err(Fault::Throttled { .. })));
    rig.pass(15);
    assert!(rig.apply(1, &required(1, &[group(1)])).await.unwrap().changed);
    assert_eq!(rig.sim.deployments_of(ci_id(1)).len(), 1);
}

#[tokio::test]
async fn another_kind_of_deployment_is_created_before_the_old_one_goes() {
    let rig = Rig::new().await;
    let old = rig.sim.deployments_of(ci_id(1))[0];
    let available = assign(1, Install::Available, &[group(1)], &[]);
    rig.apply(1, &available).await.unwrap();
    assert_eq!(
        rig.writes(),
        [
            "POST wmi/SMS_ApplicationAssignment".to_owned(),
            format!("DELETE wmi/SMS_ApplicationAssignment/{old}")
        ]
    );
    let here = rig.look(1).await.unwrap().assignments.unwrap().here;
    assert_eq!((here.len(), here[0].install), (1, Install::Available));
    assert!(!rig.apply(1, &available).await.unwrap().changed);
    rig.apply(1, &assign(1, Install::Uninstall, &[group(1)], &[])).await.unwrap();
    assert_eq!(rig.look(1).await.unwrap().assignments.unwrap().here[0].install, Install::Uninstall);
}

#[tokio::test]
async fn a_site_that_refuses_a_second_deployment_is_given_the_first_one_back() {
    let rig = Rig::new().await;
    rig.mischief(M::OneDeploymentOnly { on: true });
    rig.apply(1, &assign(1, Install::Available, &[group(1)], &[])).await.unwrap();
    let writes = rig.writes();
    assert!(writes[0].starts_with("DELETE") && writes[1].starts_with("POST"), "{writes:?}");
    assert_eq!(rig.look(1).await.unwrap().assignments.unwrap().here[0].install, Install::Available);
}

#[tokio::test]
async fn a_refusal_for_another_reason_deletes_nothing() {
    for (status, deletes) in [(400, false), (409, true)] {
        let rig = Rig::new().await;
        let old = rig.sim.deployments_of(ci_id(1));
        let body = json!({"error": {"code": "", "message": "OfferTypeID is out of range."}}).to_string();
        rig.sim.answer_instead("POST /AdminService/wmi/SMS_App", status, body);
        let fault = rig.apply(1, &assign(1, Install::Available, &[group(1)], &[])).await.unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, Fault::Permanent { .. }) && text.contains("out of range"), "{text}");
        assert_eq!(text.contains("had been deleted"), deletes, "{text}");
        assert_eq!(rig.sim.deployments_of(ci_id(1)) != old, deletes, "{status}");
    }
}

#[tokio::test]
async fn a_disabled_deployment_is_replaced() {
    let rig = Rig::new().await;
    rig.mischief(M::DisableDeployments { ci: ci_id(1) });
    rig.apply(1, &required(1, &[group(1)])).await.unwrap();
    assert_eq!(rig.reached(1).await, [group(1)]);
    assert_eq!(rig.sim.deployments_of(ci_id(1)).len(), 1);
}

/// planes.md §3: DELETE …/{id} → 204.
#[tokio::test]
async fn what_others_deployed_elsewhere_is_left_alone() {
    let rig = Rig::new().await;
    rig.mischief(M::Deploy { ci: ci_id(1), collection: collection_id(7) });
    rig.mischief(M::Deploy { ci: ci_id(1), collection: collection_id(8) });
    let receipt = rig.apply(1, &assign(1, Install::Required, &[group(1)], &[group(7)])).await.unwrap();
    assert!(receipt.note.starts_with("204: deployment "), "{receipt:?}");
    assert_eq!(rig.reached(1).await, [group(1), group(8)]);
    assert_eq!(rig.reached(8).await, [group(8)], "another application on the same collection");
}

#[tokio::test]
async fn a_version_moves_and_is_seen_after_policy_and_inventory() {
    let rig = Rig::new().await;
    rig.mischief(M::MoveDeployments { from: ci_id(1), to: old_ci_id(1) });
    rig.apply(1, &required(1, &[group(1)])).await.unwrap();
    let unassign = Action::Unassign { app: old_ci_id(1).to_string(), remove: [group(1)].into() };
    assert!(rig.apply(1, &unassign).await.unwrap().changed);
    assert!(!rig.apply(1, &unassign).await.unwrap().changed);
    let seen = rig.look(1).await.unwrap();
    assert!(seen.assignments.unwrap().replaced.is_empty());
    assert_eq!(seen.versions.unwrap()[0].version, "0.9.0", "no device has acted yet");
    rig.pass(6 * 60);
    let versions = rig.look(1).await.unwrap().versions.unwrap();
    assert_eq!((versions.len(), versions[0].version.as_str(), versions[0].devices), (1, "1.0.0", 4));
    assert!(versions[0].reported.unwrap() > start());
}

#[tokio::test]
async fn an_action_touches_the_targets_applications_only() {
    let rig = Rig::new().await;
    let other = Action::Unassign { app: ci_id(9).to_string(), remove: [group(9)].into() };
    assert!(matches!(rig.apply(1, &other).await, Err(Fault::Bug { .. })));
    let scope = required(1, &[Scope::Group("x' or 1 eq 1".into())]);
    assert!(matches!(rig.apply(1, &scope).await, Err(Fault::Bug { .. })));
    assert_eq!(rig.sim.writes(), []);
}

/// planes.md §3: POST wmi/SMS_Collection('ID')/AdminService.AddMembershipRule {collectionRule: …}.
#[tokio::test]
async fn single_devices_join_and_leave_by_direct_rules() {
    let rig = Rig::new().await;
    let id = device_collection_id(1);
    rig.apply(1, &required(1, &[group(1), device(8), device(9)])).await.unwrap();
    let rule = format!("POST wmi/SMS_Collection('{id}')/AdminService.AddMembershipRule");
    assert_eq!(rig.writes(), ["POST wmi/SMS_ApplicationAssignment", &rule, &rule]);
    let sent = &rig.sim.writes()[1].body;
    let expected = json!({"collectionRule": {"@odata.type": "#AdminService.SMS_CollectionRuleDirect",
        "ResourceClassName": "SMS_R_System", "RuleName": format!("Trueup {}", resource_id(8)), "ResourceID": resource_id(8)}});
    assert_eq!(*sent, expected);
    rig.pass(1);
    assert_eq!(rig.reached(1).await, [group(1), device(8), device(9)]);
    let leave = assign(1, Install::Required, &[device(9)], &[device(8)]);
    rig.apply(1, &leave).await.unwrap();
    rig.pass(1);
    assert_eq!(rig.reached(1).await, [group(1), device(9)]);
    assert!(!rig.apply(1, &leave).await.unwrap().changed);
    let both = required(1, &[device(9), Scope::Group(id)]);
    let fault = rig.apply(1, &both).await.unwrap_err().to_string();
    assert!(fault.contains("name the devices or the collection, not both"), "{fault}");
}

#[tokio::test]
async fn a_deleted_collection_is_named() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteCollection { collection: collection_id(1) });
    let fault = rig.apply(1, &required(1, &[group(1)])).await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }) && text.contains(&collection_id(1)), "{text}");
    assert!(text.contains("correct the intent's scopes"), "{text}");
    rig.mischief(M::DeleteCollection { collection: device_collection_id(2) });
    let fault = rig.apply(2, &required(2, &[device(1)])).await.unwrap_err().to_string();
    assert!(fault.contains(&device_collection_id(2)), "{fault}");
}

/// planes.md §3: RunScript {ScriptGuid} → {value: OperationId}; an extra property → 400 (the simulator refuses any).
#[tokio::test]
async fn a_script_is_run_on_each_failing_device() {
    let rig = Rig::new().await;
    rig.mischief(M::BreakCompliance { baseline: baseline_id(1), devices: 3 });
    let mut devices = rig.look(1).await.unwrap().compliance.unwrap().failing;
    devices.push("4000000".into());
    let comply = Action::Comply { devices };
    let receipt = rig.apply(1, &comply).await.unwrap();
    assert!(
        receipt.note.contains("started on 3 devices (1 no longer exist, 0 started before), operations 1677"),
        "{receipt:?}"
    );
    assert_eq!(rig.sim.writes()[0].body, json!({"ScriptGuid": approved_script()}));
    let again = rig.apply(1, &comply).await.unwrap();
    assert!(again.note.contains("3 started before"), "the same effect key: {again:?}");
    assert_eq!(rig.sim.writes().len(), 3);
    rig.pass(2);
    assert_eq!(rig.look(1).await.unwrap().compliance.unwrap().noncompliant, 0);
    let nobody = rig.apply(1, &Action::Comply { devices: Vec::new() }).await.unwrap();
    assert!(!nobody.changed);
    let gone = rig.apply(1, &Action::Comply { devices: vec!["5".into()] }).await.unwrap_err();
    assert!(gone.to_string().contains("none of the devices exists"), "{gone}");
}

#[tokio::test]
async fn once_a_script_has_started_a_fault_ends_with_a_receipt() {
    let throttle = Trouble::Throttle { retry_after: Some("60".into()) };
    for (trouble, said) in [
        (throttle, "; not on "),
        (Trouble::Status(400), "; not on "),
        (Trouble::Status(502), "; maybe started on "),
        (Trouble::Drop, "; maybe started on "),
    ] {
        let rig = Rig::new().await;
        rig.mischief(M::BreakCompliance { baseline: baseline_id(1), devices: 3 });
        let devices = rig.look(1).await.unwrap().compliance.unwrap().failing;
        let only = format!("Device({})/AdminService.RunScript", devices[1]);
        rig.sim.trouble(Planned { trouble: trouble.clone(), times: None, only: Some(only) });
        let receipt = rig.apply(1, &Action::Comply { devices }).await.unwrap();
        assert!(receipt.changed && receipt.note.contains("started on 1 devices"), "{trouble:?}: {receipt:?}");
        assert!(receipt.note.contains(said) && receipt.note.contains("1 more not tried"), "{receipt:?}");
    }
}

#[tokio::test]
async fn what_may_have_started_is_not_sent_again() {
    for remedy in [
        json!({"script": approved_script()}),
        json!({"client_operation": {"type": 8, "collection": collection_id(1)}}),
    ] {
        let rig = Rig::new().await;
        let target = target_with(1, remedy);
        let comply = Action::Comply { devices: vec![resource_id(4).to_string()] };
        rig.sim.trouble(Planned {
            trouble: Trouble::Drop,
            times: Some(1),
            only: Some("POST /AdminService".into()),
        });
        let mut sent = Vec::new();
        for said in ["maybe started on", "started before"] {
            let receipt = rig.plane.apply(&target, &comply, &key("j")).await.unwrap();
            assert!(receipt.note.contains(said), "{receipt:?}");
            sent.push(rig.sim.writes().len());
        }
        assert_eq!(sent, [1, 1], "it had arrived");
    }
}

/// planes.md §3: an unapproved script → 403, with an empty body.
#[tokio::test]
async fn an_unapproved_script_is_named() {
    let rig = Rig::new().await;
    let target = target_with(1, json!({"script": unapproved_script()}));
    let comply = Action::Comply { devices: vec![resource_id(4).to_string()] };
    let fault = rig.plane.apply(&target, &comply, &key("j")).await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }), "{text}");
    assert!(text.contains(&unapproved_script()) && text.contains("approve it"), "{text}");
}

/// planes.md §3: InitiateClientOperation {Type, TargetCollectionID, …} → 201 {OperationID}.
#[tokio::test]
async fn a_client_operation_is_started_for_the_failing_devices() {
    let rig = Rig::new().await;
    rig.mischief(M::BreakCompliance { baseline: baseline_id(1), devices: 2 });
    let target = target_with(1, json!({"client_operation": {"type": 8, "collection": collection_id(1)}}));
    let failing = rig.look(1).await.unwrap().compliance.unwrap().failing;
    let receipt = rig.plane.apply(&target, &Action::Comply { devices: failing }, &key("j")).await.unwrap();
    assert!(receipt.note.starts_with("201: client operation 1677"), "{receipt:?}");
    let sent = &rig.sim.writes()[0].body;
    assert_eq!(sent["TargetResourceIDs"], json!([resource_id(4), resource_id(5)]));
    rig.pass(2);
    assert_eq!(rig.look(1).await.unwrap().compliance.unwrap().noncompliant, 0);
}

#[tokio::test]
async fn stubborn_devices_stay_as_they_are() {
    let rig = Rig::new().await;
    rig.mischief(M::Stubborn { ci: ci_id(1), devices: 1 });
    rig.mischief(M::BreakCompliance { baseline: baseline_id(1), devices: 2 });
    let failing = rig.look(1).await.unwrap().compliance.unwrap().failing;
    rig.apply(1, &Action::Comply { devices: failing }).await.unwrap();
    rig.pass(2);
    assert_eq!(rig.look(1).await.unwrap().compliance.unwrap().noncompliant, 1);
}

#[tokio::test]
async fn actions_at_once_are_done_one_after_the_other() {
    let rig = Rig::new().await;
    rig.mischief(M::DeleteDeployments { ci: ci_id(1) });
    let action = required(1, &[group(1)]);
    let keys: Vec<_> = (0..8).map(|n| key(&n.to_string())).collect();
    let (target, plane) = (target(1), &rig.plane);
    let all = futures::future::join_all(keys.iter().map(|k| plane.apply(&target, &action, k))).await;
    let changed = all.into_iter().filter(|r| r.as_ref().unwrap().changed).count();
    assert_eq!((changed, rig.sim.deployments_of(ci_id(1)).len()), (1, 1));
}
