//! What an operator can do to a queue; each act leaves an audit event.

use trueup_engine::store::{Admin, Incarnation, JobState, NewJob, Store};
use trueup_model::commit::Committed;
use trueup_model::{Commit, Event, EventKind, JobId, Outcome};

use super::Fresh;
use super::given::*;

/// Dead jobs of these names.
async fn dead(store: &dyn Store, who: &Incarnation, names: &[String]) {
    for some in names.chunks(64) {
        let jobs: Vec<NewJob> = some.iter().map(|n| job(n, emit())).collect();
        store.enqueue(P, &jobs).await.unwrap();
        let leased = lease(store, who, emit(), 64, t(0)).await;
        let because = "poison".to_owned();
        let ends: Vec<_> =
            leased.iter().map(|j| ended(&j.id, Outcome::Dead { because: because.clone() })).collect();
        assert!(store.commit(P, who, &ends).await.unwrap().iter().all(|c| *c == Committed::Yes));
    }
}

/// The audit events of one kind, and how many jobs (or partitions) they tell of.
async fn audit(store: &dyn Store, kind: EventKind) -> (Vec<Event>, u64) {
    let events = events_of(store, kind).await;
    for e in &events {
        assert_eq!((e.actor.as_str(), &e.correlation_id), ("operator", &by("operator").correlation_id));
        assert_eq!((e.tenant.as_str(), e.created_at), ("", by("operator").now));
        assert_eq!(e.event_data["queue"], "emit");
    }
    let told = events.iter().filter_map(|e| e.event_data["count"].as_u64()).sum();
    (events, told)
}

pub(crate) async fn pause_and_resume_leave_an_event_each(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let paused = async || {
        let depths = store.depths().await.unwrap();
        depths.into_iter().filter(|d| d.paused).map(|d| d.queue).collect::<Vec<_>>()
    };
    assert_eq!(store.admin(emit(), &Admin::Pause, &by("operator")).await.unwrap(), 2, "in both partitions");
    assert_eq!(paused().await, ["emit"]);
    assert_eq!(store.admin(emit(), &Admin::Pause, &by("operator")).await.unwrap(), 0, "it is already");
    assert_eq!(store.admin(emit(), &Admin::Resume, &by("operator")).await.unwrap(), 2);
    assert!(paused().await.is_empty());
    assert_eq!(store.admin(emit(), &Admin::Resume, &by("operator")).await.unwrap(), 0);
    assert_eq!(audit(&*store, EventKind::QueuePaused).await.1, 2);
    assert_eq!(audit(&*store, EventKind::QueueResumed).await.1, 2);
}

pub(crate) async fn retry_gives_a_clean_slate(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    // A job with a past: an attempt, a rescue, a reason.
    let victim = worker(&*store, "victim").await;
    let a = held(&*store, &victim, "a").await;
    fresh.lease_time_passes().await;
    store.beat(P, &w).await.unwrap();
    assert_eq!(store.beat(P, &w).await.unwrap().rescued, 1);
    lease(&*store, &w, emit(), 1, t(0)).await;
    end(&*store, &w, ended(&a, Outcome::Retry { at: t(1), because: "once".into() })).await;
    lease(&*store, &w, emit(), 1, t(1)).await;
    end(&*store, &w, ended(&a, Outcome::Dead { because: "twice".into() })).await;
    let view = store.job(&a).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempts, view.rescued), (JobState::Dead, 1, 1));

    let retry = Admin::Retry(Some(a.clone()));
    assert_eq!(store.admin(emit(), &retry, &by("operator")).await.unwrap(), 1);
    assert_eq!(places(&*store, &a).await, [JobState::Ready]);
    assert_eq!(store.job(&a).await.unwrap().unwrap().reason, None);
    let jobs = lease(&*store, &w, emit(), 1, t(1)).await;
    assert_eq!((jobs[0].attempts, jobs[0].rescued, &jobs[0].payload), (0, 0, &some_job().encode()));
    assert_eq!(end(&*store, &w, done(&a, Commit::default())).await, Committed::Yes);

    let (events, told) = audit(&*store, EventKind::JobRetried).await;
    assert_eq!((events.len(), told), (1, 1));
    assert_eq!(events[0].event_data["job"], a.as_str());
}

pub(crate) async fn retry_of_all_takes_256_at_a_time(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    dead(&*store, &w, &names).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(store.admin(emit(), &Admin::Retry(None), &by("operator")).await.unwrap());
    }
    assert_eq!(counts, [256, 44, 0]);
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 300);
    assert_eq!(audit(&*store, EventKind::JobRetried).await.1, 300);
}

pub(crate) async fn discard_deletes_for_good(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    dead(&*store, &w, &names).await;
    let one = Admin::Discard(Some(id("7")));
    assert_eq!(store.admin(emit(), &one, &by("operator")).await.unwrap(), 1);
    assert_eq!(store.job(&id("7")).await.unwrap(), None);
    assert_eq!(store.jobs(emit(), JobState::Dead, 1000).await.unwrap().len(), 299);
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(store.admin(emit(), &Admin::Discard(None), &by("operator")).await.unwrap());
    }
    assert_eq!(counts, [256, 43, 0]);
    assert!(store.jobs(emit(), JobState::Dead, 1000).await.unwrap().is_empty());
    let (events, told) = audit(&*store, EventKind::JobDiscarded).await;
    assert_eq!(told, 300);
    assert_eq!(events[0].event_data["job"], id("7").as_str());
    assert_eq!(store.enqueue(P, &[job("7", emit())]).await.unwrap(), 1, "its id is free again");
}

pub(crate) async fn only_the_dead_are_retried_or_discarded(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "in flight").await;
    store.enqueue(P, &[job("ready", emit()), delayed("scheduled", emit(), t(9))]).await.unwrap();
    let mut every: Vec<Option<JobId>> =
        ["in flight", "ready", "scheduled", "unknown"].map(|n| Some(id(n))).to_vec();
    every.push(None);
    for job in every {
        for what in [Admin::Retry(job.clone()), Admin::Discard(job)] {
            assert_eq!(store.admin(emit(), &what, &by("operator")).await.unwrap(), 0, "{what:?}");
        }
    }
    assert_eq!(places(&*store, &a).await, [JobState::InFlight]);
    assert_eq!(places(&*store, &id("ready")).await, [JobState::Ready]);
    assert_eq!(places(&*store, &id("scheduled")).await, [JobState::Scheduled]);
    let events = all_events(&*store).await;
    assert!(events.is_empty(), "nothing changed, nothing to tell: {events:?}");
}
