//! The Jamf Pro simulator is as strict as the real one is known to be.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;
use trueup_model::{Duration, ManualClock, Time};
use trueup_simulators::jamf::{
    JamfMischief, JamfSeed, JamfSimulator, app_name, bundle_id, client_id, client_secret, computer_id,
    failing_group_id, group_id, password, policy_id, remedy_group_id, username,
};

const T: &str = "contoso";
const FORM: &str = "application/x-www-form-urlencoded";
const XML: &str = "application/xml";

struct Rig {
    clock: ManualClock,
    sim: JamfSimulator,
    token: String,
}

impl Rig {
    async fn new() -> Self {
        let start: Time = "2026-11-21T10:00:00Z".parse().unwrap();
        let clock = ManualClock::at(start);
        let sim = JamfSimulator::new(Arc::new(clock.clone()));
        let seed = JamfSeed {
            policies: 6,
            computers: 20,
            computers_per_policy: 3,
            older: true,
            ..JamfSeed::default()
        };
        sim.tenant(T).seed(&seed);
        let mut rig = Self { clock, sim, token: String::new() };
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            client_id(T),
            client_secret(T)
        );
        let (status, body) = rig.send("POST", "/api/oauth/token", &[("content-type", FORM)], &form).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["expires_in"], 1800);
        rig.token = format!("Bearer {}", body["access_token"].as_str().unwrap());
        rig
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(format!("/{T}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.sim.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, &[("authorization", &self.token), ("cookie", "APBALANCEID=node1")], "").await
    }

    async fn put(&self, path: &str, body: &str) -> (u16, String) {
        let headers =
            [("authorization", self.token.as_str()), ("content-type", XML), ("cookie", "APBALANCEID=node1")];
        self.send("PUT", path, &headers, body).await
    }
}

#[tokio::test]
async fn ids_can_be_known_without_asking() {
    let rig = Rig::new().await;
    let (_, policy) = rig.get(&format!("/JSSResource/policies/id/{}", policy_id(2))).await;
    assert!(policy.contains(&format!("<computer_group><id>{}</id>", group_id(2))), "{policy}");
    let (_, group) = rig.get(&format!("/JSSResource/computergroups/id/{}", group_id(2))).await;
    assert_eq!(group.matches("<computer>").count(), 3);
    assert!(group.contains(&format!("<id>{}</id>", computer_id(6))));
    for (id, smart) in [(failing_group_id(2), "true"), (remedy_group_id(2), "false")] {
        let (_, group) = rig.get(&format!("/JSSResource/computergroups/id/{id}")).await;
        assert!(group.contains(&format!("<is_smart>{smart}</is_smart>")), "{group}");
    }
    let (_, page) =
        rig.get("/api/v4/computers-inventory?section=GENERAL&section=APPLICATIONS&page=0&page-size=7&sort=id%3Aasc").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["totalCount"], page["results"].as_array().unwrap().len()), (&20.into(), 7));
    let app = &page["results"][6]["applications"][0];
    assert_eq!((app["name"].as_str(), app["bundleId"].as_str()), (Some(&*app_name(2)), Some(&*bundle_id(2))));
    assert!(page["results"][0]["hardware"].is_null(), "not asked for");
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let rig = Rig::new().await;
    for (path, expected, text) in [
        ("/nothing", 404, "Not Found"),
        ("/JSSResource/policies/id/99999", 404, "Not Found"),
        ("/JSSResource/policies/id/x", 404, "Not Found"),
        ("/JSSResource/policies?x=1", 400, "no query parameters"),
        ("/JSSResource/mobiledevices", 404, "Not Found"),
        ("/api/v1/computers-inventory", 404, "use v4"),
        ("/api/v2/computers-inventory?page=0", 404, "use v4"),
        ("/api/v3/computers-inventory", 404, "use v4"),
        ("/api/v1/nothing", 404, "\"httpStatus\":404"),
        ("/api/v4/computers-inventory?page-size=2001", 400, "\"field\":\"page-size\""),
        ("/api/v4/computers-inventory?section=general", 400, "section"),
        ("/api/v4/computers-inventory?filter=id%3D%3D1", 400, "filter"),
        ("/api/v4/computers-inventory?top=1", 400, "top"),
    ] {
        let (status, body) = rig.get(path).await;
        assert!(status == expected && body.contains(text), "{path}: {status} {body}");
        assert_eq!(body.starts_with("<html>"), !path.starts_with("/api/"), "{path}: {body}");
    }
}

