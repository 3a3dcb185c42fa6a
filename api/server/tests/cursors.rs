//! Cursors that no list gave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, fleet, send};
use serde_json::json;
use trueup_model::SharedClock;
use trueup_server::identity::{Bootstrap, Identity, Policies};
use trueup_server::{ApiState, router};

const FIRST: &str = "0123456789abcdef0123456789abcdef";

async fn get(api: &Router, key: &str, path: &str) -> Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {key}"));
    send(api, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn they_are_refused_whoever_sends_them() {
    let (store, clock) = fleet::drifted().await;
    let clock: SharedClock = Arc::new(clock);
    let identity =
        Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(FIRST).unwrap()));
    let api = router(ApiState::new(store, clock).with_identity(identity));
    let wanted = json!({"label": "test", "grants": ["acme:viewer"]}).to_string();
    let request = Request::post("/v1/keys")
        .header("authorization", format!("Bearer {FIRST}"))
        .header("content-type", "application/json");
    let made = send(&api, request.body(Body::from(wanted)).unwrap()).await;
    let of_tenant = made.body["key"].as_str().unwrap();
    for key in [FIRST, of_tenant] {
        for list in ["intents", "runs"] {
            for cursor in ["65536:acme/x", "999999999999999999:acme/x", "0:acme", "nonsense", "-1:acme/x"] {
                let answer = get(&api, key, &format!("/v1/{list}?cursor={cursor}")).await;
                answer.is_problem(400, "parameters").says("?cursor: expected `next`");
                assert_eq!(answer.body["errors"][0]["pointer"], "?cursor");
            }
        }
        for list in ["findings", "approvals"] {
            for cursor in ["nonsense", "9999999999999999999:x", "1.5:x", ":x"] {
                let answer = get(&api, key, &format!("/v1/{list}?cursor={cursor}")).await;
                answer.is_problem(400, "parameters").says("?cursor: expected `next`");
            }
        }
        // What a list gives leads on, and the longest names there are do.
        let first = get(&api, key, "/v1/intents?limit=1").await;
        let next = first.body["next"].as_str().unwrap();
        assert_eq!(get(&api, key, &format!("/v1/intents?cursor={next}")).await.status, 200);
        let long = format!("0:{}/{}", "a".repeat(128), "b".repeat(128));
        assert_eq!(get(&api, key, &format!("/v1/intents?cursor={long}")).await.status, 200);
        assert_eq!(get(&api, key, "/v1/intents?cursor=1:").await.status, 200);
    }
}

#[tokio::test]
async fn queues_and_keys_know_theirs_too() {
    let (store, clock) = fleet::drifted().await;
    let api = router(ApiState::new(store, Arc::new(clock)));
    let ask = async |path: String| send(&api, Request::get(path).body(Body::empty()).unwrap()).await;
    for path in ["queues/emit?cursor=zz", "queues/emit?cursor=0.x", "keys?cursor=0:acme/x"] {
        ask(format!("/v1/{path}")).await.is_problem(400, "parameters").says("?cursor: expected `next`");
    }
    assert_eq!(ask("/v1/queues/emit?cursor=0.10".into()).await.status, 200);
    let long = "f".repeat(257);
    let answer = ask(format!("/v1/queues/emit?reason={long}")).await;
    answer.is_problem(400, "parameters").says("?reason: expected at most 256 characters");
    assert_eq!(ask(format!("/v1/queues/emit?reason={}", &long[1..])).await.status, 200);
}
