//! Looking through jobs by a filter, and moving them.

use std::time::Duration;

use trueup_engine::operate::{Act, JobFilter, MAX_LOOKED, Passed};
use trueup_engine::store::{Incarnation, JobState, JobView, NewJob, Store};
use trueup_model::commit::Committed;
use trueup_model::{Commit, EventKind, JobId, Outcome, Partition, PlaneKind, Queue};

use super::Fresh;
use super::given::*;

/// A job about an intent of this tenant, on a plane.
fn about(name: &str, tenant: &str, plane: &str) -> NewJob {
    let payload = format!(
        r#"{{"v":1,"step":"query","tenant":"{tenant}","plane":"{plane}","checks":[{{"intent":"{tenant}/a"}}]}}"#
    );
    NewJob { payload: payload.into_bytes(), ..job(name, emit()) }
}

/// Lets them die, each for its reason.
async fn die(store: &dyn Store, p: Partition, who: &Incarnation, jobs: &[(NewJob, &str)]) {
    store.beat(p, who).await.unwrap();
    for (new, because) in jobs {
        store.enqueue(p, std::slice::from_ref(new)).await.unwrap();
        let leased = store.lease(p, who, &[(new.queue, 1)], t(0)).await.unwrap().jobs;
        assert_eq!(leased[0].id, new.id);
        let because = (*because).to_owned();
        let end = ended(&new.id, Outcome::Dead { because });
        assert_eq!(store.commit(p, who, &[end]).await.unwrap(), [Committed::Yes]);
    }
}

/// All that a filter finds, by as many looks as it takes.
async fn found(store: &dyn Store, q: Queue, filter: &JobFilter, limit: usize) -> Vec<JobView> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let looked = store.operations().look(q, filter, cursor.as_deref(), limit, false).await.unwrap();
        assert!(looked.jobs.len() <= limit && looked.scanned <= MAX_LOOKED as u64);
        all.extend(looked.jobs);
        cursor = looked.next;
        if cursor.is_none() {
            return all;
        }
    }
}

fn named(jobs: &[JobView]) -> Vec<JobId> {
    jobs.iter().map(|j| j.id.clone()).collect()
}
fn places_of(jobs: &[JobView]) -> Vec<(Partition, JobId)> {
    jobs.iter().map(|j| (j.partition, j.id.clone())).collect()
}

pub(crate) async fn a_look_finds_what_the_filter_says(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    let dead = [
        (about("a", "acme", "intune"), "Timeout after 30 s"),
        (about("b", "zeta", "jamf"), "timeout"),
        (about("c", "acme", "jamf"), "refused"),
    ];
    die(&*store, P, &w, &dead).await;
    die(&*store, Partition(1), &w, &[(about("d", "acme", "intune"), "a TIMEOUT")]).await;
    store.enqueue(P, &[about("r", "acme", "jamf"), delayed("s", emit(), t(9))]).await.unwrap();
    let all = JobFilter::of(JobState::Dead);
    let tenant = |t: &str| Some(t.to_owned());
    let table = [
        (all.clone(), vec!["a", "b", "c", "d"]),
        (JobFilter { tenant: tenant("acme"), ..all.clone() }, vec!["a", "c", "d"]),
        (JobFilter { tenant: tenant("acm"), ..all.clone() }, vec![]),
        (JobFilter { plane: Some(PlaneKind::Jamf), ..all.clone() }, vec!["b", "c"]),
        (JobFilter { reason: tenant("timeout"), ..all.clone() }, vec!["a", "b", "d"]),
        (JobFilter { reason: tenant("timeout"), tenant: tenant("acme"), ..all.clone() }, vec!["a", "d"]),
        (JobFilter { older_than: Some(Duration::from_secs(3600)), ..all.clone() }, vec![]),
        (JobFilter { older_than: Some(Duration::ZERO), ..all }, vec!["a", "b", "c", "d"]),
        (JobFilter { tenant: tenant("acme"), ..JobFilter::of(JobState::Ready) }, vec!["r"]),
        (JobFilter::of(JobState::Scheduled), vec!["s"]),
    ];
    for (filter, expected) in table {
        let jobs = found(&*store, emit(), &filter, 9).await;
        assert_eq!(named(&jobs), ids(&expected), "{filter:?}");
        assert!(jobs.iter().all(|j| j.state == filter.state && j.queue == "emit" && j.age_ms.is_some()));
    }
    let dead = found(&*store, emit(), &JobFilter::of(JobState::Dead), 9).await;
    assert_eq!(dead[2].reason.as_deref(), Some("refused"));
    assert!(dead.iter().all(|j| j.at.is_some()), "when they died");
    let scheduled = found(&*store, emit(), &JobFilter::of(JobState::Scheduled), 9).await;
    assert_eq!(scheduled[0].at, Some(t(9)), "when it is due");
}

