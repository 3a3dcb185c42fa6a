//! A small fleet with drift, made through the store's own doors. Also used by the tests of the command line.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use trueup_engine::memory::MemoryStore;
use trueup_engine::{By, Ended, Incarnation, NewJob, Store};
use trueup_model::event::LOOP;
use trueup_model::intent::{Install, Scope};
use trueup_model::job::{Sweep, tick_id};
use trueup_model::plan::{Plan, Planned};
use trueup_model::{
    Action, Approval, ApprovalKind, ApprovalState, Attempts, Commit, Condition, CorrelationId, Decision,
    Delta, Digest, DriftKind, Duration, Event, EventId, EventKind, Finding, Intent, IntentKey, Job, JobId,
    ManualClock, Outcome, Queue, Reason, Severity, StepName, Time, Verdict, Write,
};

pub fn start() -> Time {
    "2026-01-06T08:00:00Z".parse().unwrap()
}

pub fn manifest(tenant: &str, id: &str) -> Value {
    json!({
        "id": id, "tenant": tenant, "plane": "intune", "criticality": "high", "ring": "lab",
        "target": {"app_id": "0177548a-548a-0177-8a54-77018a547701", "app_name": "Firefox"},
        "desired": {"version": "126.0", "assignment": {"include": [{"group": "lab"}]}},
        "labels": {"team": "browsers"},
    })
}

pub fn intent(tenant: &str, id: &str) -> Intent {
    serde_json::from_value(manifest(tenant, id)).unwrap()
}

pub fn worker() -> Incarnation {
    Incarnation("host-1".into())
}

pub fn empty(partitions: u16) -> (Arc<MemoryStore>, ManualClock) {
    let clock = ManualClock::at(start());
    let shared: trueup_model::SharedClock = Arc::new(clock.clone());
    (Arc::new(MemoryStore::with_clocks(partitions, shared.clone(), shared)), clock)
}

pub async fn apply(store: &dyn Store, intents: &[Intent]) {
    let by = By { actor: "test".into(), correlation_id: CorrelationId::derive(&["apply"]), now: start() };
    store.apply(intents, &by).await.unwrap();
}

/// Commits events and writes about one intent, as a job would.
pub async fn commit(store: &dyn Store, key: &IntentKey, name: &str, commit: Commit) {
    let (p, who) = (key.partition(store.partitions()), worker());
    let queue = Queue::new(StepName::Emit, None).unwrap();
    let id = JobId::derive(&[name, &key.tenant, &key.id]);
    let job = Job::Sweep(Sweep { partition: p, only: None, correlation_id: None });
    store.beat(p, &who).await.unwrap();
    store.enqueue(p, &[NewJob::of(id.clone(), queue, &job, None)]).await.unwrap();
    let leased = store.lease(p, &who, &[(queue, 1)], start()).await.unwrap();
    assert_eq!(leased.jobs[0].id, id);
    let ended = Ended { job: id, queue, outcome: Outcome::Done(commit), traceparent: None };
    let answers = store.commit(p, &who, &[ended]).await.unwrap();
    assert_eq!(answers, [trueup_model::commit::Committed::Yes]);
}

/// A job in the dead letters of `emit`.
pub async fn bury(store: &dyn Store, n: u32, because: &str) -> JobId {
    let (p, who) = (trueup_model::Partition(0), worker());
    let queue = Queue::new(StepName::Emit, None).unwrap();
    let id = JobId::derive(&["dead", &n.to_string()]);
    let job = Job::Sweep(Sweep { partition: p, only: None, correlation_id: None });
    store.beat(p, &who).await.unwrap();
    store.enqueue(p, &[NewJob::of(id.clone(), queue, &job, None)]).await.unwrap();
    store.lease(p, &who, &[(queue, 1)], start()).await.unwrap();
    let outcome = Outcome::Dead { because: because.into() };
    let ended = Ended { job: id.clone(), queue, outcome, traceparent: None };
    store.commit(p, &who, &[ended]).await.unwrap();
    id
}

/// The tick of partition 0 waits in `sweep`.
pub async fn tick(store: &dyn Store) {
    let p = trueup_model::Partition(0);
    let job = Job::Sweep(Sweep { partition: p, only: None, correlation_id: None });
    let queue = Queue::new(StepName::Sweep, None).unwrap();
    store
        .enqueue(p, &[NewJob::of(tick_id(p), queue, &job, Some(start() + Duration::minutes(1)))])
        .await
        .unwrap();
}

