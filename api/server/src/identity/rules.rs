//! Which permission each route needs: one table, enforced by the middleware before a handler runs.
//!
//! # Guarantees
//! - A route without a rule is refused. A test compares this table with the OpenAPI document, both ways.
//! - [`Rule::Path`] answers 404 for a tenant whose state the caller may not read, then 403 for what they may not do there.
//!
//! To add a route: one line here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::Method;

use super::Permission::{self, *};

/// What is asked of the one who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing, not even who it is.
    Open,
    /// Who it is.
    Known,
    /// This, in the tenant that the path names.
    Path(Permission),
    /// This, in the fleet.
    Fleet(Permission),
    /// The handler asks, item by item: lists leave out what the caller may not see, bodies are refused.
    Handler(Permission),
}

/// Method, path as the router knows it, rule.
pub const RULES: &[(&str, &str, Rule)] = &[
    ("GET", "/healthz", Rule::Open),
    ("GET", "/readyz", Rule::Open),
    ("GET", "/", Rule::Open),
    ("GET", "/openapi.json", Rule::Open),
    ("GET", "/docs", Rule::Open),
    ("GET", "/docs/", Rule::Open),
    ("GET", "/docs/{*rest}", Rule::Open),
    ("GET", "/metrics", Rule::Fleet(ReadFleet)),
    ("GET", "/v1/whoami", Rule::Known),
    ("GET", "/v1/keys", Rule::Handler(Administer)),
    ("POST", "/v1/keys", Rule::Handler(Administer)),
    ("POST", "/v1/keys/{id}/rotate", Rule::Handler(Administer)),
    ("DELETE", "/v1/keys/{id}", Rule::Handler(Administer)),
    ("GET", "/v1/health", Rule::Fleet(ReadFleet)),
    ("GET", "/v1/summary", Rule::Handler(Read)),
    ("GET", "/v1/intents", Rule::Handler(Read)),
    ("POST", "/v1/intents", Rule::Handler(WriteIntents)),
    ("GET", "/v1/intents/{tenant}/{id}", Rule::Path(Read)),
    ("PUT", "/v1/intents/{tenant}/{id}", Rule::Path(WriteIntents)),
    ("PATCH", "/v1/intents/{tenant}/{id}", Rule::Path(WriteIntents)),
    ("DELETE", "/v1/intents/{tenant}/{id}", Rule::Path(WriteIntents)),
    ("POST", "/v1/intents/{tenant}/{id}/checks", Rule::Path(Reconcile)),
    ("GET", "/v1/reconciliations", Rule::Handler(Read)),
    ("POST", "/v1/reconciliations", Rule::Handler(Reconcile)),
    ("GET", "/v1/reconciliations/{id}", Rule::Handler(Read)),
    ("GET", "/v1/runs", Rule::Handler(Read)),
    ("GET", "/v1/runs/{id}", Rule::Handler(Read)),
    ("GET", "/v1/findings", Rule::Handler(Read)),
    ("GET", "/v1/findings/{id}", Rule::Handler(Read)),
    ("GET", "/v1/findings/{id}/explain", Rule::Handler(Read)),
    ("GET", "/v1/approvals", Rule::Handler(Read)),
    ("GET", "/v1/causes", Rule::Handler(Read)),
    ("GET", "/v1/blast-radius", Rule::Handler(Read)),
    ("POST", "/v1/blast-radius/{tenant}/{plane}/rearm", Rule::Path(Rearm)),
    ("GET", "/v1/events", Rule::Handler(Read)),
    ("GET", "/v1/events/stream", Rule::Handler(Read)),
    ("GET", "/v1/planes", Rule::Handler(Read)),
    ("GET", "/v1/queues", Rule::Fleet(ReadFleet)),
    ("GET", "/v1/queues/{queue}", Rule::Fleet(ReadFleet)),
    ("POST", "/v1/queues/{queue}/{action}", Rule::Fleet(Operate)),
    ("GET", "/v1/jobs/{id}", Rule::Fleet(ReadFleet)),
    ("GET", "/v1/workers", Rule::Fleet(ReadFleet)),
    ("POST", "/v1/workers/{id}/drain", Rule::Fleet(Operate)),
    ("GET", "/board", Rule::Fleet(ReadFleet)),
    ("GET", "/board/{*rest}", Rule::Fleet(ReadFleet)),
];

type Table = BTreeMap<&'static str, BTreeMap<&'static str, Rule>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    for (method, path, rule) in RULES {
        table.entry(path).or_default().insert(method, *rule);
    }
    table
});

/// What the table says about a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Rule(Rule),
    /// The path has rules, but none for this method: as `Allow` says it.
    OtherMethods(String),
    /// Nobody said who may call it: nobody may.
    None,
}

/// The rule for a method and the path as the router knows it.
pub fn of(method: &Method, path: &str) -> Found {
    let Some(methods) = TABLE.get(path) else { return Found::None };
    // The router answers HEAD with what GET would.
    let name = if method == Method::HEAD { "GET" } else { method.as_str() };
    if let Some(rule) = methods.get(name) {
        return Found::Rule(*rule);
    }
    let mut allow: BTreeSet<&str> = methods.keys().copied().collect();
    if allow.contains("GET") {
        allow.insert("HEAD");
    }
    Found::OtherMethods(allow.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_stands_once_and_changes_are_never_open() {
        let mut seen = BTreeSet::new();
        for (method, path, rule) in RULES {
            assert!(seen.insert((method, path)), "{method} {path} stands twice");
            let reads = *method == "GET";
            assert!(reads || !matches!(rule, Rule::Open | Rule::Known), "{method} {path}");
            assert_eq!(path.contains("{tenant}"), matches!(rule, Rule::Path(_)), "{method} {path}");
        }
    }

    #[test]
    fn methods_and_paths_are_found() {
        let get = |path| of(&Method::GET, path);
        assert_eq!(get("/v1/intents"), Found::Rule(Rule::Handler(Read)));
        assert_eq!(of(&Method::HEAD, "/v1/intents"), Found::Rule(Rule::Handler(Read)));
        assert_eq!(of(&Method::PUT, "/v1/intents"), Found::OtherMethods("GET,HEAD,POST".into()));
        assert_eq!(get("/v1/nowhere"), Found::None);
    }
}
