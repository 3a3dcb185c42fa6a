//! In whose trace a run goes on: of whoever asked, of the attempt that it judges, or in its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use std::collections::BTreeSet;

use serde_json::json;
use trueup_model::{Clock as _, Duration, IntentKey, Job, Time, TraceParent};
use world::{World, intent, t0};

/// The emits of a while: the minute, the intent, and what each goes on under.
async fn emits(world: &World, until: Time) -> Vec<(i64, String, Option<TraceParent>)> {
    let mut seen = Vec::new();
    loop {
        let now = world.clock.now();
        let ready = world.store.lock().unwrap().ready(now);
        if let Some((id, queue, job)) = ready {
            if let Job::Emit(emit) = &job {
                seen.push(((now - t0()).num_minutes(), emit.intent.id.clone(), emit.trace.clone()));
            }
            world.work(&id, queue, &job).await;
            continue;
        }
        let next = world.store.lock().unwrap().next_at().filter(|at| *at <= until);
        world.clock.advance(next.unwrap_or(until).max(now) - now);
        if next.is_none() {
            return seen;
        }
    }
}

/// Of the last action that was made.
fn attempt(world: &World, id: &str) -> Option<TraceParent> {
    world.record(&IntentKey::new("acme", id)).state.attempts.trace
}

#[tokio::test]
async fn the_look_that_judges_an_attempt_is_in_its_trace_until_people_are_asked() {
    let world = World::new();
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    let first = emits(&world, t0() + Duration::minutes(4)).await;
    assert_eq!(first, [(0, "chrome".to_owned(), None)], "by schedule: a trace of its own");
    let made = attempt(&world, "chrome").expect("an action was made");

    let judged = emits(&world, t0() + Duration::minutes(59)).await;
    assert!(judged.iter().any(|(minute, ..)| *minute == 5), "{judged:?}");
    assert!(judged.iter().all(|(_, _, trace)| *trace == Some(made.clone())), "{judged:?}");
    // The next attempt's action is the one to follow; the last attempt waits for four hours.
    let ladder = emits(&world, t0() + Duration::hours(7)).await;
    assert!(ladder.iter().all(|(.., trace)| trace.is_some()), "{ladder:?}");
    let traces: BTreeSet<String> =
        ladder.iter().map(|(.., t)| t.as_ref().unwrap().as_str().to_owned()).collect();
    assert_eq!(traces.len(), 3, "of each attempt: {ladder:?}");
    let after = emits(&world, t0() + Duration::hours(9)).await;
    assert!(after.iter().skip(1).all(|(.., trace)| trace.is_none()), "people were asked: {after:?}");
}

#[tokio::test]
async fn a_few_that_were_asked_for_are_in_the_trace_of_who_asked_and_many_are_not() {
    for (asked, own) in [(1, false), (16, false), (17, true)] {
        let world = World::new();
        let names: Vec<String> = (0..asked).map(|n| format!("app-{n:02}")).collect();
        for name in &names {
            world.apply(intent(name, json!({"mode": "observe"})));
        }
        let keys: Vec<IntentKey> = names.iter().map(|n| IntentKey::new("acme", n)).collect();
        emits(&world, t0() + Duration::minutes(1)).await;
        world.plane.lock().unwrap().assign(world::HERE, world::plane::group("g1"));
        world.request(&keys, "who-asked");
        let seen = emits(&world, world.clock.now() + Duration::seconds(20)).await;
        assert_eq!(seen.len(), asked, "{seen:?}");
        assert!(seen.iter().all(|(.., trace)| trace.is_none() == own), "{asked}: {seen:?}");
    }
}
