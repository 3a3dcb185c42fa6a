//! The Intune plane against a server as strict as Graph.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "graph_cases/bad_input.rs"]
mod bad_input;
#[path = "graph_cases/reuse.rs"]
mod reuse;
mod rig;

use rig::{Rig, Setup, TENANT, check, check_of, key, start, target};
use trueup_model::intent::{Install, Scope};
use trueup_model::{Action, Duration, Fault, Target};
use trueup_planes::Plane;
use trueup_simulators::*;

fn group(n: usize) -> Scope {
    Scope::Group(group_id(n))
}

fn assign(n: usize, include: &[Scope], remove: &[Scope]) -> Action {
    Action::Assign {
        app: app_id(TENANT, n),
        install: Install::Required,
        include: include.iter().cloned().collect(),
        exclude: Default::default(),
        remove: remove.iter().cloned().collect(),
    }
}

#[tokio::test]
async fn sees_assignments_versions_and_compliance() {
    let rig = Rig::new().await;
    let move_back = Mischief::MoveAssignments { from: app_id(TENANT, 2), to: old_app_id(TENANT, 2) };
    rig.sim.mischief(&move_back).unwrap();
    rig.sim.mischief(&Mischief::BreakCompliance { app: app_id(TENANT, 3), devices: 2 }).unwrap();
    rig.sim
        .mischief(&Mischief::ChangeVersion { app: app_id(TENANT, 4), version: "0.5".into(), devices: 1 })
        .unwrap();

    let seen = rig.look(1).await.unwrap();
    let assignments = seen.assignments.unwrap();
    assert_eq!(assignments.here.len(), 1);
    assert_eq!((&assignments.here[0].scope, assignments.here[0].install), (&group(1), Install::Required));
    assert!(assignments.replaced.is_empty());
    let versions = seen.versions.unwrap();
    assert_eq!((versions[0].version.as_str(), versions[0].devices), ("1.0.0", 4));
    assert!(versions[0].reported.unwrap() <= start());
    assert_eq!(seen.compliance.unwrap().devices, 4);
    assert_eq!(seen.at, start());

    let seen = rig.look(2).await.unwrap();
    let assignments = seen.assignments.unwrap();
    assert!(assignments.here.is_empty());
    assert_eq!(assignments.replaced[0].app, old_app_id(TENANT, 2));
    assert_eq!(seen.versions.unwrap()[0].version, "0.9.0");

    let broken = rig.look(3).await.unwrap().compliance.unwrap();
    assert_eq!((broken.devices, broken.noncompliant, broken.failing.len()), (4, 2, 2));
    assert_eq!(broken.reported, Some(start()));

    let versions: Vec<_> =
        rig.look(4).await.unwrap().versions.unwrap().into_iter().map(|v| (v.version, v.devices)).collect();
    assert_eq!(versions, [("0.5".to_owned(), 1), ("1.0.0".to_owned(), 3)]);
}

#[tokio::test]
async fn one_missing_app_is_not_another_ones_trouble() {
    let rig = Rig::new().await;
    rig.sim.mischief(&Mischief::DeleteApp { app: app_id(TENANT, 1) }).unwrap();
    rig.sim.mischief(&Mischief::DeleteApp { app: old_app_id(TENANT, 2) }).unwrap();
    let few = rig.observe(&[check(0), check(1), check(2)]).await;
    assert!(few[0].is_ok() && few[2].is_ok(), "{few:?}");
    assert!(
        matches!(&few[1], Err(Fault::Permanent { what }) if what.contains("correct target.app_id")),
        "{few:?}"
    );
    rig.pass(1);
    let all: Vec<_> = (0..30).map(check).collect();
    let all = rig.observe(&all).await;
    assert_eq!(all.iter().filter(|a| a.is_err()).count(), 1, "also when everything is read at once");
    let foreign =
        trueup_model::target::AnsibleTarget { playbook: "p".into(), inventory: "i".into(), limit: None };
    let strange = rig.observe(&[check_of(Target::Ansible(foreign)), check(0)]).await;
    assert!(matches!(strange[0], Err(Fault::Bug { .. })) && strange[1].is_ok());
}

