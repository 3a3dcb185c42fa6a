//! Sweep and query: what is begun, in which order, what waits, and that a tick never ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use trueup_model::{
    ActiveRun, Commit, Duration, EventKind, Fault, IntentKey, IntentRecord, IntentState, Job, JobId, Outcome,
    Partition, PlaneKind, RunId, Trigger, Write,
    job::{self, tick_id},
};
use trueup_workflows::steps::sweep::{Facts, Sweep};
use trueup_workflows::{Rules, Settings, Step};
use world::plane::group;
use world::{HERE, World, intent, t0};

fn tick() -> job::Sweep {
    job::Sweep { partition: Partition(0), only: None, correlation_id: None }
}

fn record(id: &str, more: serde_json::Value) -> IntentRecord {
    IntentRecord {
        intent: intent(id, more),
        generation: 1,
        state: IntentState::default(),
        rev: 0,
        version: 0,
        owners: Default::default(),
    }
}

fn fleet(n: usize) -> Facts {
    let records = (0..n).map(|i| {
        let tenant = if i % 2 == 0 { "acme" } else { "blue" };
        record(&format!("app-{i:04}"), json!({ "tenant": tenant }))
    });
    let backlog = BTreeMap::from([(PlaneKind::Intune, 0)]);
    Facts { records: records.collect(), backlog, ..Facts::default() }
}

fn decide(rules: &Rules, job: &job::Sweep, facts: Facts) -> Commit {
    let cx = World::new().cx(&tick_id(Partition(0)));
    match Sweep(rules).decide(&cx, job, facts) {
        Outcome::Done(commit) => commit,
        other => panic!("{other:?}"),
    }
}

fn queries(commit: &Commit) -> Vec<&job::Query> {
    commit.next.iter().filter_map(|n| if let Job::Query(q) = &n.job { Some(q) } else { None }).collect()
}

#[test]
fn one_sweep_twice_gives_the_same_bytes_in_a_sorted_order() {
    let facts = fleet(200);
    let mut shuffled = facts.clone();
    shuffled.records.rotate_left(77);
    shuffled.records.reverse();
    let bytes = |facts: Facts| {
        let commit = decide(&Rules::default(), &tick(), facts);
        let jobs: Vec<_> = commit.next.iter().map(|n| (n.id.clone(), n.job.encode(), n.at)).collect();
        jobs
    };
    assert_eq!(bytes(facts.clone()), bytes(shuffled));
    let commit = decide(&Rules::default(), &tick(), facts);
    let batches: Vec<_> = queries(&commit).iter().map(|q| (q.tenant.clone(), q.checks.len())).collect();
    let expected = [("acme", 64), ("acme", 36), ("blue", 64), ("blue", 36)];
    assert_eq!(batches, expected.map(|(t, n)| (t.to_owned(), n)));
    for q in queries(&commit) {
        assert!(q.checks.windows(2).all(|w| (&w[0].target, &w[0].intent) < (&w[1].target, &w[1].intent)));
    }
    let ids: BTreeSet<_> = commit.next.iter().map(|n| &n.id).collect();
    assert_eq!(ids.len(), commit.next.len());
}

#[test]
fn a_tick_that_comes_again_names_other_jobs() {
    let facts = fleet(1);
    let mut later = facts.clone();
    later.records[0].state.runs = 1;
    let id = |facts| decide(&Rules::default(), &tick(), facts).next[0].id.clone();
    assert_ne!(id(facts), id(later), "the tick's own id is always the same");
}

#[test]
fn an_answer_must_be_newer_than_an_action_that_is_not_judged_yet() {
    let mut facts = fleet(2);
    for (record, open) in facts.records.iter_mut().zip([true, false]) {
        record.state.attempts.last_at = Some(t0() - Duration::minutes(5));
        record.state.attempts.open = open;
    }
    let commit = decide(&Rules::default(), &tick(), facts);
    let newer_than: Vec<_> = queries(&commit).iter().map(|q| q.checks[0].newer_than).collect();
    assert_eq!(newer_than, [Some(t0() - Duration::minutes(5)), None]);
}

