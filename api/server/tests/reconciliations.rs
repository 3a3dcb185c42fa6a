//! Reconciliations, idempotency keys and runs over the router.
#![expect(clippy::unwrap_used, reason = "a test: what must not fail is unwrapped")]

mod common;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use common::fleet;
use common::{Answer, ask, get, post, send};
use serde_json::{Value, json};
use std::sync::Arc;
use trueup_engine::Store;
use trueup_engine::memory::MemoryStore;
use trueup_engine::store::{JobState, NewJob};
use trueup_model::job::{Check, Query, Span};
use trueup_model::{IntentKey, Job, Queue, StepName};
use trueup_server::{ApiState, router};

/// Tenants acme (40, the last one paused), zeta (3).
async fn world() -> (Router, Arc<MemoryStore>) {
    let (store, clock) = fleet::empty(4);
    let mut all: Vec<_> = (0..40).map(|n| fleet::intent("acme", &format!("i{n:02}"))).collect();
    all.extend((0..3).map(|n| fleet::intent("zeta", &format!("z{n}"))));
    all[39].status = trueup_model::Status::Paused;
    for (n, intent) in all.iter_mut().enumerate() {
        intent.labels.insert("even".into(), (n % 2 == 0).to_string());
    }
    fleet::apply(store.as_ref(), &all).await;
    (router(ApiState::new(store.clone(), Arc::new(clock))), store)
}

async fn sweeps(store: &MemoryStore) -> Vec<Value> {
    let queue = Queue::new(StepName::Sweep, None).unwrap();
    store.jobs(queue, JobState::Ready, 1_000).await.unwrap().into_iter().map(|j| j.payload).collect()
}

