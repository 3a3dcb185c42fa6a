//! Reconciliations and idempotency keys: accepted whole, remembered within bounds, answered the same.

use trueup_engine::EngineError;
use trueup_engine::requests::{
    Accepted, Answer, Asked, CHUNK, Claim, Claimed, MAX_ANSWER, MAX_CHUNKS, Part, Reconciliation, Standing,
};
use trueup_engine::store::{EventFilter, JobState, NewJob, Store};
use trueup_model::{
    Condition, CorrelationId, EventKind, IntentKey, Partition, ReconciliationId, Status, Trigger,
};

use super::Fresh;
use super::given::*;

fn rec(name: &str) -> ReconciliationId {
    ReconciliationId::derive(&[name])
}

fn asked(names: &[&str]) -> Vec<Asked> {
    names.iter().map(|n| Asked(key(n), 3)).collect()
}

fn head(name: &str, chunks: u32) -> Reconciliation {
    Reconciliation {
        id: rec(name),
        home: P,
        tenants: vec!["acme".into()],
        selector: Some("team=blue".into()),
        accepted: 2,
        refused: 1,
        chunks,
        actor: "tester".into(),
        requested_at: t(0),
        correlation_id: CorrelationId::derive(&[name]),
    }
}

fn whole(name: &str, chunks: Vec<Vec<Asked>>) -> Part {
    let sweep = NewJob::of(id(name), queue("sweep"), &some_job(), None);
    let event = event(name, EventKind::ReconciliationRequested, &key(""), t(0));
    let head = Some((head(name, u32::try_from(chunks.len()).unwrap()), event));
    Part { id: rec(name), home: P, first: 0, chunks, sweep: Some(sweep), head }
}

async fn sweeps(store: &dyn Store) -> usize {
    store.jobs(queue("sweep"), JobState::Ready, 100).await.unwrap().len()
}

pub(crate) async fn a_reconciliation_is_accepted_with_its_sweep_and_event(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let part = whole("r", vec![asked(&["a", "b"])]);
    assert_eq!(store.requests().accept(&part).await.unwrap(), Accepted::Yes);

    let found = store.requests().reconciliation(&rec("r")).await.unwrap().unwrap();
    assert_eq!(found, head("r", 1));
    assert_eq!(store.requests().asked(&found, 0, 16).await.unwrap(), part.chunks);
    let jobs = store.jobs(queue("sweep"), JobState::Ready, 10).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!((&jobs[0].id, jobs[0].partition), (&id("r"), P));
    assert_eq!(jobs[0].payload, serde_json::from_slice::<serde_json::Value>(&some_job().encode()).unwrap());
    assert_eq!(events_of(&*store, EventKind::ReconciliationRequested).await.len(), 1);
    assert!(store.requests().reconciliation(&rec("other")).await.unwrap().is_none());
}

pub(crate) async fn e8_the_same_reconciliation_again_changes_nothing(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let part = whole("r", vec![asked(&["a"])]);
    assert_eq!(store.requests().accept(&part).await.unwrap(), Accepted::Yes);
    let mut again = whole("r", vec![asked(&["b"])]);
    again.sweep = Some(NewJob::of(id("another"), queue("sweep"), &some_job(), None));
    assert_eq!(store.requests().accept(&again).await.unwrap(), Accepted::Before);
    assert_eq!(sweeps(&*store).await, 1);
    assert_eq!(store.requests().asked(&head("r", 1), 0, 1).await.unwrap(), part.chunks);
    assert_eq!(events_of(&*store, EventKind::ReconciliationRequested).await.len(), 1);
}

