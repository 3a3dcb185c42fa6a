//! Intents that are paused or retired: what is known of them is closed, and opened again when they come back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{ApprovalState, Condition, Duration, EventKind, IntentKey, Status};
use world::{World, intent, t0};

#[tokio::test]
async fn nobody_is_asked_about_what_nothing_looks_at() {
    for status in ["PAUSED", "RETIRED"] {
        let world = World::new();
        let key = IntentKey::new("acme", "a");
        // Missing, and by its ring a matter for a review.
        let meant = |status: &str| intent("a", json!({"ring": "global", "status": status}));
        world.apply(meant("PENDING"));
        world.run_until(t0()).await;
        let open = |world: &World| {
            let approvals = world.approvals_of(&key);
            let asked = approvals.iter().filter(|a| a.state == ApprovalState::Open).count();
            (world.findings_of(&key).iter().filter(|f| f.open).count(), asked)
        };
        assert_eq!(open(&world), (1, 1), "{status}");

        world.apply(meant(status));
        world.run_for(Duration::minutes(1)).await;
        assert_eq!(open(&world), (0, 0), "{status}");
        let state = world.record(&key).state;
        assert_eq!((state.condition, state.drifts.len(), &state.run), (Condition::Unknown, 0, &None));
        let resolved: Vec<_> =
            world.events().into_iter().filter(|e| e.event_type == EventKind::DriftResolved).collect();
        assert_eq!(resolved.len(), 1);
        assert_eq!(resolved[0].event_data["status"], status);
        let facts = world.findings_of(&key)[0].facts.len();
        assert_eq!(facts, 1, "nobody looked, so nothing was seen");

        let checks = world.store.lock().unwrap().begun.len();
        world.run_for(Duration::hours(9)).await;
        assert_eq!(world.store.lock().unwrap().begun.len(), checks, "nothing looks at it");
        world.apply(meant("PENDING"));
        world.run_for(Duration::minutes(1)).await;
        assert_eq!(open(&world), (1, 1), "{status}, and back");
    }
    assert!(!Status::Paused.is_reconciled());
}

#[tokio::test]
async fn a_run_under_way_ends_before_what_it_knows_is_closed() {
    let world = World::new();
    let key = IntentKey::new("acme", "a");
    world.apply(intent("a", json!({"ring": "global"})));
    world.run_until(t0()).await;
    world.request(std::slice::from_ref(&key), "again");
    world.work_one().await;
    assert!(world.record(&key).state.run.is_some());
    world.apply(intent("a", json!({"ring": "global", "status": "RETIRED"})));
    world.run_for(Duration::minutes(2)).await;
    assert!(world.findings_of(&key).iter().all(|f| !f.open));
    assert!(world.record(&key).state.run.is_none());
}
