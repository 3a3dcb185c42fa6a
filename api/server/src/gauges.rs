//! What the store holds now, as gauges: read when somebody looks, at most every five seconds.
//!
//! # Guarantees
//! - Looking costs the store a bounded number of calls, however many look at once and however often.
//! - A store that is away makes `trueup_store_up` 0 and leaves the other numbers as they were last seen; the age of those is
//!   `trueup_store_seen_age_seconds`.
//! - Tenants in labels are bounded; no id of an intent or a finding is in any.

mod planes;

use std::sync::Mutex;
use std::time::Duration;

use trueup_boot::metrics::Meters;
use trueup_boot::metrics::levels::{Labels, Levels};
use trueup_engine::budgets::{ConnectionView, Pace};
use trueup_engine::store::{QueueDepth, Store};
use trueup_engine::{Census, EngineError, FindingCount};
use trueup_model::label::Bounded;
use trueup_model::{Clock as _, Partition, PlaneKind, Severity, SystemClock, Time, Trip};

use crate::routes::LATE_MS;

/// What is younger is not read again. Real time, whatever the fleet's clock.
const FRESH: trueup_model::Duration = trueup_model::Duration::seconds(5);
/// Intents of a partition that are looked at to see how long the new ones have waited.
const AT_ONCE: usize = 50;
/// Longest time that reading may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The gauges of one store.
pub(crate) struct Gauges {
    meters: Meters,
    /// When the store last answered, and was last asked.
    last: tokio::sync::Mutex<Last>,
    tenants: Mutex<Bounded>,
    up: Levels,
    age: Levels,
    jobs: Levels,
    oldest: Levels,
    paused: Levels,
    workers: Levels,
    intents: Levels,
    open: Levels,
    persistent: Levels,
    tripped: Levels,
    notices: Levels,
    dropped: Levels,
    overdue: Levels,
    warnings: Levels,
    planes: planes::Planes,
}

#[derive(Debug, Default)]
struct Last {
    asked: Option<Time>,
    seen: Option<Time>,
}

/// One look.
struct Seen {
    depths: Vec<QueueDepth>,
    alive: usize,
    late: usize,
    census: Census,
    trips: Vec<Trip>,
    warnings: usize,
    connections: Vec<ConnectionView>,
    /// Seconds by which the most overdue intent waits already.
    overdue_s: f64,
}

impl Gauges {
    pub(crate) fn new() -> Self {
        let meters = Meters::apart();
        let meter = meters.meter();
        let gauge = |name, unit, what| Levels::register(&meter, name, unit, what);
        Self {
            last: tokio::sync::Mutex::default(),
            tenants: Mutex::default(),
            up: gauge("trueup.store.up", "", "1 if the store answered when it was last asked."),
            age: gauge("trueup.store.seen_age", "s", "Age of the numbers of the store shown here."),
            jobs: gauge(
                "trueup.queue.jobs",
                "",
                "Jobs of a queue, by state; dead ones are the dead letters.",
            ),
            oldest: gauge(
                "trueup.queue.oldest_job_age",
                "s",
                "How long the oldest ready job has waited for a worker.",
            ),
            paused: gauge("trueup.queue.paused", "", "1 if an operator has paused the queue."),
            workers: gauge("trueup.workers", "", "Worker processes, by whether their heartbeats come."),
            intents: gauge("trueup.intents", "", "Intents that are reconciled."),
            open: gauge("trueup.drift.open", "", "Findings that are open."),
            persistent: gauge("trueup.drift.persistent", "", "Open findings whose last attempt failed."),
            tripped: gauge(
                "trueup.blast_radius.tripped",
                "",
                "1 while remediation is stopped for going beyond a cap.",
            ),
            notices: gauge("trueup.notices.waiting", "", "Notices that are in no delivery yet."),
            dropped: gauge("trueup.notices.dropped", "", "Notices never told because an outbox was full."),
            overdue: gauge(
                "trueup.oldest_task_age",
                "s",
                "How long the most overdue intent has waited for its check.",
            ),
            warnings: gauge(
                "trueup.preflight.warnings",
                "",
                "What is wrong with the Redis; `trueup doctor` says what.",
            ),
            planes: planes::Planes::new(&meter),
            meters,
        }
    }

    /// Whether they are sent over OTLP, so that somebody must look even if nobody scrapes.
    pub(crate) fn exports(&self) -> bool {
        self.meters.exports()
    }

