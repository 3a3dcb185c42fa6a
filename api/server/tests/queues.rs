//! Queues, jobs and workers over the API: looking, acting on many, and draining.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use common::{Answer, ask, fleet, get, post};
use serde_json::{Value, json};
use trueup_engine::memory::MemoryStore;
use trueup_engine::{Ended, NewJob, Store, WorkerReport};
use trueup_model::{
    Commit, CorrelationId, EventKind, IntentKey, JobId, Next, Outcome, Partition, Queue, Time, Trigger,
};
use trueup_server::{ApiState, router};

const P: Partition = Partition(0);

fn emit() -> Queue {
    "emit".parse().unwrap()
}

fn api(store: &Arc<MemoryStore>, clock: trueup_model::ManualClock) -> Router {
    router(ApiState::new(store.clone(), Arc::new(clock)))
}

async fn act(api: &Router, path: &str, body: Value) -> Answer {
    post(api, path, "application/json", body.to_string()).await
}

fn about(name: &str, tenant: &str) -> NewJob {
    let payload = json!({"v": 1, "step": "query", "tenant": tenant, "plane": "intune",
        "checks": [{"intent": format!("{tenant}/a")}]});
    NewJob {
        id: JobId::derive(&[name]),
        queue: emit(),
        payload: payload.to_string().into_bytes(),
        at: None,
        traceparent: None,
    }
}

/// `n` dead jobs, every third of the tenant `zeta`.
async fn bury(store: &dyn Store, n: usize) {
    let who = fleet::worker();
    store.beat(P, &who).await.unwrap();
    for from in (0..n).step_by(64) {
        let tenant = |n: usize| if n.is_multiple_of(3) { "zeta" } else { "acme" };
        let jobs: Vec<_> = (from..n.min(from + 64)).map(|n| about(&n.to_string(), tenant(n))).collect();
        store.enqueue(P, &jobs).await.unwrap();
        store.lease(P, &who, &[(emit(), 64)], fleet::start()).await.unwrap();
        let outcome = || Outcome::Dead { because: "Timeout after 30 s".into() };
        let ends: Vec<_> = jobs
            .into_iter()
            .map(|j| Ended { job: j.id, queue: emit(), outcome: outcome(), traceparent: None })
            .collect();
        store.commit(P, &who, &ends).await.unwrap();
    }
}

