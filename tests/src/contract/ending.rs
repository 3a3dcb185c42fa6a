//! The other ends of an execution: defer, retry, dead; and batches.

use trueup_engine::EngineError;
use trueup_engine::store::{Ended, JobState, NewJob};
use trueup_model::commit::{Committed, MAX_PARTS};
use trueup_model::event::LOOP;
use trueup_model::{Commit, CorrelationId, EventKind, Outcome};

use super::Fresh;
use super::given::*;

pub(crate) async fn defer_waits_and_costs_no_attempt(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    assert_eq!(
        end(&*store, &w, ended(&a, Outcome::Defer { at: t(10), because: None })).await,
        Committed::Yes
    );
    assert_eq!(places(&*store, &a).await, [JobState::Scheduled]);
    let leases = store.lease(P, &w, &[(emit(), 1)], t(9)).await.unwrap();
    assert_eq!((leases.jobs.len(), leases.next_due), (0, Some(t(10))));
    let jobs = lease(&*store, &w, emit(), 1, t(10)).await;
    assert_eq!((jobs[0].id.clone(), jobs[0].attempts, jobs[0].rescued), (a, 0, 0));
    assert_eq!(jobs[0].payload, some_job().encode());
}

pub(crate) async fn a_deferred_job_says_what_it_waits_for(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    held(&*store, &w, "a").await;
    let reason = async || store.job(&id("a")).await.unwrap().unwrap().reason;
    let waits = [
        (Some("asked to wait"), Some("asked to wait")),
        (None, Some("asked to wait")),
        (Some("breaker open"), Some("breaker open")),
    ];
    for (n, (because, shown)) in waits.into_iter().enumerate() {
        let at = t(10 * (n as i64 + 1));
        let defer = Outcome::Defer { at, because: because.map(str::to_owned) };
        assert_eq!(end(&*store, &w, ended(&id("a"), defer)).await, Committed::Yes);
        assert_eq!(reason().await.as_deref(), shown, "{because:?}");
        let jobs = lease(&*store, &w, emit(), 1, at).await;
        assert_eq!((jobs.len(), jobs[0].attempts, jobs[0].rescued), (1, 0, 0), "it cost nothing");
    }
    assert_eq!(end(&*store, &w, done(&id("a"), Commit::default())).await, Committed::Yes);
    held(&*store, &w, "a").await;
    assert_eq!(reason().await, None, "its past is forgotten with it");
}

pub(crate) async fn retry_waits_and_costs_an_attempt(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let new = NewJob { traceparent: Some("00-1-2-01".into()), ..job("a", emit()) };
    store.enqueue(P, &[new]).await.unwrap();
    for attempt in 0..3 {
        let now = t(i64::from(attempt) * 10);
        let jobs = lease(&*store, &w, emit(), 1, now).await;
        assert_eq!((jobs[0].attempts, jobs[0].rescued), (attempt, 0));
        assert_eq!(jobs[0].traceparent.as_deref(), Some("00-1-2-01"), "the job stays in its trace");
        let because = format!("failed {attempt}");
        let retry =
            Outcome::Retry { at: now + trueup_model::Duration::seconds(10), because: because.clone() };
        assert_eq!(end(&*store, &w, ended(&id("a"), retry)).await, Committed::Yes);
        let view = store.job(&id("a")).await.unwrap().unwrap();
        assert_eq!((view.state, view.attempts), (JobState::Scheduled, attempt + 1));
        assert_eq!(view.reason, Some(because));
    }
    assert!(all_events(&*store).await.is_empty(), "a retry is no event");
}

pub(crate) async fn e7_dead_keeps_the_bytes_and_says_why(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let poison = NewJob { payload: b"\xff not a job".to_vec(), ..job("a", emit()) };
    store.enqueue(P, std::slice::from_ref(&poison)).await.unwrap();
    lease(&*store, &w, emit(), 1, t(0)).await;
    let because = "not a job: expected value";
    assert_eq!(
        end(&*store, &w, ended(&id("a"), Outcome::Dead { because: because.into() })).await,
        Committed::Yes
    );

    assert_eq!(places(&*store, &id("a")).await, [JobState::Dead]);
    assert!(lease(&*store, &w, emit(), 9, t(1_000_000)).await.is_empty(), "nobody gets it any more");
    let view = store.job(&id("a")).await.unwrap().unwrap();
    assert_eq!((view.reason.as_deref(), view.payload_bytes), (Some(because), poison.payload.len()));

    let events = all_events(&*store).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.event_type, event.actor.as_str(), event.seq), (EventKind::JobDead, LOOP, 1));
    assert_eq!(
        (event.tenant.as_str(), event.intent.as_str()),
        ("", ""),
        "about a queue, not about an intent"
    );
    assert_eq!(event.correlation_id, CorrelationId::derive(&[id("a").as_str()]));
    assert_eq!(event.event_data["job"], id("a").as_str());
    assert_eq!(event.event_data["queue"], "emit");
    assert_eq!(event.event_data["reason"], because);
}

