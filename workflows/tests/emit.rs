//! What is recorded about drift, what people are asked, and what waits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{
    ApprovalKind, ApprovalState, Condition, Duration, EventKind, Fault, IntentKey, observed::ComplianceSeen,
};
use world::plane::group;
use world::{HERE, World, intent, t0};

fn key() -> IntentKey {
    IntentKey::new("acme", "chrome")
}

fn kinds(world: &World) -> Vec<EventKind> {
    world.events().iter().map(|e| e.event_type).collect()
}

async fn checked(world: &World, name: &str) {
    world.run_for(Duration::seconds(1)).await;
    world.request(&[key()], name);
    world.run_for(Duration::seconds(1)).await;
}

/// Drift in a production ring, which people are asked about.
#[tokio::test]
async fn a_finding_from_onset_over_change_to_resolution_and_back() {
    let world = World::new();
    let two = json!({"assignment": {"include": [{"group": "g1"}, {"group": "g2"}]}});
    world.apply(intent("chrome", json!({"ring": "global", "desired": two})));
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.run_until(t0()).await;
    assert_eq!(
        kinds(&world),
        [EventKind::DriftDetected, EventKind::PolicyDecided, EventKind::ApprovalOpened],
        "scope mismatch: found, decided, asked"
    );
    let first = world.findings_of(&key()).remove(0);
    assert_eq!(
        (first.kind.as_str(), first.severity.raised()),
        ("scope_mismatch", trueup_model::Severity::Critical)
    );
    assert_eq!(first.facts[0].observed, json!({"assignment.include": ["absent"]}));

    checked(&world, "same-again").await;
    assert_eq!(kinds(&world).len(), 3, "nothing new, nothing said, nothing asked twice");
    assert!(world.findings_of(&key())[0].last_seen_at > t0());

    // It gets worse: another difference, another fact, and the question is another one.
    world.plane.lock().unwrap().assigned.get_mut(HERE).unwrap()[0].excluded = false;
    world.plane.lock().unwrap().assigned.get_mut(HERE).unwrap()[0].install =
        trueup_model::intent::Install::Available;
    checked(&world, "changed").await;
    assert_eq!(
        kinds(&world)[3..],
        [EventKind::DriftChanged, EventKind::ApprovalWithdrawn, EventKind::ApprovalOpened]
    );
    world.plane.lock().unwrap().assigned.clear();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.plane.lock().unwrap().assign(HERE, group("g2"));
    checked(&world, "mended").await;
    assert_eq!(
        kinds(&world)[6..],
        [EventKind::ConditionChanged, EventKind::DriftResolved, EventKind::ApprovalWithdrawn]
    );
    let resolved = world.findings_of(&key()).remove(0);
    assert!(!resolved.open && resolved.resolved_at.is_some() && resolved.next_at.is_none());
    assert!(world.approvals_of(&key()).iter().all(|a| a.state == ApprovalState::Withdrawn));
    assert!(world.record(&key()).state.drifts.is_empty());

    world.plane.lock().unwrap().assigned.get_mut(HERE).unwrap().pop();
    checked(&world, "broken-again").await;
    let again = world.findings_of(&key()).remove(0);
    assert_eq!((again.id.clone(), again.recurrences, again.open), (first.id, 1, true));
    let drifted: Vec<_> = again.facts.iter().map(|f| f.drifted).collect();
    assert_eq!(drifted, [true, true, false, true]);
    for pair in again.facts.windows(2) {
        assert_eq!(pair[0].valid_to, Some(pair[1].valid_from));
        assert_eq!(pair[0].superseded_at, Some(pair[1].recorded_at));
    }
    assert_eq!(world.acts(), []);
}

#[tokio::test]
async fn tolerated_drift_waits_then_is_remediated() {
    let world = World::new();
    world.apply(intent("chrome", json!({"criticality": "high"})));
    world.run_until(t0() + Duration::minutes(59)).await;
    assert_eq!(world.minutes(EventKind::DriftDetected), [0]);
    let finding = &world.findings_of(&key())[0];
    assert_eq!(finding.next_at, Some(t0() + Duration::hours(1)));
    assert_eq!(world.acts(), []);
    world.run_until(t0() + Duration::minutes(70)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [60], "neither earlier nor at the next check");
    assert_eq!(world.minutes(EventKind::RemediationVerified), [65]);
}

