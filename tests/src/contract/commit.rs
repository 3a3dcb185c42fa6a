//! `Outcome::Done`: all or nothing (E2), once (E1), and only for the holder (E3).

use trueup_engine::store::{Ended, JobState, Store};
use trueup_model::commit::{Committed, MAX_PARTS};
use trueup_model::{Commit, JobId, Write};

use super::Fresh;
use super::given::*;

pub(crate) async fn e1_a_commit_happens_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let commit = Commit { events: vec![an_event("once")], ..Commit::default() };
    assert_eq!(end(&*store, &w, done(&a, commit.clone())).await, Committed::Yes);
    assert_eq!(end(&*store, &w, done(&a, commit)).await, Committed::LeaseLost);
    assert_eq!(all_events(&*store).await.len(), 1);
}

pub(crate) async fn e1_the_same_job_twice_in_one_batch_commits_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let commit = Commit { events: vec![an_event("once")], ..Commit::default() };
    let answers = store.commit(P, &w, &[done(&a, commit.clone()), done(&a, commit)]).await.unwrap();
    assert_eq!(answers, [Committed::Yes, Committed::LeaseLost]);
    assert_eq!(all_events(&*store).await.len(), 1);
}

pub(crate) async fn e2_a_commit_does_all_of_it(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    applied(&*store, &intent("i")).await;
    let before = all_events(&*store).await.len();
    let a = held(&*store, &w, "a").await;
    let commit = Commit {
        events: vec![an_event("first"), an_event("second")],
        writes: vec![write("i", 0, running("i", 1), None, false)],
        next: vec![next("n", queue("query.ansible"), None), next("later", emit(), Some(t(30)))],
    };
    let trace = Some("00-aa-bb-01".to_owned());
    let end_of_a = Ended { traceparent: trace.clone(), ..done(&a, commit.clone()) };
    assert_eq!(end(&*store, &w, end_of_a).await, Committed::Yes);

    assert!(places(&*store, &a).await.is_empty(), "finished");
    let events = all_events(&*store).await;
    let expected = commit.events.iter().enumerate().map(|(n, e)| {
        let seq = (before + n + 1) as u64;
        trueup_model::Event { seq, ..e.clone() }
    });
    assert_eq!(events[before..], expected.collect::<Vec<_>>());

    let record = record(&*store, "i").await;
    assert_eq!((record.rev, record.state), (1, running("i", 1)));
    assert!(due(&*store, t(1_000_000)).await.is_empty(), "a run holds it");

    let jobs = lease(&*store, &w, queue("query.ansible"), 9, t(0)).await;
    assert_eq!(leased_ids(&jobs), ids(&["n"]));
    assert_eq!((&jobs[0].payload, &jobs[0].traceparent), (&some_job().encode(), &trace));
    assert_eq!((jobs[0].attempts, jobs[0].rescued), (0, 0));
    assert!(lease(&*store, &w, emit(), 9, t(29)).await.is_empty());
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 9, t(30)).await), ids(&["later"]));
}

/// All that a refused commit may not change.
async fn footprint(store: &dyn Store, job: &JobId) -> impl PartialEq + std::fmt::Debug + use<> {
    let records = store.intents(&[key("i"), key("j")]).await.unwrap();
    let findings = (store.findings(&key("i")).await.unwrap(), store.approvals(&key("i")).await.unwrap());
    let mut depths = store.depths().await.unwrap();
    depths.iter_mut().for_each(|d| d.oldest_ms = None);
    (
        records,
        findings,
        depths,
        all_events(store).await,
        due(store, t(1_000_000)).await,
        places(store, job).await,
    )
}

/// A commit with something of everything.
fn full_commit() -> Commit {
    Commit {
        events: vec![an_event("e")],
        writes: vec![
            write("i", 0, running("i", 1), None, false),
            dirty("j"),
            Write::Finding(Box::new(super::records::finding(
                "i",
                trueup_model::DriftKind::ComplianceDrift,
                t(0),
            ))),
        ],
        next: vec![next("n", queue("compare"), None)],
    }
}

pub(crate) async fn e2_a_malformed_commit_changes_nothing(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    applied(&*store, &intent("i")).await;
    applied(&*store, &intent("j")).await;
    let a = held(&*store, &w, "a").await;
    let before = footprint(&*store, &a).await;

    let too_many = MAX_PARTS + 1;
    let events = (0..too_many).map(|n| an_event(&n.to_string())).collect();
    let next_jobs = (0..too_many).map(|n| next(&n.to_string(), emit(), None)).collect();
    let writes = (0..too_many).map(|_| dirty("i")).collect();
    for malformed in [
        Commit { events, ..full_commit() },
        Commit { next: next_jobs, ..full_commit() },
        Commit { writes, ..full_commit() },
    ] {
        assert_eq!(end(&*store, &w, done(&a, malformed)).await, Committed::Malformed);
        assert_eq!(footprint(&*store, &a).await, before);
    }
    assert_eq!(end(&*store, &w, done(&a, full_commit())).await, Committed::Yes, "the lease was kept");
}

pub(crate) async fn e2_a_list_may_be_as_long_as_the_bound(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let commit = Commit {
        events: (0..MAX_PARTS).map(|n| an_event(&n.to_string())).collect(),
        writes: (0..MAX_PARTS).map(|n| dirty(&n.to_string())).collect(),
        next: (0..MAX_PARTS).map(|n| next(&n.to_string(), emit(), None)).collect(),
    };
    assert_eq!(end(&*store, &w, done(&a, commit)).await, Committed::Yes);
    assert_eq!(all_events(&*store).await.len(), MAX_PARTS);
    assert_eq!(store.backlog(P, emit()).await.unwrap(), MAX_PARTS as u64);
}

