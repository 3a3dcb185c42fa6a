//! What the simulator refuses, and how; what it answers, and in which pages.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use trueup_model::{Duration, ManualClock, Time};
use trueup_simulators::*;

struct Rig {
    simulator: Simulator,
    clock: ManualClock,
    token: String,
}

fn start() -> Time {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

impl Rig {
    async fn with(limits: Limits) -> Self {
        let clock = ManualClock::at(start());
        let mut options = Options::new(Arc::new(clock.clone()));
        options.throttle_clock = Arc::new(clock.clone());
        options.limits = limits;
        options.wait = WaitStyle::Fraction;
        let simulator = Simulator::with(options);
        simulator.tenant("t").seed(&Seed { apps: 250, devices: 300, devices_per_app: 2, ..Seed::default() });
        let mut rig = Self { simulator, clock, token: String::new() };
        rig.token = rig.login(&form("t")).await.1["access_token"].as_str().unwrap().to_owned();
        rig
    }

    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value, axum::http::HeaderMap) {
        let response = self.simulator.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, serde_json::from_slice(&bytes).unwrap_or_default(), parts.headers)
    }

    async fn login(&self, form: &str) -> (StatusCode, Value) {
        let request =
            Request::post("/t/oauth2/v2.0/token").header("content-type", "application/x-www-form-urlencoded");
        let (status, body, _) = self.send(request.body(Body::from(form.to_owned())).unwrap()).await;
        (status, body)
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or(Body::empty(), |b| Body::from(b.to_string()));
        let (status, answer, _) = self.send(request.body(body).unwrap()).await;
        (status.as_u16(), answer)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }
}

fn form(tenant: &str) -> String {
    format!(
        "client_id={}&client_secret={}&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&grant_type=client_credentials",
        client_id(tenant),
        client_secret(tenant)
    )
}

#[tokio::test]
async fn the_login_is_exact() {
    let rig = Rig::new().await;
    let good = form("t");
    for (wrong, status, error) in [
        (good.replace(&client_secret("t"), "guess"), 401, "invalid_client"),
        (good.replace(&client_id("t"), &client_id("other")), 401, "invalid_client"),
        (good.replace("client_credentials", "password"), 400, "unsupported_grant_type"),
        (good.replace(".default", "User.Read"), 400, "invalid_scope"),
        (good.replace("client_secret=", "Client_Secret="), 400, "invalid_request"),
        (format!("{good}&scope=x"), 400, "invalid_request"),
        (String::new(), 400, "invalid_request"),
    ] {
        let (got, body) = rig.login(&wrong).await;
        assert_eq!((got.as_u16(), body["error"].as_str()), (status, Some(error)), "{body}");
        assert!(body["error_description"].as_str().unwrap().starts_with("AADSTS"));
    }
    let elsewhere = Request::post("/nobody/oauth2/v2.0/token").body(Body::empty()).unwrap();
    assert_eq!(rig.send(elsewhere).await.0, 400);
}

#[tokio::test]
async fn tokens_are_needed_and_end() {
    let mut rig = Rig::new().await;
    let path = "/v1.0/deviceAppManagement/mobileApps?$top=1";
    assert_eq!(rig.get(path).await.0, 200);
    rig.clock.advance(Duration::seconds(3599));
    let (status, body) = rig.get(path).await;
    assert_eq!((status, body["error"]["code"].as_str()), (401, Some("InvalidAuthenticationToken")));
    for wrong in ["", "sim.t", "sim.nobody.x.1", "x"] {
        rig.token = wrong.into();
        assert_eq!(rig.get(path).await.0, 401, "{wrong:?}");
    }
}

