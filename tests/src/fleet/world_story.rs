//! A fleet that lives by a manual clock: the real chain over a `MemoryStore` and the real Intune connections to a
//! simulated Graph. One job at a time, in the order in which a single worker would take them: same story, same course.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use trueup_engine::memory::MemoryStore;
use trueup_engine::{By, Ended, EngineError, Incarnation, LeasedJob, NewJob, Store};
use trueup_model::commit::Committed;
use trueup_model::job::{self, Check, Cx};
use trueup_model::{
    Action, Approval, Caps, Clock, Commit, CorrelationId, DateTime, Delivery, Duration, EffectKey, Fault,
    Finding, Intent, IntentKey, IntentRecord, Job, ManualClock, Notice, Observed, Outcome, Partition,
    PlaneKind, Queue, Receipt, Reserved, Route, Severity, SharedClock, StepName, Target, Time, Topic,
    TraceParent,
};
use trueup_planes::{Broker, LocalBroker, Plane, Planes};
use trueup_simulators::{Seed, WaitStyle};
use trueup_workflows::{Chain, Policy, Ports, Rules};

use crate::world::uncapped;

use super::sites::{Sites, secrets};
use super::world_graph::{Graph, OTHER, TENANT, seed};

/// All stories happen here.
const P: Partition = Partition(0);
/// Jobs that become ready at one moment; more means that something goes in circles.
const MAX_AT_ONCE: usize = 50_000;

#[derive(Debug)]
pub struct Story {
    pub clock: ManualClock,
    pub graph: Graph,
    pub store: Arc<MemoryStore>,
    /// What people were told, in order.
    pub deliveries: Mutex<Vec<Delivery>>,
    /// The other two endpoint planes, where a story is told on all three.
    pub(super) sites: Option<Sites>,
    pub(super) began: Time,
    chain: Chain,
    pub(super) planes: Planes,
    who: Incarnation,
    requests: Mutex<u32>,
}

impl Story {
    pub async fn begin() -> Self {
        Self::with(seed(), WaitStyle::Whole).await
    }

    pub async fn with(seed: Seed, wait: WaitStyle) -> Self {
        Self::under(rules(uncapped()), seed, wait).await
    }

    pub async fn under(rules: Rules, seed: Seed, wait: WaitStyle) -> Self {
        Self::set(rules, seed, wait, false).await
    }

    /// With a simulated Jamf Pro and Configuration Manager beside Graph.
    pub async fn everywhere(rules: Rules) -> Self {
        Self::set(rules, seed(), WaitStyle::Whole, true).await
    }

    async fn set(rules: Rules, seed: Seed, wait: WaitStyle, everywhere: bool) -> Self {
        let began = DateTime::from_timestamp(1_795_255_200, 0).expect("a time"); // 2026-11-21 10:00
        let clock = ManualClock::at(began);
        let shared: SharedClock = Arc::new(clock.clone());
        let graph = Graph::start(&shared, &seed, wait).await.expect("a simulated Graph");
        let mut connections = graph.connections(&[TENANT, OTHER]).expect("connections");
        let mut sites = None;
        if everywhere {
            let started = Sites::start(&shared, &[TENANT], seed.apps).await.expect("simulated sites");
            connections.extend(started.connections(&[TENANT]).expect("connections"));
            sites = Some(started);
        }
        let broker: Arc<dyn Broker> = Arc::new(LocalBroker::new(shared.clone()));
        let planes = Planes::connect(&connections, &shared, &secrets(&[TENANT]), &broker).expect("planes");
        // The only worker never dies, so the lease's clock stands still.
        let store = MemoryStore::with_clocks(1, Arc::new(ManualClock::at(began)), shared);
        let story = Self {
            clock,
            graph,
            store: Arc::new(store),
            deliveries: Mutex::default(),
            sites,
            began,
            chain: Chain::new(rules),
            planes,
            who: Incarnation("the-only-worker".into()),
            requests: Mutex::default(),
        };
        story.store.beat(P, &story.who).await.expect("a heartbeat");
        let tick = Job::Sweep(job::Sweep { partition: P, only: None, correlation_id: None });
        story.enqueue(NewJob::of(job::tick_id(P), sweep(), &tick, None)).await;
        story
    }

