//! Leasing: what is given to whom, when, and in which order.

use trueup_engine::store::{Admin, JobState, NewJob};
use trueup_model::{Duration, Partition};

use super::Fresh;
use super::given::*;

pub(crate) async fn ready_jobs_come_first_in_first_out(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &[job("a", emit()), job("b", emit())]).await.unwrap();
    store.enqueue(P, &[NewJob { traceparent: Some("00-1-2-01".into()), ..job("c", emit()) }]).await.unwrap();

    let jobs = lease(&*store, &w, emit(), 3, t(0)).await;
    assert_eq!(leased_ids(&jobs), ids(&["a", "b", "c"]));
    assert_eq!(jobs[0].traceparent, None);
    assert_eq!(jobs[2].traceparent.as_deref(), Some("00-1-2-01"));
    for job in jobs {
        assert_eq!((job.queue, job.attempts, job.rescued), (emit(), 0, 0));
        assert_eq!(places(&*store, &job.id).await, [JobState::InFlight]);
    }
}

pub(crate) async fn queues_are_served_in_the_order_asked_for(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let (sweep, query) = (queue("sweep"), queue("query.intune"));
    store.enqueue(P, &[job("s", sweep), job("e", emit()), job("q", query)]).await.unwrap();
    let jobs = store.lease(P, &w, &[(emit(), 9), (query, 9), (sweep, 9)], t(0)).await.unwrap().jobs;
    assert_eq!(leased_ids(&jobs), ids(&["e", "q", "s"]));
    assert_eq!(jobs.iter().map(|j| j.queue).collect::<Vec<_>>(), [emit(), query, sweep]);
}

pub(crate) async fn each_queue_gives_up_to_the_number_asked_for(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let sweep = queue("sweep");
    store.enqueue(P, &["a", "b", "c"].map(|n| job(n, emit()))).await.unwrap();
    store.enqueue(P, &["x", "y"].map(|n| job(n, sweep))).await.unwrap();

    let leases = store.lease(P, &w, &[(emit(), 2), (sweep, 0)], t(0)).await.unwrap();
    assert_eq!(leased_ids(&leases.jobs), ids(&["a", "b"]));
    assert!(leases.more, "c, x and y are ready");
    assert_eq!(leases.next_due, None);

    let leases = store.lease(P, &w, &[(emit(), 2), (sweep, 2)], t(0)).await.unwrap();
    assert_eq!(leased_ids(&leases.jobs), ids(&["c", "x", "y"]));
    let leases = store.lease(P, &w, &[(emit(), 2), (sweep, 2)], t(0)).await.unwrap();
    assert!(leases.jobs.is_empty() && !leases.more && leases.next_due.is_none());
    assert!(store.lease(P, &w, &[], t(0)).await.unwrap().jobs.is_empty());
}

pub(crate) async fn a_delayed_job_is_not_leased_before_its_time(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let at = t(10) + Duration::milliseconds(500);
    store.enqueue(P, &[delayed("a", emit(), at)]).await.unwrap();
    for early in [t(0), t(10), at - Duration::milliseconds(100)] {
        assert!(lease(&*store, &w, emit(), 1, early).await.is_empty(), "at {early}");
        assert_eq!(places(&*store, &id("a")).await, [JobState::Scheduled]);
    }
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(11)).await), ids(&["a"]));

    store.enqueue(P, &[delayed("b", emit(), t(20))]).await.unwrap();
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(20)).await), ids(&["b"]), "exactly at its time");
}

pub(crate) async fn delayed_jobs_come_in_the_order_of_their_times(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let jobs = [("c", 30), ("a", 10), ("d", 40), ("b", 20)].map(|(name, at)| delayed(name, emit(), t(at)));
    store.enqueue(P, &jobs).await.unwrap();
    store.enqueue(P, &[job("ready", emit())]).await.unwrap();
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 9, t(30)).await), ids(&["ready", "a", "b", "c"]));
    assert_eq!(places(&*store, &id("d")).await, [JobState::Scheduled]);
}

