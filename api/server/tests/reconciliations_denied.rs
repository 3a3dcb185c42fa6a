//! Bodies with many lines that may not be asked for: what they cost.
#![expect(clippy::unwrap_used, reason = "a test: what must not fail is unwrapped")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use common::{Answer, fleet, send};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use trueup_server::identity::{Bootstrap, Identity, Policies};
use trueup_server::{ApiState, router};

const FIRST: &str = "0123456789abcdef0123456789abcdef";

/// Counts the log lines of denials.
#[derive(Clone, Default)]
struct Denials(Arc<AtomicUsize>);

impl Visit for Denials {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let denied = field.name() == "message" && format!("{value:?}") == "denied";
        self.0.fetch_add(usize::from(denied), Ordering::Relaxed);
    }
}

impl Subscriber for Denials {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What somebody who may read acme, and not more, is answered to these lines.
async fn viewer_sends(lines: String) -> Answer {
    let (store, clock) = fleet::empty(4);
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "x"), fleet::intent("zeta", "x")]).await;
    let identity =
        Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(FIRST).unwrap()));
    let api = router(ApiState::new(store, Arc::new(clock)).with_identity(identity));
    let post = async |key: &str, path: &str, media: &str, body: String| {
        let request = Request::post(path).header("authorization", format!("Bearer {key}"));
        send(&api, request.header("content-type", media).body(Body::from(body)).unwrap()).await
    };
    let wanted = json!({"label": "test", "grants": ["acme:viewer"]}).to_string();
    let made = post(FIRST, "/v1/keys", "application/json", wanted).await;
    let key = made.body["key"].as_str().unwrap();
    post(key, "/v1/reconciliations", "application/x-ndjson", lines).await
}

#[tokio::test]
async fn a_denial_is_decided_once_for_all_lines_of_a_tenant() {
    let denials = Denials::default();
    let _counted = tracing::subscriber::set_default(denials.clone());
    let answer = viewer_sends("\"acme/x\"\n\"zeta/x\"\n".repeat(1_000)).await;
    answer.is_problem(422, "invalid").says("none of the 2000");
    let told = |n: usize| answer.body["errors"][n]["detail"].as_str().unwrap();
    assert!(told(0).contains("lacks the permission 'reconcile' on tenant 'acme'"), "{}", told(0));
    assert!(told(1).contains("zeta/x: there is no such intent"), "{}", told(1));
    assert_eq!(denials.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn tenants_are_counted_before_anything_is_decided_about_them() {
    let lines = |n: usize| (0..n).map(|n| format!("\"t{n}/x\"\n")).collect::<String>();
    viewer_sends(lines(64)).await.is_problem(422, "invalid").says("none of the 64");
    viewer_sends(lines(65)).await.is_problem(413, "too-many").says("64 tenants");
}