    /// Another plane for this tenant, instead of the one that may be there.
    pub fn plug(&mut self, tenant: &str, kind: PlaneKind, plane: Arc<dyn Plane>) {
        self.planes.insert(tenant, kind, plane);
    }

    async fn enqueue(&self, job: NewJob) {
        self.store.enqueue(P, &[job]).await.expect("enqueued");
    }

    fn by(&self) -> By {
        let correlation_id = CorrelationId::parse("an-operator").expect("an id");
        By { actor: "operator".into(), correlation_id, now: self.clock.now() }
    }

    // --- what people do

    pub async fn apply(&self, intents: &[Intent]) {
        for some in intents.chunks(256) {
            self.store.apply(some, &self.by()).await.expect("applied");
        }
    }

    /// Turns automatic remediation on again.
    pub async fn rearm(&self, tenant: &str, plane: PlaneKind) {
        assert!(self.store.rearm(tenant, plane, &self.by()).await.expect("an answer"), "it had not tripped");
    }

    pub async fn delete(&self, key: &IntentKey) {
        self.store.delete(std::slice::from_ref(key), &self.by()).await.expect("deleted");
    }

    /// Asks for a check now, as the API does.
    pub async fn ask_for_check(&self, key: &IntentKey) {
        self.ask_for_checks(std::slice::from_ref(key)).await;
    }

    /// Of at most 256.
    pub async fn ask_for_checks(&self, keys: &[IntentKey]) {
        let n = {
            let mut n = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            *n += 1;
            *n
        };
        let correlation = CorrelationId::parse(&format!("request-{n}")).expect("an id");
        let (id, job) = job::request(P, keys.to_vec(), correlation);
        self.enqueue(NewJob::of(id, sweep(), &job, None)).await;
    }

    // --- what time does

    /// Lets time pass, and everything happen that is due meanwhile.
    pub async fn pass(&self, time: Duration) {
        let until = self.clock.now() + time;
        loop {
            self.work().await;
            let now = self.clock.now();
            let next = self.store.lease(P, &self.who, &wanted(0), now).await.expect("a look").next_due;
            let to = next.unwrap_or(until).clamp(now, until);
            self.clock.advance(to - now);
            if to == until {
                self.work().await;
                return;
            }
        }
    }

    /// Does what is ready now.
    pub async fn work(&self) {
        for _ in 0..MAX_AT_ONCE {
            if self.work_one().await.is_none() {
                return;
            }
        }
        panic!("{MAX_AT_ONCE} jobs without a moment passing");
    }

    /// Does ready jobs until one of this step has been done.
    pub async fn work_through(&self, step: StepName) {
        while let Some(done) = self.work_one().await {
            if done == step {
                return;
            }
        }
        panic!("no {step} was ready");
    }

    /// Does one job that is ready; says which step it was of.
    pub async fn work_one(&self) -> Option<StepName> {
        let leased = self.lease_one().await?;
        let job = Job::decode(&leased.payload).expect("a job");
        loop {
            let outcome = self.execute(&leased, &job).await;
            let traceparent = leased.traceparent.clone();
            let ended = Ended { job: leased.id.clone(), queue: leased.queue, outcome, traceparent };
            match self.store.commit(P, &self.who, &[ended]).await.expect("an answer")[0] {
                Committed::Yes => return Some(job.step()),
                Committed::Conflict => {}
                other => panic!("{other:?} for {job:?}"),
            }
        }
    }

    pub async fn lease_one(&self) -> Option<LeasedJob> {
        for queue in Queue::all() {
            let leases = self.store.lease(P, &self.who, &[(queue, 1)], self.clock.now()).await;
            if let Some(leased) = leases.expect("a lease").jobs.pop() {
                return Some(leased);
            }
        }
        None
    }

