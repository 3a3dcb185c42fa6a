//! "Event Store Integration".

use serde_json::json;
use trueup_model::EventKind;
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong};

use super::given::*;

#[tokio::test]
async fn an_event_has_the_shape_that_the_seed_shows() {
    let story = broken(|_| {}, Wrong::MissingAssignment).await;
    for plane in ENDPOINT_PLANES {
        let events = story.events_of(&key(plane, 0)).await;
        let event = events.iter().find(|e| e.event_type == EventKind::DriftDetected).expect("emitted");
        let event = serde_json::to_value(event).expect("JSON");
        assert!(event["correlation_id"].is_string(), "{event}");
        assert_eq!(event["event_type"], "DRIFT_DETECTED");
        assert_eq!(event["actor"], "system:reconciliation_loop");
        let at = event["created_at"].as_str().expect("a time");
        assert!(trueup_model::DateTime::parse_from_rfc3339(at).is_ok() && at.ends_with('Z'), "{at}");
        let data = &event["event_data"];
        assert_eq!(data["deployment_intent_id"], json!(key(plane, 0).id));
        assert_eq!(data["drift_type"], "missing_assignment");
        assert_eq!(data["severity"], "high");
        assert!(data["affected_devices"].is_u64(), "{data}");
        assert_eq!(data["remediation_triggered"], true);
    }
}

#[tokio::test]
async fn the_event_store_is_append_only_and_shows_gaps() {
    let story = broken(|_| {}, Wrong::MissingAssignment).await;
    let before = story.every_event().await;
    story.pass(trueup_model::Duration::hours(2)).await;
    let after = story.every_event().await;
    assert!(after.len() > before.len());
    assert_eq!(after[..before.len()], before[..], "what was written stays as it was");
    let seqs: Vec<u64> = after.iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (seqs[0]..seqs[0] + seqs.len() as u64).collect::<Vec<_>>(), "numbers without gaps");
}
