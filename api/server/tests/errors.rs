//! Every error is a problem document that says what to do; every limit holds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use common::broken::Broken;
use common::{ask, fleet, get, post, send};
use trueup_engine::Store;
use trueup_model::{ManualClock, SharedClock};
use trueup_server::{ApiState, MAX_BODY, router};

fn over(store: Arc<dyn Store>) -> Router {
    let clock: SharedClock = Arc::new(ManualClock::at(fleet::start()));
    router(ApiState::new(store, clock))
}

fn empty() -> Router {
    over(fleet::empty(2).0)
}

const GETS: [&str; 15] = [
    "/readyz",
    "/v1/health",
    "/v1/summary",
    "/v1/intents",
    "/v1/intents/acme/a",
    "/v1/findings",
    "/v1/findings/fnd_x",
    "/v1/findings/fnd_x/explain",
    "/v1/approvals",
    "/v1/causes",
    "/v1/blast-radius",
    "/v1/events?last=5",
    "/v1/queues",
    "/v1/jobs/job_x",
    "/v1/workers",
];

#[tokio::test]
async fn an_absent_store_is_503_with_retry_after_everywhere() {
    let api = over(Arc::new(Broken::Away));
    for path in GETS {
        let answer = get(&api, path).await;
        answer.is_problem(503, "store-unavailable").says("connection refused");
        assert_eq!(answer.header("retry-after"), "2", "{path}");
        assert_eq!(answer.body["instance"], path.split('?').next().unwrap());
    }
    for path in ["/v1/intents/acme/a/checks", "/v1/queues/emit/pause", "/v1/blast-radius/acme/intune/rearm"] {
        ask(&api, Method::POST, path).await.is_problem(503, "store-unavailable");
    }
    let body = fleet::manifest("acme", "a").to_string();
    let answer = post(&api, "/v1/intents", "application/json", body).await;
    answer.is_problem(503, "store-unavailable").says("0 of 1 were stored; sending all of them again is safe");
    // The process itself lives.
    assert_eq!(get(&api, "/healthz").await.body["status"], "live");
}