#[tokio::test]
async fn assign_keeps_what_others_assigned() {
    let rig = Rig::new().await;
    rig.sim.mischief(&Mischief::AddGroup { app: app_id(TENANT, 1), group: group_id(77) }).unwrap();
    rig.look(1).await.unwrap();
    let action = assign(1, &[group(5), Scope::AllDevices], &[group(1)]);
    let receipt = rig.plane.apply(&target(1), &action, &key()).await.unwrap();
    assert!(receipt.changed && receipt.note.starts_with("204 from POST"), "{receipt:?}");
    let seen: Vec<_> =
        rig.look(1).await.unwrap().assignments.unwrap().here.into_iter().map(|a| a.scope).collect();
    let mut expected = vec![Scope::AllDevices, group(5), group(77)];
    expected.sort();
    assert_eq!(seen, expected, "our own write is seen at once, and another's assignment is still there");

    let again = rig.plane.apply(&target(1), &action, &key()).await.unwrap();
    assert!(!again.changed);
    let writes = rig.sim.writes();
    assert_eq!(writes.len(), 1, "what is as wanted is not written again");
    assert_eq!(writes[0].key.as_deref(), Some(key().as_str()));

    let unassign = Action::Unassign { app: app_id(TENANT, 1), remove: [Scope::AllDevices].into() };
    assert!(rig.plane.apply(&target(1), &unassign, &key()).await.unwrap().changed);
    let other = Action::Unassign { app: app_id(TENANT, 9), remove: [Scope::AllDevices].into() };
    assert!(matches!(rig.plane.apply(&target(1), &other, &key()).await, Err(Fault::Bug { .. })));
}

#[tokio::test]
async fn a_version_is_seen_after_the_device_checked_in() {
    let rig = Rig::new().await;
    rig.sim
        .mischief(&Mischief::MoveAssignments { from: app_id(TENANT, 1), to: old_app_id(TENANT, 1) })
        .unwrap();
    rig.plane.apply(&target(1), &assign(1, &[group(1)], &[]), &key()).await.unwrap();
    let unassign = Action::Unassign { app: old_app_id(TENANT, 1), remove: [group(1)].into() };
    rig.plane.apply(&target(1), &unassign, &key()).await.unwrap();
    let versions = |seen: trueup_model::Observed| {
        seen.versions
            .unwrap()
            .into_iter()
            .map(|v| (v.version, v.devices, v.reported.unwrap()))
            .collect::<Vec<_>>()
    };
    rig.clock.advance(Duration::seconds(40));
    let at_once = rig.look(1).await.unwrap();
    assert!(at_once.assignments.as_ref().unwrap().replaced.is_empty());
    let at_once = versions(at_once);
    assert_eq!((at_once[0].0.as_str(), at_once[0].1), ("0.9.0", 4), "no device has checked in yet");
    assert!(at_once[0].2 <= start(), "and their reports say so");
    rig.pass(30);
    let later = versions(rig.look(1).await.unwrap());
    assert_eq!((later[0].0.as_str(), later[0].1), ("1.0.0", 4));
    assert!(later[0].2 > start());
}

#[tokio::test]
async fn asks_devices_to_check_in() {
    let rig = Rig::new().await;
    rig.sim.mischief(&Mischief::BreakCompliance { app: app_id(TENANT, 1), devices: 2 }).unwrap();
    let mut devices = rig.look(1).await.unwrap().compliance.unwrap().failing;
    devices.push("00000000-0000-0000-0000-000000000000".into());
    let receipt = rig.plane.apply(&target(1), &Action::Comply { devices }, &key()).await.unwrap();
    assert_eq!(receipt.note, "2 devices asked to check in, 1 not (1 no longer exist)");
    assert_eq!(rig.sim.writes().len(), 2);
    rig.pass(2);
    let seen = rig.look(1).await.unwrap().compliance.unwrap();
    assert_eq!((seen.noncompliant, seen.reported.unwrap() > start()), (0, true));
    let nobody = rig.plane.apply(&target(1), &Action::Comply { devices: Vec::new() }, &key()).await.unwrap();
    assert!(!nobody.changed);
}