pub(crate) async fn next_due_is_the_earliest_of_the_queues_asked_for(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let (sweep, compare) = (queue("sweep"), queue("compare"));
    let jobs = [delayed("e", emit(), t(30)), delayed("s", sweep, t(20)), delayed("c", compare, t(10))];
    store.enqueue(P, &jobs).await.unwrap();
    let leases = store.lease(P, &w, &[(emit(), 1), (sweep, 1)], t(0)).await.unwrap();
    assert_eq!(leases.next_due, Some(t(20)), "compare was not asked for");
    let leases = store.lease(P, &w, &[(emit(), 1), (sweep, 1)], t(25)).await.unwrap();
    assert_eq!((leased_ids(&leases.jobs), leases.next_due), (ids(&["s"]), Some(t(30))));
}

pub(crate) async fn a_burst_of_due_jobs_is_drained_in_bounded_steps(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    for half in 0..2 {
        let jobs: Vec<NewJob> = (0..256).map(|n| delayed(&format!("{half} {n}"), emit(), t(10))).collect();
        assert_eq!(store.enqueue(P, &jobs).await.unwrap(), 256);
    }
    let mut drained = Vec::new();
    loop {
        let leases = store.lease(P, &w, &[(emit(), 256)], t(10)).await.unwrap();
        assert!(leases.jobs.len() <= 256);
        drained.extend(leased_ids(&leases.jobs));
        // Whoever asks must be told to ask again as long as anything is due.
        if !leases.more && leases.next_due.is_none_or(|at| at > t(10)) {
            break;
        }
        assert!(!leases.jobs.is_empty(), "told to ask again and given nothing");
        assert!(drained.len() <= 512, "jobs were leased twice");
    }
    drained.sort();
    drained.dedup();
    assert_eq!(drained.len(), 512);
}

pub(crate) async fn a_paused_queue_gives_nothing(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let sweep = queue("sweep");
    store.enqueue(P, &[job("e", emit()), delayed("due", emit(), t(1)), job("s", sweep)]).await.unwrap();
    store.admin(emit(), &Admin::Pause, &by("operator")).await.unwrap();

    let leases = store.lease(P, &w, &[(emit(), 9), (sweep, 9)], t(5)).await.unwrap();
    assert_eq!(leased_ids(&leases.jobs), ids(&["s"]), "the other queue goes on");
    assert!(!leases.more, "nothing to come back for");
    assert_eq!(
        store.enqueue(P, &[job("later", emit())]).await.unwrap(),
        1,
        "a paused queue still takes jobs"
    );

    store.admin(emit(), &Admin::Resume, &by("operator")).await.unwrap();
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 9, t(5)).await).len(), 3);
}

pub(crate) async fn e3_a_job_is_leased_to_one_worker(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    store.enqueue(P, &names.iter().map(|n| job(n, emit())).collect::<Vec<_>>()).await.unwrap();
    let (mut all, mut turn) = (Vec::new(), [&v, &w].into_iter().cycle());
    for _ in 0..10 {
        all.extend(leased_ids(&lease(&*store, turn.next().unwrap(), emit(), 3, t(0)).await));
    }
    assert_eq!(all, names.iter().map(|n| id(n)).collect::<Vec<_>>());
}

pub(crate) async fn partitions_are_apart(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    assert_eq!(store.partitions(), 3);
    let w = worker(&*store, "w").await;
    assert_eq!(store.enqueue(Partition(2), &[job("a", emit())]).await.unwrap(), 1);
    assert!(lease(&*store, &w, emit(), 1, t(0)).await.is_empty());
    store.beat(Partition(2), &w).await.unwrap();
    let jobs = store.lease(Partition(2), &w, &[(emit(), 1)], t(0)).await.unwrap().jobs;
    assert_eq!(leased_ids(&jobs), ids(&["a"]));
}
