//! Enqueueing, and what makes it happen once (E8).

use trueup_engine::EngineError;
use trueup_engine::store::{JobState, NewJob};
use trueup_model::commit::Committed;
use trueup_model::{Commit, Outcome};

use super::Fresh;
use super::given::*;

pub(crate) async fn e8_an_id_is_enqueued_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    assert_eq!(store.enqueue(P, &[job("a", emit()), job("b", emit())]).await.unwrap(), 2);

    let other = NewJob { payload: b"other".to_vec(), at: Some(t(60)), ..job("a", emit()) };
    assert_eq!(store.enqueue(P, &[other, job("c", emit())]).await.unwrap(), 1, "only c is new");

    assert_eq!(places(&*store, &id("a")).await, [JobState::Ready], "the second changed nothing");
    let w = worker(&*store, "w").await;
    let jobs = lease(&*store, &w, emit(), 10, t(0)).await;
    assert_eq!(leased_ids(&jobs), ids(&["a", "b", "c"]));
    assert_eq!(jobs[0].payload, some_job().encode());
}

pub(crate) async fn e8_an_id_is_taken_in_every_state_a_job_can_be_in(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    let again = job("a", emit());

    assert_eq!(store.enqueue(P, std::slice::from_ref(&again)).await.unwrap(), 0, "in flight");
    assert_eq!(
        end(&*store, &w, ended(&a, Outcome::Defer { at: t(10), because: None })).await,
        Committed::Yes
    );
    assert_eq!(store.enqueue(P, std::slice::from_ref(&again)).await.unwrap(), 0, "scheduled");
    assert_eq!(places(&*store, &a).await, [JobState::Scheduled]);

    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(10)).await), ids(&["a"]));
    store.give_back(P, &w, &[(a.clone(), emit())]).await.unwrap();
    assert_eq!(store.enqueue(P, std::slice::from_ref(&again)).await.unwrap(), 0, "ready");
    assert_eq!(places(&*store, &a).await, [JobState::Ready]);

    lease(&*store, &w, emit(), 1, t(10)).await;
    assert_eq!(end(&*store, &w, ended(&a, Outcome::Dead { because: "no".into() })).await, Committed::Yes);
    assert_eq!(store.enqueue(P, &[again]).await.unwrap(), 0, "dead");
    assert_eq!(places(&*store, &a).await, [JobState::Dead]);
}

pub(crate) async fn e8_an_id_is_free_again_after_its_job_finished(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    assert_eq!(end(&*store, &w, done(&a, Commit::default())).await, Committed::Yes);
    assert_eq!(held(&*store, &w, "a").await, a, "enqueued and leased a second time");
}

pub(crate) async fn e8_the_same_id_twice_in_one_call_is_one_job(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    assert_eq!(store.enqueue(P, &[job("a", emit()), job("a", emit())]).await.unwrap(), 1);
    let w = worker(&*store, "w").await;
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 10, t(0)).await), ids(&["a"]));
}

pub(crate) async fn more_than_256_jobs_are_refused(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let jobs: Vec<NewJob> = (0..257).map(|n| job(&n.to_string(), emit())).collect();
    assert!(matches!(store.enqueue(P, &jobs).await, Err(EngineError::Refused(_))));
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 0, "not even some of them");
    assert_eq!(store.enqueue(P, &jobs[..256]).await.unwrap(), 256);
    assert_eq!(store.enqueue(P, &[]).await.unwrap(), 0);
}

pub(crate) async fn e7_any_bytes_are_kept_as_they_are(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let payloads: [&[u8]; 5] = [b"", b"\0\xff\xfe\r\n", b"{\"v\":1", b"nil", &[b'x'; 200_000]];
    for (n, payload) in payloads.iter().enumerate() {
        let new = NewJob { payload: payload.to_vec(), ..job(&n.to_string(), emit()) };
        assert_eq!(store.enqueue(P, &[new]).await.unwrap(), 1);
    }
    let w = worker(&*store, "w").await;
    let jobs = lease(&*store, &w, emit(), 10, t(0)).await;
    let leased: Vec<&[u8]> = jobs.iter().map(|j| j.payload.as_slice()).collect();
    assert_eq!(leased, payloads);
}
