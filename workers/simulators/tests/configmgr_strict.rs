//! What the AdminService simulator refuses, and how; what it answers, and in which pages.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use trueup_model::{Duration, ManualClock, Time};
use trueup_simulators::*;

struct Rig {
    simulator: ConfigMgrSimulator,
    site: Arc<ConfigMgrSite>,
    clock: ManualClock,
    token: String,
}

fn start() -> Time {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        let clock = ManualClock::at(start());
        let mut options = ConfigMgrOptions::new(Arc::new(clock.clone()));
        options.page = 100;
        let simulator = ConfigMgrSimulator::with(options);
        let site = simulator.tenant("t");
        site.seed(&ConfigMgrSeed { apps: 250, devices: 300, devices_per_app: 2, ..Default::default() });
        let token = site.issue_token().0;
        Self { simulator, site, clock, token }
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value, usize) {
        let response = self.simulator.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default(), bytes.len())
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/AdminService/{path}"))
            .header("host", "provider")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token));
        let body = body.map_or(Body::empty(), |b| Body::from(b.to_string()));
        let (status, body, _) = self.send(request.body(body).unwrap()).await;
        (status, body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }
}

fn deployment() -> Value {
    json!({
        "AssignedCIs": [ci_id(0)], "AssignmentAction": 2, "AssignmentName": "n", "AssignmentType": 2, "DesiredConfigType": 1,
        "DPLocality": 80, "Enabled": true, "LogComplianceToWinEvent": false, "NotifyUser": false, "OfferFlags": 0,
        "OfferTypeID": 0, "Priority": 1, "RequireApproval": false, "SendDetailedNonComplianceStatus": false,
        "StartTime": "2026-01-01T00:00:00Z", "SuppressReboot": 0, "TargetCollectionID": collection_id(1),
        "UpdateSupersedence": false, "UseGMTTimes": true, "UserUIExperience": false,
    })
}

