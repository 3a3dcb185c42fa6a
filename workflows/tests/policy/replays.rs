//! Replay: recorded decisions, decided again.

use serde_json::json;
use trueup_model::{CorrelationId, DriftKind, Duration, Event, EventId, EventKind, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::replay::{CASE, replay};
use trueup_workflows::policy::{Case, DEFAULT};

use super::{case, drift, intent, t0, with};

/// As `emit` writes it.
fn event(policy: &Policy, case: &Case<'_>) -> Event {
    let decided = policy.decide(case);
    let data = json!({
        "drift_type": case.drift.kind, "severity": decided.severity, "decision": decided.decision, CASE: case.record(),
    });
    Event {
        event_id: EventId::derive(&["e"]),
        seq: 1,
        schema: 1,
        event_type: EventKind::PolicyDecided,
        tenant: case.intent.key.tenant.clone(),
        intent: case.intent.key.id.clone(),
        correlation_id: CorrelationId::derive(&["c"]),
        causation_id: None,
        trace_id: None,
        actor: "system:reconciliation_loop".into(),
        created_at: case.now,
        event_data: data,
    }
}

/// Each ring, kind and criticality once, decided by the shipped policy.
fn recorded() -> Vec<Event> {
    let mut events = Vec::new();
    for ring in ["lab", "canary", "pilot", "department", "global"] {
        for kind in DriftKind::ALL {
            for criticality in ["critical", "low"] {
                let id = format!("{ring}-{criticality}");
                let intent = intent(json!({"id": id, "ring": ring, "criticality": criticality}));
                events.push(event(&Policy::default(), &case(&intent, &drift(kind))));
            }
        }
    }
    events
}

#[test]
fn the_same_policy_changes_nothing() {
    let events = recorded();
    let replayed = replay(events.iter(), &Policy::default());
    assert_eq!((replayed.changed, replayed.same, replayed.unreadable), (vec![], 40, 0));
}

#[test]
fn another_policy_changes_what_it_decides_otherwise() {
    let night =
        "[[window]]\nname = 'n'\ncron = '0 22 * * *'\nduration = '1h'\nzone = 'UTC'\nrings = ['canary']\n";
    let ignore = "[[ignore]]\nname = 'i'\npaths = ['compliance.*']\nbecause = 'b'\n";
    let table: Vec<(Policy, usize, &str, &str)> = vec![
        // Four kinds of one ring, of which two were automatic.
        (
            Policy::parse(&DEFAULT.replace("[\"lab\", \"canary\"]", "[\"lab\"]")).unwrap(),
            4,
            "automatic",
            "review",
        ),
        (
            Policy::parse(&DEFAULT.replace(
                "rings = [\"pilot\", \"department\", \"global\"]",
                "rings = [\"pilot\", \"department\"]",
            ))
            .unwrap(),
            0,
            "",
            "",
        ),
        (with(night), 4, "automatic", "automatic"),
        (with(ignore), 10, "review", "ignored"),
        (Policy::parse("").unwrap(), 8, "automatic", "review"),
        // Twelve of low criticality would be overdue at once: nothing is, since nothing has an age here; but what was
        // automatic waits for less.
        (
            Policy::parse(&DEFAULT.replace("low = \"24h\"", "low = \"1h\"")).unwrap(),
            4,
            "automatic",
            "automatic",
        ),
    ];
    let events = recorded();
    for (policy, changed, was, would_be) in table {
        let replayed = replay(events.iter(), &policy);
        assert_eq!((replayed.changed.len(), replayed.unreadable), (changed, 0), "{:#?}", replayed.changed);
        assert_eq!(replayed.changed.len() + replayed.same, events.len());
        for change in replayed.changed {
            assert_eq!((change.was.verdict(), change.would_be.verdict()), (was, would_be), "{change:?}");
            assert_ne!(change.was, change.would_be);
        }
    }
}

/// What the ladder waits for is written over `not_before`; it is no decision of policy.
#[test]
fn the_waits_of_the_ladder_are_no_change() {
    let (intent, drift) = (intent(json!({})), drift(DriftKind::MissingAssignment));
    let mut event = event(&Policy::default(), &case(&intent, &drift));
    event.event_data["decision"]["not_before"] = json!(t0() + Duration::hours(1));
    assert_eq!(replay([&event].into_iter(), &Policy::default()).same, 1);
}

#[test]
fn what_cannot_be_read_is_counted_and_other_events_are_passed_over() {
    let (intent, drift) = (intent(json!({})), drift(DriftKind::MissingAssignment));
    let fine = event(&Policy::default(), &case(&intent, &drift));
    let mut events = vec![fine.clone(); 5];
    events[1].event_data[CASE] = json!(null);
    events[2].event_data["decision"] = json!("automatic");
    events[3].event_data = json!(null);
    events[4].event_type = EventKind::DriftDetected;
    let replayed = replay(events.iter(), &Policy::default());
    assert_eq!((replayed.changed.len(), replayed.same, replayed.unreadable), (0, 1, 3));
    assert_eq!(fine.event_data["decision"]["verdict"], json!(Verdict::Automatic));
}

/// What is overdue waits for nothing: when the ladder allows the next attempt is no difference of policies.
#[test]
fn an_overdue_decision_is_the_same_again() {
    let (policy, low) = (Policy::default(), intent(json!({"criticality": "standard"})));
    let missing = drift(DriftKind::MissingAssignment);
    let now = t0() + Duration::days(30);
    let mut event = event(&policy, &Case { now, ..case(&low, &missing) });
    assert!(event.event_data["decision"]["reasons"].to_string().contains("\"overdue\""));
    event.event_data["decision"]["not_before"] = json!(now + Duration::hours(1));
    let replayed = replay([event].iter(), &policy);
    assert_eq!((replayed.changed, replayed.same), (vec![], 1));
}