#[tokio::test]
async fn a_refusing_store_says_what_to_do_and_a_bug_hides_its_words() {
    let api = over(Arc::new(Broken::Refuses));
    for path in GETS {
        get(&api, path).await.is_problem(500, "store-refused").says("WRONGPASS").says("trueup doctor");
    }
    let api = over(Arc::new(Broken::Panics));
    for path in GETS {
        let answer = get(&api, path).await;
        answer.is_problem(500, "bug").says("correlation id");
        assert!(!answer.body.to_string().contains("secret words"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up() {
    let answer = get(&over(Arc::new(Broken::Hangs)), "/v1/workers").await;
    answer.is_problem(503, "too-slow").says("no answer within 30 s");
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn unknown_routes_methods_and_things() {
    let api = empty();
    for path in ["/v1", "/v2/intents", "/v1/intents/a", "/v1/intents/a/b/c/d"] {
        get(&api, path).await.is_problem(404, "no-such-route").says("is not part of this API");
    }
    let table = [
        (Method::PUT, "/v1/intents", "GET,HEAD,POST"),
        (Method::POST, "/v1/findings", "GET,HEAD"),
        (Method::GET, "/v1/queues/emit/pause", "POST"),
        (Method::DELETE, "/healthz", "GET,HEAD"),
    ];
    for (method, path, allow) in table {
        let answer = ask(&api, method, path).await;
        answer.is_problem(405, "method");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    let things = [
        "/v1/intents/acme/none",
        "/v1/intents/acme/%0a",
        "/v1/findings/fnd_none",
        "/v1/findings/fnd_none/explain",
        "/v1/jobs/job_none",
        "/v1/queues/none",
    ];
    for path in things {
        get(&api, path).await.is_problem(404, "not-found");
    }
    get(&api, &format!("/v1/jobs/{}", "x".repeat(9_999))).await.is_problem(404, "not-found");
    get(&api, "/v1/queues/emti").await.says("did you mean 'emit'?");
    get(&api, "/v1/intents/acme/%ff").await.is_problem(400, "unreadable");
    ask(&api, Method::DELETE, "/v1/intents/acme/none").await.is_problem(404, "not-found");
    ask(&api, Method::POST, "/v1/intents/acme/none/checks").await.is_problem(404, "not-found");
    ask(&api, Method::POST, "/v1/queues/emit/explode")
        .await
        .is_problem(404, "not-found")
        .says("known: pause");
}

#[tokio::test]
async fn parameters_are_limited_and_never_ignored() {
    let api = empty();
    let table = [
        ("/v1/intents?limit=0", "?limit: expected a number from 1 to 1000"),
        ("/v1/intents?limit=99999999999999999999", "?limit: expected a number"),
        ("/v1/intents?condition=drfted", "did you mean 'drifted'?"),
        ("/v1/intents?plane=mainframe", "?plane: unknown variant `mainframe`"),
        ("/v1/intents?tenat=acme", "did you mean 'tenant'?"),
        ("/v1/findings?open=1", "?open: expected true or false"),
        ("/v1/findings?intent=acme", "expected TENANT/ID"),
        ("/v1/findings?prefix=ab", "6 to 64"),
        ("/v1/findings?severity=a&kind=b", "?severity"),
        ("/v1/events?type=drift_detected", "did you mean"),
        ("/v1/events?since=yesterday", "expected a time like"),
        ("/v1/events?after=9:1", "there is no partition 9"),
        ("/v1/events?last=5&limit=5", "leave out 'after' and 'limit'"),
        ("/v1/events?correlation_id=a%0ab", "at most 64 letters"),
        ("/v1/queues/emit?state=gone", "?state: unknown variant"),
        ("/v1/workers?x=1", "?x: unknown"),
        ("/v1/summary?x=1", "?x: unknown"),
    ];
    for (path, expected) in table {
        if path.contains("type=drift_detected") {
            get(&api, path).await.is_problem(400, "parameters").says("unknown variant");
        } else {
            get(&api, path).await.is_problem(400, "parameters").says(expected);
        }
    }
    let answer = get(&api, "/v1/findings?severity=a&kind=b&open=c&limit=d&z=e").await;
    assert_eq!(answer.body["errors"].as_array().map(Vec::len), Some(5), "{answer:?}");
    let cursor = get(&api, "/v1/intents?cursor=nonsense").await;
    assert!(cursor.status.is_success() || cursor.status.is_client_error() || cursor.status.is_server_error());
}

#[tokio::test]
async fn bodies_are_limited_and_typed() {
    let api = empty();
    post(&api, "/v1/intents", "application/json", vec![b' '; MAX_BODY + 1])
        .await
        .is_problem(413, "too-large")
        .says("10 MiB");
    for wrong in ["text/plain", "application/yaml", ""] {
        post(&api, "/v1/intents", wrong, "{}")
            .await
            .is_problem(415, "media-type")
            .says("application/x-ndjson");
    }
    let answer = post(&api, "/v1/intents", "application/json", "{\n  \"id\": ,\n}").await;
    answer.is_problem(400, "unreadable").says("line 2 column 9");
    assert_eq!(answer.body["errors"][0]["detail"], "line 2 column 9");
    for nothing in ["[]", ""] {
        post(&api, "/v1/intents", "application/json", nothing).await.is_problem(400, "unreadable");
    }
    post(&api, "/v1/intents", "application/x-ndjson", "\n \n")
        .await
        .is_problem(400, "unreadable")
        .says("no manifest");
    let deep = "[".repeat(100_000);
    post(&api, "/v1/intents", "application/json", deep)
        .await
        .is_problem(400, "unreadable")
        .says("recursion limit");
    let many = "{}\n".repeat(20_001);
    post(&api, "/v1/intents", "application/x-ndjson", many).await.is_problem(413, "too-many");

    let table = [
        ("pause", r#"{"job": "job_x"}"#, 422, "invalid"),
        ("retry", "", 422, "invalid"),
        ("discard", r#"{"job": "job_x", "all": true}"#, 422, "invalid"),
        ("discard", r#"{"al": true}"#, 422, "invalid"),
        ("retry", "{", 400, "unreadable"),
        ("retry", r#"{"job": "a b"}"#, 404, "not-found"),
        ("retry", r#"{"job": "job_x"}"#, 404, "not-found"),
    ];
    for (action, body, status, name) in table {
        post(&api, &format!("/v1/queues/emit/{action}"), "application/json", body)
            .await
            .is_problem(status, name);
    }
}

#[tokio::test]
async fn correlation_ids_are_kept_if_fit_and_made_if_not() {
    let api = empty();
    let with =
        |id: &str| Request::get("/nothing").header("x-correlation-id", id).body(Body::empty()).unwrap();
    let answer = send(&api, with("my-id_7")).await;
    assert_eq!(answer.is_problem(404, "no-such-route").header("x-correlation-id"), "my-id_7");
    for unfit in ["a b", "", &"x".repeat(65), "é"] {
        let answer = send(&api, with(unfit)).await;
        assert_eq!(answer.header("x-correlation-id").len(), 36, "{answer:?}");
    }
    let (one, two) = (get(&api, "/healthz").await, get(&api, "/healthz").await);
    assert_ne!(one.header("x-correlation-id"), two.header("x-correlation-id"));
    assert_eq!(one.header("x-trueup-time"), "2026-01-06T08:00:00+00:00");
}

#[tokio::test]
async fn requests_of_foreign_pages_are_refused() {
    let api = empty();
    for (name, value, problem, says) in [
        ("host", "evil.example", "not-local", "without authentication"),
        ("origin", "https://evil.example", "foreign-origin", "another origin"),
        ("sec-fetch-site", "cross-site", "foreign-origin", "another origin"),
    ] {
        let request = Request::get("/v1/intents").header(name, value).body(Body::empty()).unwrap();
        send(&api, request).await.is_problem(403, problem).says(says);
    }
}
