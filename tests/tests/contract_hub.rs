//! The loop around the store's calls: what the hub does for jobs that nobody would look after otherwise. Each test fails
//! when that care is taken away.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use apalis_core::backend::Backend as _;
use apalis_core::worker::context::WorkerContext;
use trueup_engine::memory::MemoryStore;
use trueup_engine::store::{By, Ended, Incarnation, JobState, NewJob, Store};
use trueup_engine::{Drain, HubOptions, Lane, Leased, Started};
use trueup_model::commit::Committed;
use trueup_model::event::LOOP;
use trueup_model::job::{Compare, Span, tick_id};
use trueup_model::{Commit, EventKind, Job, JobId, Outcome, Partition, PlaneKind, Queue, SystemClock, Time};

/// Longer than the hub's own rounds (a look every second, an audit every five).
const WITHIN: Duration = Duration::from_secs(20);

fn queue(name: &str) -> Queue {
    name.parse().expect("a queue")
}

fn compare(name: &str) -> NewJob {
    let span = Span { from: Time::UNIX_EPOCH, to: Time::UNIX_EPOCH, link: None };
    let job = Compare { plane: PlaneKind::Intune, seen: Vec::new(), swept: span.clone(), queried: span };
    NewJob::of(JobId::derive(&[name]), queue("compare"), &Job::Compare(job), None)
}

fn start(store: &Arc<MemoryStore>, slots: &[(&str, usize)], ticks: bool) -> Started {
    let slots: BTreeMap<Queue, usize> = slots.iter().map(|(q, n)| (queue(q), *n)).collect();
    trueup_engine::start(store.clone(), Arc::new(SystemClock), HubOptions { slots, ticks })
}

/// Looks again and again.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !done().await {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, looking).await.is_ok(), "never: {what}");
}

async fn state(store: &MemoryStore, job: &JobId) -> Option<JobState> {
    store.job(job).await.expect("an answer").map(|view| view.state)
}

/// Guards: `Hub::reclaim`.
#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_given_back() {
    let store = Arc::new(MemoryStore::new(2));
    let started = start(&store, &[("emit", 4)], false);
    // Leased in the hub's name, and the hub never learned of it. It serves another queue, so it cannot lease it anew.
    let (who, lost, p) = (started.identity.current(), compare("lost"), Partition(1));
    store.enqueue(p, std::slice::from_ref(&lost)).await.expect("enqueued");
    let leases = store.lease(p, &who, &[(lost.queue, 1)], Time::UNIX_EPOCH).await.expect("leased");
    assert_eq!(leases.jobs.len(), 1);
    until("it is ready for others", async || state(&store, &lost.id).await == Some(JobState::Ready)).await;
    assert_eq!(store.job(&lost.id).await.expect("an answer").map(|v| (v.attempts, v.rescued)), Some((0, 0)));
    started.leave(WITHIN).await.expect("signed off");
}

/// Guards: what `Hub::reclaim` must leave alone.
#[tokio::test]
async fn a_job_at_work_is_not_taken_for_a_lost_one() {
    let store = Arc::new(MemoryStore::new(1));
    let (at_work, lost, p) = (compare("at work"), compare("lost"), Partition(0));
    store.enqueue(p, std::slice::from_ref(&at_work)).await.expect("enqueued");
    let mut started = start(&store, &[("compare", 1)], false);
    let leased = next(&mut started.lanes[0]).await;
    // An audit has passed when a job that was lost in the meantime has come back; the one at work has not.
    store.enqueue(p, std::slice::from_ref(&lost)).await.expect("enqueued");
    let leases = store.lease(p, &leased.who, &[(lost.queue, 1)], Time::UNIX_EPOCH).await.expect("leased");
    assert_eq!(leases.jobs.len(), 1);
    until("the audit has passed", async || state(&store, &lost.id).await == Some(JobState::Ready)).await;
    assert_eq!(state(&store, &at_work.id).await, Some(JobState::InFlight));
    assert_eq!(end(&started, leased).await, Committed::Yes);
    started.leave(WITHIN).await.expect("signed off");
}

