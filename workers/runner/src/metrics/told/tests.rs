use serde_json::json;
use trueup_model::job::{Notify, Remediate};
use trueup_model::{CorrelationId, DateTime, Duration, EventId, IntentKey, IntentState, Plan, RunId};

use super::*;

fn t(seconds: i64) -> Time {
    DateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

fn event(event_type: EventKind, event_data: Value) -> Event {
    Event {
        event_id: EventId::derive(&["e"]),
        seq: 0,
        schema: 1,
        event_type,
        tenant: "contoso".into(),
        intent: "chrome".into(),
        correlation_id: CorrelationId::derive(&["c"]),
        causation_id: None,
        trace_id: None,
        actor: "test".into(),
        created_at: t(600),
        event_data,
    }
}

fn of(events: Vec<Event>, writes: Vec<Write>) -> Vec<Told> {
    told(&Job::Notify(Notify { deliver: None, kept: None }), &Commit { events, writes, next: Vec::new() })
}

fn at() -> At {
    At { tenant: "contoso".into(), plane: "intune" }
}

fn detected(kind: Word, security: bool) -> Told {
    Told::Detected { at: at(), kind, severity: "high", criticality: "critical", security }
}

#[test]
fn each_event_is_one_count() {
    use EventKind as K;
    let drift = json!({"plane": "intune", "criticality": "critical", "drift_type": "missing_assignment",
        "severity": "high", "opened_at": t(0), "finding_id": "fnd_1"});
    let remediation = |outcome| Told::Remediation { at: at(), outcome };
    let notification = |outcome| Told::Notification { channel: "ops".into(), outcome };
    let channel = json!({"channel": "ops"});
    let table = [
        (K::DriftDetected, drift.clone(), Some(detected("missing_assignment", false))),
        (K::DriftChanged, drift.clone(), None),
        (K::DriftResolved, drift.clone(), Some(Told::Resolved { at: at(), after_s: Some(600.0) })),
        (K::RemediationStarted, drift.clone(), Some(remediation("started"))),
        (K::RemediationApplied, drift.clone(), Some(remediation("applied"))),
        (K::RemediationRefused, drift.clone(), Some(remediation("refused"))),
        (K::RemediationFailed, drift.clone(), Some(remediation("failed"))),
        (K::RemediationVerified, drift.clone(), Some(remediation("verified"))),
        (K::Escalated, drift.clone(), Some(Told::Escalated { at: at() })),
        (K::BlastRadiusTripped, drift.clone(), Some(Told::BlastTrip { at: at() })),
        (K::NotificationSent, channel.clone(), Some(notification("sent"))),
        (K::NotificationFailed, channel, Some(notification("failed"))),
        (K::RunAbandoned, json!({}), Some(Told::RunAbandoned { tenant: "contoso".into() })),
        (K::PolicyDecided, drift, None),
    ];
    for (kind, data, expected) in table {
        assert_eq!(of(vec![event(kind, data)], vec![]), Vec::from_iter(expected), "{kind:?}");
    }
}

/// As policy decided it: no route need want a notice of it.
#[test]
fn security_is_what_policy_says_it_is_once_each() {
    let found = |event_type, kind: &str, security: Value| {
        let data = json!({"plane": "intune", "criticality": "critical", "drift_type": kind, "severity": "high",
            "finding_id": "fnd_1", "security": security});
        event(event_type, data)
    };
    let security = |kind| Told::Security { at: at(), kind };
    use EventKind::{DriftChanged, DriftDetected, PolicyDecided};
    let table = [
        (
            DriftDetected,
            "scope_mismatch",
            json!(true),
            vec![security("scope_mismatch"), detected("scope_mismatch", true)],
        ),
        (
            DriftDetected,
            "version_mismatch",
            json!(true),
            vec![security("version_mismatch"), detected("version_mismatch", true)],
        ),
        (DriftDetected, "version_mismatch", json!(false), vec![detected("version_mismatch", false)]),
        (DriftDetected, "version_mismatch", json!("true"), vec![detected("version_mismatch", false)]),
        // It was counted when it was found.
        (DriftChanged, "scope_mismatch", json!(true), vec![]),
        (PolicyDecided, "scope_mismatch", json!(true), vec![]),
    ];
    for (event_type, kind, says, expected) in table {
        let shown = format!("{event_type:?} {kind} {says}");
        assert_eq!(of(vec![found(event_type, kind, says)], vec![]), expected, "{shown}");
    }
}

#[test]
fn a_run_that_ends_says_what_it_found_and_how_long_it_took() {
    let write = |ends_run| Write::State {
        intent: IntentKey::new("contoso", "chrome"),
        rev: 1,
        state: Box::new(IntentState {
            condition: Condition::Drifted,
            checked_at: Some(t(30)),
            ..IntentState::default()
        }),
        due: None,
        ends_run,
    };
    let remediate = Job::Remediate(Remediate {
        intent: IntentKey::new("contoso", "chrome"),
        run: RunId::derive(&["r"]),
        plan: Plan::new(1, &[], Vec::new()),
        index: 0,
        attempt: 1,
        generation: 1,
    });
    let ended = |after_s| Told::RunEnded { tenant: "contoso".into(), condition: "drifted", after_s };
    let applied = |data| event(EventKind::PolicyDecided, data);
    let table = [
        (vec![applied(json!({"run_started_at": t(10)}))], write(true), vec![ended(Some(20.0))]),
        (vec![], write(true), vec![ended(None)]),
        // A clock that went backwards.
        (vec![applied(json!({"run_started_at": t(31)}))], write(true), vec![ended(None)]),
        (vec![], write(false), vec![]),
    ];
    for (events, write, expected) in table {
        let commit = Commit { events, writes: vec![write], next: Vec::new() };
        assert_eq!(told(&remediate, &commit), expected, "{commit:?}");
    }
}

#[test]
fn words_nobody_knows_become_no_labels() {
    let data = json!({"plane": "attacker", "criticality": {"a": 1}, "drift_type": "x".repeat(9_000)});
    let unknown = At { tenant: "contoso".into(), plane: UNKNOWN };
    let expected = Told::Detected {
        at: unknown,
        kind: UNKNOWN,
        severity: UNKNOWN,
        criticality: UNKNOWN,
        security: false,
    };
    assert_eq!(of(vec![event(EventKind::DriftDetected, data)], vec![]), [expected]);
}
