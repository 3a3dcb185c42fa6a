//! Heartbeats of one process in every partition, and the rescue of others' jobs. With each, the process says what it is, and
//! hears whether it shall leave.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use std::hash::{BuildHasher, Hasher};
use trueup_model::Partition;

use crate::hub::Stop;
use crate::operate::WorkerReport;
use crate::store::{Beat, Incarnation, Store};
use crate::waiting::Patience;

/// Time between heartbeats (death is declared after three missed ones).
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// The name this process leases under. Changes when it was declared dead; what was leased under the old one can then
/// no longer be committed, which is the point.
#[derive(Debug, Clone)]
pub struct Identity(Arc<RwLock<Incarnation>>);

impl Identity {
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(fresh())))
    }
    pub fn current(&self) -> Incarnation {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn renew(&self, old: &Incarnation) {
        let mut name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if *name == *old {
            *name = fresh();
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

/// A name nobody had before: the process id tells people who it is, 64 random bits tell starts apart.
fn fresh() -> Incarnation {
    // The standard library's per-process random keys; the only randomness outside tests, and no decision sees it.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    Incarnation(format!("w{}-{random:016x}", std::process::id()))
}

/// One round of heartbeats; what happened, summed over the partitions.
pub async fn run_once(store: &dyn Store, identity: &Identity) -> Result<Beat, crate::EngineError> {
    let me = identity.current();
    let beats = join_all((0..store.partitions()).map(|p| store.beat(Partition(p), &me))).await;
    let mut sum = Beat::default();
    for beat in beats {
        let beat = beat?;
        sum.declared_dead |= beat.declared_dead;
        sum.rescued += beat.rescued;
        sum.worn_out += beat.worn_out;
    }
    if sum.declared_dead {
        identity.renew(&me);
        tracing::warn!(was = %me, is = %identity.current(), "declared dead, or Redis was restarted; going on under a new name");
    }
    if sum.rescued + sum.worn_out > 0 {
        tracing::warn!(rescued = sum.rescued, worn_out = sum.worn_out, "took back jobs of a dead worker");
    }
    Ok(sum)
}

/// What the process is, besides what it holds now.
pub(crate) struct Myself {
    pub(crate) clock: trueup_model::SharedClock,
    pub(crate) started_at: trueup_model::Time,
    pub(crate) held: Held,
}

/// Tells how many jobs of each queue this process holds.
pub(crate) type Held = Box<dyn Fn() -> std::collections::BTreeMap<String, usize> + Send + Sync>;

/// What the process says of itself; asked to leave, it begins to stop.
async fn report(store: &dyn Store, identity: &Identity, stop: &Stop, me: &Myself, host: &str) {
    let report = WorkerReport {
        version: env!("CARGO_PKG_VERSION").into(),
        host: host.into(),
        pid: std::process::id(),
        started_at: Some(me.started_at),
        clock: Some(me.clock.now()),
        queues: (me.held)(),
        draining: stop.is_stopping(),
    };
    match store.operations().report(&identity.current(), &report).await {
        Ok(true) if !stop.is_stopping() => {
            tracing::info!(incarnation = %identity.current(), "asked to leave: draining");
            stop.stop();
        }
        Ok(_) => {}
        // The heartbeat itself came through; what is shown of this worker is a little older.
        Err(e) => tracing::debug!("could not report: {e}"),
    }
}

/// The name of this host, for people.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = named.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "unknown".into() } else { name }
}

pub(crate) async fn run(store: Arc<dyn Store>, identity: Identity, stop: Stop, me: Myself) {
    let mut patience = Patience::default();
    let host = host();
    while !stop.is_stopped() {
        match run_once(store.as_ref(), &identity).await {
            Ok(_) => {
                report(store.as_ref(), &identity, &stop, &me, &host).await;
                patience.over("heartbeat");
                stop.stopped_within(BEAT_EVERY).await;
            }
            Err(e) => patience.after("heartbeat", &e).await,
        }
    }
}
