//! What the routes answer over a small fleet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use common::{ask, fleet, get, post, send};
use serde_json::{Value, json};
use trueup_engine::{JobState, Store, memory::MemoryStore};
use trueup_model::{DriftKind, Finding, IntentKey};
use trueup_server::{ApiState, router};

async fn world() -> (Router, Arc<MemoryStore>) {
    let (store, clock) = fleet::drifted().await;
    (router(ApiState::new(store.clone(), Arc::new(clock)).with_warnings(vec!["told at start".into()])), store)
}

fn ids(list: &Value, pointer: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    let mut ids: Vec<String> =
        items.map(|i| i.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn intents_are_stored_listed_filtered_and_deleted() {
    let (api, _) = world().await;
    let table = [
        ("", vec!["drifted", "fine", "new", "scope"]),
        ("?tenant=zeta", vec!["new"]),
        ("?condition=drifted", vec!["drifted", "scope"]),
        ("?condition=drifted&tenant=zeta", vec![]),
        ("?plane=ansible", vec![]),
        ("?selector=team=browsers&tenant=zeta", vec!["new"]),
        ("?selector=team", vec!["drifted", "fine", "new", "scope"]),
        ("?selector=team=other", vec![]),
    ];
    for (query, expected) in table {
        let answer = get(&api, &format!("/v1/intents{query}")).await;
        assert_eq!(ids(&answer.body, "/intent/id"), expected, "{query}");
    }
    // Page by page, each is seen once.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&api, &format!("/v1/intents?limit=1{cursor}")).await.body;
        seen.extend(ids(&page, "/intent/id"));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["drifted", "fine", "new", "scope"]);

    assert_eq!(get(&api, "/v1/intents/acme/drifted").await.body["state"]["condition"], "drifted");
    let gone = ask(&api, Method::DELETE, "/v1/intents/acme/fine").await;
    assert_eq!((gone.status.as_u16(), &gone.body["change"]), (200, &json!("deleted")));
    ask(&api, Method::DELETE, "/v1/intents/acme/fine").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn each_item_has_its_own_result() {
    let (api, store) = world().await;
    let (good, same) = (fleet::manifest("acme", "good"), fleet::manifest("acme", "fine"));
    let mut typo = fleet::manifest("acme", "typo");
    typo["desired"]["verson"] = json!("1");
    let twice = fleet::manifest("acme", "twice");
    let lines = [
        good.to_string(),
        String::new(),
        typo.to_string(),
        "{".into(),
        same.to_string(),
        twice.to_string(),
        twice.to_string(),
    ];
    let body = lines.join("\n");

    let dry = post(&api, "/v1/intents?dry_run=true", "application/x-ndjson", body.clone()).await;
    let wet = post(&api, "/v1/intents", "application/x-ndjson", body.clone()).await;
    for (answer, dry_run) in [(&dry, true), (&wet, false)] {
        assert_eq!(answer.status.as_u16(), 207);
        assert_eq!(answer.body["dry_run"], dry_run);
        let results = answer.body["results"].as_array().unwrap();
        assert_eq!(results.len(), 6);
        let mut first = results[0].clone();
        let version = first.as_object_mut().unwrap().remove("version").unwrap();
        assert_eq!(version == 0, dry_run, "nothing has a version before it is stored");
        assert_eq!(first.as_object_mut().unwrap().remove("diff").is_some(), dry_run);
        let expected =
            json!({"item": 1, "line": 1, "intent": "acme/good", "change": "created", "generation": 1});
        assert_eq!(first, expected);
        assert_eq!((&results[1]["line"], &results[1]["pointer"]), (&json!(3), &json!("/desired/verson")));
        assert!(results[1]["error"].as_str().unwrap().contains("did you mean 'version'?"));
        assert!(results[2]["error"].as_str().unwrap().contains("not JSON"));
        assert_eq!(results[3]["change"], "unchanged");
        for n in [4, 5] {
            assert!(results[n]["error"].as_str().unwrap().contains("line 6 and line 7"), "{results:?}");
        }
    }
    assert!(store.intents(&[IntentKey::new("acme", "good")]).await.unwrap()[0].is_some());

    let atomic =
        post(&api, "/v1/intents?atomic=true", "application/x-ndjson", body.replace("good", "better")).await;
    atomic.is_problem(422, "invalid").says("4 of 6 manifests are not valid; nothing was stored");
    assert_eq!(atomic.body["errors"].as_array().map(Vec::len), Some(4));
    assert_eq!(store.intents(&[IntentKey::new("acme", "better")]).await.unwrap(), [None]);
}

#[tokio::test]
async fn one_object_an_array_and_a_change() {
    let (api, _) = world().await;
    let one =
        post(&api, "/v1/intents", "application/json; charset=utf-8", fleet::manifest("t", "one").to_string())
            .await;
    assert_eq!(one.status.as_u16(), 200);
    let mut changed = fleet::manifest("t", "one");
    changed["desired"]["version"] = json!("127.0");
    let body = json!([changed, fleet::manifest("t", "two")]).to_string();
    for dry in ["?dry_run=true", ""] {
        let many = post(&api, &format!("/v1/intents{dry}"), "application/json", body.clone()).await;
        let results = &many.body["results"];
        assert_eq!(
            (&results[0]["change"], &results[0]["generation"]),
            (&json!("changed"), &json!(2)),
            "{results}"
        );
        assert_eq!(results[1]["change"], "created");
    }
    let mut wrong = fleet::manifest("t", "one");
    wrong["plane"] = json!("mainframe");
    let answer = post(&api, "/v1/intents", "application/json", wrong.to_string()).await;
    answer.is_problem(422, "invalid");
    assert_eq!(answer.body["errors"][0]["pointer"], "/plane");
}

#[tokio::test]
async fn a_check_is_enqueued_once_per_key() {
    let (api, store) = world().await;
    let ask_with = |key: &str| {
        Request::post("/v1/intents/acme/fine/checks")
            .header("idempotency-key", key)
            .body(Body::empty())
            .unwrap()
    };
    let first = send(&api, ask_with("key-1")).await;
    assert_eq!(first.status.as_u16(), 202);
    assert_eq!(first.body["correlation_id"], "key-1");
    let again = send(&api, ask_with("key-1")).await;
    assert_eq!(again.body, first.body);
    let sweeps = store.jobs("sweep".parse().unwrap(), JobState::Ready, 10).await.unwrap();
    let ours: Vec<_> = sweeps.iter().filter(|j| j.payload["only"] == json!(["acme/fine"])).collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(get(&api, &format!("/v1/jobs/{}", ours[0].id)).await.body["state"], "ready");
    send(&api, ask_with("not a key")).await.is_problem(400, "parameters").says("Idempotency-Key");

    let mut paused = fleet::manifest("acme", "fine");
    paused["status"] = json!("PAUSED");
    post(&api, "/v1/intents", "application/json", paused.to_string()).await;
    send(&api, ask_with("key-2")).await.is_problem(409, "not-reconciled").says("is PAUSED");
}

#[tokio::test]
async fn findings_approvals_and_their_explanation() {
    let (api, _) = world().await;
    let key = IntentKey::new("acme", "drifted");
    let id = Finding::id_of(&key, DriftKind::MissingAssignment);
    let scope = Finding::id_of(&IntentKey::new("acme", "scope"), DriftKind::ScopeMismatch);
    let both = {
        let mut v = vec![id.to_string(), scope.to_string()];
        v.sort();
        v
    };
    let table = [
        (String::new(), both.clone()),
        ("?open=true&severity=high".into(), both),
        ("?open=false".into(), vec![]),
        ("?kind=scope_mismatch".into(), vec![scope.to_string()]),
        ("?verdict=automatic".into(), vec![id.to_string()]),
        ("?tenant=zeta".into(), vec![]),
        ("?intent=acme/drifted".into(), vec![id.to_string()]),
        (format!("?prefix={}", &id.as_str()[..12]), vec![id.to_string()]),
    ];
    for (query, expected) in table {
        assert_eq!(ids(&get(&api, &format!("/v1/findings{query}")).await.body, "/id"), expected, "{query}");
    }
    assert_eq!(get(&api, &format!("/v1/findings/{id}")).await.body["intent"], "acme/drifted");

    let told = get(&api, &format!("/v1/findings/{id}/explain")).await.body;
    assert_eq!(told["decided"]["reasons"][0]["rule"], "low-risk-in-lab");
    assert_eq!(told["attempts"]["made"], 1);
    assert!(told["next"]["what"].as_str().unwrap().contains("whether the last attempt worked"), "{told}");
    assert_eq!(told["next"]["at"], "2026-01-06T08:55:00Z");
    let events: Vec<&str> =
        told["events"].as_array().unwrap().iter().map(|e| e["event_type"].as_str().unwrap()).collect();
    // The event about another kind of drift is not told.
    assert_eq!(events, ["INTENT_APPLIED", "DRIFT_DETECTED", "POLICY_DECIDED"]);
    let asked = get(&api, &format!("/v1/findings/{scope}/explain")).await.body;
    assert!(asked["next"]["what"].as_str().unwrap().contains("waits for one approver"), "{asked}");

    for (query, n) in [
        ("", 1),
        ("?kind=review&state=open", 1),
        ("?kind=cab", 0),
        ("?intent=acme/scope", 1),
        ("?tenant=zeta", 0),
    ] {
        assert_eq!(
            get(&api, &format!("/v1/approvals{query}")).await.body["items"].as_array().unwrap().len(),
            n,
            "{query}"
        );
    }
}

#[tokio::test]
async fn events_are_filtered_and_followed_without_a_gap() {
    let (api, _) = world().await;
    let all = get(&api, "/v1/events?limit=1000").await.body;
    let total = all["items"].as_array().unwrap().len();
    assert!(total >= 11, "{all}");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&api, &format!("/v1/events?limit=2&after={after}")).await.body;
        if page["items"].as_array().unwrap().is_empty() {
            break;
        }
        seen.extend(ids(&page, "/event_id"));
        page["after"].as_str().unwrap().clone_into(&mut after);
    }
    seen.sort();
    assert_eq!(seen, ids(&all, "/event_id"));
    let drift = get(&api, "/v1/events?type=DRIFT_DETECTED&intent=acme/scope&last=1").await.body;
    assert_eq!(drift["items"].as_array().unwrap().len(), 1);
    assert_eq!(drift["items"][0]["event_data"]["drift_type"], "version_mismatch");
    let none = get(&api, "/v1/events?since=2030-01-01T00:00:00Z").await.body;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn queues_are_shown_and_operated() {
    let (api, store) = world().await;
    let dead = fleet::bury(store.as_ref(), 2, "worn out").await;
    let emit = |body: &Value| {
        body["items"].as_array().unwrap().iter().find(|q| q["queue"] == "emit").unwrap().clone()
    };
    assert_eq!(emit(&get(&api, "/v1/queues").await.body)["dead"], 2);
    let shown = get(&api, "/v1/queues/emit?state=dead&limit=10").await.body;
    assert_eq!((shown["depth"]["dead"].as_u64(), shown["items"].as_array().unwrap().len()), (Some(2), 2));
    assert_eq!(get(&api, "/v1/queues/emit?limit=1").await.body["items"].as_array().unwrap().len(), 1);

    ask(&api, Method::POST, "/v1/queues/emit/pause").await;
    assert_eq!(emit(&get(&api, "/v1/queues").await.body)["paused"], true);
    ask(&api, Method::POST, "/v1/queues/emit/resume").await;
    assert_eq!(emit(&get(&api, "/v1/queues").await.body)["paused"], false);

    let one = json!({"job": dead}).to_string();
    assert_eq!(post(&api, "/v1/queues/emit/retry", "application/json", one.clone()).await.body["changed"], 1);
    post(&api, "/v1/queues/emit/retry", "application/json", one).await.is_problem(409, "job-elsewhere");
    assert_eq!(
        post(&api, "/v1/queues/emit/discard", "application/json", r#"{"all":true}"#).await.body["changed"],
        1
    );
    assert_eq!(emit(&get(&api, "/v1/queues").await.body)["dead"], 0);
}

#[tokio::test]
async fn health_and_summary() {
    let (api, _) = world().await;
    assert_eq!(get(&api, "/readyz").await.body["status"], "ready");
    let health = get(&api, "/v1/health").await.body;
    assert_eq!(
        (&health["status"], &health["partitions"], &health["dead_letters"]),
        (&json!("degraded"), &json!(2), &json!(1))
    );
    let reasons = health["reasons"].to_string();
    assert!(
        reasons.contains("queue emit has 1 dead letter") && reasons.contains("told at start"),
        "{reasons}"
    );
    assert_eq!(get(&api, "/v1/workers").await.body["items"][0]["incarnation"], "host-1");

    let summary = get(&api, "/v1/summary").await.body;
    assert_eq!(summary["intents"]["by_condition"], json!({"drifted": 2, "unknown": 2}));
    assert_eq!(summary["intents"]["by_tenant"]["zeta"], json!({"unknown": 1}));
    assert_eq!(summary["intents"]["by_plane"]["intune"], json!({"drifted": 2, "unknown": 2}));
    assert_eq!(summary["intents"]["attempts_open"], 1);
    assert_eq!(summary["findings"]["open_by_kind"], json!({"missing_assignment": 1, "scope_mismatch": 1}));
    assert_eq!(summary["approvals"]["open_by_kind"], json!({"review": 1}));
    assert_eq!((&summary["complete"], &summary["counted_at_most"]), (&json!(true), &json!(200_000)));
}
