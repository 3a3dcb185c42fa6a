//! A fleet in a table: a store that keeps the engine's rules (revisions, dirty, derived ids), a plane made of maps, and
//! a clock that moves when told to. Every decision is taken twice, and must come out the same.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]

pub mod plane;
pub mod store;
pub mod switch;

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use trueup_model::{
    Action, Approval, Caps, Clock, Commit, DateTime, Delivery, Duration, EffectKey, Event, EventKind, Fault,
    Finding, Intent, IntentKey, IntentRecord, JobId, ManualClock, Notice, Observed, Outcome, Partition,
    PlaneKind, Queue, Receipt, Reserved, Route, Severity, StepName, Target, Time, Topic, TraceParent,
    commit::{Committed, MAX_PARTS},
    job::{self, Check, Cx, Job},
};
use trueup_workflows::{Chain, Ports, Rules};

use plane::FakePlane;
use store::FakeStore;
use switch::FakeSwitch;

pub const HERE: &str = "11111111-1111-4111-8111-111111111111";
pub const OLDER: &str = "22222222-2222-4222-8222-222222222222";

pub fn t0() -> Time {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() // 2026-01-01
}

/// An intent for Chrome in the lab: assigned to one group, critical, so that nothing is tolerated. `more` replaces or
/// adds fields.
pub fn intent(id: &str, more: serde_json::Value) -> Intent {
    let mut m = serde_json::json!({
        "id": id, "tenant": "acme", "plane": "intune",
        "target": {"app_id": HERE, "app_name": "Chrome", "replaces": [OLDER]},
        "desired": {"assignment": {"include": [{"group": "g1"}]}},
        "criticality": "critical", "ring": "lab",
    });
    for (k, v) in more.as_object().unwrap() {
        m[k] = v.clone();
    }
    serde_json::from_value(m).unwrap()
}

/// One channel that is told everything.
pub fn people() -> Route {
    let topics = Topic::ALL.to_vec();
    Route { channel: "people".into(), topics, tenants: vec![], min_severity: Severity::Low }
}

pub struct World {
    pub clock: ManualClock,
    pub chain: Chain,
    pub store: Mutex<FakeStore>,
    pub plane: Mutex<FakePlane>,
    pub switch: Mutex<FakeSwitch>,
}

impl World {
    pub fn new() -> Self {
        Self::under(Rules { routes: vec![people()], ..Rules::default() })
    }

    pub fn under(rules: Rules) -> Self {
        let world = Self {
            clock: ManualClock::at(t0()),
            chain: Chain::new(rules),
            store: Mutex::default(),
            plane: Mutex::default(),
            switch: Mutex::default(),
        };
        let tick = Job::Sweep(job::Sweep { partition: Partition(0), only: None, correlation_id: None });
        let queue = Queue::new(StepName::Sweep, None).unwrap();
        world.store.lock().unwrap().enqueue(job::tick_id(Partition(0)), queue, tick, None);
        world
    }

    pub fn apply(&self, intent: Intent) {
        self.store.lock().unwrap().apply(intent, self.clock.now());
    }

    pub fn request(&self, keys: &[IntentKey], name: &str) {
        let correlation = trueup_model::CorrelationId::parse(name).unwrap();
        let (id, job) = job::request(Partition(0), keys.to_vec(), correlation);
        let queue = Queue::new(StepName::Sweep, None).unwrap();
        self.store.lock().unwrap().enqueue(id, queue, job, None);
    }

    pub fn cx(&self, job: &JobId) -> Cx {
        let now = self.clock.now();
        let attempt = self.store.lock().unwrap().tries.get(job).copied().unwrap_or(0) + 1;
        Cx {
            now,
            job: job.clone(),
            partition: Partition(0),
            attempt,
            started_at: now,
            trace: TraceParent::root(&[job.as_str()]),
        }
    }

    /// Executes one job that is ready, if there is any.
    pub async fn work_one(&self) -> bool {
        let ready = self.store.lock().unwrap().ready(self.clock.now());
        let Some((id, queue, job)) = ready else { return false };
        self.work(&id, queue, &job).await;
        true
    }

    /// Executes one job to its end.
    pub async fn work(&self, id: &JobId, queue: Queue, job: &Job) {
        loop {
            let outcome = self.execute(id, job).await;
            match self.store.lock().unwrap().end(id, queue, job, outcome, self.clock.now()) {
                Committed::Conflict => {}
                Committed::Yes => return,
                other => panic!("{other:?} for {job:?}"),
            }
        }
    }

