//! What workers say of themselves, and asking one to leave.

use trueup_engine::operate::{Drain, WorkerReport};
use trueup_engine::store::Incarnation;
use trueup_model::EventKind;

use super::Fresh;
use super::given::*;

fn report(pid: u32) -> WorkerReport {
    WorkerReport {
        version: "1.2.3".into(),
        host: "host-1".into(),
        pid,
        started_at: Some(t(1)),
        clock: None,
        queues: [("emit".to_owned(), 2)].into(),
        draining: false,
    }
}

pub(crate) async fn a_worker_says_what_it_is_and_is_forgotten_when_it_leaves(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let operations = store.operations();
    assert!(!operations.report(&v, &report(1)).await.unwrap());
    assert!(!operations.report(&w, &report(2)).await.unwrap());
    operations.report(&w, &WorkerReport { draining: true, ..report(2) }).await.unwrap();
    let reports = operations.reports().await.unwrap();
    let expected = WorkerReport { draining: true, ..report(2) };
    assert_eq!(reports, [(v.clone(), (report(1), false)), (w.clone(), (expected, false))].into());
    store.leave(P, &w).await.unwrap();
    operations.forget(&w).await.unwrap();
    assert_eq!(operations.reports().await.unwrap().into_keys().collect::<Vec<_>>(), [v]);

    // One that dies tells nobody; it is gone with the verdict.
    let x = worker(&*store, "x").await;
    fresh.lease_time_passes().await;
    store.beat(P, &x).await.unwrap();
    store.beat(P, &x).await.unwrap();
    assert!(operations.reports().await.unwrap().is_empty());
    let long = WorkerReport { host: "x".repeat(5_000), ..report(1) };
    assert!(operations.report(&x, &long).await.is_err(), "a report is bounded");
}

pub(crate) async fn a_worker_that_was_declared_dead_is_forgotten_though_nobody_looks(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let operations = store.operations();
    let (asked, silent) = (worker(&*store, "asked").await, worker(&*store, "silent").await);
    for who in [&asked, &silent] {
        operations.report(who, &report(1)).await.unwrap();
    }
    assert_eq!(operations.drain(&asked, &by("op")).await.unwrap(), Drain::Asked);
    let w = worker(&*store, "w").await;
    fresh.lease_time_passes().await;
    store.beat(P, &w).await.unwrap();
    store.beat(P, &w).await.unwrap();
    assert_eq!(operations.drain(&silent, &by("op")).await.unwrap(), Drain::Unknown);
    // A last word that was on its way when the verdict fell is kept for nobody.
    assert!(!operations.report(&silent, &report(1)).await.unwrap());
    assert_eq!(operations.drain(&silent, &by("op")).await.unwrap(), Drain::Unknown);
    assert!(!operations.report(&asked, &report(1)).await.unwrap(), "nor is it asked any more");
    assert!(operations.reports().await.unwrap().is_empty());
}

pub(crate) async fn a_worker_is_asked_to_leave_once(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    let operations = store.operations();
    assert_eq!(operations.drain(&Incarnation("nobody".into()), &by("op")).await.unwrap(), Drain::Unknown);
    operations.report(&w, &report(1)).await.unwrap();
    assert_eq!(operations.drain(&w, &by("op")).await.unwrap(), Drain::Asked);
    assert_eq!(operations.drain(&w, &by("op")).await.unwrap(), Drain::AskedBefore);
    assert!(operations.report(&w, &report(1)).await.unwrap(), "it hears it with its next report");
    assert!(operations.report(&w, &report(1)).await.unwrap(), "and with every one after that");
    assert!(operations.reports().await.unwrap()[&w].1);
    let events = events_of(&*store, EventKind::WorkerDrained).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].actor.as_str(), events[0].event_data["worker"].as_str()), ("op", Some("w")));
    operations.forget(&w).await.unwrap();
    assert!(!operations.report(&w, &report(1)).await.unwrap(), "whoever comes after is not asked");
}
