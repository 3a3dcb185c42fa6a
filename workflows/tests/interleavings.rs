//! Whatever order things happen in: one active run per intent, no trigger dropped, nothing left behind. The store in
//! `world` panics when two runs would hold one intent, or a free intent would never be looked at again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use trueup_model::{Duration, EventKind, Fault, IntentKey, Job, PlaneKind, Topic};
use trueup_workflows::{Policy, Rules};
use world::plane::group;
use world::{HERE, World, intent, people};

const INTENTS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// Applies an intent, with a desired group and a mode.
    Apply(usize, u8, &'static str),
    Request(usize),
    /// Executes a ready job each, of any queue: workers are many, and none waits for another.
    Work(Vec<prop::sample::Index>),
    /// Minutes.
    Pass(i64),
    /// Somebody changes what is assigned.
    Meddle(Option<u8>),
    /// The plane accepts and does nothing, or works again.
    Stick(bool),
    /// The plane answers nothing about one intent, or answers again.
    Silence(usize, bool),
    /// A job that is not a tick goes to the dead letters.
    Lose(prop::sample::Index),
    /// Somebody rearms the blast-radius switch.
    Rearm,
    /// A job is executed on facts gathered now, but committed only after other jobs ran: a worker that was paused.
    Late(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop::sample::select(vec!["enforce", "enforce", "propose", "observe"]);
    prop_oneof![
        3 => (0..INTENTS, 0_u8..3, mode).prop_map(|(i, g, m)| Op::Apply(i, g, m)),
        2 => (0..INTENTS).prop_map(Op::Request),
        8 => prop::collection::vec(any::<prop::sample::Index>(), 1..12).prop_map(Op::Work),
        4 => (0_i64..90).prop_map(Op::Pass),
        2 => prop::option::of(0_u8..3).prop_map(Op::Meddle),
        1 => any::<bool>().prop_map(Op::Stick),
        1 => (0..INTENTS, any::<bool>()).prop_map(|(i, on)| Op::Silence(i, on)),
        1 => any::<prop::sample::Index>().prop_map(Op::Lose),
        1 => Just(Op::Rearm),
        2 => (1_u8..6).prop_map(Op::Late),
    ]
}

fn key(i: usize) -> IntentKey {
    IntentKey::new("acme", format!("app-{i}"))
}

async fn perform(world: &World, n: usize, op: Op, asked: &mut BTreeMap<IntentKey, usize>) {
    let now = trueup_model::Clock::now(&world.clock);
    let runs = world.store.lock().unwrap().begun.len();
    match op {
        Op::Apply(i, g, mode) => {
            let desired = json!({"assignment": {"include": [{"group": format!("g{g}")}]}});
            // The last one is looked at every four hours only, so that no schedule makes up for a dropped trigger.
            let criticality = if i == INTENTS - 1 { "low" } else { "critical" };
            let more = json!({"desired": desired, "mode": mode, "criticality": criticality});
            world.apply(intent(&key(i).id, more));
            asked.insert(key(i), runs);
        }
        Op::Request(i) => {
            if world.store.lock().unwrap().entries.contains_key(&key(i)) {
                world.request(&[key(i)], &format!("request-{n}"));
                asked.insert(key(i), runs);
            }
        }
        Op::Work(jobs) => {
            for which in jobs {
                let ready = world.store.lock().unwrap().all_ready(now);
                if !ready.is_empty() {
                    let (id, queue, job) = &ready[which.index(ready.len())];
                    world.work(id, *queue, job).await;
                }
            }
        }
        Op::Pass(minutes) => world.clock.advance(Duration::minutes(minutes)),
        Op::Meddle(g) => {
            let mut plane = world.plane.lock().unwrap();
            plane.assigned.clear();
            if let Some(g) = g {
                plane.assign(HERE, group(&format!("g{g}")));
            }
        }
        Op::Stick(on) => world.plane.lock().unwrap().stuck = on,
        Op::Silence(i, on) => {
            let faults = &mut world.plane.lock().unwrap().observe_faults;
            faults.remove(&key(i));
            if on {
                faults.insert(key(i), Fault::transient("502"));
            }
        }
        Op::Lose(which) => {
            let mut store = world.store.lock().unwrap();
            // A lost request is lost with its job: what was accepted is only the engine's to keep.
            let ids: Vec<_> = store
                .jobs
                .iter()
                .filter(|(_, (_, j, _))| !matches!(j, Job::Sweep(_)))
                .map(|(id, _)| id.clone())
                .collect();
            if !ids.is_empty() {
                store.jobs.remove(&ids[which.index(ids.len())]);
            }
        }
        Op::Rearm => {
            world.switch.lock().unwrap().rearm("acme", PlaneKind::Intune);
        }
        Op::Late(jobs) => {
            let Some((id, queue, job)) = world.store.lock().unwrap().ready(now) else { return };
            let lease = |world: &World| {
                let store = world.store.lock().unwrap();
                store.jobs.contains_key(&id).then(|| store.enqueued[&id])
            };
            let before = lease(world);
            let outcome = world.execute(&id, &job).await;
            for _ in 0..jobs {
                world.work_one().await;
            }
            // Its lease is gone if another worker has finished the job meanwhile.
            if lease(world) == before {
                world.store.lock().unwrap().end(&id, queue, &job, outcome, now);
            }
        }
    }
}

/// Everything but a scope mismatch is remediated, at most that many times in an hour.
fn rules(cap: Option<u32>) -> Rules {
    let cap = cap.map(|n| format!("[[cap]]\nname = \"c\"\nactions = {n}\nwindow = \"1h\"\n"));
    let all = "[[rule]]\nname = \"all\"\nsay = \"automatic\"\nkinds = [\"missing_assignment\", \"version_mismatch\"]\n\
               because = \"a test\"\n";
    let policy = Policy::parse(&format!("{all}{}", cap.unwrap_or_default())).unwrap();
    Rules { policy, routes: vec![people()], ..Rules::default() }
}

async fn story(cap: Option<u32>, ops: Vec<Op>) -> World {
    let world = World::under(rules(cap));
    let mut asked = BTreeMap::new();
    for (n, op) in ops.into_iter().enumerate() {
        perform(&world, n, op, &mut asked).await;
    }
    // A run that was lost is found after its deadline, and a tick comes every minute.
    world.run_for(Duration::minutes(63)).await;
    let store = world.store.lock().unwrap();
    for (key, asked) in asked {
        let looked = store.begun[asked..].iter().any(|(k, _)| *k == key);
        assert!(looked, "{key} was asked for after {asked} runs and nobody looked");
    }
    for (key, entry) in &store.entries {
        let state = &entry.record.state;
        assert!(state.run.is_none() && !entry.dirty, "{key} is still held: {state:?}");
        assert!(state.next_check.is_some() && entry.due.is_some(), "{key} would never be looked at again");
        assert!(state.attempts.made <= 3);
    }
    let waits = store.jobs.keys().filter(|id| **id != trueup_model::job::collect_id());
    assert_eq!(waits.count(), 1, "only the tick waits, and what collects notices: {:?}", store.jobs);
    assert_eq!(store.dead, Vec::<String>::new());
    let mut ids: Vec<_> = store.events.iter().map(|e| &e.event_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), store.events.len(), "an event was written twice");
    drop(store);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_run_per_intent_and_no_trigger_is_dropped(
        cap in prop::option::of(1_u32..4),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = runtime.block_on(story(cap, ops));
        // Nothing was done twice: as many actions accepted as actions recorded, but for those of lost and paused workers.
        let events = world.events();
        let count = |kind| events.iter().filter(|e| e.event_type == kind).count();
        prop_assert!(count(EventKind::RemediationApplied) <= world.acts().len());
        prop_assert!(count(EventKind::RemediationVerified) + count(EventKind::RemediationFailed)
            <= count(EventKind::RemediationStarted));
        // Under a cap no attempt begins without a place, and each trip is told of at most once (its teller may be lost).
        let switch = world.switch.lock().unwrap();
        prop_assert!(cap.is_none() || count(EventKind::RemediationStarted) <= switch.granted);
        prop_assert!(cap.is_some() || switch.trips == 0);
        prop_assert!(count(EventKind::BlastRadiusTripped) <= switch.trips);
        let trips = world.notices().iter().filter(|n| n.topic == Topic::BlastRadius).count();
        prop_assert_eq!(trips, count(EventKind::BlastRadiusTripped));
    }
}
