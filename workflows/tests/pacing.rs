//! How often a tick comes and how much each query asks for: nothing spins, and no plane is asked in vain.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{Duration, IntentKey, Job, Outcome, RunId};
use trueup_workflows::{Rules, Settings};
use world::plane::group;
use world::{HERE, World, intent, t0};

/// Checks spread over the interval, a few milliseconds apart, share queries.
#[tokio::test]
async fn spread_checks_share_queries() {
    let world = World::new();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    for n in 0..600 {
        world.apply(intent(&format!("app-{n}"), json!({"criticality": "standard"})));
    }
    world.run_until(t0() + Duration::minutes(60)).await;
    let before = (world.plane.lock().unwrap().asked.len(), world.store.lock().unwrap().begun.len());
    for (n, entry) in world.store.lock().unwrap().entries.values_mut().enumerate() {
        entry.due = Some(t0() + Duration::minutes(90) + Duration::milliseconds(n as i64));
    }
    world.run_until(t0() + Duration::minutes(91)).await;
    let begun = world.store.lock().unwrap().begun.len() - before.1;
    let looks = world.plane.lock().unwrap().asked.len() - before.0;
    assert!(begun >= 600 && looks <= 60, "{begun} checks in {looks} queries");
}

/// A thousand and more are due and the plane's queue takes none: one batch of writes a second, and the tick goes on.
#[tokio::test]
async fn a_plane_that_takes_nothing_costs_one_batch_of_writes_a_second() {
    let rules = Rules { settings: Settings { high_water: 0, ..Settings::default() }, ..Rules::default() };
    let world = World::under(rules);
    for n in 0..2_000 {
        world.apply(intent(&format!("app-{n}"), json!({})));
    }
    let written = || world.store.lock().unwrap().entries.values().map(|e| e.record.rev).sum::<u64>();
    for second in 0..5 {
        world.run_until(t0() + Duration::seconds(second)).await;
        assert_eq!(written(), 256 * (u64::try_from(second).unwrap() + 1));
    }
    assert_eq!(world.store.lock().unwrap().jobs.len(), 1, "the tick");
}

/// The index says that they are due, and there is nothing to read: the tick must neither spin nor end.
#[tokio::test]
async fn a_batch_without_records_is_not_looked_at_again_at_once() {
    let world = World::new();
    world.store.lock().unwrap().unreadable =
        (0..300).map(|n| IntentKey::new("acme", format!("gone-{n}"))).collect();
    assert!(world.work_one().await);
    let store = world.store.lock().unwrap();
    let ticks: Vec<_> = store.jobs.values().map(|(_, _, at)| *at).collect();
    assert_eq!(ticks, [Some(t0() + Duration::seconds(1))]);
}

/// Between sweep and query a run can be given up: the plane is asked for those that still hold their intents only.
#[tokio::test]
async fn a_plane_is_not_asked_for_runs_that_were_given_up() {
    let world = World::new();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    for id in ["a", "b", "c"] {
        world.apply(intent(id, json!({})));
    }
    assert!(world.work_one().await);
    let (id, queue, job) = world.store.lock().unwrap().ready(t0()).unwrap();
    assert!(matches!(&job, Job::Query(q) if q.checks.len() == 3));
    let give_up = |ids: &[&str]| {
        for id in ids {
            let mut store = world.store.lock().unwrap();
            let entry = store.entries.get_mut(&IntentKey::new("acme", *id)).unwrap();
            entry.record.state.run.as_mut().unwrap().id = RunId::derive(&["another", *id]);
        }
    };
    give_up(&["b"]);
    let Outcome::Done(commit) = world.execute(&id, &job).await else { panic!("done") };
    let Job::Compare(compare) = &commit.next[0].job else { panic!("compare") };
    let seen: Vec<_> = compare.seen.iter().map(|s| s.intent.id.as_str()).collect();
    assert_eq!((seen, world.plane.lock().unwrap().asked.clone()), (vec!["a", "c"], vec![2]));
    give_up(&["a", "c"]);
    world.work(&id, queue, &job).await;
    assert_eq!(world.plane.lock().unwrap().asked, [2], "nobody is left to ask for");
    assert!(world.store.lock().unwrap().jobs.values().all(|(_, job, _)| matches!(job, Job::Sweep(_))));
}