#[test]
fn above_the_high_water_mark_intents_stay_due() {
    let rules = Rules { settings: Settings { high_water: 10, ..Settings::default() }, ..Rules::default() };
    // Backlog, whether more is due; queries begun, intents that stepped aside, when the next tick comes (seconds). At
    // once only if something was begun: else the same writes would be made as fast as the store can take them.
    for (backlog, full, begun, stepped_aside, next_tick) in [
        (7, false, 3, 0, Some(1)),
        (10, false, 0, 0, Some(1)),
        (12, true, 0, 200, Some(1)),
        (8, true, 2, 100, None),
    ] {
        let mut facts = fleet(200);
        facts.full = full;
        facts.backlog.insert(PlaneKind::Intune, backlog);
        let commit = decide(&rules, &tick(), facts);
        assert_eq!(queries(&commit).len(), begun, "{backlog}");
        let aside = commit.writes.iter().filter(
            |w| matches!(w, Write::State { state, due: Some(d), .. } if state.run.is_none() && *d > t0()),
        );
        assert_eq!(aside.count(), stepped_aside, "{backlog}");
        let next = commit.next.last().unwrap();
        let at = next_tick.map(|s| t0() + Duration::seconds(s));
        assert_eq!((&next.id, next.at), (&tick_id(Partition(0)), at), "{backlog}");
    }
}

#[test]
fn a_request_above_the_mark_becomes_due() {
    let rules = Rules { settings: Settings { high_water: 0, ..Settings::default() }, ..Rules::default() };
    let job = job::Sweep { only: Some(vec![IntentKey::new("acme", "app-0000")]), ..tick() };
    let commit = decide(&rules, &job, fleet(1));
    assert!(matches!(&commit.writes[..], [Write::State { due, .. }] if *due == Some(t0())));
    assert!(commit.next.is_empty());
}

fn run(started: i64) -> ActiveRun {
    let id = RunId::derive(&["x"]);
    let correlation_id = job::correlation_of(&id);
    ActiveRun {
        id,
        trigger: Trigger::Schedule,
        correlation_id,
        started_at: t0() - Duration::minutes(started),
    }
}

/// What was read some minutes ago serves the schedule, but nobody who asked, changed something, or acted.
#[test]
fn whoever_asks_for_a_look_gets_a_new_one() {
    let minutes = |m| Some(t0() + Duration::minutes(m));
    // Whether it was looked at before, when it is due by itself, when an open attempt acted; trigger, how new.
    let table = [
        (false, None, None, Trigger::Schedule, None),
        (true, minutes(0), None, Trigger::Schedule, None),
        (true, minutes(9), None, Trigger::Coalesced, minutes(0)),
        (true, minutes(0), minutes(-5), Trigger::Schedule, minutes(-5)),
        (true, minutes(9), minutes(-5), Trigger::Coalesced, minutes(0)),
    ];
    for (looked, next_check, acted, trigger, newer_than) in table {
        let mut r = record("i", json!({}));
        r.state.checked_at = looked.then(|| t0() - Duration::minutes(1));
        r.state.next_check = next_check;
        r.state.attempts.open = acted.is_some();
        r.state.attempts.last_at = acted;
        let backlog = BTreeMap::from([(PlaneKind::Intune, 0)]);
        let commit =
            decide(&Rules::default(), &tick(), Facts { records: vec![r], backlog, ..Facts::default() });
        let [Write::State { state, .. }] = &commit.writes[..] else { panic!("{:?}", commit.writes) };
        let begun = state.run.as_ref().unwrap().trigger;
        let demanded = commit.next.iter().find_map(|n| match &n.job {
            Job::Query(query) => Some(query.checks[0].newer_than),
            _ => None,
        });
        assert_eq!((begun, demanded), (trigger, Some(newer_than)), "{next_check:?} {acted:?}");
    }
}

/// Name, job, what is special about the intent, minutes since its active run began, whether a look is wanted; which
/// run begins.
type Row<'a> = (&'a str, &'a job::Sweep, serde_json::Value, Option<i64>, bool, Option<Trigger>);