    pub async fn execute(&self, id: &JobId, job: &Job) -> Outcome {
        let cx = self.cx(id);
        match self.chain.gather(&cx, job, self).await {
            Ok(facts) => {
                let outcome = self.chain.decide(&cx, job, facts.clone());
                assert_eq!(outcome, self.chain.decide(&cx, job, facts), "not deterministic");
                if let Outcome::Done(Commit { events, writes, next }) = &outcome {
                    assert!(events.len().max(writes.len()).max(next.len()) <= MAX_PARTS, "commit too large");
                    let ids: BTreeSet<_> = events.iter().map(|e| &e.event_id).collect();
                    assert_eq!(ids.len(), events.len(), "event ids repeat");
                }
                outcome
            }
            Err(fault) => self.chain.after(&cx, job, &fault),
        }
    }

    /// Works and lets time pass until `t`.
    pub async fn run_until(&self, t: Time) {
        loop {
            while self.work_one().await {}
            let now = self.clock.now();
            let next = self.store.lock().unwrap().next_at().filter(|at| *at <= t);
            self.clock.advance(next.unwrap_or(t).max(now) - now);
            if next.is_none() {
                return;
            }
        }
    }

    pub async fn run_for(&self, d: Duration) {
        self.run_until(self.clock.now() + d).await;
    }

    pub fn record(&self, key: &IntentKey) -> IntentRecord {
        self.store.lock().unwrap().entries[key].record.clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.store.lock().unwrap().events.clone()
    }

    /// When events of a kind happened, in minutes since the beginning.
    pub fn minutes(&self, kind: EventKind) -> Vec<i64> {
        let of_kind = self.events().into_iter().filter(|e| e.event_type == kind);
        of_kind.map(|e| (e.created_at - t0()).num_minutes()).collect()
    }

    pub fn findings_of(&self, key: &IntentKey) -> Vec<Finding> {
        self.store.lock().unwrap().findings_of(key)
    }

    pub fn approvals_of(&self, key: &IntentKey) -> Vec<Approval> {
        self.store.lock().unwrap().approvals_of(key)
    }

    /// The notices that were written, of all topics, in order.
    pub fn notices(&self) -> Vec<Notice> {
        self.store.lock().unwrap().written.clone()
    }

    /// What people were told, in order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.plane.lock().unwrap().deliveries.iter().map(|(_, d)| d.clone()).collect()
    }

    /// What was done to the plane, in order.
    pub fn acts(&self) -> Vec<Action> {
        self.plane.lock().unwrap().acts.iter().map(|(_, action)| action.clone()).collect()
    }
}

#[async_trait]
impl Ports for World {
    async fn due(
        &self,
        _: Partition,
        now: Time,
        limit: usize,
    ) -> Result<(Vec<IntentKey>, Option<Time>), Fault> {
        Ok(self.store.lock().unwrap().due(now, limit))
    }
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>, Fault> {
        let store = self.store.lock().unwrap();
        Ok(keys.iter().map(|key| store.entries.get(key).map(|e| e.record.clone())).collect())
    }
    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>, Fault> {
        Ok(self.findings_of(intent))
    }
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>, Fault> {
        Ok(self.approvals_of(intent))
    }
    async fn backlog(&self, _: Partition, queue: Queue) -> Result<u64, Fault> {
        Ok(self.store.lock().unwrap().backlog(queue))
    }
    async fn observe(&self, _: &str, _: PlaneKind, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let mut plane = self.plane.lock().unwrap();
        plane.asked.push(checks.len());
        checks.iter().map(|check| plane.observe(check, self.clock.now())).collect()
    }
    async fn act(
        &self,
        _: &str,
        target: &Target,
        action: &Action,
        key: &EffectKey,
    ) -> Result<Receipt, Fault> {
        self.plane.lock().unwrap().act(target, action, key)
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, Fault> {
        Ok(self.store.lock().unwrap().outbox.iter().take(limit).cloned().collect())
    }
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        key: &EffectKey,
        now: Time,
    ) -> Result<Reserved, Fault> {
        let intents = self.store.lock().unwrap().entries.len() as u64;
        Ok(self.switch.lock().unwrap().reserve(tenant, plane, caps, intents, key, now))
    }
    async fn deliver(&self, delivery: &Delivery, key: &EffectKey) -> Result<Receipt, Fault> {
        self.plane.lock().unwrap().deliver(delivery, key)
    }
}
