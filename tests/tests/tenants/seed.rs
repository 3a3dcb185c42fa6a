//! Two tenants with everything that routes can show, over real Redis and the real router.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as Real;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::budgets::{Pace, Registered};
use trueup_engine::store::Store;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::{
    ApprovalKind, Caps, Commit, DriftKind, EventKind, IntentKey, ManualClock, PlaneKind, SharedClock,
    Verdict, Write,
};
use trueup_server::identity::{Bootstrap, Identity, Policies};
use trueup_server::{ApiState, router};

use crate::fleet;

pub(crate) const FIRST: &str = "0123456789abcdef0123456789abcdef";
/// Stands in everything that is acme's, and in nothing else.
pub(crate) const MARK: &str = "burgundy";
/// How long a stream is listened to.
const LISTEN: Real = Real::from_secs(2);

pub(crate) struct Fleet {
    pub(crate) api: Router,
    pub(crate) store: Arc<dyn Store>,
    /// What stands for `{…}` in a path, by path and name.
    pub(crate) names: BTreeMap<(&'static str, &'static str), String>,
    _redis: Redis,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// An intent with drift that waits for people, a remedy that was tried, and events.
async fn drifted(store: &dyn Store, tenant: &str, mark: &str) -> IntentKey {
    let mut manifest = fleet::manifest(tenant, "app");
    manifest["labels"] = json!({"mark": mark});
    let intent = serde_json::from_value(manifest).unwrap();
    fleet::apply(store, &[intent]).await;
    let key = IntentKey::new(tenant, "app");
    let record = store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let mut found = fleet::finding(&key, DriftKind::ScopeMismatch, Verdict::Review, 60);
    found.delta[0].observed = mark.into();
    let mut state = record.state.clone();
    state.drifts.insert(found.kind, found.digest.clone());
    state.runs = 3;
    let due = state.due();
    let mut approval = fleet::approval(&found, ApprovalKind::Review);
    approval.because = vec![mark.into()];
    let writes = vec![
        Write::State { intent: key.clone(), rev: record.rev, state: Box::new(state), due, ends_run: false },
        Write::Finding(Box::new(found.clone())),
        Write::Approval(Box::new(approval)),
    ];
    let event = fleet::event(&key, EventKind::DriftDetected, 1, json!({"finding": found.id, "note": mark}));
    let commit = Commit { events: vec![event], writes, next: Vec::new() };
    fleet::commit(store, &key, "seed", commit).await;
    let caps = Caps { actions: Some(1), window_s: 3600, ..Caps::default() };
    for member in ["one", mark] {
        store.reserve(tenant, PlaneKind::Intune, &caps, member, fleet::start()).await.unwrap();
    }
    let connection = Registered {
        connection: format!("{mark}-intune"),
        tenant: tenant.into(),
        plane: PlaneKind::Intune,
        budgets: Vec::new(),
        at_most: None,
    };
    let at = Pace { now: fleet::start(), speed: 1.0 };
    store.budgets().register(&[connection], at).await.unwrap();
    key
}

impl Fleet {
    pub(crate) async fn start() -> Self {
        let redis = Redis::temporary(Options::default()).await.expect("a private Redis");
        let clock: SharedClock = Arc::new(ManualClock::at(fleet::start()));
        let options = RedisOptions { partitions: Some(4), ..RedisOptions::new(redis.url(), clock.clone()) };
        let store: Arc<dyn Store> = Arc::new(RedisStore::connect(options).await.expect("a connection"));
        let key = drifted(store.as_ref(), "acme", MARK).await;
        drifted(store.as_ref(), "globex", "turquoise").await;
        let dead = fleet::bury(store.as_ref(), 1, MARK).await;

        let identity =
            Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(FIRST).unwrap()));
        let mut state = ApiState::new(store.clone(), clock).with_identity(identity);
        state.board = true;
        let api = router(state);
        let mut fleet = Self { api, store, names: BTreeMap::new(), _redis: redis };
        let made = fleet
            .call(FIRST, "POST", "/v1/keys", Some(json!({"label": MARK, "grants": ["acme:viewer"]})))
            .await;
        let asked =
            fleet.call(FIRST, "POST", "/v1/reconciliations", Some(json!({"intent": "acme/app"}))).await;
        let record = fleet.store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
        let mut before = record.state.clone();
        before.runs = 2;
        let finding = fleet.store.findings(&key).await.unwrap().remove(0).id.to_string();
        let text = |answer: &Answer| answer.json()["id"].as_str().expect("an id").to_owned();
        let names = [
            (("/v1/keys/{id}", "id"), text(&made)),
            (("/v1/keys/{id}/rotate", "id"), text(&made)),
            (("/v1/reconciliations/{id}", "id"), text(&asked)),
            (("/v1/runs/{id}", "id"), format!("{}?intent=acme/app", before.next_run(&record.intent))),
            (("/v1/findings/{id}", "id"), finding.clone()),
            (("/v1/findings/{id}/explain", "id"), finding),
            (("/v1/jobs/{id}", "id"), dead.to_string()),
            (("/v1/workers/{id}/drain", "id"), "host-1".into()),
            (("/v1/intents/{tenant}/{id}", "id"), "app".into()),
            (("/v1/intents/{tenant}/{id}/checks", "id"), "app".into()),
        ];
        fleet.names = names.into();
        fleet
    }

    /// A key with these grants.
    pub(crate) async fn key(&self, grants: &[&str]) -> String {
        let answer =
            self.call(FIRST, "POST", "/v1/keys", Some(json!({"label": "test", "grants": grants}))).await;
        answer.json()["key"].as_str().expect("a key").to_owned()
    }

    /// The path with acme's names in it.
    pub(crate) fn filled(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (name, value) in [("tenant", "acme"), ("plane", "intune"), ("queue", "emit"), ("action", "pause")]
        {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        for ((of, name), value) in &self.names {
            if *of == template {
                path = path.replace(&format!("{{{name}}}"), value);
            }
        }
        assert!(!path.contains('{'), "say in tenants/seed.rs what stands for {{…}} in {template}");
        path
    }

    pub(crate) async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let response = self.api.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let (mut bytes, mut stream) = (Vec::new(), response.into_body().into_data_stream());
        // A stream of events does not end; what it had to say at first is enough.
        let read = async {
            while let Some(Ok(chunk)) = stream.next().await {
                bytes.extend_from_slice(&chunk);
            }
        };
        let _ = tokio::time::timeout(LISTEN, read).await;
        Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// Everything that changes leaves an event.
    pub(crate) async fn events(&self) -> usize {
        self.store.last_events(&Default::default(), 10_000).await.unwrap().len()
    }
}