#[tokio::test]
async fn unknown_paths_options_and_casing_are_refused() {
    let rig = Rig::new().await;
    let app = app_id("t", 0);
    let app_path = format!("/v1.0/deviceAppManagement/mobileApps/{app}");
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("GET", "/v1.0/deviceAppManagement/mobileapps".into(), 400, "segment 'mobileapps'"),
        ("GET", "/v1.0/deviceappmanagement/mobileApps".into(), 400, "segment 'deviceappmanagement'"),
        ("GET", "/v1.0/users".into(), 400, "segment 'users'"),
        ("GET", "/beta/deviceAppManagement/mobileApps".into(), 400, "Invalid version"),
        ("GET", format!("{app_path}/Assignments"), 400, "No OData route exists"),
        ("POST", format!("{app_path}/assignments"), 400, "No OData route exists"),
        ("DELETE", app_path.clone(), 400, "No OData route exists"),
        (
            "GET",
            format!("/v1.0/deviceManagement/managedDevices/{}/detectedApps", device_id("t", 0)),
            400,
            "No OData route",
        ),
        (
            "POST",
            format!("/v1.0/deviceManagement/managedDevices/{}/SyncDevice", device_id("t", 0)),
            400,
            "No OData route",
        ),
        ("GET", "/v1.0/deviceAppManagement/mobileApps?$skip=1".into(), 400, "'$skip' is not supported"),
        ("GET", "/v1.0/deviceAppManagement/mobileApps?$select=Id".into(), 400, "property named 'Id'"),
        ("GET", "/v1.0/deviceAppManagement/mobileApps?$expand=Assignments".into(), 400, "cannot be expanded"),
        (
            "GET",
            "/v1.0/deviceAppManagement/mobileApps?$filter=displayName%20eq%20'a'".into(),
            400,
            "$filter is not allowed",
        ),
        (
            "GET",
            "/v1.0/deviceManagement/detectedApps?$expand=managedDevices".into(),
            400,
            "cannot be expanded",
        ),
        (
            "GET",
            "/v1.0/deviceManagement/detectedApps?$filter=displayName%20eq%20a".into(),
            400,
            "Invalid filter",
        ),
        ("GET", "/v1.0/deviceAppManagement/mobileApps?$skiptoken=100".into(), 400, "Invalid $skiptoken"),
        ("GET", format!("{app_path}x/assignments"), 404, "does not exist"),
        ("POST", "/v1.0/deviceManagement/managedDevices/none/syncDevice".into(), 404, "does not exist"),
    ];
    for (method, path, status, message) in cases {
        let (got, body) = rig.call(method, &path, None).await;
        assert_eq!(got, status, "{method} {path}: {body}");
        let said = body["error"]["message"].as_str().unwrap_or_default();
        assert!(said.contains(message), "{method} {path}: {said}");
        assert!(body["error"]["code"].is_string() && body["error"]["innerError"]["request-id"].is_string());
    }
}

