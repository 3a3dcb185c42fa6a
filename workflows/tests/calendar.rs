//! What windows, freezes and incidents do to attempts on their way, and what they leave alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{Attempts, Duration, EventKind, IntentKey, Topic};
use trueup_workflows::{Chain, Policy, Rules};
use world::{World, intent, people, t0};

const ALL: &str = "[[rule]]\nname = \"all\"\nsay = \"automatic\"\nbecause = \"a test\"\n";

fn rules(more: &str) -> Rules {
    let policy = Policy::parse(&format!("{ALL}{more}")).unwrap();
    Rules { policy, routes: vec![people()], ..Rules::default() }
}

fn window(cron: &str, duration: &str) -> String {
    format!("[[window]]\nname = 'w'\ncron = '{cron}'\nduration = '{duration}'\nzone = 'UTC'\n")
}

fn key() -> IntentKey {
    IntentKey::new("acme", "chrome")
}

/// Three attempts in the window, then it closes for a day: people are told when the ladder says so.
#[tokio::test]
async fn a_closed_window_does_not_delay_the_escalation() {
    let world = World::under(rules(&window("0 0 * * *", "4h")));
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    world.run_until(t0() + Duration::hours(23)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 60, 180]);
    let escalated = world.minutes(EventKind::Escalated);
    assert_eq!(escalated.len(), 1);
    assert!((420..=425).contains(&escalated[0]), "{escalated:?}: at the check after four hours");
}

/// The intent is changed while its drift is open and told of: what the new ladder could not mend either is told again.
#[tokio::test]
async fn a_second_ladder_of_an_open_finding_is_told_too() {
    let world = World::under(rules(""));
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    world.run_until(t0() + Duration::hours(8)).await;
    let desired = json!({"assignment": {"include": [{"group": "g2"}]}});
    world.apply(intent("chrome", json!({ "desired": desired })));
    world.run_until(t0() + Duration::hours(17)).await;
    assert_eq!(world.minutes(EventKind::Escalated).len(), 2);
    assert_eq!(world.minutes(EventKind::DriftDetected).len(), 1, "the same finding");
    assert_eq!(world.notices().iter().filter(|n| n.topic == Topic::Escalated).count(), 2);
}

/// A hundred wait for one window. They come over its first quarter of an hour, or quarter.
#[tokio::test]
async fn not_all_come_the_second_a_window_opens() {
    for (duration, within_s) in [("6h", 900), ("4m", 60)] {
        let world = World::under(rules(&window("7 3 * * *", duration)));
        for n in 0..100 {
            let app = format!("11111111-1111-4111-8111-{n:012}");
            let target = json!({"app_id": app, "app_name": "Chrome"});
            world.apply(intent(&format!("app-{n}"), json!({"target": target, "criticality": "critical"})));
        }
        let opens = t0() + Duration::minutes(187);
        world.run_until(opens + Duration::seconds(within_s + 10)).await;
        let began: Vec<_> = world
            .events()
            .into_iter()
            .filter(|e| e.event_type == EventKind::RemediationStarted)
            .map(|e| (e.created_at - opens).num_seconds())
            .collect();
        assert_eq!(began.len(), 100, "{duration}: {began:?}");
        let at_once = began.iter().filter(|s| **s <= within_s / 15).count();
        assert!(began.iter().all(|s| *s >= 0) && at_once < 30, "{duration}: {at_once}");
    }
}

/// Decided, and then it waited in its queue until it may not be done any more.
#[tokio::test]
async fn an_attempt_that_may_not_be_made_any_more_is_taken_back() {
    let incident = "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2025-12-31T00:00:00Z\nuntil = 2026-01-01T02:00:00Z\n";
    let freeze =
        "[[freeze]]\nname = 'f'\nfrom = 2025-12-31T00:00:00Z\nto = 2026-01-01T02:00:00Z\nbecause = 'b'\n";
    for begins in [incident.to_owned(), freeze.to_owned(), window("0 2 * * *", "6h")] {
        let mut world = World::under(rules(""));
        world.apply(intent("chrome", json!({})));
        while world.store.lock().unwrap().jobs.values().all(|(_, j, _)| j.step().as_str() != "remediate") {
            assert!(world.work_one().await);
        }
        world.chain = Chain::new(rules(&begins));
        world.run_until(t0() + Duration::minutes(119)).await;
        assert_eq!(world.acts(), [], "{begins}");
        assert_eq!(world.record(&key()).state.attempts, Attempts::default(), "{begins}");
        assert_eq!(world.minutes(EventKind::RemediationStarted), [0], "{begins}");
        world.run_until(t0() + Duration::hours(3)).await;
        assert_eq!(
            (world.acts().len(), world.minutes(EventKind::RemediationFailed).len()),
            (1, 0),
            "{begins}"
        );
    }
}