    /// What [`Gauges::look`] saw.
    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Reads the store, unless that was just done. `at`: by the fleet's clock.
    pub(crate) async fn look(&self, store: &dyn Store, at: Pace) {
        let mut last = self.last.lock().await;
        let real = SystemClock.now();
        if last.asked.is_none_or(|t| real - t >= FRESH || real < t) {
            last.asked = Some(real);
            let seen = tokio::time::timeout(PATIENCE, seen(store, at)).await;
            let problem = match seen {
                Ok(Ok(seen)) => {
                    last.seen = Some(real);
                    self.show(seen);
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {PATIENCE:?}")),
            };
            if let Some(error) = &problem {
                tracing::warn!(error, "metrics show the store as it was last seen");
            }
            self.up.set([(Labels::new(), f64::from(u8::from(problem.is_none())))]);
        }
        let age = last.seen.map(|t| (SystemClock.now() - t).num_milliseconds() as f64 / 1_000.0);
        self.age.set(age.map(|s| (Labels::new(), s.max(0.0))));
    }

    fn show(&self, seen: Seen) {
        let of = |queue: &QueueDepth, state: &str, n: u64| {
            (vec![("queue", queue.queue.clone()), ("state", state.to_owned())], n as f64)
        };
        self.jobs.set(seen.depths.iter().flat_map(|d| {
            let all = [
                ("ready", d.ready),
                ("scheduled", d.scheduled),
                ("in_flight", d.in_flight),
                ("dead", d.dead),
            ];
            all.map(|(state, n)| of(d, state, n))
        }));
        let queue = |d: &QueueDepth| vec![("queue", d.queue.clone())];
        self.oldest.set(seen.depths.iter().map(|d| (queue(d), d.oldest_ms.unwrap_or(0) as f64 / 1_000.0)));
        self.paused.set(seen.depths.iter().map(|d| (queue(d), f64::from(u8::from(d.paused)))));
        let state = |state: &str, n: usize| (vec![("state", state.to_owned())], n as f64);
        self.workers.set([state("alive", seen.alive), state("late", seen.late)]);
        let census = &seen.census;
        self.intents.set(census.intents.iter().map(|r| (self.place(&r.tenant, r.plane), r.count as f64)));
        let finding = |r: &FindingCount, n: u64| {
            let mut labels = self.place(&r.tenant, r.plane);
            labels.push(("kind", r.kind.to_string()));
            labels.push(("severity", severity(r.severity).to_owned()));
            (labels, n as f64)
        };
        self.open.set(census.findings.iter().map(|r| finding(r, r.count)));
        // Zeros too, so that there is something to rise from.
        self.persistent
            .set(census.findings.iter().map(|r| finding(r, if r.persistent { r.count } else { 0 })));
        let calm = census.intents.iter().map(|r| (self.place(&r.tenant, r.plane), 0.0));
        self.tripped.set(calm.chain(seen.trips.iter().map(|t| (self.place(&t.tenant, t.plane), 1.0))));
        self.notices.set([(Labels::new(), census.notices_waiting as f64)]);
        self.dropped.set([(Labels::new(), census.notices_dropped as f64)]);
        self.overdue.set([(Labels::new(), seen.overdue_s)]);
        self.warnings.set([(Labels::new(), seen.warnings as f64)]);
        self.planes.show(&seen.connections);
    }

    fn place(&self, tenant: &str, plane: PlaneKind) -> Labels {
        let mut tenants = self.tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        vec![("tenant", tenants.admit(tenant).to_owned()), ("plane", plane.as_str().to_owned())]
    }
}

async fn seen(store: &dyn Store, at: Pace) -> Result<Seen, EngineError> {
    let now = at.now;
    let (depths, workers, census, trips, preflight, connections) = futures::try_join!(
        store.depths(),
        store.workers(),
        store.census(),
        store.trips(),
        store.preflight(),
        store.budgets().connections(at)
    )?;
    let mut overdue_s: f64 = 0.0;
    for p in 0..store.partitions() {
        // What is to be looked at "at once" is due at the beginning of time; the first after that is due by its schedule.
        let (at_once, scheduled) = store.due(Partition(p), Time::UNIX_EPOCH, AT_ONCE).await?;
        let records = store.intents(&at_once).await?.into_iter().flatten();
        let never = records.filter(|r| r.state.checked_at.is_none() && r.state.run.is_none());
        let born = never.filter_map(|r| Time::from_timestamp_millis(i64::try_from(r.state.born).ok()?));
        let first = born.chain(scheduled).min();
        let waited = first.and_then(|t| (now - t).to_std().ok()).unwrap_or_default();
        overdue_s = overdue_s.max(waited.as_secs_f64());
    }
    let late = workers.iter().filter(|w| w.last_beat_ms > LATE_MS).count();
    let alive = workers.len() - late;
    let warnings = preflight.warnings.len() + preflight.refused.len();
    Ok(Seen { depths, alive, late, census, trips, warnings, connections, overdue_s })
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}
