//! Tenants cannot see each other: every route and method of the OpenAPI document is tried without a key, with one of another
//! tenant that may do everything there, and with a viewer's.
//!
//! # Guarantees
//! A route that is in the document without a rule, or has a rule without being there, fails; so does one of which this file does
//! not know how to call it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../../api/server/tests/common/fleet.rs"]
mod fleet;
#[path = "tenants/seed.rs"]
mod seed;

use std::collections::BTreeSet;

use axum::http::Method;
use seed::{Answer, Fleet, MARK};
use serde_json::{Value, json};
use trueup_server::identity::Permission;
use trueup_server::identity::rules::{self, Found, RULES, Rule};

/// Pages and what they load; they are not operations.
const UNDOCUMENTED: [&str; 7] =
    ["/", "/openapi.json", "/docs", "/docs/", "/docs/{*rest}", "/board", "/board/{*rest}"];
/// Lists that have nothing of acme's here: no run goes on.
const EMPTY: [&str; 1] = ["/v1/runs"];

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods
            .filter(|m| ["get", "put", "post", "delete", "patch"].contains(&m.as_str()))
            .map(|m| (m.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// What acme is asked for, where a body is needed.
fn body(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("POST", "/v1/intents") => Some(fleet::manifest("acme", "new")),
        ("PUT" | "PATCH", "/v1/intents/{tenant}/{id}") => Some(fleet::manifest("acme", "app")),
        ("POST", "/v1/keys") => Some(json!({"label": "x", "grants": ["acme:viewer"]})),
        ("POST", "/v1/reconciliations") => Some(json!({"intent": "acme/app"})),
        _ => None,
    }
}

struct Route {
    method: String,
    template: String,
    path: String,
    rule: Rule,
}

impl Route {
    async fn call(&self, fleet: &Fleet, key: &str) -> Answer {
        // From the beginning, so that there is something to see.
        let path = match self.template.as_str() {
            "/v1/events/stream" => format!("{}?after=0:0", self.path),
            _ => self.path.clone(),
        };
        fleet.call(key, &self.method, &path, body(&self.method, &self.template)).await
    }
    fn reads(&self) -> bool {
        self.method == "GET"
    }
    fn names_one(&self) -> bool {
        self.template.contains('{')
    }
}

async fn routes(fleet: &Fleet) -> Vec<Route> {
    let document = fleet.call("", "GET", "/openapi.json", None).await.json();
    let documented = documented(&document);
    let ruled: BTreeSet<(String, String)> = RULES
        .iter()
        .filter(|(_, path, _)| !UNDOCUMENTED.contains(path))
        .map(|(m, p, _)| (m.to_string(), p.to_string()))
        .collect();
    let without: Vec<_> = documented.difference(&ruled).collect();
    assert!(without.is_empty(), "in the document without a rule in identity/rules.rs: {without:?}");
    let gone: Vec<_> = ruled.difference(&documented).collect();
    assert!(gone.is_empty(), "a rule in identity/rules.rs for no operation of the document: {gone:?}");
    let route = |(method, template): (String, String)| {
        let Found::Rule(rule) = rules::of(&Method::from_bytes(method.as_bytes()).unwrap(), &template) else {
            panic!("no rule for {method} {template}");
        };
        Route { path: fleet.filled(&template), method, template, rule }
    };
    documented.into_iter().map(route).collect()
}

#[tokio::test]
async fn every_route_keeps_tenants_apart() {
    let fleet = Fleet::start().await;
    let routes = routes(&fleet).await;
    let keys = [
        ("nobody", String::new()),
        ("stranger", fleet.key(&["globex:admin"]).await),
        ("viewer", fleet.key(&["acme:viewer"]).await),
    ];
    let before = fleet.events().await;
    let mut wrong = Vec::new();
    for route in &routes {
        for (who, key) in &keys {
            let answer = route.call(&fleet, key).await;
            let expected = expected(who, route);
            let shows = *who != "viewer" && answer.text.contains(MARK);
            let lists =
                *who == "stranger" && route.reads() && !route.names_one() && answer.text.contains("acme");
            if !expected.contains(&answer.status) || shows || lists {
                let Answer { status, text } = answer;
                let text: String = text.chars().take(400).collect();
                wrong.push(format!(
                    "{who}: {} {} ({:?}): {status}, expected {expected:?}; {text}",
                    route.method, route.template, route.rule
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(fleet.events().await, before, "something was changed by somebody who may not");
}

/// The statuses that are right.
fn expected(who: &str, route: &Route) -> Vec<u16> {
    let fine = vec![200, 201, 202];
    match (route.rule, who) {
        (Rule::Open, _) => fine,
        (_, "nobody") => vec![401],
        (Rule::Known, _) => fine,
        (Rule::Fleet(_), _) => vec![403],
        (Rule::Path(_), "stranger") => vec![404],
        (Rule::Path(Permission::Read), _) => fine,
        (Rule::Path(_), _) => vec![403],
        (Rule::Handler(_), "stranger") if route.names_one() => vec![404],
        // What is of others is left out of lists, and refused in bodies.
        (Rule::Handler(_), _) if route.reads() && !route.names_one() => fine,
        (Rule::Handler(_), "stranger") => vec![403, 404],
        (Rule::Handler(Permission::Read), _) => fine,
        // A viewer administers nothing, so keys are not there.
        (Rule::Handler(Permission::Administer), _) if route.names_one() => vec![404],
        (Rule::Handler(_), _) => vec![403],
    }
}

/// The test above could not fail if there were nothing to see.
#[tokio::test]
async fn who_may_sees_all_of_it() {
    let fleet = Fleet::start().await;
    let admin = fleet.key(&["acme:admin"]).await;
    let mut blind = Vec::new();
    for route in routes(&fleet).await.iter().filter(|r| r.reads()) {
        let (Rule::Path(_) | Rule::Handler(_)) = route.rule else { continue };
        let answer = route.call(&fleet, &admin).await;
        let seen = answer.text.contains("acme") || EMPTY.contains(&route.template.as_str());
        if answer.status != 200 || !seen {
            blind.push(format!("{} {}: {}", route.template, answer.status, answer.text));
        }
        assert!(
            !answer.text.contains("globex") && !answer.text.contains("turquoise"),
            "{}: {}",
            route.path,
            answer.text
        );
    }
    assert!(blind.is_empty(), "acme's admin sees nothing of acme:\n{}", blind.join("\n"));
}

/// Pages of a restricted caller, however short, name nothing of others, and miss nothing of theirs.
#[tokio::test]
async fn cursors_name_nothing_of_others() {
    let fleet = Fleet::start().await;
    for n in 0..40 {
        let tenants = [("acme", "mine"), ("acme-secret", "theirs"), ("beta", "theirs"), ("globex", "mine")];
        let intents: Vec<_> = tenants.iter().map(|(t, i)| fleet::intent(t, &format!("{i}{n}"))).collect();
        fleet::apply(fleet.store.as_ref(), &intents).await;
    }
    let key = fleet.key(&["acme:viewer", "globex:viewer"]).await;
    for limit in [1, 3, 1000] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..200 {
            let page = fleet.call(&key, "GET", &format!("/v1/intents?limit={limit}{cursor}"), None).await;
            assert_eq!(page.status, 200, "{}", page.text);
            assert!(!page.text.contains("theirs") && !page.text.contains("acme-secret"), "{}", page.text);
            let page = page.json();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|i| format!("{}/{}", i["intent"]["tenant"], i["intent"]["id"])));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
                None => break,
            }
        }
        let unique: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), unique.len()), (82, 82), "limit {limit}");
    }
}
