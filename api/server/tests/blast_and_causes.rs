//! The blast-radius switches, and drift by cause.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use common::{ask, fleet, get};
use serde_json::json;
use trueup_engine::{Store, memory::MemoryStore};
use trueup_model::{Caps, Commit, DriftKind, EventKind, IntentKey, PlaneKind, Reserved, Verdict, Write};
use trueup_server::{ApiState, router};

fn over(made: (Arc<MemoryStore>, trueup_model::ManualClock)) -> (Router, Arc<MemoryStore>) {
    let (store, clock) = made;
    (router(ApiState::new(store.clone(), Arc::new(clock))), store)
}

#[tokio::test]
async fn a_tripped_switch_is_listed_and_rearmed() {
    let (api, store) = over(fleet::empty(2));
    assert_eq!(get(&api, "/v1/blast-radius").await.body, json!({"items": []}));
    let caps = Caps { actions: Some(0), window_s: 3600, ..Caps::default() };
    let held = store.reserve("acme", PlaneKind::Intune, &caps, "m", fleet::start()).await.unwrap();
    assert!(matches!(held, Reserved::Held { first: true, .. }));
    let tripped = json!({"tenant": "acme", "plane": "intune", "at": "2026-01-06T08:00:00Z",
        "cap": "0 attempts in 60 min"});
    assert_eq!(get(&api, "/v1/blast-radius").await.body, json!({"items": [tripped]}));

    for (path, says) in [
        ("/v1/blast-radius/acme/jamf/rearm", "there is no tripped blast-radius switch 'acme/jamf'"),
        ("/v1/blast-radius/zeta/intune/rearm", "see those that are with `trueup blast ls`"),
        ("/v1/blast-radius/acme/inune/rearm", "did you mean 'intune'?"),
        ("/v1/blast-radius/a%2fb/intune/rearm", "there is no tenant 'a/b'"),
    ] {
        ask(&api, Method::POST, path).await.is_problem(404, "not-found").says(says);
    }
    let answer = ask(&api, Method::POST, "/v1/blast-radius/acme/intune/rearm").await;
    assert_eq!(answer.body, json!({"tenant": "acme", "plane": "intune", "rearmed": true}));
    assert_eq!(get(&api, "/v1/blast-radius").await.body, json!({"items": []}));
    ask(&api, Method::POST, "/v1/blast-radius/acme/intune/rearm").await.is_problem(404, "not-found");
    let events = store.events(&Default::default(), &Default::default(), 9).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|(_, e)| e.event_type).collect();
    assert_eq!(kinds, [EventKind::BlastRadiusRearmed], "what changed nothing leaves no event");
}

/// An open finding on every intent, of which most drifted because of one group.
async fn caused(store: &dyn Store) {
    let one = |tenant: &str, n: u32| fleet::intent(tenant, &format!("i{n}"));
    let all: Vec<_> = (0..30).map(|n| one("acme", n)).chain((0..3).map(|n| one("zeta", n))).collect();
    fleet::apply(store, &all).await;
    for (n, intent) in all.iter().enumerate() {
        let kind = DriftKind::ScopeMismatch;
        let mut finding = fleet::finding(&intent.key, kind, Verdict::Review, n as i64);
        finding.causes = vec![format!("app:{n}"), "group:lab".into()];
        if n % 10 == 9 {
            finding.causes = Vec::new();
        }
        finding.persistent = n == 0;
        finding.open = n != 1;
        let commit = Commit { writes: vec![Write::Finding(Box::new(finding))], ..Commit::default() };
        fleet::commit(store, &intent.key, &n.to_string(), commit).await;
    }
}

#[tokio::test]
async fn open_drift_is_grouped_by_what_caused_it() {
    let (api, store) = over(fleet::empty(2));
    assert_eq!(get(&api, "/v1/causes").await.body, json!({"items": [], "findings": 0, "cut": false}));
    caused(store.as_ref()).await;
    let table = [
        ("", vec![("acme", "group:lab", 26), ("acme", "", 3), ("zeta", "group:lab", 3)]),
        ("?tenant=zeta", vec![("zeta", "group:lab", 3)]),
        ("?plane=jamf", vec![]),
        ("?plane=intune&tenant=acme", vec![("acme", "group:lab", 26), ("acme", "", 3)]),
    ];
    for (query, expected) in table {
        let body = get(&api, &format!("/v1/causes{query}")).await.body;
        let groups: Vec<_> = body["items"].as_array().unwrap().iter().collect();
        let seen: Vec<_> = groups
            .iter()
            .map(|g| {
                (g["tenant"].as_str().unwrap(), g["cause"].as_str().unwrap(), g["members"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(seen, expected, "{query}");
        let members: u64 = expected.iter().map(|(_, _, n)| n).sum();
        assert_eq!((body["findings"].as_u64(), &body["cut"]), (Some(members), &json!(false)), "{query}");
    }
    let lab = get(&api, "/v1/causes?tenant=acme").await.body["items"][0].clone();
    assert_eq!(
        (&lab["kind"], &lab["persistent"], &lab["affected_devices"]),
        (&json!("scope_mismatch"), &json!(1), &json!(260))
    );
    assert_eq!(lab["findings"].as_array().unwrap().len(), 20, "some are named");
    let key = IntentKey::new("acme", "i0");
    store
        .delete(
            &[key],
            &trueup_engine::By {
                actor: "test".into(),
                correlation_id: trueup_model::CorrelationId::derive(&["d"]),
                now: fleet::start(),
            },
        )
        .await
        .unwrap();
    assert_eq!(get(&api, "/v1/causes?tenant=acme").await.body["items"][0]["members"], 25);
    get(&api, "/v1/causes?plan=jamf").await.is_problem(400, "parameters").says("did you mean 'plane'?");
}