#[tokio::test]
async fn waits_as_long_as_it_is_told() {
    for (said, seconds) in [
        (Some("7"), 7.0),
        (Some("2.128"), 2.128),
        (Some("Sat, 21 Nov 2026 10:01:30 GMT"), 90.0),
        (None, 30.0),
        (Some("nonsense"), 30.0),
    ] {
        let rig = Rig::new().await;
        let retry_after = said.map(str::to_owned);
        rig.sim.trouble(Planned { times: Some(1), ..Trouble::Throttle { retry_after }.into() });
        let expected = start() + Duration::milliseconds((seconds * 1000.0) as i64);
        match rig.look(1).await {
            Err(Fault::Throttled { until, what }) => assert_eq!(until, expected, "{said:?}: {what}"),
            other => panic!("{said:?}: {other:?}"),
        }
        let before = rig.sim.counts().requests;
        assert!(matches!(rig.look(2).await, Err(Fault::Throttled { until, .. }) if until == expected));
        assert_eq!(rig.sim.counts().requests, before, "nothing is sent before that time");
        rig.clock.advance(Duration::milliseconds((seconds * 1000.0) as i64));
        assert!(rig.look(1).await.is_ok());
    }
}

#[tokio::test]
async fn throttled_for_ever_without_a_time_waits_longer_and_longer() {
    let rig = Rig::new().await;
    rig.sim.trouble(Trouble::Throttle { retry_after: None });
    let mut waits = Vec::new();
    for _ in 0..6 {
        let now = trueup_model::Clock::now(&rig.clock);
        let Err(Fault::Throttled { until, .. }) = rig.look(1).await else { panic!("not throttled") };
        waits.push((until - now).num_seconds());
        rig.clock.advance(until - now);
    }
    assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
}

#[tokio::test]
async fn the_published_limits_end_in_a_wait() {
    let limits = Limits { app_requests: 10, ..Limits::default() };
    let rig = Rig::with(Setup { limits, wait: WaitStyle::Fraction, ..Setup::default() }).await;
    let checks: Vec<_> = (0..8).map(check).collect();
    let answers = rig.observe(&checks).await;
    let throttled = |a: &Result<_, _>| matches!(a, Err(Fault::Throttled { until, .. }) if *until == start() + Duration::seconds(20));
    assert!(answers.iter().any(Result::is_ok), "{answers:?}");
    assert!(answers.iter().all(|a| a.is_ok() || throttled(a)), "{answers:?}");
    rig.clock.advance(Duration::seconds(20));
    let rest: Vec<_> = checks.into_iter().zip(&answers).filter(|(_, a)| a.is_err()).map(|(c, _)| c).collect();
    assert!(rig.observe(&rest[..rest.len().min(5)]).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_item_of_a_batch_has_its_own_fault() {
    for (trouble, expected) in [
        (Trouble::Item { status: 429, retry_after: Some("4.5".into()) }, "throttled"),
        (Trouble::Item { status: 429, retry_after: None }, "throttled"),
        (Trouble::Item { status: 403, retry_after: None }, "permanent"),
        (Trouble::Item { status: 424, retry_after: None }, "transient"),
        (Trouble::Item { status: 503, retry_after: None }, "transient"),
        (Trouble::ItemLost, "transient"),
    ] {
        let rig = Rig::new().await;
        rig.sim.trouble(Planned { trouble: trouble.clone(), times: None, only: Some(app_id(TENANT, 1)) });
        let answers = rig.observe(&[check(0), check(1), check(2)]).await;
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{trouble:?}: {answers:?}");
        let kind = match &answers[1] {
            Err(Fault::Throttled { until, .. }) => {
                assert!([4500, 30_000].contains(&(*until - start()).num_milliseconds()));
                "throttled"
            }
            Err(Fault::Permanent { .. }) => "permanent",
            Err(Fault::Transient { .. }) => "transient",
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, expected, "{trouble:?}");
    }
    let rig = Rig::new().await;
    let once = Planned { trouble: Trouble::ItemLost, times: Some(1), only: Some(app_id(TENANT, 1)) };
    rig.sim.trouble(once);
    assert!(rig.observe(&[check(0), check(1)]).await.iter().all(Result::is_ok), "what passes is tried again");
}

#[tokio::test]
async fn tokens_are_renewed() {
    let rig = Rig::new().await;
    rig.look(1).await.unwrap();
    rig.pass(30);
    rig.look(1).await.unwrap();
    assert_eq!(rig.sim.counts().tokens, 1);
    rig.pass(25);
    rig.look(1).await.unwrap();
    assert_eq!(rig.sim.counts().tokens, 2, "before it ends");
    rig.sim.revoke_tokens();
    rig.pass(4);
    rig.look(1).await.unwrap();
    assert_eq!(rig.sim.counts().tokens, 3, "refused, renewed, done");
    rig.sim.trouble(Trouble::Unauthorized);
    rig.pass(4);
    let fault = rig.look(1).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent { what } if what.contains("401") && what.contains("check client_id")),
        "{fault}"
    );
    assert!(!fault.to_string().contains("sim."), "no token in an error: {fault}");
    let tokens = rig.sim.counts().tokens;
    assert!((4..=5).contains(&tokens), "once for each of the two reads at most: {tokens}");
}

