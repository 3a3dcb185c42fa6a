use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use trueup_engine::memory::MemoryStore;
use trueup_model::SystemClock;

use super::*;

/// Counts what is carried out, and does so when told.
#[derive(Clone, Default)]
struct Work {
    go: Arc<Notify>,
    begun: Arc<Notify>,
    done: Arc<AtomicUsize>,
}

fn api(work: &Work) -> Router {
    let state = ApiState::new(Arc::new(MemoryStore::new(2)), Arc::new(SystemClock));
    let work = work.clone();
    let slow = move |body: String| async move {
        work.begun.notify_one();
        work.go.notified().await;
        match body.as_str() {
            "large" => (StatusCode::OK, "x".repeat(MAX_ANSWER + 1)),
            "fail" => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            _ => (StatusCode::CREATED, format!("{body} {}", work.done.fetch_add(1, Ordering::Relaxed))),
        }
    };
    Router::new()
        .route("/slow", post(slow.clone()))
        .route("/v1/keys/{id}/rotate", post(slow.clone()))
        .route("/forgotten", post(move |body: String| async { (axum::Extension(Secret), slow(body).await) }))
        .layer(axum::middleware::from_fn_with_state(state.clone(), once))
        .layer(axum::Extension(Access::local()))
        .with_state(state)
}

async fn ask(api: &Router, key: Option<&str>, body: &str) -> (u16, String) {
    ask_at(api, "/slow", key, body).await
}

async fn ask_at(api: &Router, path: &str, key: Option<&str>, body: &str) -> (u16, String) {
    let mut request = Request::post(path);
    if let Some(key) = key {
        request = request.header(KEY, key);
    }
    let response = api.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn while_the_first_is_answered_others_are_told_so() {
    let work = Work::default();
    let api = api(&work);
    let first = tokio::spawn({
        let api = api.clone();
        async move { ask(&api, Some("k"), "a").await }
    });
    work.begun.notified().await;
    assert_eq!(ask(&api, Some("k"), "a").await.0, 409);
    assert_eq!(ask(&api, Some("k"), "b").await.0, 422);
    work.go.notify_one();
    assert_eq!(first.await.unwrap(), (201, "a 0".into()));
    assert_eq!(ask(&api, Some("k"), "a").await, (201, "a 0".into()));
    assert_eq!(ask(&api, Some("k"), "b").await.0, 422);
}

#[tokio::test]
async fn a_claim_ends_with_its_caller_and_with_a_failure() {
    let work = Work::default();
    let api = api(&work);
    let first = tokio::spawn({
        let api = api.clone();
        async move { ask(&api, Some("k"), "a").await }
    });
    work.begun.notified().await;
    first.abort();
    let _ = first.await;
    // The claim is given up by a task of its own.
    tokio::task::yield_now().await;
    work.go.notify_one();
    assert_eq!(ask(&api, Some("k"), "fail").await.0, 503, "another request, for the key is free");
    for n in 0..2 {
        work.go.notify_one();
        let answer = ask(&api, Some("large"), "large").await;
        assert_eq!((answer.0, answer.1.len()), (200, MAX_ANSWER + 1), "{n}: too large to be remembered");
    }
    work.go.notify_one();
    assert_eq!(ask(&api, Some("k"), "a").await, (201, "a 0".into()));
}

#[tokio::test]
async fn an_answer_with_a_secret_is_not_remembered() {
    let work = Work::default();
    let api = api(&work);
    // By its route, or by what its handler says of it.
    for (n, path) in
        ["/v1/keys/k1/rotate", "/v1/keys/k1/rotate", "/forgotten", "/forgotten"].iter().enumerate()
    {
        work.go.notify_one();
        assert_eq!(ask_at(&api, path, Some("k"), "a").await, (201, format!("a {n}")), "{path}");
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_remembered() {
    let work = Work::default();
    let api = api(&work);
    for n in 0..3 {
        work.go.notify_one();
        assert_eq!(ask(&api, None, "a").await, (201, format!("a {n}")));
    }
}

#[test]
fn keys_are_read_or_refused() {
    let long = "x".repeat(256);
    let table = [
        (vec!["8e03978e-40d5-43dd-bc93-6894a57f9324"], Some("8e03978e-40d5-43dd-bc93-6894a57f9324")),
        (vec!["\"KG5LxwFBepaKHyUD\""], Some("KG5LxwFBepaKHyUD")),
        (vec![" a/b:c "], Some("a/b:c")),
        (vec![&long[1..]], Some(&long[1..])),
        (vec![""], None),
        (vec!["\"\""], None),
        (vec!["a b"], None),
        (vec!["a\"b"], None),
        (vec!["\"a"], None),
        (vec!["a", "a"], None),
        (vec![&long], None),
    ];
    for (values, expected) in table {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append(KEY, value.parse().unwrap());
        }
        assert_eq!(key_of(&headers).ok().as_deref(), expected, "{values:?}");
    }
    let mut headers = HeaderMap::new();
    headers.append(KEY, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    assert!(key_of(&headers).is_err());
}

#[test]
fn parts_do_not_run_together() {
    assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    assert_ne!(digest(&[b""]), digest(&[b"", b""]));
}