pub(crate) async fn a_look_goes_on_where_it_was_and_shows_each_job_once(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let (mut ready, mut late) = (Vec::new(), Vec::new());
    for p in 0..3u16 {
        for n in 0..5 {
            let (r, s) = (format!("r{p}{n}"), format!("s{p}{n}"));
            store.enqueue(Partition(p), &[job(&r, emit()), delayed(&s, emit(), t(n))]).await.unwrap();
            ready.push(id(&r));
            late.push(id(&s));
        }
    }
    for limit in [1, 2, 4, 100] {
        for (state, all) in [(JobState::Ready, &ready), (JobState::Scheduled, &late)] {
            let mut shown = named(&found(&*store, emit(), &JobFilter::of(state), limit).await);
            let mut all = all.clone();
            shown.sort();
            all.sort();
            assert_eq!(shown, all, "{state:?} by {limit}");
        }
    }
    let look = store.operations().look(emit(), &JobFilter::of(JobState::Ready), Some("x.y"), 1, false).await;
    assert_eq!(look.unwrap().jobs.len(), 1, "a cursor from elsewhere does no harm");
}

pub(crate) async fn a_look_through_a_deep_queue_is_bounded(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    for chunk in 0..20 {
        let jobs: Vec<NewJob> = (0..256).map(|n| job(&format!("{chunk} {n}"), emit())).collect();
        store.enqueue(P, &jobs).await.unwrap();
    }
    let filter = JobFilter { tenant: Some("nobody".into()), ..JobFilter::of(JobState::Ready) };
    let (mut cursor, mut scanned, mut looks) = (None::<String>, 0, 0);
    loop {
        let looked = store.operations().look(emit(), &filter, cursor.as_deref(), 256, true).await.unwrap();
        assert!(looked.jobs.is_empty() && looked.scanned <= MAX_LOOKED as u64);
        (scanned, looks, cursor) = (scanned + looked.scanned, looks + 1, looked.next);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((scanned, looks), (5_120, 3));
}

pub(crate) async fn acting_on_what_matches_leaves_the_rest(fresh: &dyn Fresh) {
    for act in [Act::Retry, Act::Discard] {
        let store = fresh.store(2).await;
        let w = worker(&*store, "w").await;
        for p in [0, 1] {
            let tenant = |n: usize| if n.is_multiple_of(3) { "zeta" } else { "acme" };
            let jobs: Vec<_> =
                (0..30).map(|n| (about(&format!("{p} {n}"), tenant(n), "jamf"), "why")).collect();
            die(&*store, Partition(p), &w, &jobs).await;
        }
        let filter = JobFilter { tenant: Some("acme".into()), ..JobFilter::of(JobState::Dead) };
        let (mut cursor, mut moved) = (None::<String>, 0);
        loop {
            let looked = store.operations().look(emit(), &filter, cursor.as_deref(), 7, true).await.unwrap();
            let jobs = places_of(&looked.jobs);
            moved += store
                .operations()
                .act(emit(), JobState::Dead, &jobs, act, &by("operator"), "why")
                .await
                .unwrap();
            cursor = looked.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(moved, 40, "{act:?}");
        assert!(found(&*store, emit(), &filter, 100).await.is_empty());
        assert_eq!(found(&*store, emit(), &JobFilter::of(JobState::Dead), 100).await.len(), 20);
        let ready = found(&*store, emit(), &JobFilter::of(JobState::Ready), 100).await;
        assert_eq!(ready.len(), if act == Act::Retry { 40 } else { 0 });
        assert!(ready.iter().all(|j| j.reason.is_none()), "with a clean slate");
    }
}

pub(crate) async fn what_dies_again_meanwhile_is_not_taken_again(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    die(&*store, P, &w, &[(job("a", emit()), "poison")]).await;
    let died = found(&*store, emit(), &JobFilter::of(JobState::Dead), 9).await[0].at.unwrap();
    let until = |at| JobFilter { until: Some(at), ..JobFilter::of(JobState::Dead) };
    assert_eq!(found(&*store, emit(), &until(died), 9).await.len(), 1);
    let before = died - trueup_model::Duration::milliseconds(1);
    assert!(found(&*store, emit(), &until(before), 9).await.is_empty());
}

pub(crate) async fn the_newest_death_is_told(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    assert_eq!(store.operations().newest_death(emit()).await.unwrap(), None);
    die(&*store, P, &w, &[(job("a", emit()), "why")]).await;
    die(&*store, Partition(1), &w, &[(job("b", emit()), "why"), (job("c", emit()), "why")]).await;
    let newest =
        found(&*store, emit(), &JobFilter::of(JobState::Dead), 9).await.iter().filter_map(|j| j.at).max();
    assert!(newest.is_some());
    assert_eq!(store.operations().newest_death(emit()).await.unwrap(), newest);
    assert_eq!(store.operations().newest_death(queue("sweep")).await.unwrap(), None);
}

pub(crate) async fn e4_a_job_is_moved_only_from_where_it_was_seen(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    die(&*store, P, &w, &[(job("d", emit()), "why")]).await;
    store.enqueue(P, &[job("r", emit()), delayed("s", emit(), t(9))]).await.unwrap();
    let states = [JobState::Ready, JobState::Scheduled, JobState::InFlight, JobState::Dead];
    let at_home = [("r", states[0]), ("s", states[1]), ("a", states[2]), ("d", states[3])];
    for (name, home) in at_home {
        for from in states.into_iter().filter(|s| *s != home) {
            for act in [Act::Retry, Act::Discard, Act::Front] {
                let jobs = [(P, id(name)), (Partition(7), id(name)), (P, id("nobody"))];
                let moved = store.operations().act(emit(), from, &jobs, act, &by("operator"), "").await;
                assert_eq!(moved.unwrap(), 0, "{act:?} {name} from {from:?}");
            }
        }
        assert_eq!(places(&*store, &id(name)).await, [home]);
    }
    for act in [Act::Retry, Act::Discard, Act::Front] {
        let held = [(P, a.clone())];
        let moved = store.operations().act(emit(), JobState::InFlight, &held, act, &by("operator"), "").await;
        assert_eq!(moved.unwrap(), 0, "what a worker holds is its own");
    }
    assert_eq!(end(&*store, &w, done(&a, Commit::default())).await, Committed::Yes);
    assert_eq!(all_events(&*store).await.len(), 1, "the death; nothing else changed");
    let many: Vec<_> = (0..257).map(|n| (P, id(&n.to_string()))).collect();
    assert!(store.operations().act(emit(), JobState::Dead, &many, Act::Retry, &by("o"), "").await.is_err());
}

pub(crate) async fn moved_to_the_front_it_is_leased_next(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    die(&*store, P, &w, &[(job("dead", emit()), "why")]).await;
    store.enqueue(P, &["1", "2", "3", "4", "5"].map(|n| job(n, emit()))).await.unwrap();
    store.enqueue(P, &[delayed("late", emit(), t(9))]).await.unwrap();
    let front = async |from, names: &[&str]| {
        let jobs: Vec<_> = names.iter().map(|n| (P, id(n))).collect();
        let moved = store.operations().act(emit(), from, &jobs, Act::Front, &by("operator"), "").await;
        assert_eq!(moved.unwrap(), names.len() as u64);
    };
    front(JobState::Ready, &["4", "3"]).await;
    front(JobState::Scheduled, &["late"]).await;
    front(JobState::Dead, &["dead"]).await;
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 7);
    let jobs = lease(&*store, &w, emit(), 9, t(0)).await;
    assert_eq!(leased_ids(&jobs), ids(&["dead", "late", "4", "3", "1", "2", "5"]));
}

pub(crate) async fn a_scheduled_job_is_run_now_and_keeps_its_past(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    end(&*store, &w, ended(&a, Outcome::Retry { at: t(3600), because: "later".into() })).await;
    let jobs = [(P, a.clone())];
    let moved =
        store.operations().act(emit(), JobState::Scheduled, &jobs, Act::Retry, &by("operator"), "").await;
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(places(&*store, &a).await, [JobState::Ready]);
    let jobs = lease(&*store, &w, emit(), 9, t(0)).await;
    assert_eq!((jobs.len(), jobs[0].attempts), (1, 1));
}

pub(crate) async fn e8_a_discarded_job_can_be_enqueued_again_and_is_leased_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &["a", "b", "c"].map(|n| job(n, emit()))).await.unwrap();
    let jobs = [(P, id("b"))];
    let moved =
        store.operations().act(emit(), JobState::Ready, &jobs, Act::Discard, &by("operator"), "").await;
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(store.job(&id("b")).await.unwrap(), None);
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 2);
    assert_eq!(store.enqueue(P, &[job("b", emit())]).await.unwrap(), 1);
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 9, t(0)).await), ids(&["a", "c", "b"]));
}