#[tokio::test]
async fn writes_are_xml_and_must_make_sense() {
    let rig = Rig::new().await;
    let policy = format!("/JSSResource/policies/id/{}", policy_id(0));
    let scope = |inner: &str| format!("<policy><scope>{inner}</scope></policy>");
    let cases = [
        ("{}".to_owned(), 400, "Unable to parse"),
        ("<policy>".into(), 400, "Unable to parse"),
        ("<computer_group/>".into(), 400, "Unable to parse"),
        ("<!DOCTYPE p><policy/>".into(), 400, "Unable to parse"),
        ("<policy><scopes/></policy>".into(), 409, "Problem with scopes"),
        ("<policy><general><enabled>yes</enabled></general></policy>".into(), 409, "Problem with enabled"),
        (
            scope("<computer_groups><computer_group><id>99999</id></computer_group></computer_groups>"),
            409,
            "Problem with computer_groups",
        ),
        (
            scope("<computer_groups><computer><id>1</id></computer></computer_groups>"),
            409,
            "Problem with computer_groups",
        ),
        (scope("<buildings><building><id>9</id></building></buildings>"), 409, "Problem with buildings"),
        (scope("<all_computers>1</all_computers>"), 409, "Problem with all_computers"),
        (scope("<mobile_devices/>"), 409, "Problem with mobile_devices"),
        (
            scope(
                "<limit_to_users><user_groups><user_group>Staff</user_group></user_groups></limit_to_users>",
            ),
            409,
            "Problem matching limit_to_users user group",
        ),
    ];
    for (body, expected, text) in cases {
        let (status, answer) = rig.put(&policy, &body).await;
        assert!(status == expected && answer.contains(text), "{body}: {status} {answer}");
    }
    let json = [("authorization", rig.token.as_str()), ("content-type", "application/json")];
    for (method, path) in [("PUT", policy.as_str()), ("POST", "/JSSResource/policies/id/0")] {
        assert_eq!(rig.send(method, path, &json, "{}").await.0, 415);
    }
    assert_eq!(rig.sim.tenant(T).writes(), []);
}

#[tokio::test]
async fn put_leaves_elements_that_are_not_sent_and_replaces_the_scope() {
    let rig = Rig::new().await;
    let path = format!("/JSSResource/policies/id/{}", policy_id(0));
    let (_, before) = rig.get(&path).await;
    assert!(before.contains("<name>ada</name>") && before.contains("********************"));
    let (status, body) =
        rig.put(&path, "<policy><general><enabled>false</enabled></general><scope/></policy>").await;
    assert_eq!((status, body.contains("<policy><id>1</id></policy>")), (201, true));
    let (_, after) = rig.get(&path).await;
    assert_eq!(after, before.replace("<enabled>true", "<enabled>false"));
    let groups = "<computer_groups><computer_group><id>2</id></computer_group></computer_groups>";
    rig.put(&path, &format!("<policy><scope>{groups}</scope></policy>")).await;
    let (_, after) = rig.get(&path).await;
    assert!(after.contains("<computer_group><id>2</id>") && !after.contains("<computer_group><id>1</id>"));
    assert!(!after.contains("ada") && !after.contains("guest") && !after.contains("Staff"), "{after}");
    // Asterisks are taken for a password.
    assert!(!rig.sim.tenant(T).is_spoiled());
    let masked = "<policy><account_maintenance><management_account><managed_password>********************</managed_password></management_account></account_maintenance></policy>";
    assert_eq!(rig.put(&path, masked).await.0, 201);
    assert!(rig.sim.tenant(T).is_spoiled());
}

#[tokio::test]
async fn members_of_static_groups_only() {
    let rig = Rig::new().await;
    let add = "<computer_group><computer_additions><computer><id>1</id></computer></computer_additions></computer_group>";
    let (status, body) =
        rig.put(&format!("/JSSResource/computergroups/id/{}", failing_group_id(0)), add).await;
    assert!(status == 409 && body.contains("smart group"), "{body}");
    let remedy = format!("/JSSResource/computergroups/id/{}", remedy_group_id(0));
    assert_eq!(rig.put(&remedy, add).await.0, 201);
    assert_eq!(rig.put(&remedy, &add.replace("<id>1<", "<id>2<")).await.0, 201);
    let (_, group) = rig.get(&remedy).await;
    assert_eq!(group.matches("<computer>").count(), 2, "a delta");
    let (status, body) = rig.put(&remedy, &add.replace("<id>1<", "<id>99<")).await;
    assert!(status == 409 && body.contains("Unable to match computer"), "{body}");
    let remove = add.replace("additions", "deletions");
    assert_eq!(rig.put(&remedy, &remove).await.0, 201);
    assert_eq!(rig.get(&remedy).await.1.matches("<computer>").count(), 1);
}