pub fn finding(key: &IntentKey, kind: DriftKind, verdict: Verdict, minutes: i64) -> Finding {
    let opened = start() - Duration::minutes(minutes);
    let delta = vec![Delta {
        path: "assignment.include".into(),
        desired: "group lab".into(),
        observed: "nobody \u{1b}[31m(red)".into(),
    }];
    Finding {
        plane: trueup_model::PlaneKind::Intune,
        persistent: false,
        security: false,
        causes: Vec::new(),
        id: Finding::id_of(key, kind),
        intent: key.clone(),
        kind,
        open: true,
        severity: kind.severity(),
        digest: Digest::of(&delta),
        affected_devices: 10,
        delta,
        opened_at: opened,
        last_seen_at: start() - Duration::minutes(2),
        resolved_at: None,
        recurrences: 1,
        attempts: 1,
        decision: Decision {
            verdict,
            reasons: vec![Reason {
                rule: "low-risk-in-lab".into(),
                says: verdict,
                because: "missing assignment in ring lab, not privileged".into(),
            }],
            policy: "dig_policy".into(),
            would_change: "another ring, or a privileged application".into(),
            not_before: None,
        },
        next_at: Some(start() + Duration::minutes(55)),
        correlation_id: CorrelationId::derive(&["drift"]),
        facts: Vec::new(),
    }
}

pub fn approval(finding: &Finding, kind: ApprovalKind) -> Approval {
    let action = Action::Assign {
        app: "0177548a-548a-0177-8a54-77018a547701".into(),
        install: Install::Required,
        include: BTreeSet::from([Scope::Group("lab".into())]),
        exclude: BTreeSet::new(),
        remove: BTreeSet::new(),
    };
    let planned = Planned { action, kind: finding.kind, summary: "assign Firefox to group lab".into() };
    Approval {
        id: Approval::id_of(&finding.id, kind, &finding.digest, finding.opened_at),
        kind,
        state: ApprovalState::Open,
        intent: finding.intent.clone(),
        finding: finding.id.clone(),
        drift: finding.kind,
        digest: finding.digest.clone(),
        plan: Plan::new(1, &[&finding.digest], vec![planned]),
        because: vec!["scope mismatch is high risk".into()],
        opened_at: finding.opened_at,
        closed_at: None,
        correlation_id: finding.correlation_id.clone(),
    }
}

pub fn event(key: &IntentKey, kind: EventKind, n: u32, data: Value) -> Event {
    Event {
        event_id: EventId::derive(&[&key.to_string(), &n.to_string()]),
        seq: 0,
        schema: 1,
        event_type: kind,
        tenant: key.tenant.clone(),
        intent: key.id.clone(),
        correlation_id: CorrelationId::derive(&["drift"]),
        causation_id: None,
        trace_id: None,
        actor: LOOP.into(),
        created_at: start() - Duration::minutes(60) + Duration::minutes(i64::from(n)),
        event_data: data,
    }
}

/// Four intents of two tenants; `acme/drifted` misses its assignment and was tried once, `acme/scope` waits for a
/// review; a dead letter, a tick, and one worker that beats.
pub async fn drifted() -> (Arc<MemoryStore>, ManualClock) {
    let (store, clock) = empty(2);
    let all = [("acme", "drifted"), ("acme", "scope"), ("acme", "fine"), ("zeta", "new")]
        .map(|(t, i)| intent(t, i));
    apply(store.as_ref(), &all).await;
    seed(store.as_ref(), "drifted", DriftKind::MissingAssignment, Verdict::Automatic, None).await;
    seed(store.as_ref(), "scope", DriftKind::ScopeMismatch, Verdict::Review, Some(ApprovalKind::Review))
        .await;
    bury(store.as_ref(), 1, "not a job: \u{1b}[2Jexpected value at line 1 column 1").await;
    tick(store.as_ref()).await;
    (store, clock)
}

async fn seed(store: &dyn Store, id: &str, kind: DriftKind, verdict: Verdict, asks: Option<ApprovalKind>) {
    let key = IntentKey::new("acme", id);
    let record = store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let found = finding(&key, kind, verdict, 180);
    let mut state = record.state.clone();
    state.condition = Condition::Drifted;
    state.since = Some(found.opened_at);
    state.checked_at = Some(start() - Duration::minutes(2));
    state.next_check = Some(start() + Duration::minutes(28));
    state.drifts.insert(kind, found.digest.clone());
    state.runs = 3;
    if verdict == Verdict::Automatic {
        let last_at = Some(start() - Duration::minutes(5));
        state.attempts = Attempts {
            made: 1,
            last_at,
            open: true,
            generation: 1,
            kinds: vec![kind],
            ..Attempts::default()
        };
    }
    let detected = json!({"deployment_intent_id": id, "drift_type": kind.as_str(), "severity": Severity::High,
        "affected_devices": 10, "remediation_triggered": verdict == Verdict::Automatic});
    let other = json!({"deployment_intent_id": id, "drift_type": "version_mismatch"});
    let events = vec![
        event(&key, EventKind::DriftDetected, 1, detected),
        event(&key, EventKind::DriftDetected, 2, other),
        event(
            &key,
            EventKind::PolicyDecided,
            3,
            json!({"deployment_intent_id": id, "finding": found.id, "verdict": verdict}),
        ),
    ];
    let due = state.due();
    let mut writes = vec![
        Write::State { intent: key.clone(), rev: record.rev, state: Box::new(state), due, ends_run: false },
        Write::Finding(Box::new(found.clone())),
    ];
    writes.extend(asks.map(|kind| Write::Approval(Box::new(approval(&found, kind)))));
    commit(store, &key, "seed", Commit { events, writes, next: Vec::new() }).await;
}