pub(crate) async fn e3_no_ending_is_accepted_from_a_stranger(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let a = held(&*store, &w, "a").await;
    let endings = [
        Outcome::Done(Commit::default()),
        Outcome::Defer { at: t(1), because: None },
        Outcome::Retry { at: t(1), because: "r".into() },
        Outcome::Dead { because: "d".into() },
    ];
    for outcome in endings {
        assert_eq!(end(&*store, &v, ended(&a, outcome)).await, Committed::LeaseLost);
        let view = store.job(&a).await.unwrap().unwrap();
        assert_eq!((view.state, view.attempts, view.reason), (JobState::InFlight, 0, None));
        assert_eq!(view.held_by, Some(w.clone()));
    }
    assert!(all_events(&*store).await.is_empty());
}

pub(crate) async fn each_of_a_batch_is_independent(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    applied(&*store, &intent("i")).await;
    let before = all_events(&*store).await.len();
    let mut jobs = Vec::new();
    for name in ["a", "malformed", "conflict", "retry", "dead", "b"] {
        jobs.push(held(&*store, &w, name).await);
    }
    let says = |name: &str| Commit { events: vec![an_event(name)], ..Commit::default() };
    let malformed = Commit { events: (0..=MAX_PARTS).map(|_| an_event("x")).collect(), ..Commit::default() };
    let conflict = Commit { writes: vec![write("i", 7, idle(0), None, false)], ..says("conflict") };
    let batch = [
        done(&jobs[0], says("a")),
        done(&id("stranger"), says("stranger")),
        done(&jobs[1], malformed),
        done(&jobs[2], conflict),
        ended(&jobs[3], Outcome::Retry { at: t(5), because: "r".into() }),
        ended(&jobs[4], Outcome::Dead { because: "d".into() }),
        done(&jobs[5], says("b")),
    ];
    use Committed::{Conflict, LeaseLost, Malformed, Yes};
    let answers = store.commit(P, &w, &batch).await.unwrap();
    assert_eq!(answers, [Yes, LeaseLost, Malformed, Conflict, Yes, Yes, Yes]);

    let kinds: Vec<EventKind> = all_events(&*store).await[before..].iter().map(|e| e.event_type).collect();
    assert_eq!(kinds, [EventKind::ConditionChanged, EventKind::JobDead, EventKind::ConditionChanged]);
    let expected: [&[JobState]; 6] =
        [&[], &[JobState::InFlight], &[JobState::InFlight], &[JobState::Scheduled], &[JobState::Dead], &[]];
    for (job, expected) in jobs.iter().zip(expected) {
        assert_eq!(places(&*store, job).await, expected);
    }
}

pub(crate) async fn more_than_64_endings_are_refused(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let names: Vec<NewJob> = (0..65).map(|n| job(&n.to_string(), emit())).collect();
    store.enqueue(P, &names).await.unwrap();
    let jobs = lease(&*store, &w, emit(), 65, t(0)).await;
    let batch: Vec<Ended> = jobs.iter().map(|j| done(&j.id, Commit::default())).collect();
    assert!(matches!(store.commit(P, &w, &batch).await, Err(EngineError::Refused(_))));
    assert_eq!(store.jobs(emit(), JobState::InFlight, 100).await.unwrap().len(), 65, "not even some of them");
    assert_eq!(store.commit(P, &w, &batch[..64]).await.unwrap(), [Committed::Yes; 64]);
    assert_eq!(store.commit(P, &w, &[]).await.unwrap(), []);
}

pub(crate) async fn a_job_ended_in_one_queue_is_not_looked_for_in_another(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let wrong = Ended { queue: queue("compare"), ..done(&a, Commit::default()) };
    assert_eq!(end(&*store, &w, wrong).await, Committed::LeaseLost);
    assert_eq!(places(&*store, &a).await, [JobState::InFlight]);
}
