//! Who may ask, and what: keys, roles, denials, and what a web page or a liar cannot do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use common::broken::Broken;
use common::{Answer, fleet, send};
use serde_json::{Value, json};
use trueup_engine::Store;
use trueup_engine::memory::MemoryStore;
use trueup_model::{Duration, EventKind, ManualClock, SharedClock};
use trueup_server::identity::{Bootstrap, Identity, Policies};
use trueup_server::{ApiState, router};

const FIRST: &str = "0123456789abcdef0123456789abcdef";

/// An API where everybody proves who they are, and its first key.
struct Closed {
    api: Router,
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

fn over(store: Arc<dyn Store>, clock: &ManualClock) -> Router {
    let shared: SharedClock = Arc::new(clock.clone());
    let identity =
        Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(FIRST).unwrap()));
    router(ApiState::new(store, shared).with_identity(identity))
}

async fn closed() -> Closed {
    let (store, clock) = fleet::drifted().await;
    Closed { api: over(store.clone(), &clock), store, clock }
}

async fn call(api: &Router, key: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    send(api, request.body(body).unwrap()).await
}

impl Closed {
    async fn get(&self, key: &str, path: &str) -> Answer {
        call(&self.api, key, Method::GET, path, None).await
    }
    async fn make(&self, by: &str, grants: &[&str]) -> Answer {
        let body = json!({"label": "test", "grants": grants});
        call(&self.api, by, Method::POST, "/v1/keys", Some(body)).await
    }
    /// A key with these grants.
    async fn key(&self, grants: &[&str]) -> (String, String) {
        let made = self.make(FIRST, grants).await;
        assert_eq!(made.status, 201, "{made:?}");
        (made.body["id"].as_str().unwrap().into(), made.body["key"].as_str().unwrap().into())
    }
    async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        call(&self.api, key, Method::POST, path, Some(body)).await
    }
    async fn delete(&self, key: &str, path: &str) -> Answer {
        call(&self.api, key, Method::DELETE, path, None).await
    }
}

#[tokio::test]
async fn without_proof_nothing_is_answered_but_whether_it_lives() {
    let c = closed().await;
    for path in ["/v1/intents", "/v1/whoami", "/metrics", "/v1/health", "/nowhere", "/v1/keys"] {
        let answer = c.get("", path).await;
        answer.is_problem(401, "unauthenticated").says("Authorization: Bearer");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="trueup""#, "{path}");
    }
    assert_eq!(c.get("", "/healthz").await.status, 200);
    assert_eq!(c.get("", "/openapi.json").await.status, 200);
    let page = Request::get("/v1/intents").header("accept", "text/html").body(Body::empty()).unwrap();
    assert!(send(&c.api, page).await.header("www-authenticate").starts_with("Basic "));
}