#[tokio::test]
async fn a_wrong_secret_says_what_to_check() {
    let rig = Rig::with(Setup { secret: "not-the-secret".into(), ..Setup::default() }).await;
    let fault = rig.plane.probe().await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }) && text.contains("AADSTS7000215"), "{text}");
    assert!(text.contains("client_secret") && !text.contains("not-the-secret"), "{text}");
    assert!(Rig::new().await.plane.probe().await.unwrap().contains("applications are readable"));
}

#[tokio::test]
async fn wrong_answers_are_clear_faults() {
    for (trouble, said) in [
        (Trouble::Html, "not JSON: '<!DOCTYPE html>"),
        (Trouble::Empty, "not JSON: (empty)"),
        (Trouble::HalfJson, "not JSON: '{"),
        (Trouble::Status(502), "answered 502: UnknownError"),
        (Trouble::Drop, "no answer from 127.0.0.1"),
    ] {
        let rig = Rig::new().await;
        rig.sim.trouble(trouble.clone());
        let fault = rig.look(1).await.unwrap_err();
        let text = fault.to_string();
        let left_alone = text.contains("failed several times in a row");
        assert!(matches!(fault, Fault::Transient { .. }) || left_alone, "{trouble:?}: {text}");
        assert!(text.contains(said) && text.contains("POST /$batch"), "{trouble:?}: {text}");
        rig.sim.no_more_trouble();
        if left_alone {
            rig.clock.advance(Duration::seconds(30));
            // One call tries it, the others wait for what comes of that.
            let _ = rig.look(1).await;
            rig.clock.advance(Duration::seconds(2));
        }
        rig.pass(10);
        // A plane that seemed broken is probed by one call first; the others of this look wait.
        let _ = rig.look(1).await;
        assert!(rig.look(1).await.is_ok(), "{trouble:?}: and then it goes on");
    }
    for trouble in [Trouble::Html, Trouble::HalfJson, Trouble::Status(500), Trouble::Drop] {
        let rig = Rig::new().await;
        rig.sim.trouble(Planned { times: Some(1), ..trouble.clone().into() });
        assert!(rig.look(1).await.is_ok(), "once is not noticed: {trouble:?}");
    }
}

#[tokio::test]
async fn the_token_stays_with_its_server() {
    let rig = Rig::new().await;
    rig.sim.trouble(Planned {
        trouble: Trouble::ForeignNextLink,
        times: None,
        only: Some("mobileApps?".into()),
    });
    let all: Vec<_> = (0..30).map(check).collect();
    let fault = rig.observe(&all).await.remove(0).unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Permanent { .. }), "{text}");
    assert!(text.contains("graph.microsoft.example") && text.contains("not followed"), "{text}");
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let seed = Seed { apps: 15, devices: 1, older: true, ..Seed::default() };
    let rig = Rig::with(Setup { seed, limits: Limits::none(), ..Setup::default() }).await;
    rig.sim.trouble(Planned {
        trouble: Trouble::CircularNextLink,
        times: None,
        only: Some("mobileApps?".into()),
    });
    let all: Vec<_> = (0..15).map(check).collect();
    let fault = rig.observe(&all).await.remove(0).unwrap_err();
    assert!(fault.to_string().contains("leads back to one"), "{fault}");
}

#[tokio::test]
async fn a_stuck_application_takes_nothing() {
    let rig = Rig::new().await;
    rig.sim.mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 1) }).unwrap();
    rig.sim.mischief(&Mischief::Stick { app: app_id(TENANT, 1), after_seconds: 60 }).unwrap();
    let receipt = rig.plane.apply(&target(1), &assign(1, &[group(1)], &[]), &key()).await.unwrap();
    assert!(receipt.changed, "it is accepted");
    rig.pass(2);
    assert!(rig.look(1).await.unwrap().assignments.unwrap().here.is_empty(), "and it did not last");
}