#[tokio::test]
async fn lists_have_pages_that_follow_each_other() {
    let rig = Rig::new().await;
    for (path, total, pages) in [
        ("/v1.0/deviceAppManagement/mobileApps?$expand=assignments&$top=100", 250, 3),
        ("/v1.0/deviceAppManagement/mobileApps?$select=id", 250, 3),
        ("/v1.0/deviceManagement/detectedApps", 250, 5),
        ("/v1.0/deviceManagement/managedDevices?$top=300", 300, 1),
        ("/v1.0/deviceManagement/managedDevices?$select=id,complianceState,lastSyncDateTime&$top=70", 300, 5),
    ] {
        let (mut next, mut seen, mut count) = (Some(path.to_owned()), std::collections::BTreeSet::new(), 0);
        while let Some(link) = next {
            let (status, body) = rig.get(&link).await;
            assert_eq!(status, 200, "{link}: {body}");
            count += 1;
            seen.extend(
                body["value"].as_array().unwrap().iter().map(|v| v["id"].as_str().unwrap().to_owned()),
            );
            next = body["@odata.nextLink"]
                .as_str()
                .map(|l| l.strip_prefix("http://localhost").unwrap().to_owned());
        }
        assert_eq!((seen.len(), count), (total, pages), "{path}");
    }
    let (_, one) = rig
        .get(
            "/v1.0/deviceManagement/detectedApps?$filter=displayName%20eq%20'App%2000007'&$select=id,version",
        )
        .await;
    assert_eq!(one["value"].as_array().unwrap().len(), 1);
    assert_eq!(one["value"][0].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn assign_replaces_everything() {
    let rig = Rig::new().await;
    let path = format!("/v1.0/deviceAppManagement/mobileApps/{}", app_id("t", 3));
    let (_, before) = rig.get(&format!("{path}/assignments")).await;
    assert_eq!(before["value"][0]["target"]["groupId"], group_id(3));
    let body = json!({"mobileAppAssignments": [{"intent": "available", "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}]});
    assert_eq!(rig.call("POST", &format!("{path}/assign"), Some(body)).await, (204, Value::Null));
    let (_, after) = rig.get(&format!("{path}?$expand=assignments&$select=id")).await;
    let assignments = after["assignments"].as_array().unwrap();
    assert_eq!(assignments.len(), 1);
    assert_eq!(assignments[0]["intent"], "available");
    let (status, refused) =
        rig.call("POST", &format!("{path}/assign"), Some(json!({"assignments": []}))).await;
    assert_eq!(status, 400, "{refused}");
    let writes = rig.simulator.tenant("t").writes();
    assert_eq!(writes.len(), 1, "a refused write is none: {writes:?}");
}

#[tokio::test]
async fn batches() {
    let rig = Rig::new().await;
    let get = |id: usize, url: &str| json!({"id": id.to_string(), "method": "GET", "url": url});
    let apps = "/deviceAppManagement/mobileApps?$top=1";
    let (status, body) = rig
        .call(
            "POST",
            "/v1.0/$batch",
            Some(json!({"requests": (0..21).map(|i| get(i, apps)).collect::<Vec<_>>()})),
        )
        .await;
    assert_eq!(status, 400);
    assert!(body["error"]["message"].as_str().unwrap().contains("maximum value of 20"));

    let mut requests: Vec<Value> = (0..18).map(|i| get(i, apps)).collect();
    requests.push(get(18, "/deviceAppManagement/mobileApps/none/assignments"));
    requests.push(json!({"id": "19", "method": "GET", "url": apps, "dependsOn": ["18"]}));
    let (status, body) = rig.call("POST", "/v1.0/$batch", Some(json!({"requests": requests}))).await;
    assert_eq!(status, 200);
    let responses = body["responses"].as_array().unwrap();
    let ids: Vec<&str> = responses.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 20);
    assert_ne!(ids, (0..20).map(|i| i.to_string()).collect::<Vec<_>>(), "the order is another");
    let status_of = |id: &str| responses.iter().find(|r| r["id"] == id).unwrap()["status"].as_u64().unwrap();
    assert_eq!((status_of("0"), status_of("18"), status_of("19")), (200, 404, 424));

    for wrong in [
        json!({"Requests": []}),
        json!({"requests": [], "more": 1}),
        json!({"requests": [get(1, apps), get(1, apps)]}),
        json!({"requests": [{"id": "1", "method": "get", "url": apps}]}),
        json!({"requests": [{"id": "1", "method": "GET", "url": "https://elsewhere.example/x"}]}),
        json!({"requests": [{"id": "1", "method": "POST", "url": "/x", "body": {}}]}),
        json!({"requests": [{"id": "1", "method": "GET", "url": apps, "Headers": {}}]}),
    ] {
        assert_eq!(rig.call("POST", "/v1.0/$batch", Some(wrong.clone())).await.0, 400, "{wrong}");
    }
    let (_, nested) = rig
        .call(
            "POST",
            "/v1.0/$batch",
            Some(json!({"requests": [{"id": "1", "method": "POST", "url": "/$batch"}]})),
        )
        .await;
    assert_eq!(nested["responses"][0]["status"], 400);
}

#[tokio::test]
async fn calls_are_counted_as_graph_counts_them() {
    let rig = Rig::new().await;
    let get = |id: &str, url: &str| json!({"id": id, "method": "GET", "url": url});
    let batch = json!({"requests": [
        get("1", "/deviceAppManagement/mobileApps?$top=1"),
        get("2", "/deviceManagement/managedDevices?$top=1"),
        get("3", "/deviceManagement/detectedApps"),
    ]});
    rig.call("POST", "/v1.0/$batch", Some(batch)).await;
    rig.get("/v1.0/deviceAppManagement/mobileApps").await;
    rig.call(
        "POST",
        &format!("/v1.0/deviceManagement/managedDevices/{}/syncDevice", device_id("t", 0)),
        None,
    )
    .await;
    let counts = rig.simulator.tenant("t").counts();
    assert_eq!((counts.requests, counts.batched, counts.calls()), (3, 3, 5));
    assert_eq!(
        (counts.app_calls, counts.app_writes, counts.device_calls, counts.device_writes),
        (2, 0, 3, 1)
    );
}

#[tokio::test]
async fn a_rotated_secret_ends_what_was_got_with_it() {
    let mut rig = Rig::new().await;
    rig.simulator.tenant("t").rotate_secret();
    assert_eq!(rig.get("/v1.0/deviceAppManagement/mobileApps?$top=1").await.0, 401);
    assert_eq!(rig.login(&form("t")).await.0, 401);
    let (status, body) = rig.login(&form("t").replace(&client_secret("t"), &secret_after("t", 1))).await;
    assert_eq!(status, 200);
    rig.token = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(rig.get("/v1.0/deviceAppManagement/mobileApps?$top=1").await.0, 200);
}

#[tokio::test]
async fn a_deleted_group_stays_assigned_and_takes_no_new_assignment() {
    let rig = Rig::new().await;
    let tenant = rig.simulator.tenant("t");
    tenant.mischief(&Mischief::DeleteGroup { group: group_id(3) }).unwrap();
    let assign = async |n: usize| {
        let path = format!("/v1.0/deviceAppManagement/mobileApps/{}/assign", app_id("t", n));
        let target = json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": group_id(3)});
        let body = json!({"mobileAppAssignments": [{"intent": "required", "target": target}]});
        rig.call("POST", &path, Some(body)).await
    };
    assert_eq!(assign(3).await.0, 204, "it was assigned before");
    let (status, body) = assign(4).await;
    assert_eq!(status, 400);
    assert!(body["error"]["message"].as_str().unwrap().contains(&group_id(3)));
    assert_eq!(tenant.assigned(&app_id("t", 4))[0]["target"]["groupId"], group_id(4));
}

#[tokio::test]
async fn the_limits_hold_also_inside_batches() {
    let rig = Rig::with(Limits { app_requests: 25, ..Limits::default() }).await;
    let get = |id: usize| json!({"id": id.to_string(), "method": "GET", "url": "/deviceAppManagement/mobileApps?$top=1"});
    let batch = json!({"requests": (0..20).map(get).collect::<Vec<_>>()});
    let count = |body: &Value, status: u64| {
        body["responses"].as_array().unwrap().iter().filter(|r| r["status"] == status).count()
    };
    let (_, first) = rig.call("POST", "/v1.0/$batch", Some(batch.clone())).await;
    assert_eq!(count(&first, 200), 20);
    let (_, second) = rig.call("POST", "/v1.0/$batch", Some(batch.clone())).await;
    assert_eq!((count(&second, 200), count(&second, 429)), (5, 15));
    let refused = second["responses"].as_array().unwrap().iter().find(|r| r["status"] == 429).unwrap();
    assert_eq!(refused["headers"]["Retry-After"], "20.000");
    assert_eq!(rig.get("/v1.0/deviceAppManagement/mobileApps?$top=1").await.0, 429);
    assert_eq!(
        rig.get("/v1.0/deviceManagement/managedDevices?$top=1").await.0,
        200,
        "devices are counted apart"
    );
    rig.clock.advance(Duration::seconds(20));
    assert_eq!(rig.get("/v1.0/deviceAppManagement/mobileApps?$top=1").await.0, 200);
}

#[tokio::test]
async fn the_control_steers() {
    let rig = Rig::new().await;
    let post = |path: &str, body: Value| {
        Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    let mischief = json!({"do": "remove_assignments", "app": app_id("t", 1)});
    assert_eq!(rig.send(post("/_sim/tenants/t/mischief", mischief.clone())).await.0, 204);
    assert_eq!(rig.send(post("/_sim/tenants/x/mischief", mischief)).await.0, 404);
    assert_eq!(
        rig.send(post("/_sim/tenants/t/mischief", json!({"do": "remove_assignments", "app": "none"})))
            .await
            .0,
        404
    );
    assert_eq!(rig.send(post("/_sim/tenants/t/mischief", json!({"do": "x"}))).await.0, 422);
    let (_, left) =
        rig.get(&format!("/v1.0/deviceAppManagement/mobileApps/{}/assignments", app_id("t", 1))).await;
    assert_eq!(left["value"], json!([]));
    let trouble = json!({"trouble": {"status": 500}, "times": 2});
    assert_eq!(rig.send(post("/_sim/tenants/t/troubles", trouble)).await.0, 204);
    let path = "/v1.0/deviceAppManagement/mobileApps?$top=1";
    assert_eq!((rig.get(path).await.0, rig.get(path).await.0, rig.get(path).await.0), (500, 500, 200));
    let (_, counts, _) = rig.send(Request::get("/_sim/tenants/t").body(Body::empty()).unwrap()).await;
    assert_eq!((counts["requests"].as_u64(), counts["apps"].as_u64()), (Some(4), Some(250)));
}
