//! What people see: depths, jobs, wake-ups, health.

use std::time::Duration;

use trueup_engine::store::{JobState, JobView, NewJob, QueueDepth, Store};
use trueup_model::{Outcome, Partition, Queue};

use super::Fresh;
use super::given::*;

async fn depth(store: &dyn Store, queue: &str) -> QueueDepth {
    store.depths().await.unwrap().into_iter().find(|d| d.queue == queue).unwrap()
}

pub(crate) async fn depths_are_listed_in_the_order_of_the_chain(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let depths = store.depths().await.unwrap();
    let shown: Vec<&str> = depths.iter().map(|d| d.queue.as_str()).collect();
    let chain: Vec<String> = Queue::all().iter().rev().map(ToString::to_string).collect();
    assert_eq!(shown, chain);
    assert_eq!((shown.first(), shown.last()), (Some(&"sweep"), Some(&"notify")));
    for depth in depths {
        assert_eq!(depth, QueueDepth { queue: depth.queue.clone(), ..QueueDepth::default() }, "empty");
    }
}

pub(crate) async fn depths_count_each_job_where_it_is(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    let a = held(&*store, &w, "a").await;
    end(&*store, &w, ended(&a, Outcome::Dead { because: "d".into() })).await;
    held(&*store, &w, "b").await;
    store
        .enqueue(P, &[delayed("c", emit(), t(9)), delayed("d", emit(), t(9)), job("e", emit())])
        .await
        .unwrap();
    store.enqueue(Partition(1), &[job("f", emit()), job("g", emit())]).await.unwrap();
    store.enqueue(Partition(1), &[job("other", queue("remediate.ansible"))]).await.unwrap();

    let emits = depth(&*store, "emit").await;
    assert_eq!(
        (emits.ready, emits.scheduled, emits.in_flight, emits.dead),
        (3, 2, 1, 1),
        "over all partitions"
    );
    assert!(emits.oldest_ms.is_some() && !emits.paused);
    let other = depth(&*store, "remediate.ansible").await;
    assert_eq!((other.ready, other.scheduled, other.in_flight, other.dead), (1, 0, 0, 0));
    assert_eq!(depth(&*store, "remediate.intune").await.oldest_ms, None);

    let before = emits.oldest_ms;
    fresh.lease_time_passes().await;
    assert!(depth(&*store, "emit").await.oldest_ms > before, "it grows older");
}

pub(crate) async fn e11_backlog_is_what_waits_in_one_partition(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    held(&*store, &w, "in flight").await;
    store
        .enqueue(P, &[job("a", emit()), delayed("b", emit(), t(9)), job("c", queue("compare"))])
        .await
        .unwrap();
    store.enqueue(Partition(1), &["x", "y", "z"].map(|n| job(n, emit()))).await.unwrap();
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 2);
    assert_eq!(store.backlog(Partition(1), emit()).await.unwrap(), 3);
    assert_eq!(store.backlog(P, queue("compare")).await.unwrap(), 1);
    assert_eq!(store.backlog(P, queue("sweep")).await.unwrap(), 0);
}

pub(crate) async fn jobs_are_listed_by_state(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &["a", "b", "c"].map(|n| job(n, emit()))).await.unwrap();
    store.enqueue(P, &[delayed("late", emit(), t(9)), delayed("soon", emit(), t(5))]).await.unwrap();
    store.enqueue(Partition(1), &[job("x", emit()), job("elsewhere", queue("sweep"))]).await.unwrap();
    lease(&*store, &w, emit(), 1, t(0)).await;

    let list = async |state, limit| -> Vec<_> {
        let views = store.jobs(emit(), state, limit).await.unwrap();
        assert!(views.iter().all(|v| v.state == state && v.queue == "emit"));
        views.into_iter().map(|v| v.id).collect()
    };
    assert_eq!(list(JobState::Ready, 9).await, ids(&["b", "c", "x"]), "front first");
    assert_eq!(list(JobState::Ready, 2).await, ids(&["b", "c"]));
    assert_eq!(list(JobState::Scheduled, 9).await, ids(&["soon", "late"]), "by their times");
    assert_eq!(list(JobState::InFlight, 9).await, ids(&["a"]));
    assert!(list(JobState::Dead, 9).await.is_empty());
    assert!(list(JobState::Ready, 0).await.is_empty());
}

