//! The OpenAPI document is whole, and true where that can be seen without asking for everything.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::{fleet, get, send};
use serde_json::Value;
use tower::ServiceExt as _;
use trueup_server::{ApiState, router};

fn api() -> Router {
    let (store, clock) = fleet::empty(2);
    router(ApiState::new(store, std::sync::Arc::new(clock)))
}

async fn document(api: &Router) -> Value {
    let answer = get(api, "/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.body
}

/// Method, path and operation of each.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| -> Vec<(String, String)> {
        item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect()
    };
    let all: Vec<(String, String)> = paths.iter().flat_map(of_path).collect();
    all.into_iter()
        .map(|(method, path)| {
            let operation = &paths[&path][&method];
            (method, path, operation)
        })
        .collect()
}

fn parameters<'a>(operation: &'a Value, place: &str) -> BTreeSet<&'a str> {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|p| p["in"] == place).map(|p| p["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_operation_is_described() {
    let document = document(&api()).await;
    assert_eq!(document["openapi"], "3.1.0");
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    let mut flaws = Vec::new();
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let all = operations(&document);
    assert!(all.len() > 20, "{} operations", all.len());
    for (method, path, operation) in &all {
        let place = format!("{method} {path}");
        let mut wrong = |what: &str| flaws.push(format!("{place}: {what}"));
        match operation["operationId"].as_str() {
            None => wrong("no operation_id"),
            Some(id) => {
                if let Some(other) = ids.insert(id, place.clone()) {
                    wrong(&format!("operation_id {id} is also that of {other}"));
                }
            }
        }
        if operation["summary"]
            .as_str()
            .is_none_or(|s| s.is_empty() || s.contains("GET /") || s.starts_with('`'))
        {
            wrong("no summary in words (the first line of the handler's comment)");
        }
        if !operation["tags"].as_array().is_some_and(|t| t.iter().all(|t| tags.contains(t.as_str().unwrap())))
        {
            wrong("no known tag");
        }
        let responses = operation["responses"].as_object().unwrap();
        if !responses.keys().any(|s| s.starts_with('2')) {
            wrong("no success");
        }
        for (status, response) in responses {
            let content = response["content"].as_object();
            let kinds: Vec<&String> = content.iter().flat_map(|c| c.keys()).collect();
            if status.starts_with('2') && content.is_none_or(|c| c.values().any(|c| c["schema"].is_null())) {
                wrong(&format!("{status} has no schema"));
            }
            if status.as_bytes()[0] >= b'4' && kinds != ["application/problem+json"] {
                wrong(&format!("{status} is {kinds:?} and no problem"));
            }
            if response["headers"]["x-correlation-id"].is_null() {
                wrong(&format!("{status} has no correlation id"));
            }
        }
        for status in ["400", "401", "403", "500", "503"] {
            if !responses.contains_key(status) {
                wrong(&format!("no {status}"));
            }
        }
        let named: BTreeSet<&str> =
            path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
        if named != parameters(operation, "path") {
            wrong(&format!("the path's parameters are {:?}", parameters(operation, "path")));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn each<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|v| each(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| each(v, found)),
            _ => {}
        }
    }
    let document = document(&api()).await;
    let mut found = Vec::new();
    each(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference} is not there");
    }
}

/// A route that refuses an unknown parameter says which it knows: the document must say the same.
#[tokio::test]
async fn the_parameters_are_those_that_the_code_takes() {
    let api = api();
    let document = document(&api).await;
    let mut compared = 0;
    for (method, path, operation) in operations(&document) {
        let concrete =
            path.replace("{tenant}", "acme").replace("{plane}", "intune").replace("{queue}", "emit");
        let concrete = concrete.replace("{action}", "pause").replace("{id}", "x");
        let request = Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(format!("{concrete}?zzz=1"))
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .unwrap();
        let answer = send(&api, request).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        let Some((_, known)) = detail.split_once("?zzz: unknown; known here: ") else { continue };
        let known: BTreeSet<&str> =
            known.split("; ").next().unwrap().split(", ").filter(|n| !n.is_empty()).collect();
        assert_eq!(known, parameters(operation, "query"), "{method} {path}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} routes told what they know");
}

#[tokio::test]
async fn the_selector_in_the_document_is_the_selector_in_the_code() {
    let document = document(&api()).await;
    let list = &document["paths"]["/v1/intents"]["get"]["parameters"];
    let selector = list.as_array().unwrap().iter().find(|p| p["name"] == "selector").unwrap();
    assert_eq!(selector["schema"]["pattern"], trueup_server::selector::PATTERN);
}

/// The page must work where there is no internet, and must not tell others that it is read.
#[tokio::test]
async fn the_reference_page_asks_no_other_host() {
    let api = api();
    let mut left = vec!["/docs/".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(path) = left.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let response = api.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if !(path.ends_with('/') || path.ends_with("swagger-initializer.js")) {
            continue;
        }
        let text = String::from_utf8(body.to_vec()).unwrap();
        for loads in ["src=\"", "href=\"", "url: \"", "\"url\": \""] {
            for target in text.split(loads).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(!target.contains("//"), "{path} loads {target}");
                let target = target.trim_start_matches("./");
                left.push(if target.starts_with('/') { target.into() } else { format!("/docs/{target}") });
            }
        }
        assert!(!text.contains("validator.swagger.io"), "{path}");
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(seen.contains("/docs/swagger-initializer.js") && seen.contains("/openapi.json"), "{seen:?}");
}

/// The client is written from this document, and so are other people's.
#[tokio::test]
async fn the_client_has_this_document() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../client/openapi.json");
    let mut document = document(&api()).await;
    // Whether serde_json keeps the order of keys depends on what else is built.
    document.sort_all_objects();
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("TRUEUP_RENEW").is_some() {
        std::fs::write(kept, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(kept).unwrap_or_default() == text,
        "api/client/openapi.json is not what the API serves; renew it with\n  \
         TRUEUP_RENEW=1 cargo test -p trueup-server --test openapi"
    );
}
