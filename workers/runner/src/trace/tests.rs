use trueup_model::{Commit, Condition, CorrelationId, Event, EventId, IntentKey, job::Span as Passed};

use super::*;

const ASKER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SIBLING: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const BATCH: &str = "00-11111111111111111111111111111111-2222222222222222-01";

fn emit(trace: Option<&str>) -> Emit {
    let passed = || Passed { from: Time::UNIX_EPOCH, to: Time::UNIX_EPOCH, link: None };
    Emit {
        intent: IntentKey::new("acme", "a"),
        run: RunId::derive(&["r"]),
        generation: 1,
        drifts: vec![],
        unjudged: vec![],
        unjudged_kinds: vec![],
        ignored: vec![],
        condition: Condition::Drifted,
        passed: [passed(), passed(), passed()],
        trace: trace.map(TraceParent::from_wire),
    }
}

#[test]
fn a_run_is_in_its_own_trace_in_the_askers_or_in_the_attempts() {
    let own = root(&RunId::derive(&["r"]));
    let goes_on = TraceParent::from_wire(format!("{}{}-01", &ASKER[..36], own.span_id().unwrap()));
    let under = TraceParent::from_wire(ASKER);
    for (trace, batch, expected) in [
        (None, Some(BATCH), Place::Own(own.clone())),
        (None, None, Place::Own(own.clone())),
        (Some("nonsense"), Some(BATCH), Place::Own(own.clone())),
        (Some(ASKER), Some(SIBLING), Place::Asked(under.clone())),
        (Some(ASKER), Some(BATCH), Place::GoesOn { run: goes_on.clone(), under: under.clone() }),
        (Some(ASKER), None, Place::GoesOn { run: goes_on, under }),
    ] {
        assert_eq!(Place::of(&emit(trace), batch), expected, "{trace:?} {batch:?}");
    }
}

#[test]
fn faults_and_escalations_are_kept_and_waits_are_not() {
    let event = |kind| Event {
        event_id: EventId::derive(&["e"]),
        seq: 0,
        schema: 1,
        event_type: kind,
        tenant: "acme".into(),
        intent: "a".into(),
        correlation_id: CorrelationId::derive(&["c"]),
        causation_id: None,
        trace_id: None,
        actor: "system".into(),
        created_at: Time::UNIX_EPOCH,
        event_data: serde_json::Value::Null,
    };
    let done = |kinds: &[EventKind]| {
        Outcome::Done(Commit { events: kinds.iter().map(|k| event(*k)).collect(), ..Commit::default() })
    };
    let at = Time::UNIX_EPOCH;
    use EventKind as K;
    for (outcome, expected) in [
        (done(&[]), None),
        (done(&[K::DriftDetected, K::RemediationStarted]), None),
        (done(&[K::RemediationVerified]), None),
        (done(&[K::RemediationFailed, K::Escalated]), Some("escalation")),
        (done(&[K::RemediationRefused]), Some("fault")),
        (done(&[K::RunAbandoned]), Some("fault")),
        (Outcome::Defer { at, because: None }, None),
        (Outcome::Retry { at, because: "x".into() }, Some("fault")),
        (Outcome::Dead { because: "x".into() }, Some("fault")),
    ] {
        assert_eq!(keep(&outcome), expected, "{outcome:?}");
    }
}
