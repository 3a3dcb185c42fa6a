//! The ConfigMgr plane's requests and parsers against recorded exchanges and documented classes
//! (`fixtures/SOURCES.md`).

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use trueup_model::intent::Install;
use trueup_model::{EffectKey, JobId, Time};
use trueup_planes::configmgr::{parse, query, request};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/adminservice/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

/// Exchanges whose path contains this.
fn exchange(part: &str) -> Value {
    let all = fixture("observed-exchanges.json");
    let found =
        all.as_array().unwrap().iter().find(|e| e["request"]["path"].as_str().unwrap().ends_with(part));
    found.unwrap_or_else(|| panic!("no exchange '{part}'")).clone()
}

fn same_request(ours: &request::Request, theirs: &Value) {
    assert_eq!(ours.method.as_str(), theirs["method"]);
    assert_eq!(format!("/AdminService{}", ours.path), theirs["path"].as_str().unwrap());
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn new_deployment() -> Map<String, Value> {
    let key = EffectKey::of(&JobId::derive(&["j"]));
    let now: Time = "2026-01-01T00:00:00Z".parse().unwrap();
    let new = request::Deployment {
        app: "App",
        ci: 16_777_300,
        collection: "ABC00200",
        install: Install::Required,
        now,
        key: &key,
    };
    request::deploy(new).body.unwrap().as_object().unwrap().clone()
}

#[test]
fn a_deployment_as_it_was_seen_to_be_accepted() {
    let seen = exchange("/wmi/SMS_ApplicationAssignment");
    let theirs = seen["request"]["body"].as_object().unwrap();
    let ours = new_deployment();
    // Left to the site: names it knows itself, and a switch that no documentation has.
    let left: BTreeSet<&str> = ["CollectionName", "SourceSite", "SoftDeadlineEnabled"].into();
    for (field, value) in theirs.iter().filter(|(f, _)| !left.contains(f.as_str())) {
        let our = ours.get(field).unwrap_or_else(|| panic!("we do not send {field}"));
        assert_eq!(kind(our), kind(value), "{field}");
    }
    for field in [
        "ApplicationName",
        "AssignedCIs",
        "TargetCollectionID",
        "DesiredConfigType",
        "OfferTypeID",
        "AssignmentAction",
        "AssignmentType",
        "StartTime",
        "EnforcementDeadline",
    ] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    let created: parse::Created = serde_json::from_value(json!({"AssignmentID": 16_777_299})).unwrap();
    assert_eq!(seen["response"], json!({"status": 201, "fields_used": ["AssignmentID"]}));
    assert_eq!(created.id, 16_777_299);
}

/// Ours is more than what was seen: all that the documentation says must not be null.
#[test]
fn a_deployment_as_the_documentation_wants_it() {
    let classes = fixture("classes.json");
    let known = classes["SMS_ApplicationAssignment"]["properties"].as_object().unwrap();
    let ours = new_deployment();
    for (field, words) in known {
        let words: Vec<&str> = words.as_str().unwrap().split(' ').collect();
        if words.contains(&"not_null") {
            assert!(ours.contains_key(field), "{field} must not be null");
        }
        if words.contains(&"RO") && field != "ApplicationName" {
            assert!(!ours.contains_key(field), "{field} is read-only");
        }
    }
    let unknown: Vec<_> = ours.keys().filter(|f| !known.contains_key(*f)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_is_selected_is_documented() {
    let classes = fixture("classes.json");
    let mut checked = 0;
    let all = [query::deployments(), query::summaries()];
    for one in all.into_iter().chain(query::direct_members(["ABC00200"])) {
        let known = classes[one.class]["properties"].as_object().unwrap();
        for field in one.select {
            assert!(known.contains_key(*field), "{} has no {field}", one.class);
            checked += 1;
        }
        assert!(one.select.contains(&one.key), "{}: cannot go on without {}", one.class, one.key);
    }
    assert_eq!(checked, 16);
}

#[test]
fn a_deletion_as_it_was_seen() {
    let seen = exchange("/SMS_ApplicationAssignment/16777299");
    same_request(&request::undeploy(16_777_299), &seen["request"]);
    assert_eq!(seen["response"]["status"], 204);
}

#[test]
fn a_client_operation_as_it_was_seen() {
    let seen = exchange("SMS_ClientOperation.InitiateClientOperation");
    let ours = request::client_operation(8, "ABC00200", &[16_777_200]);
    same_request(&ours, &seen["request"]);
    let body = ours.body.unwrap();
    for (field, value) in seen["request"]["body"].as_object().unwrap() {
        assert_eq!(&body[field], value, "{field}");
    }
    let classes = fixture("classes.json");
    let method = &classes["SMS_ClientOperation.InitiateClientOperation"];
    for field in body.as_object().unwrap().keys() {
        assert!(method["in"][field].is_string(), "the method has no {field}");
    }
    let answer: parse::Operation =
        serde_json::from_value(json!({"OperationID": 7, "ReturnValue": 0})).unwrap();
    assert_eq!((answer.value, method["out"]["OperationID"].as_str()), (Some(7), Some("UInt32")));
}

#[test]
fn a_script_as_it_was_seen_with_one_parameter_exactly() {
    let seen = exchange("AdminService.RunScript");
    let ours = request::run_script(16_777_200, "C8AB00CF-7846-4C7C-8B92-6F43A73699E4");
    same_request(&ours, &seen["request"]);
    assert_eq!(ours.body.as_ref(), Some(&seen["request"]["body"]), "any extra property is answered with 400");
    let answer: parse::Operation = serde_json::from_value(seen["response"]["body"].clone()).unwrap();
    assert_eq!(answer.value, Some(16_777_001));
}

/// A collection as it was seen in an answer: rules are lazy, times of 1970 and 1980 mean never.
#[test]
fn a_collection_as_it_was_seen() {
    let seen = exchange("/wmi/SMS_Collection");
    let body = seen["response"]["body"].clone();
    let now: Time = "2026-11-21T00:00:00Z".parse().unwrap();
    let rules: parse::Rules = serde_json::from_value(body.clone()).unwrap();
    assert!(rules.rules.unwrap().is_empty());
    let id: parse::Collection = serde_json::from_value(body.clone()).unwrap();
    assert!(trueup_model::target::is_collection_id(&id.id));
    for (field, never) in
        [("FullEvaluationLastRefreshTime", true), ("LastMemberChangeTime", true), ("LastChangeTime", false)]
    {
        assert_eq!(parse::time(body[field].as_str(), now).is_none(), never, "{field}");
    }
}

/// Nothing was recorded that this plane does and no test above holds against it.
#[test]
fn every_exchange_is_looked_at() {
    let unused = ["AdminService.ScriptResult", "InitiateClientOperationEx", "MoveMembers"];
    let tested = [
        "/SMS_Collection",
        "/SMS_ApplicationAssignment",
        "InitiateClientOperation",
        "/SMS_ApplicationAssignment/16777299",
        "AdminService.RunScript",
    ];
    for exchange in fixture("observed-exchanges.json").as_array().unwrap() {
        let path = exchange["request"]["path"].as_str().unwrap();
        let known = tested.iter().any(|t| path.ends_with(t)) || unused.iter().any(|u| path.contains(u));
        assert!(known, "{path}");
    }
}

proptest::proptest! {
    /// Whatever a site answers, reading it ends and does not panic.
    #[test]
    fn no_input_breaks_a_parser(text in ".{0,300}") {
        let _ = serde_json::from_str::<parse::Page>(&text);
        let _ = parse::time(Some(&text), Time::UNIX_EPOCH);
        let _ = query::software([text.as_str()]).remove(0).page(Some(&json!(text)));
    }
}