#[tokio::test]
async fn a_deployment_is_held_against_its_class() {
    let rig = Rig::new();
    let path = "wmi/SMS_ApplicationAssignment";
    let (status, made) = rig.call("POST", path, Some(deployment())).await;
    assert_eq!((status, made["AssignmentID"].is_u64()), (201, true), "{made}");
    type Change = (&'static str, Value, &'static str);
    let cases: [Change; 12] = [
        ("Assignmentname", json!("n"), "Could not find a property named 'Assignmentname'"),
        ("AssignmentUniqueID", json!("x"), "is read-only"),
        ("AssignmentID", json!(1), "is read-only"),
        ("AssignmentName", Value::Null, "expected type"),
        ("AssignedCIs", json!(17_000_000), "must be a collection"),
        ("AssignedCIs", json!(["17000000"]), "expected type"),
        ("AssignedCIs", json!([1]), "does not exist"),
        ("Enabled", json!("true"), "expected type"),
        ("DesiredConfigType", json!(3), "not a value"),
        ("OfferFlags", json!(64), "not a value"),
        ("StartTime", json!("2026-01-01"), "expected type"),
        ("TargetCollectionID", json!("NOP00001"), "does not exist"),
    ];
    for (field, value, expected) in cases {
        let mut body = deployment();
        body[field] = value;
        let (status, refused) = rig.call("POST", path, Some(body)).await;
        let said = refused["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && said.contains(expected), "{field}: {status} {refused}");
    }
    for field in deployment().as_object().unwrap().keys().filter(|f| *f != "AssignmentType") {
        let mut body = deployment();
        body.as_object_mut().unwrap().remove(field);
        let (status, refused) = rig.call("POST", path, Some(body)).await;
        assert_eq!(status, 400, "without {field}: {refused}");
    }
    assert_eq!(rig.site.writes().len(), 1, "a refused write is none");
    let id = made["AssignmentID"].to_string();
    assert_eq!(rig.call("DELETE", &format!("{path}/{id}"), None).await.0, 204);
    assert_eq!(rig.call("DELETE", &format!("{path}/{id}"), None).await.0, 404);
}

#[tokio::test]
async fn a_deployment_is_listed_after_a_while_only() {
    let rig = Rig::new();
    rig.site.mischief(&ConfigMgrMischief::VisibleAfter { seconds: 60 }).unwrap();
    let path = "wmi/SMS_ApplicationAssignment?$filter=AssignmentName%20eq%20'n'";
    rig.call("POST", "wmi/SMS_ApplicationAssignment", Some(deployment())).await;
    assert_eq!(rig.get(path).await.1["value"], json!([]));
    rig.clock.advance(Duration::seconds(60));
    let (_, seen) = rig.get(path).await;
    assert_eq!(seen["value"].as_array().unwrap().len(), 1);
    assert_eq!(seen["value"][0]["ApplicationName"], app_name(0));
}

#[tokio::test]
async fn unknown_names_are_refused() {
    let rig = Rig::new();
    let cases = [
        ("GET", "wmi/SMS_Nothing", 404),
        ("GET", "wmi/sms_collection", 404),
        ("GET", "v1.0/SMS_Collection", 404),
        ("GET", "wmi/SMS_CollectionRuleDirect", 404),
        ("PUT", "wmi/SMS_Collection", 405),
        ("DELETE", "wmi/SMS_Collection('TUP00001')", 405),
        ("GET", "wmi/SMS_Collection('TUP99999')", 404),
        ("GET", "wmi/SMS_FullCollectionMembership('TUP00001')", 400),
        ("GET", "wmi/SMS_Collection?$expand=CollectionRules", 400),
        ("GET", "wmi/SMS_Collection?top=1", 400),
        ("GET", "wmi/SMS_Collection?$top=1&$top=1", 400),
        ("GET", "wmi/SMS_Collection?$top=-1", 400),
        ("GET", "wmi/SMS_Collection?$select=collectionID", 400),
        ("GET", "wmi/SMS_Collection?$orderby=Nothing", 400),
        ("GET", "wmi/SMS_Collection?$orderby=Name%20down", 400),
        ("GET", "wmi/SMS_Collection?$filter=Nothing%20eq%201", 400),
        ("GET", "wmi/SMS_Collection?$filter=MemberCount%20eq%20'1'", 400),
        ("POST", "wmi/SMS_ClientOperation.InitiateClientOperationEx", 404),
    ];
    for (method, path, expected) in cases {
        let (status, body) = rig.call(method, path, None).await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert!(body["error"]["message"].is_string() && body["error"]["code"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn lists_have_pages_and_options() {
    let rig = Rig::new();
    for (path, total, pages) in [
        ("wmi/SMS_ApplicationAssignment?$select=AssignmentID", 250, 3),
        ("wmi/SMS_ApplicationAssignment?$select=AssignmentID&$top=150&$orderby=AssignmentID", 150, 2),
        ("wmi/SMS_ApplicationAssignment?$select=AssignmentID&$skip=240&$top=50", 10, 1),
        ("wmi/SMS_FullCollectionMembership?$filter=CollectionID%20eq%20'TUP00001'", 2, 1),
        ("wmi/SMS_G_System_WORKSTATION_STATUS", 300, 3),
        ("wmi/SMS_DeploymentSummary?$filter=FeatureType%20eq%206", 250, 3),
    ] {
        let (mut next, mut seen, mut count) = (Some(path.to_owned()), Vec::new(), 0);
        while let Some(link) = next {
            let (status, body) = rig.get(&link).await;
            assert_eq!(status, 200, "{link}: {body}");
            count += 1;
            seen.extend(body["value"].as_array().unwrap().iter().map(Value::to_string));
            next = body["@odata.nextLink"]
                .as_str()
                .map(|l| l.strip_prefix("http://provider/AdminService/").unwrap().to_owned());
        }
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), count), (total, pages), "{path}");
    }
    let (_, one) = rig.get("wmi/SMS_ApplicationAssignment(16777217)").await;
    assert_eq!(one["value"][0]["AssignedCIs"], json!([ci_id(0)]), "by key the answer is a list too: {one}");
    let (_, one) = rig.get(&format!("wmi/SMS_Collection('{}')", collection_id(1))).await;
    assert_eq!(one["value"][0]["CollectionRules"], json!([]), "{one}");
}

#[tokio::test]
async fn methods_take_exactly_their_parameters() {
    let rig = Rig::new();
    let add = format!("wmi/SMS_Collection('{}')/AdminService.AddMembershipRule", device_collection_id(0));
    let rule = |kind: &str, resource: Value| json!({"collectionRule": {"@odata.type": kind, "ResourceClassName": "SMS_R_System", "RuleName": "r", "ResourceID": resource}});
    let direct = "#AdminService.SMS_CollectionRuleDirect";
    for wrong in [
        rule("#AdminService.SMS_CollectionRuleQuery", resource_id(0).into()),
        rule(direct, "16777216".into()),
        rule(direct, 1.into()),
        json!({"collectionRule": rule(direct, resource_id(0).into())["collectionRule"], "more": 1}),
        rule(direct, resource_id(0).into())["collectionRule"].clone(),
    ] {
        assert_eq!(rig.call("POST", &add, Some(wrong.clone())).await.0, 400, "{wrong}");
    }
    let right = rule(direct, resource_id(0).into());
    assert_eq!(rig.call("POST", &add, Some(right.clone())).await.0, 201);
    assert_eq!(rig.call("POST", &add, Some(right.clone())).await.0, 400, "it is there already");
    let members =
        format!("wmi/SMS_FullCollectionMembership?$filter=CollectionID%20eq%20'{}'", device_collection_id(0));
    assert_eq!(rig.get(&members).await.1["value"], json!([]), "before the collection was evaluated");
    rig.clock.advance(Duration::seconds(30));
    assert_eq!(rig.get(&members).await.1["value"][0]["IsDirect"], true);
    assert_eq!(rig.call("POST", &add.replace("Add", "Delete"), Some(right)).await.0, 201);

    let script = format!("v1.0/Device({})/AdminService.RunScript", resource_id(0));
    let run = |guid: String| json!({"ScriptGuid": guid});
    let (status, ran) = rig.call("POST", &script, Some(run(approved_script()))).await;
    assert_eq!((status, ran["value"].is_u64()), (200, true));
    assert_eq!(rig.call("POST", &script, Some(run(unapproved_script()))).await, (403, Value::Null));
    let more = json!({"ScriptGuid": approved_script(), "more": 1});
    assert_eq!(rig.call("POST", &script, Some(more)).await.0, 400);
    let operation = "wmi/SMS_ClientOperation.InitiateClientOperation";
    for (body, expected) in [
        (json!({"Type": 8, "TargetCollectionID": collection_id(0)}), 201),
        (
            json!({"Type": 8, "TargetCollectionID": collection_id(0), "TargetResourceIDs": [1], "RandomizationWindow": 0}),
            201,
        ),
        (json!({"Type": 8}), 400),
        (json!({"Type": "8", "TargetCollectionID": collection_id(0)}), 400),
        (json!({"Type": 8, "TargetCollectionID": collection_id(0), "Param": "x"}), 400),
    ] {
        assert_eq!(rig.call("POST", operation, Some(body.clone())).await.0, expected, "{body}");
    }
}

#[tokio::test]
async fn tokens_are_needed_and_end() {
    let mut rig = Rig::new();
    assert_eq!(rig.get("wmi/SMS_Collection?$top=1").await.0, 200);
    rig.clock.advance(Duration::seconds(3599));
    assert_eq!(rig.get("wmi/SMS_Collection?$top=1").await, (401, Value::Null));
    for wrong in ["", "sim-cm.t", "sim-cm.nobody.1", "x"] {
        rig.token = wrong.into();
        assert_eq!(rig.get("wmi/SMS_Collection?$top=1").await, (401, Value::Null), "{wrong:?}");
    }
}

#[test]
fn every_documented_class_is_known() {
    let documented: Value = serde_json::from_str(include_str!("../src/configmgr/data/classes.json")).unwrap();
    let known: Vec<&str> = known_classes().collect();
    for name in documented.as_object().unwrap().keys().filter(|n| *n != "enums") {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    assert_eq!(known.len(), 10, "five documented ones, five more");
}