#[tokio::test]
async fn drift_that_goes_away_within_its_tolerance_is_never_acted_upon() {
    let world = World::new();
    world.apply(intent("chrome", json!({"criticality": "high"})));
    world.run_until(t0() + Duration::minutes(10)).await;
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.run_until(t0() + Duration::hours(3)).await;
    assert_eq!((world.acts().len(), world.minutes(EventKind::DriftResolved).len()), (0, 1));
}

#[tokio::test]
async fn a_mode_decides_what_may_be_done() {
    for (mode, approvals, acts) in [("observe", 0, 0), ("propose", 1, 0), ("enforce", 0, 1)] {
        let world = World::new();
        world.apply(intent("chrome", json!({ "mode": mode })));
        world.run_until(t0() + Duration::minutes(30)).await;
        assert_eq!((world.approvals_of(&key()).len(), world.acts().len()), (approvals, acts), "{mode}");
        assert_eq!(world.minutes(EventKind::DriftDetected), [0], "{mode}");
    }
}

/// A change of mode changes the decision, and the question that was open is taken back.
#[tokio::test]
async fn a_question_goes_when_nobody_needs_to_be_asked_any_more() {
    let world = World::new();
    world.apply(intent("chrome", json!({"mode": "propose"})));
    world.run_until(t0()).await;
    assert_eq!(world.approvals_of(&key())[0].kind, ApprovalKind::Review);
    world.apply(intent("chrome", json!({})));
    world.run_for(Duration::minutes(2)).await;
    assert_eq!(world.approvals_of(&key())[0].state, ApprovalState::Withdrawn);
    assert_eq!(world.minutes(EventKind::PolicyDecided).len(), 2);
    assert_eq!(world.acts().len(), 1);
}

#[tokio::test]
async fn no_answer_leaves_a_finding_as_it_is_and_says_so_once() {
    let world = World::new();
    world.apply(intent("chrome", json!({"mode": "observe"})));
    world.run_until(t0()).await;
    let before = world.findings_of(&key());
    world.plane.lock().unwrap().observe_faults.insert(key(), Fault::permanent("401: the secret has expired"));
    world.run_until(t0() + Duration::hours(2)).await;
    let state = world.record(&key()).state;
    assert_eq!(state.condition, Condition::Unreachable);
    assert_eq!(world.minutes(EventKind::ConditionChanged).len(), 1);
    let changed = world.events().into_iter().find(|e| e.event_type == EventKind::ConditionChanged).unwrap();
    assert_eq!(changed.event_data["because"], json!(["no answer: 401: the secret has expired"]));
    let after = world.findings_of(&key());
    assert_eq!((after[0].open, &after[0].facts), (true, &before[0].facts));
    assert!(state.drifts.contains_key(&after[0].kind));
}

#[tokio::test]
async fn a_playbook_is_remedied_where_the_policy_allows_it() {
    let rule = "[[rule]]\nname = \"hosts\"\nsay = \"automatic\"\nplanes = [\"ansible\"]\nbecause = \"our own hosts\"";
    let policy = trueup_workflows::Policy::parse(rule).unwrap();
    let world = World::under(trueup_workflows::Rules { policy, ..Default::default() });
    world.plane.lock().unwrap().compliance = Some(ComplianceSeen {
        devices: 1,
        noncompliant: 1,
        details: vec!["copy motd: changed".into()],
        ..ComplianceSeen::default()
    });
    world.apply(intent("chrome", json!({
        "plane": "ansible", "target": {"playbook": "site.yml", "inventory": "hosts"}, "desired": {"compliant": true},
    })));
    world.run_until(t0()).await;
    assert_eq!(world.acts(), [trueup_model::Action::Comply { devices: vec![] }]);
    world.plane.lock().unwrap().compliance.as_mut().unwrap().reported = Some(t0() + Duration::minutes(5));
    world.run_until(t0() + Duration::minutes(6)).await;
    assert_eq!(world.minutes(EventKind::RemediationVerified), [5]);
}

/// The intent changes while its drift is on the way to `emit`: it is judged anew, not by the old comparison.
#[tokio::test]
async fn drift_from_an_older_generation_is_not_recorded() {
    let world = World::new();
    world.apply(intent("chrome", json!({})));
    world.plane.lock().unwrap().assign(HERE, group("g2"));
    while world.store.lock().unwrap().jobs.values().all(|(_, job, _)| job.step().as_str() != "emit") {
        assert!(world.work_one().await);
    }
    world.apply(intent("chrome", json!({"desired": {"assignment": {"include": [{"group": "g2"}]}}})));
    world.run_until(t0() + Duration::minutes(2)).await;
    assert_eq!(kinds(&world), []);
    assert_eq!(world.record(&key()).state.condition, Condition::InSync);
}
