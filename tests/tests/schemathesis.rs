//! The API keeps what its OpenAPI document says: schemathesis asks a real server over a real Redis whatever the document allows,
//! and what it does not. No 5xx, no answer that is not described, no wrong data accepted.
//!
//! `TRUEUP_FUZZ=full` (as `make fuzz` sets it) asks much more, with a new seed. Otherwise the seed is fixed and the time bounded.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::process::Command;
use std::sync::Arc;

use trueup_boot::embedded::{Options, Redis};
use trueup_engine::store::{Ended, NewJob};
use trueup_engine::{By, Incarnation, RedisOptions, RedisStore, Store};
use trueup_model::job::Sweep;
use trueup_model::{Clock as _, CorrelationId, Job, JobId, Outcome, Partition, Queue, StepName, SystemClock};
use trueup_server::ApiState;
use trueup_tests::world::intent;

/// Some intents of two tenants, and a dead job.
async fn furnish(store: &dyn Store) {
    let now = SystemClock.now();
    let by = By { actor: "test".into(), correlation_id: CorrelationId::derive(&["furnish"]), now };
    let intents: Vec<_> = (0..20).map(|n| intent(["acme", "globex"][n % 2], &format!("i{n:02}"))).collect();
    store.apply(&intents, &by).await.unwrap();
    let (p, who, queue) =
        (Partition(0), Incarnation("host-1".into()), Queue::new(StepName::Emit, None).unwrap());
    let id = JobId::derive(&["dead"]);
    let job = Job::Sweep(Sweep { partition: p, only: None, correlation_id: None });
    store.beat(p, &who).await.unwrap();
    store.enqueue(p, &[NewJob::of(id.clone(), queue, &job, None)]).await.unwrap();
    store.lease(p, &who, &[(queue, 1)], now).await.unwrap();
    let outcome = Outcome::Dead { because: "an example".into() };
    store.commit(p, &who, &[Ended { job: id, queue, outcome, traceparent: None }]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_keeps_what_its_document_says() {
    let redis = Redis::temporary(Options::default()).await.unwrap();
    let options =
        RedisOptions { partitions: Some(4), ..RedisOptions::new(redis.url(), Arc::new(SystemClock)) };
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(options).await.unwrap());
    furnish(store.as_ref()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = ApiState::new(store, Arc::new(SystemClock));
    let server = tokio::spawn(trueup_server::serve(listener, state, std::future::pending()));

    let dir = tempfile::tempdir().unwrap();
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis");
    let config = format!("{beside}/schemathesis.toml");
    let full = std::env::var("TRUEUP_FUZZ").is_ok_and(|v| v == "full");
    let more: &[&str] =
        if full { &["--max-examples=300"] } else { &["--max-examples=5", "--seed=4711", "--no-shrink"] };
    let mut command = Command::new("schemathesis");
    command
        .args(["--config-file", &config, "run", &format!("{url}/openapi.json"), "--checks=all"])
        .env("PYTHONPATH", beside)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "ndjson")
        .args(["--generation-database=none", "--warnings=off", "--no-color", "--workers=2"])
        // The streams never end, and say so by their media type; the board and the page are not the API's.
        .args(["--exclude-path=/v1/events/stream", "--request-timeout=40", "--continue-on-failure"])
        .args(more)
        .current_dir(dir.path());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let ran =
        ran.unwrap_or_else(|e| panic!("schemathesis cannot be started ({e}); `make tools` installs it"));
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(!server.is_finished(), "the server ended");
    server.abort();
    assert!(ran.status.success(), "{out}\n{err}");
    // It must have asked, not only started.
    assert!(out.contains("No issues found"), "{out}\n{err}");
}