#[test]
fn what_a_sweep_does_with_one_intent() {
    let request =
        job::Sweep { only: Some(vec![]), correlation_id: Some(job::correlation_of(&run(0).id)), ..tick() };
    let ticking = tick();
    let paused = json!({"status": "PAUSED"});
    let table: Vec<Row<'_>> = vec![
        ("due", &ticking, json!({}), None, false, Some(Trigger::Schedule)),
        ("look", &ticking, json!({}), None, true, Some(Trigger::Verification)),
        ("asked", &request, json!({}), None, true, Some(Trigger::Request)),
        ("asked while running", &request, json!({}), Some(59), false, None),
        ("due while running", &ticking, json!({}), Some(59), false, None),
        ("lost", &ticking, json!({}), Some(60), false, Some(Trigger::Recovery)),
        ("paused", &ticking, paused.clone(), None, false, None),
        ("paused while running", &ticking, paused.clone(), Some(5), false, None),
        ("paused and lost", &ticking, paused, Some(61), false, None),
    ];
    for (name, job, more, running, look, expected) in table {
        let mut facts = fleet(0);
        let mut r = record("i", more);
        r.state.run = running.map(run);
        r.state.look_at = look.then(t0);
        facts.backlog = BTreeMap::from([(PlaneKind::Intune, 0)]);
        facts.records = vec![r];
        let commit = decide(&Rules::default(), job, facts);
        assert_eq!(queries(&commit).len(), usize::from(expected.is_some()), "{name}");
        let abandoned = commit.events.iter().filter(|e| e.event_type == EventKind::RunAbandoned).count();
        assert_eq!(abandoned, usize::from(expected == Some(Trigger::Recovery)), "{name}");
        match (&commit.writes[..], name) {
            ([Write::Dirty { .. }], "asked while running") => {}
            ([Write::State { due, state, .. }], "due while running" | "paused while running") => {
                assert_eq!(*due, state.run.as_ref().map(|r| r.started_at + Duration::hours(1)), "{name}");
            }
            ([Write::State { due: None, state, .. }], "paused" | "paused and lost") => {
                assert!(state.run.is_none())
            }
            ([Write::State { due, state, ends_run: false, .. }], _) => {
                let run = state.run.as_ref().unwrap();
                assert_eq!(Some(run.trigger), expected, "{name}");
                assert_eq!(*due, Some(t0() + Duration::hours(1)), "due at the run's deadline");
                assert_eq!(run.correlation_id == run_correlation(), job.only.is_some());
                assert!(state.next_check.unwrap() > t0() && state.look_at.is_none());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn run_correlation() -> trueup_model::CorrelationId {
    job::correlation_of(&run(0).id)
}

#[tokio::test]
async fn more_than_one_batch_is_begun_at_once_and_every_first_check_is_at_once() {
    let world = World::new();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    for n in 0..700 {
        world.apply(intent(&format!("app-{n}"), json!({"criticality": "standard"})));
    }
    world.run_until(t0()).await;
    let store = world.store.lock().unwrap();
    assert!(store.entries.values().all(|e| e.record.state.checked_at == Some(t0())));
    assert!(store.events.is_empty(), "a fleet in sync has nothing to say");
    assert_eq!(store.jobs.len(), 1, "the next tick");
}

#[tokio::test]
async fn a_request_for_many_is_split() {
    let world = World::new();
    let keys: Vec<_> = (0..600).map(|n| IntentKey::new("acme", format!("app-{n}"))).collect();
    for key in &keys {
        world.apply(intent(&key.id, json!({"criticality": "low"})));
    }
    world.run_until(t0() + Duration::minutes(1)).await;
    let before = world.store.lock().unwrap().begun.len();
    world.request(&keys, "all-of-them");
    world.run_for(Duration::seconds(1)).await;
    assert!(world.store.lock().unwrap().begun.len() >= before + 600);
}

#[tokio::test]
async fn a_throttled_plane_delays_its_targets_and_nothing_else() {
    let world = World::new();
    let key = |id: &str| IntentKey::new("acme", id);
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    let until = |m| Fault::Throttled { until: t0() + Duration::minutes(m), what: "429".into() };
    world.plane.lock().unwrap().observe_faults.insert(key("a"), until(2));
    world.plane.lock().unwrap().observe_faults.insert(key("b"), Fault::transient("502"));
    for id in ["a", "b", "c"] {
        world.apply(intent(id, json!({})));
    }
    world.run_until(t0()).await;
    let checked = |id: &str| world.record(&key(id)).state.checked_at;
    assert_eq!((checked("a"), checked("b"), checked("c")), (None, Some(t0()), Some(t0())));
    assert_eq!(world.record(&key("b")).state.condition.as_str(), "unreachable");
    assert_eq!(world.minutes(EventKind::ConditionChanged), [0]);
    world.plane.lock().unwrap().observe_faults.clear();
    world.run_until(t0() + Duration::minutes(2)).await;
    assert_eq!(checked("a"), Some(t0() + Duration::minutes(2)));

    // A whole batch that is throttled waits as it is; a plane that asks for a year is not believed.
    for id in ["a", "b", "c"] {
        world.plane.lock().unwrap().observe_faults.insert(key(id), until(600_000));
    }
    world.request(&[key("a"), key("b"), key("c")], "again");
    while world.work_one().await {}
    let waiting = world
        .store
        .lock()
        .unwrap()
        .jobs
        .values()
        .find(|(_, job, _)| matches!(job, Job::Query(_)))
        .map(|j| j.2);
    assert_eq!(waiting.flatten(), Some(t0() + Duration::minutes(62)));
}

#[tokio::test]
async fn a_lost_run_is_recovered_and_its_late_job_changes_nothing() {
    let world = World::new();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.apply(intent("a", json!({})));
    world.work_one().await;
    let lost = world
        .store
        .lock()
        .unwrap()
        .jobs
        .iter()
        .find(|(_, (_, j, _))| matches!(j, Job::Query(_)))
        .map(|(id, q)| (id.clone(), q.clone()));
    let (id, (queue, job, _)): (JobId, _) = lost.unwrap();
    world.store.lock().unwrap().jobs.remove(&id);
    world.run_until(t0() + Duration::minutes(59)).await;
    assert_eq!(world.store.lock().unwrap().begun.len(), 1);
    world.run_until(t0() + Duration::minutes(60)).await;
    assert_eq!(world.minutes(EventKind::RunAbandoned), [60]);
    let state = world.record(&IntentKey::new("acme", "a")).state;
    assert_eq!((state.runs, &state.run), (2, &None));
    world.store.lock().unwrap().enqueue(id, queue, job, None);
    while world.work_one().await {}
    assert_eq!(world.record(&IntentKey::new("acme", "a")).state, state);
}

proptest! {
    #[test]
    fn a_tick_always_sets_the_next_tick(
        n in 0_usize..300,
        full in any::<bool>(),
        next_due in prop::option::of(-10_000_i64..10_000),
        backlog in 0_u64..3_000,
        running in prop::collection::vec(prop::option::of(0_i64..200), 300),
    ) {
        let mut facts = fleet(n);
        facts.full = full;
        facts.next_due = next_due.map(|s| t0() + Duration::seconds(s));
        facts.backlog.insert(PlaneKind::Intune, backlog);
        let mut young = false;
        for (record, running) in facts.records.iter_mut().zip(running) {
            record.state.run = running.map(run);
            young |= running.is_some_and(|minutes| minutes < 60);
        }
        let commit = decide(&Rules::default(), &tick(), facts);
        let ticks: Vec<_> = commit.next.iter().filter(|n| n.id == tick_id(Partition(0))).collect();
        prop_assert_eq!(ticks.len(), 1);
        prop_assert_eq!(&ticks[0].job, &Job::Sweep(tick()));
        let (second, minute) = (t0() + Duration::seconds(1), t0() + Duration::minutes(1));
        prop_assert!(ticks[0].at.is_none_or(|at| at >= second && at <= minute));
        prop_assert_eq!(ticks[0].at.is_none(), full && (young || !queries(&commit).is_empty()));
    }
}

/// One look of Ansible takes minutes: a batch of it must fit its job's time limit.
#[test]
fn a_batch_is_as_large_as_its_plane_can_answer() {
    let ansible = json!({
        "plane": "ansible", "target": {"playbook": "site.yml", "inventory": "hosts"}, "desired": {"compliant": true},
    });
    for (more, plane, expected) in [
        (json!({}), PlaneKind::Intune, vec![64, 6]),
        (ansible, PlaneKind::Ansible, [vec![4; 17], vec![2]].concat()),
    ] {
        let records = (0..70).map(|i| record(&format!("app-{i:04}"), more.clone())).collect();
        let facts = Facts { records, backlog: BTreeMap::from([(plane, 0)]), ..Facts::default() };
        let commit = decide(&Rules::default(), &tick(), facts);
        let sizes: Vec<_> = queries(&commit).iter().map(|q| q.checks.len()).collect();
        assert_eq!(sizes, expected, "{plane}");
    }
}

#[test]
fn a_tick_gathers_what_becomes_due_right_after_the_next_one() {
    let at = |rules: &Rules, next_due: Option<i64>| {
        let facts = Facts { next_due: next_due.map(|ms| t0() + Duration::milliseconds(ms)), ..fleet(0) };
        (decide(rules, &tick(), facts).next[0].at.unwrap() - t0()).num_milliseconds()
    };
    let rules =
        |gather_ms| Rules { settings: Settings { gather_ms, ..Settings::default() }, ..Rules::default() };
    for (gather_ms, next_due, expected) in [
        (1_000, Some(1), 1_000),
        (1_000, Some(-5), 1_000),
        (1_000, Some(1_001), 1_001),
        (1_000, Some(90_000), 60_000),
        (1_000, None, 60_000),
        (0, Some(1), 1),
        (90_000, Some(1), 60_000),
    ] {
        assert_eq!(at(&rules(gather_ms), next_due), expected, "{gather_ms}, {next_due:?}");
    }
}