pub(crate) async fn a_reconciliation_is_there_with_its_head_and_not_before(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let chunks = vec![asked(&["a"]), asked(&["b", "c"]), asked(&["d"])];
    let first = Part { head: None, ..whole("r", chunks[..2].to_vec()) };
    for _ in 0..2 {
        assert_eq!(store.requests().accept(&first).await.unwrap(), Accepted::Yes, "sent again after a loss");
    }
    assert!(store.requests().reconciliation(&rec("r")).await.unwrap().is_none());
    assert!(store.requests().reconciliations(None, 10).await.unwrap().items.is_empty());
    assert_eq!(sweeps(&*store).await, 1, "its sweep is there once");

    let mut last = whole("r", chunks[2..].to_vec());
    (last.first, last.sweep, last.head.as_mut().unwrap().0.chunks) = (2, None, 3);
    assert_eq!(store.requests().accept(&last).await.unwrap(), Accepted::Yes);
    let found = store.requests().reconciliation(&rec("r")).await.unwrap().unwrap();
    assert_eq!(store.requests().asked(&found, 0, 16).await.unwrap(), chunks);
    assert_eq!(store.requests().asked(&found, 1, 1).await.unwrap(), chunks[1..2]);
    assert!(store.requests().asked(&found, 3, 1).await.unwrap().is_empty());
}

