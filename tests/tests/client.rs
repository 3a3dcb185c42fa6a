//! `trueup-client` works against the API. (That it is derived from the API's document: the server's `openapi` test.)
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::net::TcpListener;
use trueup_client::types::Manifest;
use trueup_client::{
    ApplyIntents, Ask, Client, DrainWorker, Error, FollowEvents, GetReconciliation, ListIntents, OneOrMany,
    RequestReconciliation,
};
use trueup_engine::memory::MemoryStore;
use trueup_model::SystemClock;
use trueup_server::{ApiState, serve};

async fn api() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = ApiState::new(Arc::new(MemoryStore::new(2)), Arc::new(SystemClock));
    tokio::spawn(serve(listener, state, std::future::pending()));
    Client::builder(url).build().unwrap()
}

fn manifest(id: &str, ring: &str) -> Manifest {
    serde_json::from_value(serde_json::json!({
        "tenant": "acme", "id": id, "plane": "intune", "ring": ring, "criticality": "low",
        "target": {"app_id": "7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e", "app_name": "VPN"},
        "labels": {"app": "vpn"}, "desired": {"version": "3.11"},
    }))
    .unwrap()
}

#[tokio::test]
async fn intents_reconciliations_and_events_have_types() {
    let client = api().await;
    let mut events = client.follow_events(&FollowEvents::default()).await.unwrap();

    let both = OneOrMany::Many(vec![manifest("vpn-lab", "lab"), manifest("vpn", "global")]);
    let stored = client.apply_intents(&both, &ApplyIntents::default()).await.unwrap().body;
    assert_eq!(stored.results.len(), 2, "{stored:?}");

    let of_vpn = ListIntents { selector: Some("app=vpn".into()), ..ListIntents::default() };
    let page = client.list_intents(&of_vpn).await.unwrap().body;
    let ids: BTreeSet<&str> = page.items.iter().map(|r| r.intent.key.id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["vpn", "vpn-lab"]));

    let message = events.next().await.unwrap().expect("the stream goes on");
    let event: trueup_model::Event = serde_json::from_str(&message.data).unwrap();
    assert_eq!((event.tenant.as_str(), message.event.as_str()), ("acme", event.event_type.as_str()));

    let ask = Ask::Selected { tenant: "acme".into(), selector: Some("app=vpn".into()) };
    let once = RequestReconciliation { idempotency_key: Some("release-1".into()) };
    let handle = client.request_reconciliation(&ask, &once).await.unwrap().body;
    assert_eq!((handle.accepted, handle.refused_total), (2, 0));
    let again = client.request_reconciliation(&ask, &once).await.unwrap().body;
    assert_eq!(again.id, handle.id, "the same key asks once");
    let seen = client.get_reconciliation(&handle.id.to_string(), &GetReconciliation::default()).await;
    assert!(!seen.unwrap().body.done, "no worker runs here");
}

#[tokio::test]
async fn an_error_is_what_the_api_says() {
    let client = api().await;
    let error = client.get_intent("acme", "no/such?thing").await.expect_err("there is none");
    let Error::Problem(problem) = &error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.kind.as_str()), (404, "urn:trueup:problem:not-found"));
    assert!(problem.correlation_id.is_some() && !problem.detail.is_empty(), "{problem:?}");

    let wrong = ListIntents { condition: Some("happy".into()), ..ListIntents::default() };
    let error = client.list_intents(&wrong).await.expect_err("no such condition");
    assert!(
        matches!(&error, Error::Problem(p) if p.status == 400 && p.errors[0].pointer == "?condition"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_the_api_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = axum::Router::new().fallback(|| async { "<h1>It works!</h1>" });
    let server = tokio::spawn(axum::serve(listener, other).into_future());
    let client = Client::builder(&url).build().unwrap();
    let error = client.whoami().await.expect_err("no JSON");
    assert!(matches!(&error, Error::Foreign { .. }), "{error:?}");
    let error = client.follow_events(&FollowEvents::default()).await.expect_err("no stream");
    assert!(matches!(&error, Error::Foreign { .. }), "{error:?}");

    server.abort();
    let _ = server.await;
    let error = client.whoami().await.expect_err("nobody listens");
    assert!(matches!(&error, Error::Unreachable { timed_out: false, .. }), "{error:?}");
    let error = Client::builder("http://trueup.example").key("tuk_x").build().expect_err("unencrypted");
    assert!(error.to_string().contains("unencrypted"), "{error}");
}

/// Guards: what may be asked twice is asked again after the time that the API names, and nothing else is.
#[tokio::test]
async fn not_now_is_asked_again_where_that_is_safe() {
    use axum::http::StatusCode;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let busy = axum::Router::new().fallback(move || {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            match n {
                0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], String::new()),
                _ => (StatusCode::OK, [("x", "y")], r#"{"items":[]}"#.to_owned()),
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, busy).into_future());
    let client = Client::builder(&url).build().unwrap();
    client.list_intents(&ListIntents::default()).await.expect("the second time");
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    asked.store(0, Ordering::SeqCst);
    client
        .drain_worker("w1", &DrainWorker::default())
        .await
        .expect_err("once only: nobody knows whether it was done");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
