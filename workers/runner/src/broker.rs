//! The fleet's broker: every process of the fleet shares one budget per connection, through the store.
//!
//! # Expected flow
//! Per connection there is one gate (`gate`): a task that takes callers in the order of their lanes, draws small grants
//! from the store for those who wait, paces them with `governor` (`credit`), and lets them through.
//!
//! # Guarantees
//! - Nothing is sent without a grant of the store: when Redis is away, callers wait.
//! - A caller waits some seconds at most; then its job waits, which costs no attempt.
//! - Before a time that the plane asked for, nothing is sent by anybody of this process, and nobody of the fleet draws.
//! - An answer that is no trouble costs no round trip, unless there was trouble before.

mod credit;
mod gate;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use trueup_engine::Store;
use trueup_engine::budgets::{Lesson, Pace, Registered};
use trueup_model::{Budget, Fault, Lane, SharedClock, Time};
use trueup_planes::broker::{Cost, Limits, Permit, Said};
use trueup_planes::{Broker, ConnectionConfig};

use gate::Gate;

/// Between two registrations; a third of what one lasts.
const REGISTER_EVERY: Duration = Duration::from_secs(20);
/// Until the first succeeded.
const REGISTER_AGAIN: Duration = Duration::from_secs(2);
/// Seconds to wait for a plane that asked to, when there was nobody to keep that.
const WAIT_S: i64 = 30;

/// What all gates of a process share.
#[derive(Debug)]
struct Fleet {
    store: Arc<dyn Store>,
    clock: SharedClock,
    /// This process, as others see it.
    who: String,
}

impl Fleet {
    fn pace(&self) -> Pace {
        Pace { now: self.clock.now(), speed: self.clock.speed() }
    }
}

#[derive(Debug)]
pub struct FleetBroker {
    fleet: Arc<Fleet>,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    registered: Arc<Mutex<BTreeMap<String, Registered>>>,
    registrar: tokio::task::JoinHandle<()>,
}

impl Drop for FleetBroker {
    fn drop(&mut self) {
        self.registrar.abort();
    }
}

impl FleetBroker {
    /// For the connections of one process, which it registers with the store from now on.
    pub fn start(store: Arc<dyn Store>, clock: SharedClock, connections: &[ConnectionConfig]) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let n = STARTED.fetch_add(1, Ordering::Relaxed);
        let who = format!("{}-{}-{n}", std::process::id(), clock.now().timestamp_millis());
        let plain = |c: &ConnectionConfig| Registered {
            connection: c.name().to_owned(),
            tenant: c.tenant().to_owned(),
            plane: c.plane(),
            budgets: Vec::new(),
            at_most: None,
        };
        let registered: BTreeMap<_, _> =
            connections.iter().map(|c| (c.name().to_owned(), plain(c))).collect();
        let registered = Arc::new(Mutex::new(registered));
        let fleet = Arc::new(Fleet { store, clock, who });
        let registrar = tokio::spawn(register(fleet.clone(), registered.clone()));
        Self { fleet, gates: Mutex::default(), registered, registrar }
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, to: &Limits) -> Arc<Gate> {
        let mut gates = self.gates();
        match gates.get(&to.connection) {
            Some(gate) => gate.clone(),
            None => {
                let gate = Arc::new(Gate::open(self.fleet.clone(), to.clone()));
                gates.insert(to.connection.clone(), gate.clone());
                gate
            }
        }
    }
}

async fn register(fleet: Arc<Fleet>, registered: Arc<Mutex<BTreeMap<String, Registered>>>) {
    let mut again = tokio::time::interval(REGISTER_AGAIN);
    let mut every = tokio::time::interval(REGISTER_EVERY);
    let mut told: Vec<Registered> = Vec::new();
    loop {
        // What is enlisted a moment later is not told 20 seconds later.
        tokio::select! {
            _ = again.tick() => {
                let now: Vec<_> = registered.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
                if now == told { continue }
            }
            _ = every.tick() => {}
        }
        let now: Vec<_> =
            registered.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        if now.is_empty() {
            continue;
        }
        match fleet.store.budgets().register(&now, fleet.pace()).await {
            Ok(()) => told = now,
            Err(e) => tracing::debug!("connections are not registered yet: {e}"),
        }
    }
}

#[async_trait]
impl Broker for FleetBroker {
    fn enlist(&self, limits: &Limits) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(c) = registered.get_mut(&limits.connection) {
            c.budgets = limits.budgets.clone();
            c.at_most = limits.at_most;
        }
    }

    async fn admit(&self, to: &Limits, lane: Lane, cost: &Cost) -> Result<Permit, Fault> {
        self.gate(to).admit(lane, cost).await
    }

    async fn alone(&self, to: &Limits, what: &str) -> Result<Permit, Fault> {
        slot::alone(&self.fleet, &to.connection, what).await
    }

    async fn learn(&self, to: &Limits, cost: &Cost, said: Said) -> Option<Time> {
        let gate = self.gate(to);
        let fine = said == Said::Fine;
        if fine && !gate.is_wary() {
            return None;
        }
        let counted = |b: &&Budget| cost.iter().any(|(name, _)| name == b.name);
        let at = self.fleet.pace();
        let lesson = Lesson {
            connection: to.connection.clone(),
            said: said.clone(),
            buckets: to.budgets.iter().filter(counted).cloned().collect(),
            at,
        };
        let learned = self.fleet.store.budgets().learn(&lesson).await;
        if let Err(e) = &learned {
            tracing::warn!(
                connection = to.connection,
                "what the plane said is kept in this process only: {e}"
            );
        }
        gate.set_wary(learned.as_ref().map_or(!fine, |l| l.wary));
        let Said::AskedToWait { until } = said else { return None };
        let kept = learned.ok().and_then(|l| l.wait_ms).map(|ms| at.after_ms(ms));
        let until = kept.max(until).unwrap_or(at.now + trueup_model::Duration::seconds(WAIT_S));
        if gate.leave_alone(until) {
            tracing::info!(connection = to.connection, %until, "the plane asked to wait");
        }
        Some(until)
    }

    fn looked(&self, connection: &str, checks: usize) {
        if let Some(gate) = self.gates().get(connection) {
            gate.looked(checks);
        }
    }
}
