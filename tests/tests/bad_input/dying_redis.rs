//! A Redis that dies in the middle: the API says so and when to ask again, workers wait and go on, and nothing that was
//! accepted is lost.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use tower::ServiceExt as _;
use trueup_boot::embedded::{Append, Options};
use trueup_engine::JobState;
use trueup_model::{Condition, EventKind, Intent};
use trueup_server::{ApiState, router};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned, key};
use trueup_tests::fleet::world_live::{Live, SOON};
use trueup_tests::fleet::world_wait::wait_for;

async fn get(api: &axum::Router, path: &str) -> Response<Body> {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    api.clone().oneshot(request).await.expect("an answer")
}

/// As `trueup apply` sends it.
async fn post(api: &axum::Router, intents: &[Intent]) -> Response<Body> {
    let lines: Vec<String> = intents.iter().map(|i| serde_json::to_string(i).expect("JSON")).collect();
    let request = Request::post("/v1/intents").header("content-type", "application/x-ndjson");
    api.clone()
        .oneshot(request.body(Body::from(lines.join("\n"))).expect("a request"))
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_says_503_workers_wait_and_what_was_accepted_is_done() {
    // What is answered is on disk.
    let mut live = Live::start(Options { append: Append::Always, ..Options::default() }, Vec::new()).await;
    let api = router(ApiState::new(live.store.clone(), live.clock.clone()));
    for tenant in [TENANT, OTHER] {
        let app = app_id(tenant, 0);
        live.graph.tenant(tenant).mischief(&Mischief::RemoveAssignments { app }).expect("done");
    }
    let first: Vec<Intent> = (0..10).map(|n| assigned(TENANT, n)).collect();
    assert_eq!(post(&api, &first).await.status(), StatusCode::OK);

    // At once, so that it dies with runs under way.
    live.redis.crash();
    for path in ["/v1/intents", "/v1/findings", "/v1/queues", "/v1/events"] {
        let answer = get(&api, path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let second: Vec<Intent> = (0..10).map(|n| assigned(OTHER, n)).collect();
    let refused = post(&api, &second).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(live.is_working(), "no worker ends because Redis is away");

    live.redis.restart().await.expect("it comes back");
    // Asked again, as Retry-After says, until it is accepted.
    wait_for("the API is back", SOON, async || match post(&api, &second).await.status() {
        StatusCode::OK => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    for tenant in [TENANT, OTHER] {
        live.sees(&key(tenant, 0), EventKind::RemediationVerified).await;
        for n in 0..10 {
            live.becomes(&key(tenant, n), Condition::InSync).await;
        }
    }
    assert!(live.is_working());
    let dead = live.jobs(JobState::Dead).await;
    assert!(dead.is_empty(), "{dead:#?}");
    live.end().await;
}