/// Intents that sweeps name, sorted.
async fn swept(store: &MemoryStore) -> Vec<String> {
    let of = |p: &Value| p["only"].as_array().cloned().unwrap_or_default();
    let all = sweeps(store).await.iter().flat_map(of).collect::<Vec<_>>();
    let mut names: Vec<String> = all.iter().map(|n| n.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

async fn ask_for(api: &Router, what: Value) -> Answer {
    post(api, "/v1/reconciliations", "application/json", what.to_string()).await
}

#[tokio::test]
async fn one_many_or_a_tenant() {
    let named: Vec<String> = (0..10).map(|n| format!("acme/i{n:02}")).collect();
    let even: Vec<String> = (0..39).step_by(2).map(|n| format!("acme/i{n:02}")).collect();
    let all: Vec<String> = (0..39).map(|n| format!("acme/i{n:02}")).collect();
    let table = [
        (json!({"intent": "acme/i03"}), vec!["acme/i03".to_owned()]),
        (json!({"intents": named}), named.clone()),
        (json!({"intents": ["zeta/z1", "acme/i01", "zeta/z1"]}), vec!["acme/i01".into(), "zeta/z1".into()]),
        (json!({"tenant": "acme"}), all),
        (json!({"tenant": "acme", "selector": "even=true"}), even),
    ];
    for (what, expected) in table {
        let (api, store) = world().await;
        let answer = ask_for(&api, what.clone()).await;
        assert_eq!(answer.status.as_u16(), 202, "{what}: {answer:?}");
        assert_eq!(answer.body["accepted"], expected.len(), "{what}");
        assert_eq!(swept(&store).await, expected, "{what}");
        for payload in sweeps(&store).await {
            let only: Vec<IntentKey> = serde_json::from_value(payload["only"].clone()).unwrap();
            assert!(only.iter().all(|k| json!(k.partition(4)) == payload["partition"]), "{what}");
            assert_eq!(payload["correlation_id"], answer.body["correlation_id"]);
        }
        assert_eq!(answer.body["correlation_id"], answer.header("x-correlation-id"));

        let id = answer.body["id"].as_str().unwrap();
        let view = get(&api, &format!("/v1/reconciliations/{id}")).await.body;
        assert_eq!((&view["done"], &view["progress"]["waiting"]), (&json!(false), &json!(expected.len())));
        let events = get(&api, "/v1/events?type=RECONCILIATION_REQUESTED").await.body;
        assert_eq!(events["items"].as_array().unwrap().len(), 1);
        assert_eq!(events["items"][0]["event_data"]["reconciliation"], id);
        assert_eq!(events["items"][0]["actor"], "api:local");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_with_its_reason() {
    let (api, store) = world().await;
    ask_for(&api, json!({"intent": "acme/none"})).await.is_problem(404, "not-found");
    ask_for(&api, json!({"tenant": "nobody"})).await.is_problem(404, "not-found");
    ask_for(&api, json!({"intent": "acme/i39"})).await.is_problem(409, "not-reconciled").says("is PAUSED");
    let nothing = json!({"tenant": "acme", "selector": "even=maybe"});
    ask_for(&api, nothing).await.is_problem(422, "nothing-matches").says("none of the 40");
    let wrong = json!({"intents": ["acme/none", "acme/i39", "no key", "acme/i39"]});
    let answer = ask_for(&api, wrong).await;
    answer.is_problem(422, "invalid");
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 4);
    assert!(sweeps(&store).await.is_empty());

    let some = json!({"intents": ["acme/none", "acme/i01", "acme/i39", "no key"]});
    let answer = ask_for(&api, some).await;
    assert_eq!((answer.status.as_u16(), &answer.body["accepted"]), (202, &json!(1)));
    let refused = answer.body["refused"].as_array().unwrap().iter();
    let reasons: Vec<_> = refused.map(|r| (r["item"].as_u64().unwrap(), r["reason"].clone())).collect();
    let expected = [(1, "not-found"), (3, "not-reconciled"), (4, "invalid")];
    assert_eq!(reasons, expected.map(|(n, r)| (n, json!(r))));
    assert_eq!(swept(&store).await, ["acme/i01"]);
}

#[tokio::test]
async fn lines_are_answered_one_by_one() {
    let (api, store) = world().await;
    let lines = "\"acme/i01\"\n{\"intent\":\"acme/none\"}\n\n\"acme/i02\"\nnonsense\n";
    let answer = post(&api, "/v1/reconciliations", "application/x-ndjson", lines).await;
    assert_eq!(answer.status.as_u16(), 202);
    let expected = json!([
        {"line": 1, "accepted": true}, {"line": 2, "accepted": false, "reason": "not-found"},
        {"line": 4, "accepted": true}, {"line": 5, "accepted": false, "reason": "invalid"},
    ]);
    assert_eq!(answer.body["results"], expected);
    assert_eq!(swept(&store).await, ["acme/i01", "acme/i02"]);
}

#[tokio::test]
async fn a_large_tenant_is_stored_in_chunks() {
    let (store, clock) = fleet::empty(3);
    let all: Vec<_> = (0..2_000).map(|n| fleet::intent("big", &format!("i{n:04}"))).collect();
    for some in all.chunks(256) {
        fleet::apply(store.as_ref(), some).await;
    }
    let api = router(ApiState::new(store.clone(), Arc::new(clock)));
    let answer = ask_for(&api, json!({"tenant": "big"})).await;
    assert_eq!(answer.body["accepted"], 2_000);
    assert_eq!(swept(&store).await.len(), 2_000);
    assert!(sweeps(&store).await.iter().all(|p| p["only"].as_array().unwrap().len() <= 256));
    let id = answer.body["id"].as_str().unwrap();
    let view = get(&api, &format!("/v1/reconciliations/{id}?wait=0s")).await.body;
    assert_eq!(view["progress"]["waiting"], 2_000);
}

#[tokio::test]
async fn they_are_listed_newest_first_and_by_tenant() {
    let (api, _) = world().await;
    for intent in ["acme/i00", "zeta/z0", "acme/i01"] {
        ask_for(&api, json!({"intent": intent})).await;
    }
    let tenants = |body: Value| -> Vec<Value> {
        body["items"].as_array().unwrap().iter().map(|r| r["tenants"][0].clone()).collect()
    };
    assert_eq!(tenants(get(&api, "/v1/reconciliations").await.body).len(), 3);
    assert_eq!(tenants(get(&api, "/v1/reconciliations?tenant=zeta").await.body), ["zeta"]);
    get(&api, "/v1/reconciliations/rec_none").await.is_problem(404, "not-found").says("24 h");
    get(&api, "/v1/reconciliations/rec_none?wait=31s").await.is_problem(400, "parameters").says("30s");
}

fn keyed(path: &str, key: &str, body: &str) -> Request<Body> {
    let request =
        Request::post(path).header("content-type", "application/json").header("idempotency-key", key);
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn the_same_key_is_carried_out_once_and_answered_the_same() {
    let (api, store) = world().await;
    let body = r#"{"intent":"acme/i01"}"#;
    let first = send(&api, keyed("/v1/reconciliations", "key-1", body)).await;
    let again = send(&api, keyed("/v1/reconciliations", "\"key-1\"", body)).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!((first.status.as_u16(), again.header("idempotency-replayed")), (202, "true"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(first.header("x-correlation-id"), "key-1", "who names no correlation has the key for one");
    assert_eq!(again.header("x-correlation-id"), "key-1", "of all its tries");
    assert_eq!(sweeps(&store).await.len(), 1);

    let other = r#"{"intent":"acme/i02"}"#;
    let reused = send(&api, keyed("/v1/reconciliations", "key-1", other)).await;
    reused.is_problem(422, "idempotency-key-reused").says("take a new key");
    // The key belongs to the route.
    let manifest = fleet::manifest("acme", "new").to_string();
    let applied = send(&api, keyed("/v1/intents", "key-1", &manifest)).await;
    assert_eq!(applied.body["results"][0]["change"], "created");
    let applied = send(&api, keyed("/v1/intents", "key-1", &manifest)).await;
    assert_eq!(applied.body["results"][0]["change"], "created", "the answer of the first time");
    send(&api, keyed("/v1/reconciliations", "two words", body)).await.is_problem(400, "parameters");
}

/// The answer is too large to be kept, so the key is free again: 202 has to mean stored all the same.
#[tokio::test]
async fn a_key_whose_answer_was_not_kept_does_not_hide_another_request() {
    let (api, store) = world().await;
    let lines = |name: &str| format!("\"{name}\"\n").repeat(40_000);
    let ask = async |name: &str| {
        let mut request = keyed("/v1/reconciliations", "k", &lines(name));
        request.headers_mut().insert("content-type", "application/x-ndjson".parse().unwrap());
        send(&api, request).await
    };
    let (first, again) = (ask("acme/i01").await, ask("acme/i01").await);
    assert_eq!((first.status.as_u16(), again.header("idempotency-replayed")), (202, ""), "not kept");
    assert_eq!(again.body["id"], first.body["id"], "the same request is found by its id");
    assert_eq!(swept(&store).await, ["acme/i01"]);

    let other = ask("acme/i02").await;
    assert_eq!(other.status.as_u16(), 202);
    assert_ne!(other.body["id"], first.body["id"]);
    assert_eq!(swept(&store).await, ["acme/i01", "acme/i02"]);
}

#[tokio::test]
async fn a_refusal_is_judged_anew() {
    let (api, store) = world().await;
    let path = "/v1/intents/acme/late/checks";
    send(&api, keyed(path, "k", "")).await.is_problem(404, "not-found");
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "late")]).await;
    assert_eq!(send(&api, keyed(path, "k", "")).await.status.as_u16(), 202);
    assert_eq!(send(&api, keyed(path, "k", "")).await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn runs_that_go_on_are_listed_and_told() {
    let (api, store) = world().await;
    let key = IntentKey::new("acme", "i05");
    let record = store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let id = record.state.next_run(&record.intent);
    let run = trueup_model::ActiveRun {
        id: id.clone(),
        trigger: trueup_model::Trigger::Request,
        correlation_id: trueup_model::CorrelationId::parse("asked-for").unwrap(),
        started_at: fleet::start(),
    };
    let state = record.state.clone().begin(run).unwrap();
    let write = trueup_model::Write::State {
        intent: key.clone(),
        rev: record.rev,
        state: Box::new(state),
        due: None,
        ends_run: false,
    };
    let mut event = fleet::event(&key, trueup_model::EventKind::DriftDetected, 1, json!({}));
    event.correlation_id = trueup_model::CorrelationId::parse("asked-for").unwrap();
    let commit =
        trueup_model::Commit { events: vec![event], writes: vec![write], ..trueup_model::Commit::default() };
    fleet::commit(store.as_ref(), &key, "begin", commit).await;

    for query in ["", "?tenant=acme", "?intent=acme/i05", "?plane=intune&trigger=request"] {
        let runs = get(&api, &format!("/v1/runs{query}")).await.body;
        assert_eq!(runs["items"][0]["id"], id.as_str(), "{query}: {runs}");
        assert_eq!(runs["items"][0]["correlation_id"], "asked-for");
    }
    for query in ["?tenant=zeta", "?intent=acme/i06", "?trigger=schedule"] {
        assert_eq!(get(&api, &format!("/v1/runs{query}")).await.body["items"], json!([]), "{query}");
    }
    let story = get(&api, &format!("/v1/runs/{id}?intent=acme/i05")).await.body;
    assert_eq!((&story["number"], &story["active"]["trigger"]), (&json!(1), &json!("request")));
    assert_eq!(story["events"][0]["event_type"], "DRIFT_DETECTED");
    // By the name of another intent it is not there, whoever works for it.
    let check =
        Check { intent: key.clone(), run: id.clone(), target: record.intent.target, newer_than: None };
    let swept = Span { from: fleet::start(), to: fleet::start(), link: None };
    let plane = trueup_model::PlaneKind::Intune;
    let query = Job::Query(Query { tenant: "acme".into(), plane, checks: vec![check], swept });
    let queue = Queue::new(StepName::Query, Some(plane)).unwrap();
    let job = NewJob::of(trueup_model::JobId::derive(&["q"]), queue, &query, None);
    store.enqueue(key.partition(4), &[job]).await.unwrap();
    assert_eq!(get(&api, &format!("/v1/runs/{id}")).await.body["jobs"].as_array().unwrap().len(), 1);
    get(&api, &format!("/v1/runs/{id}?intent=zeta/z0")).await.is_problem(404, "not-found");
    get(&api, "/v1/runs/run_none").await.is_problem(404, "not-found").says("?intent=");
    get(&api, "/v1/runs/run_none?intent=acme/i05").await.is_problem(404, "not-found");
    assert_eq!(ask(&api, Method::POST, "/v1/runs").await.status.as_u16(), 405);
}
