//! Bearer tokens of a real issuer on this host: what is believed, and what is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;
#[path = "common/issuer.rs"]
mod issuer;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, fleet, send};
use issuer::{Issuer, Signer};
use serde_json::{Value, json};
use trueup_engine::memory::MemoryStore;
use trueup_model::{Duration, ManualClock, SharedClock};
use trueup_server::identity::{Identity, Oidc, OidcOptions, Policies};
use trueup_server::{ApiState, router};

const AUDIENCE: &str = "trueup";

fn api(issuer: &str) -> (Router, ManualClock) {
    // Whoever speaks TLS in this process uses this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (store, clock) = fleet::empty(2);
    (api_on(store, &clock, issuer), clock)
}

fn api_on(store: Arc<MemoryStore>, clock: &ManualClock, issuer: &str) -> Router {
    let options = OidcOptions {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.into(),
        grants_claim: "trueup_grants".into(),
    };
    let identity = Identity::required(Policies::shipped()).with_oidc(Some(Oidc::new(options).unwrap()));
    let shared: SharedClock = Arc::new(clock.clone());
    router(ApiState::new(store, shared).with_identity(identity))
}

async fn whoami(api: &Router, token: &str) -> Answer {
    let request = Request::get("/v1/whoami").header("authorization", format!("Bearer {token}"));
    send(api, request.body(Body::empty()).unwrap()).await
}

fn claims(issuer: &Issuer) -> Value {
    let now = fleet::start().timestamp();
    json!({
        "iss": issuer.url, "aud": AUDIENCE, "sub": "ada@example.com", "exp": now + 300, "nbf": now - 5, "iat": now - 5,
        "trueup_grants": ["acme:operator", "offline_access"],
    })
}

/// The claims with one of them changed; `null` takes it away.
fn with(issuer: &Issuer, name: &str, value: Value) -> Value {
    let mut claims = claims(issuer);
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.into(), value),
    };
    claims
}

#[tokio::test]
async fn tokens_of_every_allowed_algorithm_are_believed() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    for signer in issuer.signers() {
        let answer = whoami(&api, &signer.token(&claims(&issuer))).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", signer.algorithm());
        assert_eq!(answer.body["actor"], "api:oidc:ada@example.com");
        assert_eq!(answer.body["grants"], json!(["acme:operator"]));
    }
    assert_eq!(issuer.asked(), 1, "the keys are fetched once");
}

#[tokio::test]
async fn what_a_token_says_has_to_hold() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let signer = issuer.signers().remove(0);
    let now = fleet::start().timestamp();
    let table = [
        ("aud", json!("another"), "audience trueup"),
        ("aud", json!(["another", "third"]), "audience trueup"),
        ("aud", Value::Null, "aud"),
        ("iss", json!("https://evil.example"), "issuer"),
        ("iss", json!([issuer.url, "https://evil.example"]), "expected issuer"),
        ("iss", Value::Null, "iss"),
        ("exp", json!(now - 61), "it expired at"),
        ("exp", json!(now - 60), "it expired at"),
        ("exp", Value::Null, "exp"),
        ("exp", json!("tomorrow"), "not valid"),
        ("nbf", json!(now + 61), "compare the clocks"),
        ("sub", Value::Null, "sub"),
        ("sub", json!(""), "it names nobody"),
    ];
    for (name, value, expected) in table {
        let answer = whoami(&api, &signer.token(&with(&issuer, name, value.clone()))).await;
        answer.is_problem(401, "unauthenticated").says("not valid").says(expected);
    }
    // Clocks may be apart by a minute.
    for (name, value) in [("exp", json!(now - 59)), ("nbf", json!(now + 60)), ("aud", json!(["x", AUDIENCE]))]
    {
        let answer = whoami(&api, &signer.token(&with(&issuer, name, value.clone()))).await;
        assert_eq!(answer.status, 200, "{name} {value}: {answer:?}");
    }
    // Who is granted nothing is somebody, and may nothing.
    let nobody = whoami(&api, &signer.token(&with(&issuer, "trueup_grants", Value::Null))).await;
    assert_eq!((nobody.status.as_u16(), &nobody.body["grants"]), (200, &json!([])));
    // A name cannot break out of a line of the log.
    let evil = whoami(&api, &signer.token(&with(&issuer, "sub", json!("ada\r\nroot\u{1b}[31m")))).await;
    let actor = evil.body["actor"].as_str().unwrap();
    assert!(
        actor.starts_with("api:oidc:ada??root?[31m~") && actor.chars().all(|c| c.is_ascii_graphic()),
        "{actor}"
    );
}