#[tokio::test]
async fn tokens_end() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/api/v1/jamf-pro-version").await.0, 200);
    rig.clock.advance(Duration::seconds(1800));
    let (status, body) = rig.get("/api/v1/jamf-pro-version").await;
    assert!(status == 401 && body.contains("INVALID_TOKEN"), "{body}");
    let (status, body) = rig.get("/JSSResource/policies").await;
    assert!(status == 401 && body.starts_with("<html>"), "{body}");
    let form = "grant_type=client_credentials&client_id=x&client_secret=y";
    assert_eq!(rig.send("POST", "/api/oauth/token", &[("content-type", FORM)], form).await.0, 401);
    assert_eq!(rig.send("POST", "/api/v1/auth/token", &[("authorization", "Basic eDp5")], "").await.0, 401);
    use base64::Engine;
    let basic = format!("{}:{}", username(T), password(T));
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
    let (status, body) = rig.send("POST", "/api/v1/auth/token", &[("authorization", &basic)], "").await;
    assert!(status == 200 && body.contains("\"expires\":\"2026-11-21T11:00:00.000Z\""), "{body}");
    // An account's name and password open nothing but a token.
    assert_eq!(rig.send("GET", "/JSSResource/policies", &[("authorization", &basic)], "").await.0, 401);
}

#[tokio::test]
async fn the_other_node_lags() {
    let rig = Rig::new().await;
    let path = format!("/JSSResource/policies/id/{}", policy_id(1));
    rig.put(&path, "<policy><general><enabled>false</enabled></general></policy>").await;
    let other = [("authorization", rig.token.as_str()), ("cookie", "APBALANCEID=node2")];
    assert!(rig.get(&path).await.1.contains("<enabled>false"));
    assert!(rig.send("GET", &path, &other, "").await.1.contains("<enabled>true"));
    rig.clock.advance(Duration::seconds(61));
    assert!(rig.send("GET", &path, &other, "").await.1.contains("<enabled>false"));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_answers() {
    let (a, b) = (Rig::new().await, Rig::new().await);
    for path in [
        "/JSSResource/policies",
        "/JSSResource/computergroups/id/1",
        "/api/v4/computers-inventory?section=APPLICATIONS",
    ] {
        assert_eq!(a.get(path).await, b.get(path).await);
    }
    for mischief in [JamfMischief::DeletePolicy { policy: 77 }, JamfMischief::DeleteGroup { group: 77_777 }] {
        assert!(a.sim.tenant(T).mischief(&mischief).unwrap_err().contains("no "));
    }
}

#[tokio::test]
async fn it_can_be_steered_from_outside() {
    let rig = Rig::new().await;
    let send = |method: &'static str, path: String, body: &'static str| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        rig.sim.router().oneshot(request.body(Body::from(body)).unwrap())
    };
    let base = format!("/_sim/tenants/{T}");
    let disable = r#"{"do": "disable", "policy": 1}"#;
    assert_eq!(send("POST", format!("{base}/mischief"), disable).await.unwrap().status(), 204);
    assert!(rig.get("/JSSResource/policies/id/1").await.1.contains("<enabled>false"));
    let outage = r#"{"trouble": {"status": 503}}"#;
    assert_eq!(send("POST", format!("{base}/troubles"), outage).await.unwrap().status(), 204);
    assert_eq!(rig.get("/JSSResource/policies").await.0, 503);
    assert_eq!(send("DELETE", format!("{base}/troubles"), "").await.unwrap().status(), 204);
    assert_eq!(send("DELETE", format!("{base}/tokens"), "").await.unwrap().status(), 204);
    assert_eq!(rig.get("/JSSResource/policies").await.0, 401);
    assert_eq!(send("GET", "/_sim/tenants/nobody".into(), "").await.unwrap().status(), 404);
}