pub(crate) async fn a_job_is_shown_with_all_that_is_known(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let who = trueup_engine::store::Incarnation("w".into());
    store.beat(Partition(2), &who).await.unwrap();
    let new = NewJob { payload: br#"{"v":1,"step":"sweep"}"#.to_vec(), ..job("a", emit()) };
    let new = NewJob { traceparent: Some("00-1-2-01".into()), ..new };
    store.enqueue(Partition(2), std::slice::from_ref(&new)).await.unwrap();
    let mut expected = JobView {
        id: id("a"),
        queue: "emit".into(),
        partition: Partition(2),
        state: JobState::Ready,
        attempts: 0,
        rescued: 0,
        reason: None,
        at: None,
        age_ms: None,
        traceparent: new.traceparent.clone(),
        payload: serde_json::json!({"v": 1, "step": "sweep"}),
        payload_bytes: new.payload.len(),
        held_by: None,
    };
    // How old it is nobody can foretell.
    let ageless = |view: Option<JobView>| {
        assert!(view.as_ref().is_none_or(|v| v.age_ms.is_some()));
        view.map(|v| JobView { age_ms: None, ..v })
    };
    assert_eq!(ageless(store.job(&id("a")).await.unwrap()), Some(expected.clone()));
    store.lease(Partition(2), &who, &[(emit(), 1)], t(0)).await.unwrap();
    expected.state = JobState::InFlight;
    expected.held_by = Some(who);
    assert_eq!(ageless(store.job(&id("a")).await.unwrap()), Some(expected.clone()));
    let listed = store.jobs(emit(), JobState::InFlight, 9).await.unwrap().pop();
    assert_eq!(ageless(listed), Some(expected));
    assert_eq!(store.job(&id("nobody")).await.unwrap(), None);
}

pub(crate) async fn a_long_payload_is_cut_when_shown(fresh: &dyn Fresh) {
    const CUT: usize = 64 * 1024;
    let store = fresh.store(1).await;
    let long_json = serde_json::to_vec(&"x".repeat(300_000)).unwrap();
    for (name, payload) in
        [("json", long_json), ("binary", vec![0xff; 300_000]), ("text", b"no json".to_vec())]
    {
        let new = NewJob { payload: payload.clone(), ..job(name, emit()) };
        store.enqueue(P, &[new]).await.unwrap();
        let view = store.job(&id(name)).await.unwrap().unwrap();
        assert_eq!(view.payload_bytes, payload.len(), "{name}");
        let shown = view.payload.as_str().unwrap();
        // An escape of one byte may take four characters.
        assert!(!shown.is_empty() && shown.len() <= 4 * CUT, "{name}: {}", shown.len());
    }
    let text = store.job(&id("text")).await.unwrap().unwrap();
    assert_eq!(text.payload, "no json");
}

/// Longer than any wake-up takes, shorter than anybody's patience.
const BOUND: Duration = Duration::from_secs(20);

pub(crate) async fn woken_returns_when_something_is_ready(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let wake = async {
        let woken = store.woken(Duration::from_secs(3600));
        tokio::pin!(woken);
        // A subscription may need a moment: go on enqueueing until it is heard.
        for n in 0.. {
            store.enqueue(Partition(1), &[job(&n.to_string(), emit())]).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(5), &mut woken).await.is_ok() {
                break;
            }
        }
    };
    assert!(tokio::time::timeout(BOUND, wake).await.is_ok(), "nobody was woken");
}

pub(crate) async fn woken_returns_when_the_time_is_over(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let short = store.woken(Duration::from_millis(20));
    assert!(tokio::time::timeout(BOUND, short).await.is_ok());
}

pub(crate) async fn preflight_finds_the_store_of_a_test_fit_to_use(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let preflight = store.preflight().await.unwrap();
    assert_eq!(preflight.refused, Vec::<String>::new());
    assert!(!preflight.server.is_empty());
}