#[tokio::test]
async fn wrong_keys_are_refused_and_look_alike() {
    let c = closed().await;
    let (id, key) = c.key(&["acme:viewer"]).await;
    let secret = key.rsplit('_').next().unwrap();
    let other = if secret.starts_with('0') { "1" } else { "0" };
    let wrong = [
        format!("tuk_{id}_{other}{}", &secret[1..]),
        format!("tuk_{}_{secret}", "0".repeat(16)),
        format!("tuk_{id}_"),
        format!("tuk_{id}_{secret}0"),
        "tuk_".into(),
        "tuk___".into(),
        FIRST.to_uppercase(),
    ];
    for key in &wrong[..6] {
        c.get(key, "/v1/whoami")
            .await
            .is_problem(401, "unauthenticated")
            .says("unknown, revoked or mistyped");
    }
    c.get(&wrong[6], "/v1/whoami").await.is_problem(401, "unauthenticated").says("they begin with tuk_");
    assert_eq!(c.get(&key, "/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn whoami_says_who_and_what() {
    let c = closed().await;
    let (id, key) = c.key(&["acme:operator", "globex:viewer"]).await;
    let me = c.get(&key, "/v1/whoami").await.body;
    assert_eq!(me["actor"], format!("api:key:{id}"));
    assert_eq!(me["permissions"]["acme"], json!(["read", "write-intents", "reconcile"]));
    assert_eq!(me["permissions"]["globex"], json!(["read"]));
    let first = c.get(FIRST, "/v1/whoami").await.body;
    assert_eq!((&first["actor"], &first["grants"]), (&json!("api:key:bootstrap"), &json!(["*:admin"])));
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("anybody:{key}"));
    let request = Request::get("/v1/whoami").header("authorization", format!("Basic {basic}"));
    assert_eq!(send(&c.api, request.body(Body::empty()).unwrap()).await.body, me);
}

#[tokio::test]
async fn denials_say_what_is_missing_where_and_who_has_it() {
    let c = closed().await;
    let (id, viewer) = c.key(&["acme:viewer"]).await;
    let table = [
        (
            Method::POST,
            "/v1/intents",
            Some(fleet::manifest("acme", "new")),
            "'write-intents' on tenant 'acme'",
            "operator, admin",
        ),
        (Method::POST, "/v1/queues/emit/pause", None, "'operate' on the fleet", "operator, admin"),
        (Method::GET, "/v1/queues", None, "'read-fleet' on the fleet", "viewer, operator, approver, admin"),
        (
            Method::POST,
            "/v1/blast-radius/acme/intune/rearm",
            None,
            "'rearm' on tenant 'acme'",
            "approver, admin",
        ),
        (
            Method::POST,
            "/v1/keys",
            Some(json!({"label": "x", "grants": ["acme:viewer"]})),
            "'administer' on tenant 'acme'",
            "comes with admin",
        ),
    ];
    for (method, path, body, missing, roles) in table {
        let answer = call(&c.api, &viewer, method, path, body).await;
        answer.is_problem(403, "forbidden").says(missing).says(roles).says(&format!("api:key:{id} lacks"));
    }
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let c = closed().await;
    let (_, admin) = c.key(&["acme:admin"]).await;
    assert_eq!(c.make(&admin, &["acme:operator"]).await.status, 201);
    c.make(&admin, &["globex:viewer"]).await.is_problem(403, "forbidden").says("tenant 'globex'");
    c.make(&admin, &["acme:viewer", "*:viewer"]).await.is_problem(403, "forbidden").says("the fleet");
    // Keys of others are not there.
    let (both, _) = c.key(&["acme:viewer", "globex:viewer"]).await;
    c.delete(&admin, &format!("/v1/keys/{both}")).await.is_problem(404, "not-found");
    c.post(&admin, &format!("/v1/keys/{both}/rotate"), json!({})).await.is_problem(404, "not-found");
    let listed = c.get(&admin, "/v1/keys").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(c.get(FIRST, "/v1/keys").await.body["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stored_nowhere() {
    let c = closed().await;
    let (id, key) = c.key(&["acme:viewer"]).await;
    let secret = key.rsplit('_').next().unwrap();
    let stored = serde_json::to_string(&c.store.credentials().credential(&id).await.unwrap()).unwrap();
    let listed = c.get(FIRST, "/v1/keys").await.body.to_string();
    let events = c.store.last_events(&Default::default(), 100).await.unwrap();
    for text in [stored, listed, format!("{events:?}")] {
        assert!(text.contains(&id) && !text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_rotated_key_has_its_grace_and_a_revoked_one_none() {
    let c = closed().await;
    let (id, old) = c.key(&["acme:viewer"]).await;
    assert_eq!(c.get(&old, "/v1/whoami").await.status, 200);
    let rotated = c.post(FIRST, &format!("/v1/keys/{id}/rotate"), json!({"grace_s": 600})).await;
    let new = rotated.body["key"].as_str().unwrap().to_owned();
    for key in [&old, &new] {
        assert_eq!(c.get(key, "/v1/whoami").await.status, 200);
    }
    c.clock.advance(Duration::seconds(600));
    c.get(&old, "/v1/whoami").await.is_problem(401, "unauthenticated");
    assert_eq!(c.get(&new, "/v1/whoami").await.status, 200);
    let at_once = c.post(FIRST, &format!("/v1/keys/{id}/rotate"), json!({})).await;
    let newest = at_once.body["key"].as_str().unwrap().to_owned();
    c.get(&new, "/v1/whoami").await.is_problem(401, "unauthenticated");
    let revoked = c.delete(FIRST, &format!("/v1/keys/{id}")).await;
    assert_eq!(revoked.body["state"], "revoked");
    c.get(&newest, "/v1/whoami").await.is_problem(401, "unauthenticated");
    c.delete(FIRST, &format!("/v1/keys/{id}")).await.is_problem(409, "key-ended");
    let events = c.store.last_events(&Default::default(), 100).await.unwrap();
    let kinds = events.iter().map(|(_, e)| e.event_type).filter(|k| k.as_str().starts_with("KEY_"));
    let kinds: Vec<EventKind> = kinds.collect();
    let expected =
        [EventKind::KeyCreated, EventKind::KeyRotated, EventKind::KeyRotated, EventKind::KeyRevoked];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let c = closed().await;
    let body = json!({"label": "short", "grants": ["acme:viewer"], "expires_in_s": 60});
    let made = c.post(FIRST, "/v1/keys", body).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    c.clock.advance(Duration::seconds(59));
    assert_eq!(c.get(&key, "/v1/whoami").await.status, 200);
    c.clock.advance(Duration::seconds(1));
    c.get(&key, "/v1/whoami").await.is_problem(401, "unauthenticated").says("expired at");
    assert_eq!(c.get(FIRST, "/v1/keys").await.body["items"][0]["state"], "expired");
}

/// Another process revokes a key: this one notices when what it remembers is too old.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_believed_for_five_seconds() {
    let c = closed().await;
    let (id, key) = c.key(&["acme:viewer"]).await;
    assert_eq!(c.get(&key, "/v1/whoami").await.status, 200);
    let elsewhere = over(c.store.clone(), &c.clock);
    let path = format!("/v1/keys/{id}");
    assert_eq!(call(&elsewhere, FIRST, Method::DELETE, &path, None).await.status, 200);
    assert_eq!(c.get(&key, "/v1/whoami").await.status, 200, "it does not know yet");
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    c.get(&key, "/v1/whoami").await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn wrong_requests_for_keys_name_every_flaw() {
    let c = closed().await;
    let body = json!({"label": " ", "grants": ["acme", "acme:root", "*:admin"], "expires_in_s": 0});
    let answer = c.post(FIRST, "/v1/keys", body).await;
    answer.is_problem(422, "invalid");
    let places: Vec<&str> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(places, ["/label", "/grants/0", "/grants/1", "/expires_in_s"]);
    c.post(FIRST, "/v1/keys", json!({"label": "x", "grants": []})).await.is_problem(422, "invalid");
    c.post(FIRST, "/v1/keys", json!({"label": "x", "grants": ["*:admin"], "role": 1}))
        .await
        .is_problem(422, "invalid");
    let (id, _) = c.key(&["acme:viewer"]).await;
    let path = format!("/v1/keys/{id}/rotate");
    c.post(FIRST, &path, json!({"grace_s": 9_999_999})).await.is_problem(422, "invalid").says("/grace_s");
}

#[tokio::test]
async fn a_store_that_is_away_lets_nobody_in() {
    let clock = ManualClock::at(fleet::start());
    let api = over(Arc::new(Broken::Away), &clock);
    let key = format!("tuk_{}_{}", "0".repeat(16), "0".repeat(64));
    let answer = call(&api, &key, Method::GET, "/v1/whoami", None).await;
    assert!(matches!(answer.status.as_u16(), 401 | 503), "{answer:?}");
    // The bootstrap key needs no store.
    assert_eq!(call(&api, FIRST, Method::GET, "/v1/whoami", None).await.status, 200);
}

#[tokio::test]
async fn pages_of_others_are_refused_even_with_a_key() {
    let c = closed().await;
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let request = Request::get("/v1/whoami")
            .header("host", "trueup.example")
            .header("authorization", format!("Bearer {FIRST}"))
            .header(name, value);
        send(&c.api, request.body(Body::empty()).unwrap()).await.is_problem(403, "foreign-origin");
    }
}

#[tokio::test]
async fn answers_carry_security_headers() {
    let c = closed().await;
    for (key, path) in [("", "/healthz"), ("", "/v1/intents"), (FIRST, "/v1/intents"), (FIRST, "/nowhere")] {
        let answer = c.get(key, path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
    let page = c.get("", "/docs/").await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
}

/// What a client says goes into headers, events and logs only if it is plain.
#[tokio::test]
async fn correlation_ids_and_agents_cannot_inject_anything() {
    let c = closed().await;
    for said in ["a b", "a\tb", "id;drop", "x\u{e9}", "<script>", &"x".repeat(65), "a%0d%0aset-cookie:x"] {
        let mut request = Request::get("/healthz").body(Body::empty()).unwrap();
        request
            .headers_mut()
            .insert("x-correlation-id", axum::http::HeaderValue::from_bytes(said.as_bytes()).unwrap());
        request.headers_mut().insert(
            "user-agent",
            axum::http::HeaderValue::from_static("evil\tagent\u{7f}".split('\u{7f}').next().unwrap()),
        );
        let answer = send(&c.api, request).await;
        let given = answer.header("x-correlation-id");
        assert!(
            given != said && given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{said}: {given}"
        );
        assert!(answer.headers.get("set-cookie").is_none());
    }
    // No header can hold a line break in the first place.
    assert!(axum::http::HeaderValue::from_bytes(b"a\r\nb").is_err());
}

#[tokio::test]
async fn other_methods_are_named_and_need_a_key_too() {
    let c = closed().await;
    call(&c.api, "", Method::PATCH, "/v1/keys", None).await.is_problem(401, "unauthenticated");
    let answer = call(&c.api, FIRST, Method::PATCH, "/v1/keys", None).await;
    answer.is_problem(405, "method");
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    assert_eq!(call(&c.api, FIRST, Method::HEAD, "/v1/keys", None).await.status, 200);
}