pub(crate) async fn reconciliations_are_listed_newest_first(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let names: Vec<String> = (0..7).map(|n| format!("r{n}")).collect();
    for name in &names {
        store.requests().accept(&whole(name, vec![asked(&["a"])])).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.requests().reconciliations(cursor.as_deref(), 3).await.unwrap();
        assert!(page.items.len() <= 3);
        seen.extend(page.items.into_iter().map(|r| r.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let mut all: Vec<_> = names.iter().map(|n| rec(n)).collect();
    all.sort();
    seen.sort();
    assert_eq!(seen, all, "each of them once");
}

pub(crate) async fn a_part_has_bounds(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let many = |n: usize| (0..n).map(|n| Asked(key(&n.to_string()), 0)).collect::<Vec<_>>();
    for chunks in [vec![many(CHUNK + 1)], vec![many(1); MAX_CHUNKS + 1]] {
        let refused = store.requests().accept(&whole("r", chunks)).await;
        assert!(matches!(refused, Err(EngineError::Refused(_))));
    }
    assert_eq!(sweeps(&*store).await, 0);
    let largest = whole("r", vec![many(CHUNK); MAX_CHUNKS]);
    assert_eq!(store.requests().accept(&largest).await.unwrap(), Accepted::Yes);
}

pub(crate) async fn a_tenants_names_are_found_and_no_others(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let mut intents = Vec::new();
    for (tenant, n) in [("acme", 40), ("acme-eu", 5), ("acme0", 5), ("ac", 5)] {
        for n in 0..n {
            let mut one = intent(&format!("i{n:02}"));
            one.key.tenant = tenant.to_owned();
            intents.push(one);
        }
    }
    store.apply(&intents, &by("tester")).await.unwrap();
    let mut found = Vec::new();
    for p in (0..3).map(Partition) {
        let mut after: Option<IntentKey> = None;
        loop {
            let page = store.requests().names_of(p, "acme", after.as_ref(), 4).await.unwrap();
            assert!(page.iter().all(|k| k.partition(3) == p) && page.len() <= 4);
            assert!(page.is_sorted());
            after = page.last().cloned();
            found.extend(page);
            if after.is_none() {
                break;
            }
        }
    }
    found.sort();
    assert_eq!(found, (0..40).map(|n| key(&format!("i{n:02}"))).collect::<Vec<_>>());
    assert!(store.requests().names_of(P, "nobody", None, 10).await.unwrap().is_empty());
}

pub(crate) async fn standings_say_what_progress_needs(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let mut paused = intent("paused");
    paused.status = Status::Paused;
    store.apply(&[intent("new"), intent("runs"), paused], &by("tester")).await.unwrap();
    let p = key("runs").partition(2);
    carried_out(&*store, p, "begin", writes(vec![write("runs", 0, running("runs", 4), None, false)])).await;

    let keys = ["runs", "missing", "new", "paused"].map(key);
    let idle = |reconciled| Standing { runs: 0, active: None, condition: Condition::Unknown, reconciled };
    let runs = Standing { runs: 4, active: Some(Trigger::Schedule), ..idle(true) };
    let expected = [Some(runs), None, Some(idle(true)), Some(idle(false))];
    assert_eq!(store.requests().standings(&keys).await.unwrap(), expected);
    assert!(store.requests().standings(&[]).await.unwrap().is_empty());
}

pub(crate) async fn the_ends_of_the_streams_are_where_they_are_read_on_from(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    assert!(store.requests().event_ends().await.unwrap().is_empty());
    let intents: Vec<_> = (0..20).map(|n| intent(&n.to_string())).collect();
    store.apply(&intents, &by("tester")).await.unwrap();
    let ends = store.requests().event_ends().await.unwrap();
    assert_eq!(ends.values().sum::<u64>(), 20);
    assert!(store.events(&EventFilter::default(), &ends, 10).await.unwrap().is_empty());
    applied(&*store, &intent("more")).await;
    assert_eq!(store.events(&EventFilter::default(), &ends, 10).await.unwrap().len(), 1);
}

fn claimed<'a>(fingerprint: &'a str, token: &'a str) -> Claimed<'a> {
    Claimed { scope: "scope", fingerprint, token }
}

fn an_answer() -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status: 202, headers, body: b"\0\xffbody".to_vec() }
}

pub(crate) async fn an_answer_is_given_again(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let once = store.requests();
    assert_eq!(once.claim(claimed("same", "a")).await.unwrap(), Claim::Yours);
    assert_eq!(once.claim(claimed("same", "b")).await.unwrap(), Claim::Running);
    assert_eq!(once.claim(claimed("other", "b")).await.unwrap(), Claim::Other);
    assert!(!once.answer(claimed("same", "b"), &an_answer()).await.unwrap(), "it is not b's");
    assert!(once.answer(claimed("same", "a"), &an_answer()).await.unwrap());
    for token in ["a", "b"] {
        assert_eq!(once.claim(claimed("same", token)).await.unwrap(), Claim::Answered(an_answer()));
        assert_eq!(once.claim(claimed("other", token)).await.unwrap(), Claim::Other);
    }
    once.release(claimed("same", "a")).await.unwrap();
    assert_eq!(once.claim(claimed("same", "a")).await.unwrap(), Claim::Answered(an_answer()), "it stays");
    let elsewhere = Claimed { scope: "elsewhere", ..claimed("other", "b") };
    assert_eq!(once.claim(elsewhere).await.unwrap(), Claim::Yours, "another scope is another key");
}

pub(crate) async fn a_claim_that_is_given_up_is_free_again(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let once = store.requests();
    assert_eq!(once.claim(claimed("same", "a")).await.unwrap(), Claim::Yours);
    once.release(claimed("same", "b")).await.unwrap();
    assert_eq!(once.claim(claimed("same", "b")).await.unwrap(), Claim::Running, "only its holder gives up");
    once.release(claimed("same", "a")).await.unwrap();
    assert_eq!(once.claim(claimed("other", "b")).await.unwrap(), Claim::Yours);
    assert!(!once.answer(claimed("same", "a"), &an_answer()).await.unwrap());
}

pub(crate) async fn a_claim_has_bounds(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let once = store.requests();
    let long = "x".repeat(200);
    for scope in ["", "line\nbreak", long.as_str()] {
        let refused = once.claim(Claimed { scope, ..claimed("f", "t") }).await;
        assert!(matches!(refused, Err(EngineError::Refused(_))), "{scope:?}");
    }
    assert_eq!(once.claim(claimed("same", "a")).await.unwrap(), Claim::Yours);
    let large = Answer { body: vec![b'x'; MAX_ANSWER + 1], ..an_answer() };
    assert!(!once.answer(claimed("same", "a"), &large).await.unwrap());
    assert!(once.answer(claimed("same", "a"), &an_answer()).await.unwrap(), "the claim is still there");
}

/// Guards: a chunk that was lost is not the end of those behind it.
pub(crate) async fn a_chunk_that_is_missing_stands_empty_in_its_place(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let mut part = whole("r", vec![asked(&["b"])]);
    part.first = 1;
    part.head = part.head.map(|(_, event)| (head("r", 3), event));
    assert_eq!(store.requests().accept(&part).await.unwrap(), Accepted::Yes);
    let found = store.requests().asked(&head("r", 3), 0, 16).await.unwrap();
    assert_eq!(found, [vec![], asked(&["b"]), vec![]]);
}