    /// Leased jobs that are not done after all.
    pub async fn give_back(&self, jobs: &[(trueup_model::JobId, Queue)]) {
        self.store.give_back(P, &self.who, jobs).await.expect("given back");
    }

    /// Gathers once, and decides twice: it must come out the same.
    pub async fn execute(&self, leased: &LeasedJob, job: &Job) -> Outcome {
        let now = self.clock.now();
        let trace = TraceParent::root(&[leased.id.as_str()]);
        let attempt = leased.attempts + 1;
        let cx = Cx { now, started_at: now, job: leased.id.clone(), partition: P, attempt, trace };
        match self.chain.gather(&cx, job, self).await {
            Ok(facts) => {
                let outcome = self.chain.decide(&cx, job, facts.clone());
                assert_eq!(outcome, self.chain.decide(&cx, job, facts), "decided differently");
                outcome
            }
            Err(fault) => self.chain.after(&cx, job, &fault),
        }
    }
}

/// Under this policy, one channel is told everything.
pub fn rules(policy: Policy) -> Rules {
    let topics = Topic::ALL.to_vec();
    let people = Route { channel: "people".into(), topics, tenants: Vec::new(), min_severity: Severity::Low };
    Rules { policy, routes: vec![people], ..Rules::default() }
}

fn sweep() -> Queue {
    Queue::new(StepName::Sweep, None).expect("a queue")
}

fn wanted(n: usize) -> Vec<(Queue, usize)> {
    Queue::all().into_iter().map(|q| (q, n)).collect()
}

fn fault(e: EngineError) -> Fault {
    Fault::bug(e.to_string())
}

#[async_trait]
impl Ports for Story {
    async fn due(
        &self,
        p: Partition,
        now: Time,
        limit: usize,
    ) -> Result<(Vec<IntentKey>, Option<Time>), Fault> {
        self.store.due(p, now, limit).await.map_err(fault)
    }
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>, Fault> {
        self.store.intents(keys).await.map_err(fault)
    }
    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>, Fault> {
        self.store.findings(intent).await.map_err(fault)
    }
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>, Fault> {
        self.store.approvals(intent).await.map_err(fault)
    }
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64, Fault> {
        self.store.backlog(p, queue).await.map_err(fault)
    }
    async fn observe(
        &self,
        tenant: &str,
        plane: PlaneKind,
        checks: &[Check],
    ) -> Vec<Result<Observed, Fault>> {
        match self.planes.get(tenant, plane) {
            Some(plane) => plane.observe(checks).await,
            None => vec![Err(Fault::permanent("no connection")); checks.len()],
        }
    }
    async fn act(
        &self,
        tenant: &str,
        target: &Target,
        action: &Action,
        key: &EffectKey,
    ) -> Result<Receipt, Fault> {
        match self.planes.get(tenant, target.plane()) {
            Some(plane) => plane.apply(target, action, key).await,
            None => Err(Fault::permanent("no connection")),
        }
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, Fault> {
        self.store.notices(limit).await.map_err(fault)
    }
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        key: &EffectKey,
        now: Time,
    ) -> Result<Reserved, Fault> {
        self.store.reserve(tenant, plane, caps, key.as_str(), now).await.map_err(fault)
    }
    async fn deliver(&self, delivery: &Delivery, _: &EffectKey) -> Result<Receipt, Fault> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery.clone());
        Ok(Receipt { note: "told".into(), changed: true })
    }
}

/// The jobs that follow an outcome, as they go over the wire, and everything else it says.
pub fn bytes_of(outcome: &Outcome) -> Vec<u8> {
    let Outcome::Done(Commit { events, writes, next }) = outcome else {
        return format!("{outcome:?}").into_bytes();
    };
    let mut all = serde_json::to_vec(events).expect("events are JSON");
    all.extend(format!("{writes:?}").bytes());
    for job in next {
        all.extend(format!("{} {} {:?} ", job.id, job.queue, job.at).bytes());
        all.extend(job.job.encode());
    }
    all
}