pub(crate) async fn every_act_leaves_an_event_with_its_count(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    for (act, kind) in [
        (Act::Retry, EventKind::JobRetried),
        (Act::Front, EventKind::JobMoved),
        (Act::Discard, EventKind::JobDiscarded),
    ] {
        let names = ["1", "2", "3"].map(|n| format!("{n} {}", act.as_str()));
        let jobs: Vec<_> = names.iter().map(|n| (delayed(n, emit(), t(9))).id).map(|id| (P, id)).collect();
        let new: Vec<NewJob> = names.iter().map(|n| delayed(n, emit(), t(9))).collect();
        store.enqueue(P, &new).await.unwrap();
        let why = r#"tenant=acme "count":-1"#;
        let moved =
            store.operations().act(emit(), JobState::Scheduled, &jobs, act, &by("operator"), why).await;
        assert_eq!(moved.unwrap(), 3);
        let events = events_of(&*store, kind).await;
        assert_eq!(events.len(), 1);
        let data = &events[0].event_data;
        assert_eq!((data["count"].as_u64(), data["selection"].as_str()), (Some(3), Some(why)));
        assert_eq!((events[0].actor.as_str(), data["queue"].as_str()), ("operator", Some("emit")));
        assert_eq!(data.get("job"), None, "one job is named, many are counted");
    }
    let _ = w;
}