#[tokio::test]
async fn a_token_ends_with_the_clock_that_decisions_use() {
    let issuer = Issuer::start().await;
    let (api, clock) = api(&issuer.url);
    let token = issuer.signers().remove(0).token(&claims(&issuer));
    clock.advance(Duration::seconds(300 + 59));
    assert_eq!(whoami(&api, &token).await.status, 200);
    clock.advance(Duration::seconds(1));
    whoami(&api, &token).await.is_problem(401, "unauthenticated").says("expired");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let claims = claims(&issuer);
    for signer in issuer.signers() {
        let token = signer.token(&claims);
        let parts: Vec<&str> = token.split('.').collect();
        let admin = issuer::part(&with(&issuer, "trueup_grants", json!(["*:admin"])));
        let header = |alg: &str| issuer::part(&json!({"alg": alg, "kid": signer.kid(), "typ": "JWT"}));
        let hmac = |alg: &str| issuer::hmac_token(&header(alg), &issuer::part(&claims), &signer.public_key());
        let critical = json!({"alg": signer.algorithm(), "kid": signer.kid(), "crit": ["exp"], "exp": 1});
        let forged = [
            // Other claims, the same signature.
            format!("{}.{admin}.{}", parts[0], parts[2]),
            // No signature.
            format!("{}.{}.", header("none"), parts[1]),
            format!("{}.{}.", header("None"), parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            // The public key as a shared secret.
            hmac("HS256"),
            // A signature of another algorithm.
            format!("{}.{}.{}", header("ES384"), parts[1], parts[2]),
            format!("{}.{}.{}", header("RS512"), parts[1], parts[2]),
            // Headers that nobody understands must be.
            signer.signed(&critical, &claims),
            "x".into(),
            "a.b.c".into(),
            "..".into(),
            token[..token.len() - 2].into(),
        ];
        for token in forged {
            whoami(&api, &token).await.is_problem(401, "unauthenticated");
        }
        assert_eq!(whoami(&api, &token).await.status, 200, "{}", signer.algorithm());
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_is_refused_under_any_name() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    for (mine, theirs) in Signer::all("evil").into_iter().zip(issuer.signers()) {
        let claims = claims(&issuer);
        whoami(&api, &mine.token(&claims)).await.is_problem(401, "unauthenticated").says("no such key");
        // Under the name of a key of the issuer.
        let header = json!({"alg": mine.algorithm(), "kid": theirs.kid()});
        whoami(&api, &mine.signed(&header, &claims)).await.is_problem(401, "unauthenticated");
        // With its own key beside it, or a place to fetch it from.
        let header = json!({"alg": mine.algorithm(), "kid": "evil-x", "jwk": mine.jwk(), "jku": "http://127.0.0.1:1/"});
        whoami(&api, &mine.signed(&header, &claims)).await.is_problem(401, "unauthenticated");
    }
    assert!(issuer.asked() <= 2, "strangers cannot make us ask: {}", issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_of_the_issuer_is_found_but_not_at_everybodys_wish() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let claims = claims(&issuer);
    assert_eq!(whoami(&api, &issuer.signers()[0].token(&claims)).await.status, 200);
    issuer.rotate("next");
    let new = issuer.signers().remove(0);
    whoami(&api, &new.token(&claims)).await.is_problem(401, "unauthenticated");
    assert_eq!(issuer.asked(), 1, "somebody just asked");
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    assert_eq!(whoami(&api, &new.token(&claims)).await.status, 200);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_said_and_nothing_is_open() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let token = issuer.signers().remove(0).token(&claims(&issuer));
    issuer.go_away();
    let answer = whoami(&api, &token).await;
    answer.is_problem(503, "issuer-unavailable").says(&issuer.url).says("ask again");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test(start_paused = true)]
async fn known_keys_are_believed_while_the_issuer_is_away_but_not_for_ever() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let token = issuer.signers().remove(0).token(&claims(&issuer));
    assert_eq!(whoami(&api, &token).await.status, 200);
    issuer.go_away();
    tokio::time::advance(std::time::Duration::from_secs(2 * 3600)).await;
    assert_eq!(whoami(&api, &token).await.status, 200);
    tokio::time::advance(std::time::Duration::from_secs(22 * 3600)).await;
    whoami(&api, &token).await.is_problem(503, "issuer-unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_keeps_nobody_waiting_whose_key_is_known() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let token = issuer.signers().remove(0).token(&claims(&issuer));
    assert_eq!(whoami(&api, &token).await.status, 200);
    issuer.hang();
    tokio::time::advance(std::time::Duration::from_secs(2 * 3600)).await;
    let began = tokio::time::Instant::now();
    // The first one has the keys asked for; the second comes while that takes its time.
    for _ in 0..2 {
        assert_eq!(whoami(&api, &token).await.status, 200);
    }
    assert_eq!(began.elapsed().as_secs(), 0, "waited for the issuer");
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_old_are_fetched_anew_behind_the_answer() {
    let issuer = Issuer::start().await;
    let (api, _) = api(&issuer.url);
    let token = issuer.signers().remove(0).token(&claims(&issuer));
    assert_eq!(whoami(&api, &token).await.status, 200);
    issuer.rotate("next");
    tokio::time::advance(std::time::Duration::from_secs(2 * 3600)).await;
    // From here on as it really passes: the fetch has its own time.
    tokio::time::resume();
    assert_eq!(whoami(&api, &token).await.status, 200, "by the keys that were known");
    let withdrawn = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while whoami(&api, &token).await.status != 401 {
            tokio::task::yield_now().await;
        }
    });
    assert!(withdrawn.await.is_ok(), "the withdrawn key is believed for ever");
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn an_issuer_is_https_or_on_this_host() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let new = |issuer: &str| {
        Oidc::new(OidcOptions { issuer: issuer.into(), audience: "a".into(), grants_claim: "g".into() })
    };
    for fine in
        ["https://login.example/realms/x", "http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:1"]
    {
        assert!(new(fine).is_ok(), "{fine}");
    }
    for wrong in
        ["http://login.example", "http://127.0.0.1.evil.example", "ftp://localhost", "login.example", ""]
    {
        assert!(new(wrong).is_err(), "{wrong}");
    }
}

/// Guards: an answer that is remembered for an idempotency key is for who may still have it.
#[tokio::test]
async fn a_remembered_answer_is_not_for_who_lost_their_grants() {
    let issuer = Issuer::start().await;
    let (store, clock) = fleet::empty(2);
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "secret-name")]).await;
    let api = api_on(store, &clock, &issuer.url);
    let signer = issuer.signers().remove(0);
    let ask = async |grants: Value| {
        let token = signer.token(&with(&issuer, "trueup_grants", grants));
        let request = Request::post("/v1/reconciliations")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", "once")
            .body(Body::from(r#"{"intents":["acme/secret-name"]}"#));
        send(&api, request.unwrap()).await
    };
    let first = ask(json!(["acme:operator"])).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = ask(json!(["acme:operator"])).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (202, "true"));
    for grants in [json!([]), json!(["globex:operator"]), json!(["acme:viewer"])] {
        let refused = ask(grants.clone()).await;
        assert!(refused.status.is_client_error(), "{grants}: {refused:?}");
        assert!(!refused.body.to_string().contains(first.body["id"].as_str().unwrap()), "{refused:?}");
    }
}