/// Guards: `Hub::keep_ticking`.
#[tokio::test]
async fn a_dead_tick_is_revived() {
    let store = Arc::new(MemoryStore::new(3));
    let (p, sweep, killer) = (Partition(2), queue("sweep"), Incarnation("killer".into()));
    let tick = NewJob { id: tick_id(p), queue: sweep, ..compare("tick") };
    store.enqueue(p, &[tick]).await.expect("enqueued");
    store.lease(p, &killer, &[(sweep, 1)], Time::UNIX_EPOCH).await.expect("leased");
    let outcome = Outcome::Dead { because: "whatever it was".into() };
    let dead = Ended { job: tick_id(p), queue: sweep, outcome, traceparent: None };
    assert_eq!(store.commit(p, &killer, &[dead]).await.expect("ended"), [Committed::Yes]);

    let started = start(&store, &[("emit", 1)], true);
    until("it is there again", async || state(&store, &tick_id(p)).await == Some(JobState::Ready)).await;
    let events = store.last_events(&Default::default(), 9).await.expect("events");
    let retried = events.iter().find(|(_, e)| e.event_type == EventKind::JobRetried);
    assert_eq!(retried.map(|(at, e)| (*at, e.actor.as_str())), Some((p, LOOP)), "{events:?}");
    started.leave(WITHIN).await.expect("signed off");
}

/// Guards: the turn in `Hub::round`.
#[tokio::test]
async fn partitions_take_turns() {
    const EACH: usize = 30;
    let store = Arc::new(MemoryStore::new(3));
    for p in 0..3 {
        let jobs: Vec<NewJob> = (0..EACH).map(|n| compare(&format!("{p} {n}"))).collect();
        store.enqueue(Partition(p), &jobs).await.expect("enqueued");
    }
    // One slot: whoever is asked first gets it, each time.
    let mut started = start(&store, &[("compare", 1)], false);
    let mut served = BTreeMap::from([(Partition(0), 0), (Partition(1), 0), (Partition(2), 0)]);
    for _ in 0..EACH {
        let leased = next(&mut started.lanes[0]).await;
        *served.entry(leased.partition).or_default() += 1;
        assert_eq!(end(&started, leased).await, Committed::Yes);
    }
    assert!(
        served.values().all(|n| *n >= EACH / 6),
        "a backlog in one keeps the slots from others: {served:?}"
    );
    started.leave(WITHIN).await.expect("signed off");
}

/// Guards: what the heart reports, and hears.
#[tokio::test]
async fn a_worker_asked_to_leave_leases_no_more_and_ends_what_it_holds() {
    let store = Arc::new(MemoryStore::new(2));
    let (held, after, p) = (compare("held"), compare("after"), Partition(0));
    store.enqueue(p, std::slice::from_ref(&held)).await.expect("enqueued");
    let mut started = start(&store, &[("compare", 2)], false);
    let leased = next(&mut started.lanes[0]).await;
    let who = started.identity.current();
    let reported = async || store.operations().reports().await.expect("reports").remove(&who);
    until("it reports what it holds", async || {
        reported().await.is_some_and(|(report, _)| report.queues["compare"] == 1 && !report.host.is_empty())
    })
    .await;
    let correlation_id = trueup_model::CorrelationId::derive(&["drain"]);
    let by = By { actor: "operator".into(), correlation_id, now: Time::UNIX_EPOCH };
    assert_eq!(store.operations().drain(&who, &by).await.expect("asked"), Drain::Asked);
    let stopping = tokio::time::timeout(WITHIN, started.stop.stopping()).await;
    assert!(stopping.is_ok(), "it hears it with its heartbeat");
    until("it says so", async || reported().await.is_some_and(|(report, _)| report.draining)).await;

    store.enqueue(p, std::slice::from_ref(&after)).await.expect("enqueued");
    assert_eq!(end(&started, leased).await, Committed::Yes, "what it holds it may end");
    started.leave(WITHIN).await.expect("signed off");
    assert_eq!(state(&store, &after.id).await, Some(JobState::Ready), "left for others");
    assert_eq!(reported().await, None, "it has left");
}

async fn next(lane: &mut Lane) -> Leased {
    let worker = WorkerContext::new("test");
    let task = tokio::time::timeout(WITHIN, poll_fn(|cx| lane.poll_next(cx, &worker))).await;
    task.expect("in time").expect("a job").expect("never fails").args
}

async fn end(started: &Started, leased: Leased) -> Committed {
    let outcome = Outcome::Done(Commit::default());
    let ended = Ended { job: leased.id.clone(), queue: leased.queue, outcome, traceparent: None };
    started.committer.commit(leased.partition, &leased.who, ended).await
}
