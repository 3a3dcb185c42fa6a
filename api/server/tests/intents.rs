//! Intents: selectors, conditions, field ownership, dry runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, fleet, get, post, send};
use serde_json::{Value, json};
use trueup_server::{ApiState, router};

fn api() -> Router {
    let (store, clock) = fleet::empty(4);
    router(ApiState::new(store, std::sync::Arc::new(clock)))
}

async fn ask(api: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(api, request.body(Body::from(body.to_string())).unwrap()).await
}

async fn put(api: &Router, query: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let path = format!("/v1/intents/acme/firefox{query}");
    ask(api, "PUT", &path, &[headers, &[("content-type", "application/json")]].concat(), body).await
}

const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const APPLY: (&str, &str) = ("content-type", "application/apply-patch+json");

fn with(more: &[(&str, Value)]) -> Value {
    let mut tree = fleet::manifest("acme", "firefox");
    for (pointer, value) in more {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        tree.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    tree
}

#[tokio::test]
async fn lists_are_selected_by_labels_and_fields() {
    let api = api();
    let intents: Vec<Value> = [
        ("a", json!({"env": "prod", "region": "a"}), "lab", "high", "PENDING"),
        ("b", json!({"env": "prod", "region": "b", "old": ""}), "canary", "low", "PENDING"),
        ("c", json!({"env": "test"}), "lab", "low", "PAUSED"),
    ]
    .into_iter()
    .map(|(id, labels, ring, criticality, status)| {
        let mut tree = fleet::manifest("acme", id);
        (tree["labels"], tree["ring"]) = (labels, ring.into());
        (tree["criticality"], tree["status"]) = (criticality.into(), status.into());
        tree
    })
    .collect();
    assert_eq!(post(&api, "/v1/intents", "application/json", json!(intents).to_string()).await.status, 200);
    let table = [
        ("selector=env%3Dprod", "a b"),
        ("selector=env%3Dprod,!old", "a"),
        ("selector=region%20in%20(a,b)&ring=canary", "b"),
        ("selector=region%20notin%20(a)", "b c"),
        ("ring=lab", "a c"),
        ("criticality=low", "b c"),
        ("status=PAUSED", "c"),
        ("plane=jamf", ""),
        ("condition=unknown", "a b c"),
    ];
    for (query, expected) in table {
        let answer = get(&api, &format!("/v1/intents?{query}")).await;
        let items = answer.body["items"].as_array().unwrap_or_else(|| panic!("{query}: {answer:?}"));
        let mut ids: Vec<&str> = items.iter().map(|i| i["intent"]["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids.join(" "), expected, "{query}");
    }
    get(&api, "/v1/intents?selector=env%3D%3D%3Dx")
        .await
        .is_problem(400, "parameters")
        .says("?selector: at character 6 ('='): expected ',' or the end");
}

#[tokio::test]
async fn an_edit_of_what_somebody_else_changed_is_refused() {
    let api = api();
    let created = put(&api, "", &[("if-none-match", "*")], &with(&[])).await;
    assert_eq!((created.status.as_u16(), &created.body["change"]), (201, &json!("created")));
    let tag = created.header("etag").to_owned();
    assert_eq!(get(&api, "/v1/intents/acme/firefox").await.header("etag"), tag);
    put(&api, "", &[("if-none-match", "*")], &with(&[])).await.is_problem(412, "changed-meanwhile");

    let mine = with(&[("/desired/version", json!("127.0"))]);
    let changed = put(&api, "", &[("if-match", &tag)], &mine).await;
    assert_eq!((changed.status.as_u16(), &changed.body["generation"]), (200, &json!(2)));
    let newer = changed.header("etag").to_owned();
    assert_ne!(newer, tag);
    let path = "/v1/intents/acme/firefox";
    let patch = json!({"ring": "canary"});
    for answer in [
        put(&api, "", &[("if-match", &tag)], &with(&[])).await,
        ask(&api, "PATCH", path, &[("if-match", &tag), MERGE], &patch).await,
        ask(&api, "DELETE", path, &[("if-match", &tag)], &Value::Null).await,
        put(&api, "", &[("if-match", &format!("W/{newer}"))], &with(&[])).await,
    ] {
        answer.is_problem(412, "changed-meanwhile").says(&newer);
    }
    assert_eq!(get(&api, path).await.header("etag"), newer, "nothing was changed");
    put(&api, "", &[("if-match", "3")], &with(&[]))
        .await
        .is_problem(400, "parameters")
        .says("with its quotes");
    let patched = ask(&api, "PATCH", path, &[("if-match", &newer), MERGE], &patch).await;
    assert_eq!(patched.body["diff"], json!([{"field": "/ring", "before": "lab", "after": "canary"}]));
    let tag = patched.header("etag").to_owned();
    assert_eq!(ask(&api, "DELETE", path, &[("if-match", &tag)], &Value::Null).await.status, 200);
    // It never comes again.
    let again = put(&api, "", &[], &with(&[])).await;
    assert_ne!(again.header("etag"), tag);
    ask(&api, "DELETE", "/v1/intents/acme/none", &[("if-match", "*")], &Value::Null)
        .await
        .is_problem(404, "not-found");
}

#[tokio::test]
async fn somebody_elses_field_is_named_with_its_owner() {
    let api = api();
    put(&api, "?field_manager=git", &[], &with(&[])).await;
    let path = "/v1/intents/acme/firefox?field_manager=ci";
    let newer = json!({"desired": {"version": "127.0"}});
    let refused = ask(&api, "PATCH", path, &[APPLY], &newer).await;
    refused.is_problem(409, "field-conflict").says("/desired/version is owned by git with \"126.0\"");
    assert_eq!(refused.body["errors"][0]["pointer"], "/desired/version");

    let shown = ask(&api, "PATCH", &format!("{path}&force=true&dry_run=true"), &[APPLY], &newer).await;
    let change = json!({"field": "/desired/version", "before": "126.0", "after": "127.0", "owners": ["git"]});
    assert_eq!((&shown.body["dry_run"], &shown.body["diff"]), (&json!(true), &json!([change])));
    let record = get(&api, "/v1/intents/acme/firefox").await.body;
    assert_eq!(record["owners"]["/desired/version"], json!(["git"]), "nothing was stored");

    let taken = ask(&api, "PATCH", &format!("{path}&force=true"), &[APPLY], &newer).await;
    assert_eq!((taken.status.as_u16(), &taken.body["change"]), (200, &json!("changed")));
    let record = get(&api, "/v1/intents/acme/firefox").await.body;
    assert_eq!(record["owners"]["/desired/version"], json!(["ci"]));
    put(&api, "?field_manager=git", &[], &with(&[])).await.is_problem(409, "field-conflict").says("ci");
    // In bulk it is one line of many.
    let mut other = with(&[]);
    other["id"] = "other".into();
    let bulk = json!([with(&[]), other]).to_string();
    let some = post(&api, "/v1/intents?field_manager=git", "application/json", bulk.clone()).await;
    assert_eq!(some.status, 207);
    assert_eq!(some.body["results"][0]["pointer"], "/desired/version");
    assert_eq!(some.body["results"][1]["change"], "created");
    post(&api, "/v1/intents?field_manager=git&atomic=true", "application/json", bulk)
        .await
        .is_problem(409, "field-conflict");
    // Who says nothing takes nothing, and may write all the same.
    let plain = post(&api, "/v1/intents", "application/json", with(&[]).to_string()).await;
    assert_eq!(plain.body["results"][0]["change"], "changed");
    let record = get(&api, "/v1/intents/acme/firefox").await.body;
    assert_eq!(record["owners"].get("/desired/version"), None);
    assert_eq!(record["owners"]["/plane"], json!(["git"]));
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let api = api();
    put(&api, "", &[], &with(&[])).await;
    let path = "/v1/intents/acme/firefox";
    let table = [
        ("PUT", "", ("content-type", "text/plain"), with(&[]), 415, "application/json"),
        ("PUT", "", ("content-type", "application/json"), json!([]), 422, "expected an object"),
        (
            "PUT",
            "",
            ("content-type", "application/json"),
            with(&[("/id", json!("x"))]),
            422,
            "cannot be renamed",
        ),
        ("PATCH", "", APPLY, json!({}), 400, "?field_manager: needed"),
        ("PATCH", "?field_manager=a%20b", APPLY, json!({}), 400, "?field_manager: expected 1 to 64"),
        ("PATCH", "", MERGE, json!({"tenant": "other"}), 422, "cannot be renamed"),
        ("PATCH", "", MERGE, json!({"ring": "lap"}), 422, "did you mean 'lab'?"),
        ("PATCH", "", MERGE, json!(7), 422, "expected one manifest"),
        ("PATCH", "", MERGE, json!({"desired": null}), 422, "desired"),
    ];
    for (method, query, kind, body, status, expected) in table {
        let answer = ask(&api, method, &format!("{path}{query}"), &[kind], &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {query} {body}: {answer:?}");
        answer.says(expected);
    }
    ask(&api, "PATCH", "/v1/intents/acme/none", &[MERGE], &json!({})).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_dry_run_of_many_says_field_by_field_what_would_change() {
    let api = api();
    put(&api, "", &[], &with(&[])).await;
    let changed = with(&[("/labels/team", json!("others")), ("/desired/version", Value::Null)]).to_string();
    let shown = post(&api, "/v1/intents?dry_run=true", "application/json", changed).await;
    let result = &shown.body["results"][0];
    assert_eq!((&result["change"], &result["generation"]), (&json!("changed"), &json!(2)));
    let fields: Vec<_> =
        result["diff"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["/desired/version", "/labels/team"]);
}