#[tokio::test]
async fn many_are_retried_by_a_filter_at_a_rate() {
    let (store, clock) = fleet::empty(1);
    bury(store.as_ref(), 900).await;
    let api = api(&store, clock);
    let chosen = json!({"tenant": "acme", "reason": "timeout", "older_than_s": 0});
    let counted = act(&api, "/v1/queues/emit/retry", json!({"where": chosen, "dry_run": true})).await.body;
    assert_eq!(
        (&counted["matched"], &counted["changed"], &counted["next"]),
        (&json!(600), &json!(0), &Value::Null)
    );
    let dead = get(&api, "/v1/queues/emit?limit=1").await.body;
    assert_eq!(dead["depth"]["dead"], 900, "a dry run changes nothing");

    let (mut changed, mut parts, mut cursor) = (0, 0, Value::Null);
    loop {
        let body = json!({"where": chosen, "rate": 100, "cursor": cursor});
        let part = act(&api, "/v1/queues/emit/retry", body).await.body;
        let n = part["changed"].as_u64().unwrap();
        assert!(n <= 100, "no more than a second's worth: {part}");
        assert_eq!(part["wait_ms"].as_u64(), part.get("next").map(|_| n * 10));
        (changed, parts, cursor) = (changed + n, parts + 1, part["next"].clone());
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(changed, 600);
    assert!((6..=7).contains(&parts), "{parts}");
    let left = get(&api, "/v1/queues/emit?state=dead&limit=1000").await.body;
    assert_eq!(left["items"].as_array().unwrap().len(), 300);
    let events = get(&api, "/v1/events?type=JOB_RETRIED&last=100").await.body;
    let told: u64 =
        events["items"].as_array().unwrap().iter().map(|e| e["event_data"]["count"].as_u64().unwrap()).sum();
    assert_eq!(told, 600);
    let selection = &events["items"][0]["event_data"]["selection"];
    assert_eq!(selection, "state=dead tenant=acme reason~timeout older-than=0s");
}

/// Each of them died by its worker's clock, which need not be the API's.
#[tokio::test]
async fn all_that_are_dead_are_retried_by_an_api_whose_clock_is_wrong() {
    for minutes in [-5, 0, 5] {
        let (store, _) = fleet::empty(1);
        bury(store.as_ref(), 300).await;
        let wrong = trueup_model::ManualClock::at(fleet::start() + trueup_model::Duration::minutes(minutes));
        let api = api(&store, wrong);
        let (mut changed, mut cursor) = (0, Value::Null);
        loop {
            let part = act(&api, "/v1/queues/emit/retry", json!({"all": true, "cursor": cursor})).await.body;
            changed += part["changed"].as_u64().unwrap();
            cursor = part["next"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(changed, 300, "{minutes} minutes off");
    }
}

#[tokio::test]
async fn a_selection_of_very_many_is_answered_in_bounded_parts() {
    let (store, clock) = fleet::empty(1);
    for chunk in 0..40 {
        let jobs: Vec<_> = (0..256).map(|n| about(&format!("{chunk} {n}"), "acme")).collect();
        store.enqueue(P, &jobs).await.unwrap();
    }
    let api = api(&store, clock);
    let nobody = json!({"where": {"state": "ready", "tenant": "nobody"}});
    let part = act(&api, "/v1/queues/emit/discard", nobody).await.body;
    assert_eq!((part["scanned"].as_u64(), part["changed"].as_u64()), (Some(2_048), Some(0)));
    assert!(part["next"].is_string());
    let everything = json!({"where": {"state": "ready", "tenant": "acme"}});
    let part = act(&api, "/v1/queues/emit/discard", everything).await.body;
    assert_eq!(part["changed"], 256);
    let all = act(&api, "/v1/queues/emit/discard", json!({"where": {"state": "ready"}, "dry_run": true}))
        .await
        .body;
    assert_eq!(
        (&all["matched"], &all["scanned"]),
        (&json!(40 * 256 - 256), &json!(0)),
        "counted, not looked at"
    );
    let front = act(&api, "/v1/queues/emit/front", json!({"where": {"state": "ready"}})).await.body;
    assert_eq!(
        (&front["changed"], &front["next"]),
        (&json!(256), &Value::Null),
        "more would be a front no longer"
    );
    let shown = get(&api, "/v1/queues/emit?state=ready&tenant=acme&limit=1000&by_tenant=true").await.body;
    assert_eq!(shown["items"].as_array().unwrap().len(), 100, "no more than 100 where a filter is given");
    assert!(shown["next"].is_string() && shown["items"][0]["payload"]["tenant"] == "acme");
    let sample = &shown["by_tenant"];
    assert_eq!((&sample["sampled"], &sample["jobs"]), (&json!(100), &json!({"acme": 100})));
}

#[tokio::test]
async fn jobs_that_are_named_are_acted_on_or_it_is_said_why_not() {
    let (store, clock) = fleet::empty(1);
    bury(store.as_ref(), 2).await;
    let who = fleet::worker();
    store.enqueue(P, &[about("held", "acme")]).await.unwrap();
    store.lease(P, &who, &[(emit(), 1)], fleet::start()).await.unwrap();
    let api = api(&store, clock);
    let id = |n: &str| JobId::derive(&[n]).to_string();
    let jobs = json!({"jobs": [id("0"), id("held"), id("1"), "job_nobody"]});
    let acted = act(&api, "/v1/queues/emit/front", jobs).await.body;
    assert_eq!((&acted["changed"], acted["passed_over"].as_object().unwrap().len()), (&json!(2), 2));
    assert!(acted["passed_over"][&id("held")].as_str().unwrap().contains("a worker holds it"));
    let leased = store.lease(P, &who, &[(emit(), 2)], fleet::start()).await.unwrap().jobs;
    assert_eq!(leased.iter().map(|j| j.id.to_string()).collect::<Vec<_>>(), [id("0"), id("1")]);
    act(&api, "/v1/queues/emit/discard", json!({"job": id("held")})).await.is_problem(409, "job-elsewhere");
    act(&api, "/v1/queues/sweep/discard", json!({"job": id("0")})).await.says("it is in queue emit");
}

#[tokio::test]
async fn wrong_selections_are_refused_with_the_place() {
    let (store, clock) = fleet::empty(1);
    let api = api(&store, clock);
    let many: Vec<String> = (0..257).map(|n| format!("job_{n}")).collect();
    let table = [
        (json!({}), "say which jobs, in one way"),
        (json!({"all": true, "job": "job_1"}), "say which jobs, in one way"),
        (json!({"where": {}, "limit": 0}), "expected a number from 1 to 256"),
        (json!({"where": {}, "rate": 0}), "expected a number from 1 to 100000"),
        (json!({"where": {"state": "in_flight"}}), "what is in flight is its worker's"),
        (json!({"where": {"state": "ready"}}), "wait for their turn already"),
        (json!({"where": {"reason": ""}}), "expected 1 to 256 characters"),
        (json!({"where": {}, "cursor": "nonsense"}), "expected `next` of an answer"),
        (json!({"where": {"tennant": "acme"}}), "unknown field"),
        (json!({"jobs": many}), "name at most 256"),
    ];
    for (body, why) in table {
        act(&api, "/v1/queues/emit/retry", body).await.is_problem(422, "invalid").says(why);
    }
    act(&api, "/v1/queues/emit/burn", json!({})).await.is_problem(404, "not-found").says("front");
    get(&api, "/v1/queues/emit?older_than=-1").await.is_problem(400, "parameters");
    act(&api, "/v1/queues/emit/pause", json!({"all": true})).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn a_job_is_shown_with_what_came_before_and_after() {
    let (store, clock) = fleet::empty(1);
    fleet::apply(store.as_ref(), &[fleet::intent("acme", "a")]).await;
    let key = IntentKey::new("acme", "a");
    let record = store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let run = trueup_model::ActiveRun {
        id: record.state.next_run(&record.intent),
        trigger: Trigger::Request,
        correlation_id: CorrelationId::derive(&["why"]),
        started_at: fleet::start(),
    };
    let mut state = record.state.clone();
    state.run = Some(run.clone());
    let parent = JobId::derive(&["parent"]);
    let child = JobId::derive(&[parent.as_str(), "0"]);
    let at = json!({"from": fleet::start(), "to": fleet::start()});
    let follows: trueup_model::Job =
        serde_json::from_value(json!({"step": "emit", "intent": "acme/a", "run": run.id,
        "generation": 1, "drifts": [], "condition": "in_sync", "passed": [at, at, at]}))
        .unwrap();
    let mut event = fleet::event(&key, EventKind::ConditionChanged, 1, json!({}));
    (event.causation_id, event.correlation_id) = (Some(parent.clone()), run.correlation_id.clone());
    let commit = Commit {
        events: vec![event],
        writes: vec![trueup_model::Write::State {
            intent: key.clone(),
            rev: record.rev,
            state: Box::new(state),
            due: None,
            ends_run: false,
        }],
        next: vec![Next { id: child.clone(), queue: emit(), job: follows, at: None }],
    };
    let who = fleet::worker();
    store.beat(P, &who).await.unwrap();
    store.enqueue(P, &[NewJob { id: parent.clone(), ..about("", "acme") }]).await.unwrap();
    store.lease(P, &who, &[(emit(), 1)], fleet::start()).await.unwrap();
    let ended =
        Ended { job: parent.clone(), queue: emit(), outcome: Outcome::Done(commit), traceparent: None };
    assert_eq!(store.commit(P, &who, &[ended]).await.unwrap(), [trueup_model::commit::Committed::Yes]);

    let api = api(&store, clock);
    let story = get(&api, &format!("/v1/jobs/{child}")).await.body;
    assert_eq!((&story["state"], &story["why"]), (&json!("ready"), &json!("it waits for a free worker")));
    let lineage = &story["lineage"];
    assert_eq!(lineage["before"], parent.as_str());
    assert_eq!((&lineage["trigger"], &lineage["runs"][0]), (&json!("request"), &json!(run.id.as_str())));
    assert_eq!((&lineage["tenants"][0], &lineage["intents"][0]), (&json!("acme"), &json!("acme/a")));
    assert_eq!(lineage["correlation_id"], run.correlation_id.as_str());
    assert_eq!(lineage["events"].as_array().unwrap().len(), 1);

    // Put off: it says why, and until when.
    store.lease(P, &who, &[(emit(), 1)], fleet::start()).await.unwrap();
    assert_eq!(get(&api, &format!("/v1/jobs/{child}")).await.body["deliveries"], 1);
    let until: Time = "2026-01-06T09:00:00Z".parse().unwrap();
    let outcome = Outcome::Defer { at: until, because: Some("the plane asked to wait".into()) };
    let ended = Ended { job: child.clone(), queue: emit(), outcome, traceparent: None };
    store.commit(P, &who, &[ended]).await.unwrap();
    let story = get(&api, &format!("/v1/jobs/{child}")).await.body;
    assert_eq!(story["why"], "it waits until 2026-01-06T09:00:00+00:00: the plane asked to wait");
    get(&api, "/v1/jobs/job_gone").await.is_problem(404, "not-found").says("a job that has finished is gone");
}

#[tokio::test]
async fn workers_say_what_they_are_and_are_drained() {
    let (store, clock) = fleet::empty(1);
    let who = fleet::worker();
    store.beat(P, &who).await.unwrap();
    let api = api(&store, clock);
    let listed = get(&api, "/v1/workers").await.body["items"][0].clone();
    assert_eq!(
        (&listed["state"], listed.get("report")),
        (&json!("working"), None),
        "it has not reported yet"
    );
    ask(&api, Method::POST, "/v1/workers/host-1/drain").await.is_problem(404, "not-found");
    let report = WorkerReport {
        version: "1.2.3".into(),
        host: "host".into(),
        pid: 7,
        queues: [("emit".to_owned(), 2), ("sweep".to_owned(), 1)].into(),
        ..WorkerReport::default()
    };
    store.operations().report(&who, &report).await.unwrap();
    let listed = get(&api, "/v1/workers").await.body["items"][0].clone();
    assert_eq!((&listed["leases"], &listed["report"]["version"]), (&json!(3), &json!("1.2.3")));
    assert_eq!(ask(&api, Method::POST, "/v1/workers/host-1/drain").await.body["drain"], "asked");
    assert_eq!(ask(&api, Method::POST, "/v1/workers/host-1/drain").await.body["drain"], "asked_before");
    assert_eq!(get(&api, "/v1/workers").await.body["items"][0]["state"], "draining");
    assert!(store.operations().report(&who, &report).await.unwrap(), "it hears it");
    let events = get(&api, "/v1/events?type=WORKER_DRAINED&last=9").await.body;
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    ask(&api, Method::POST, "/v1/workers/nobody/drain").await.is_problem(404, "not-found").says("worker ls");
}

#[tokio::test]
async fn rates_are_shown_beside_depths() {
    let (store, clock) = fleet::empty(1);
    bury(store.as_ref(), 60).await;
    let api = api(&store, clock.clone());
    clock.advance(trueup_model::Duration::seconds(10));
    let queues = get(&api, "/v1/queues?history=true").await.body;
    let of = queues["items"].as_array().unwrap().iter().find(|q| q["queue"] == "emit").unwrap();
    assert_eq!((&of["per_second"]["enqueued"], &of["per_second"]["dead"]), (&json!(1.0), &json!(1.0)));
    assert_eq!((of["history"].as_array().unwrap().len(), &of["step"]), (31, &json!("emit")));
}