pub(crate) async fn whereabouts_of_many_are_told_at_once(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    store.enqueue(P, &[job("a", emit())]).await.unwrap();
    store.enqueue(Partition(2), &[job("b", queue("query.jamf"))]).await.unwrap();
    let asked = ids(&["b", "nobody", "a"]);
    let places = store.operations().whereabouts(&asked).await.unwrap();
    assert_eq!(places, [Some((Partition(2), queue("query.jamf"))), None, Some((P, emit()))]);
    assert!(store.operations().whereabouts(&[]).await.unwrap().is_empty());
}

pub(crate) async fn what_flows_is_counted(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &["a", "b", "c", "d"].map(|n| job(n, emit()))).await.unwrap();
    store.enqueue(P, &["d", "e"].map(|n| job(n, emit()))).await.unwrap();
    lease(&*store, &w, emit(), 9, t(0)).await;
    let follows = Commit { next: vec![next("n", queue("escalate"), None)], ..Commit::default() };
    for outcome in [
        ended(&id("a"), Outcome::Done(follows)),
        ended(&id("b"), Outcome::Retry { at: t(1), because: "r".into() }),
        ended(&id("c"), Outcome::Defer { at: t(1), because: None }),
        ended(&id("d"), Outcome::Dead { because: "d".into() }),
    ] {
        end(&*store, &w, outcome).await;
    }
    // Counted once, whoever asks twice.
    end(&*store, &w, done(&id("a"), Commit::default())).await;
    let flow = store.operations().flow().await.unwrap();
    let sum = |q: Queue| {
        flow[&q].iter().fold([0; 5], |[e, d, f, r, x], p: &Passed| {
            [e + p.enqueued, d + p.done, f + p.deferred, r + p.retried, x + p.dead]
        })
    };
    assert_eq!(sum(emit()), [5, 1, 1, 1, 1]);
    assert_eq!(sum(queue("escalate")), [1, 0, 0, 0, 0]);
    assert_eq!(flow.len(), 2, "what nothing passed through is not listed");
    assert_eq!(flow[&emit()].len(), trueup_engine::operate::BUCKETS);
}