pub(crate) async fn e2_a_conflict_changes_nothing(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    applied(&*store, &intent("i")).await;
    applied(&*store, &intent("j")).await;
    let a = held(&*store, &w, "a").await;
    let before = footprint(&*store, &a).await;

    // The first write fits; the second is a rev too far. Neither may be seen.
    let mut commit = full_commit();
    commit.writes.push(write("j", 1, running("j", 1), None, false));
    assert_eq!(end(&*store, &w, done(&a, commit)).await, Committed::Conflict);
    assert_eq!(footprint(&*store, &a).await, before);

    assert_eq!(end(&*store, &w, done(&a, full_commit())).await, Committed::Yes, "the lease was kept");
    assert_eq!(record(&*store, "i").await.rev, 1);
    let a = held(&*store, &w, "b").await;
    let stale = writes(vec![write("i", 0, idle(1), None, true)]);
    assert_eq!(end(&*store, &w, done(&a, stale)).await, Committed::Conflict, "a rev too late");
}

pub(crate) async fn e2_a_state_write_on_a_missing_intent_is_a_conflict(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let mut commit = writes(vec![write("nobody", 0, idle(0), Some(t(0)), false)]);
    commit.events.push(an_event("e"));
    assert_eq!(end(&*store, &w, done(&a, commit)).await, Committed::Conflict);
    assert_eq!(store.intents(&[key("nobody")]).await.unwrap(), [None]);
    assert!(all_events(&*store).await.is_empty() && due(&*store, t(1)).await.is_empty());
    assert_eq!(places(&*store, &a).await, [JobState::InFlight]);
}

pub(crate) async fn e2_two_commits_of_a_batch_cannot_both_write_one_rev(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    applied(&*store, &intent("i")).await;
    let (a, b) = (held(&*store, &w, "a").await, held(&*store, &w, "b").await);
    let begin = |n| writes(vec![write("i", 0, running("i", n), None, false)]);
    let answers = store.commit(P, &w, &[done(&a, begin(1)), done(&b, begin(2))]).await.unwrap();
    assert_eq!(answers, [Committed::Yes, Committed::Conflict]);
    assert_eq!(record(&*store, "i").await.state, running("i", 1));
    assert_eq!(places(&*store, &b).await, [JobState::InFlight]);
}

pub(crate) async fn e3_only_the_holder_commits(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    applied(&*store, &intent("i")).await;
    applied(&*store, &intent("j")).await;
    let a = held(&*store, &w, "a").await;
    let before = footprint(&*store, &a).await;
    assert_eq!(end(&*store, &v, done(&a, full_commit())).await, Committed::LeaseLost);
    assert_eq!(end(&*store, &w, done(&id("unknown"), full_commit())).await, Committed::LeaseLost);
    assert_eq!(footprint(&*store, &a).await, before);

    store.give_back(P, &w, &[(a.clone(), emit())]).await.unwrap();
    assert_eq!(end(&*store, &w, done(&a, full_commit())).await, Committed::LeaseLost, "given back");
    assert_eq!(leased_ids(&lease(&*store, &v, emit(), 1, t(0)).await), ids(&["a"]));
    assert_eq!(end(&*store, &w, done(&a, full_commit())).await, Committed::LeaseLost, "now another's");
    assert_eq!(footprint(&*store, &a).await, before);
    assert_eq!(end(&*store, &v, done(&a, full_commit())).await, Committed::Yes);
}

pub(crate) async fn e8_a_next_job_that_exists_is_not_enqueued_again(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let (a, b) = (held(&*store, &w, "a").await, held(&*store, &w, "b").await);
    store.enqueue(P, &[delayed("waits", emit(), t(50))]).await.unwrap();
    let following = vec![next("waits", emit(), None), next("b", emit(), None), next("new", emit(), None)];
    let commit = Commit { next: following, ..Commit::default() };
    assert_eq!(end(&*store, &w, done(&a, commit)).await, Committed::Yes);
    assert_eq!(places(&*store, &id("waits")).await, [JobState::Scheduled], "as it was");
    assert_eq!(places(&*store, &b).await, [JobState::InFlight], "as it was");
    assert_eq!(places(&*store, &id("new")).await, [JobState::Ready]);
}

pub(crate) async fn e8_a_job_may_enqueue_its_own_id_again(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let tick = held(&*store, &w, "tick").await;
    let again = Commit { next: vec![next("tick", emit(), Some(t(60)))], ..Commit::default() };
    assert_eq!(end(&*store, &w, done(&tick, again)).await, Committed::Yes);
    assert_eq!(places(&*store, &tick).await, [JobState::Scheduled]);
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(60)).await), [tick]);
}

pub(crate) async fn e10_a_finished_job_leaves_nothing_behind(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    for n in 0..10 {
        let a = held(&*store, &w, &n.to_string()).await;
        assert_eq!(end(&*store, &w, done(&a, Commit::default())).await, Committed::Yes);
        assert_eq!(store.job(&a).await.unwrap(), None);
    }
    for depth in store.depths().await.unwrap() {
        assert_eq!(
            (depth.ready, depth.scheduled, depth.in_flight, depth.dead),
            (0, 0, 0, 0),
            "{}",
            depth.queue
        );
    }
}
