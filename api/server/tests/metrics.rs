//! `/metrics`: what the store holds, as Prometheus reads it; bounded, cheap, and there when the store is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::broken::Broken;
use common::fleet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;
use trueup_model::label::MAX_VALUES;
use trueup_server::identity::{Identity, Policies};
use trueup_server::{ApiState, Serving, router, serve_metrics};

async fn scrape(api: &Router) -> String {
    let response = api.clone().oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_store_is_shown_as_it_is() {
    let (store, clock) = fleet::drifted().await;
    let text = scrape(&router(ApiState::new(store, Arc::new(clock)))).await;
    for series in [
        r#"trueup_store_up 1"#,
        r#"trueup_queue_jobs{queue="emit",state="dead"} 1"#,
        r#"trueup_queue_jobs{queue="sweep",state="ready"} 0"#,
        r#"trueup_queue_paused{queue="emit"} 0"#,
        r#"trueup_workers{state="alive"} 1"#,
        r#"trueup_workers{state="late"} 0"#,
        r#"trueup_intents{plane="intune",tenant="acme"} 3"#,
        r#"trueup_drift_open{kind="scope_mismatch",plane="intune",severity="high",tenant="acme"} 1"#,
        r#"trueup_drift_persistent{kind="scope_mismatch",plane="intune",severity="high",tenant="acme"} 0"#,
        r#"trueup_blast_radius_tripped{plane="intune",tenant="acme"} 0"#,
        r#"trueup_notices_waiting 0"#,
        r#"trueup_preflight_warnings 1"#,
    ] {
        assert!(text.lines().any(|l| l == series), "{series} is not in\n{text}");
    }
    assert!(!text.contains("drifted\""), "no intent's id is a label");
}

#[tokio::test]
async fn an_intent_that_waits_for_its_check_is_counted_from_when_it_was_due() {
    let (store, clock) = fleet::empty(4);
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "new")]).await;
    clock.advance(trueup_model::Duration::minutes(10));
    let text = scrape(&router(ApiState::new(store, Arc::new(clock)))).await;
    assert!(text.contains("trueup_oldest_task_age_seconds 600\n"), "{text}");
}

#[tokio::test]
async fn tenants_are_bounded_and_the_rest_are_counted_together() {
    let (store, clock) = fleet::empty(1);
    let many = MAX_VALUES + 20;
    let intents: Vec<_> = (0..many).map(|n| fleet::intent(&format!("tenant-{n:04}"), "a")).collect();
    for some in intents.chunks(100) {
        fleet::apply(store.as_ref(), some).await;
    }
    let text = scrape(&router(ApiState::new(store, Arc::new(clock)))).await;
    let series: Vec<&str> = text.lines().filter(|l| l.starts_with("trueup_intents{")).collect();
    assert_eq!(series.len(), MAX_VALUES + 1);
    assert!(series.contains(&"trueup_intents{plane=\"intune\",tenant=\"other\"} 20"), "{series:?}");
}

#[tokio::test]
async fn a_store_that_is_away_is_a_metric_and_not_an_error() {
    for broken in [Broken::Away, Broken::Refuses] {
        let (_, clock) = fleet::empty(1);
        let text = scrape(&router(ApiState::new(Arc::new(broken), Arc::new(clock)))).await;
        assert!(text.contains("trueup_store_up 0\n"), "{text}");
        assert!(!text.contains("trueup_queue_jobs{"), "nothing is made up: {text}");
    }
}

#[tokio::test]
async fn a_store_that_hangs_does_not_hang_the_scrape() {
    let (_, clock) = fleet::empty(1);
    let api = router(ApiState::new(Arc::new(Broken::Hangs), Arc::new(clock)));
    tokio::time::pause();
    assert!(scrape(&api).await.contains("trueup_store_up 0\n"));
}

#[tokio::test]
async fn however_many_look_the_store_is_read_once_in_five_seconds() {
    let (store, clock) = fleet::empty(1);
    let api = router(ApiState::new(store.clone(), Arc::new(clock)));
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "first")]).await;
    let first = scrape(&api).await;
    assert!(first.contains("trueup_intents{plane=\"intune\",tenant=\"acme\"} 1\n"), "{first}");
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "second")]).await;
    for text in futures::future::join_all((0..50).map(|_| scrape(&api))).await {
        assert!(text.contains("trueup_intents{plane=\"intune\",tenant=\"acme\"} 1\n"), "{text}");
    }
}

/// What a plain HTTP client gets.
async fn ask(addr: std::net::SocketAddr, host: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_process_without_an_api_shows_what_it_counts_to_this_host() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (store, clock) = fleet::empty(1);
    let state = ApiState::new(store, std::sync::Arc::new(clock));
    tokio::spawn(serve_metrics(listener, state, Serving::default(), std::future::pending()));
    let meter = trueup_boot::metrics::of_process().meter();
    meter.u64_counter("trueup.test.served").build().add(3, &[]);
    let answer = ask(addr, "127.0.0.1").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\ntrueup_test_served_total 3\n"), "{answer}");
    let refused = ask(addr, "rebind.example").await;
    assert!(refused.starts_with("HTTP/1.0 403 "), "{refused}");
    assert!(!refused.contains("trueup_test"), "{refused}");
}

/// Guards: a worker's metrics name tenants, so they ask who reads them wherever that can be another host.
#[tokio::test]
async fn who_scrapes_a_worker_from_elsewhere_proves_who_they_are() {
    let (store, clock) = fleet::empty(1);
    let open = ApiState::new(store.clone(), std::sync::Arc::new(clock.clone()));
    let elsewhere = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve_metrics(elsewhere, open.clone(), Serving::default(), std::future::pending()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);

    let closed = open.with_identity(Identity::required(Policies::shipped()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(serve_metrics(listener, closed, Serving::default(), std::future::pending()));
    let answer = ask(addr, "127.0.0.1").await;
    assert!(answer.starts_with("HTTP/1.0 401 ") && !answer.contains("trueup_test"), "{answer}");
}
