//! What an operator sees and does: looking through jobs by a filter, moving them, how much flows, what workers say of
//! themselves, and asking one to leave.
//!
//! # Guarantees
//! - One call has a bounded cost, whatever the depth of a queue: [`Operations::look`] looks at [`MAX_LOOKED`] jobs at most and
//!   says where to go on, [`Operations::act`] moves [`MAX_ACTED`] at most. The caller goes on with the cursor.
//! - A job is moved only if it still is where the caller saw it; nothing a worker holds is touched (E4).
//! - Every act that changed something leaves one event per partition, with the number of jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::{Event, EventId, EventKind, JobId, Partition, PlaneKind, Queue, Time};

use crate::EngineError;
use crate::about::About;
pub use crate::passed::{BUCKET_S, BUCKETS, Flow, Passed};
use crate::store::{By, Incarnation, JobState, JobView};

type Result<T> = std::result::Result<T, EngineError>;

/// Jobs looked at in one call of [`Operations::look`].
pub const MAX_LOOKED: usize = 2_048;
/// Jobs moved in one call of [`Operations::act`].
pub const MAX_ACTED: usize = 256;
/// Bytes of what a worker says of itself.
pub const MAX_REPORT: usize = 4_096;

/// What to do with jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Into the queue again: a dead job with a clean slate, a scheduled one now instead of later.
    Retry,
    /// Delete it for good.
    Discard,
    /// The next one that a worker takes; a dead job with a clean slate.
    Front,
}

impl Act {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Front => "front",
        }
    }

    fn event(self) -> EventKind {
        match self {
            Self::Retry => EventKind::JobRetried,
            Self::Discard => EventKind::JobDiscarded,
            Self::Front => EventKind::JobMoved,
        }
    }

    /// Whether jobs in this state can be acted upon so. What a worker holds is its own.
    pub fn applies_to(self, state: JobState) -> bool {
        match state {
            JobState::Dead | JobState::Scheduled => true,
            JobState::Ready => self != Self::Retry,
            JobState::InFlight => false,
        }
    }
}

/// Which jobs of a queue. Everything given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    pub state: JobState,
    pub tenant: Option<String>,
    pub plane: Option<PlaneKind>,
    /// Contained in the reason, whatever the case of letters.
    pub reason: Option<String>,
    /// Dead for so long; otherwise enqueued so long ago. A job whose age nobody knows (another producer's) does not match.
    pub older_than: Option<Duration>,
    /// Dead since before or at this time: what dies again while an act goes on is not acted on again.
    pub until: Option<Time>,
}

impl JobFilter {
    pub fn of(state: JobState) -> Self {
        Self { state, tenant: None, plane: None, reason: None, older_than: None, until: None }
    }

    /// Whether every job in the state matches.
    pub fn takes_all(&self) -> bool {
        *self == Self::of(self.state)
    }

    /// Whether the payload has to be read to know.
    pub(crate) fn reads_payload(&self) -> bool {
        self.tenant.is_some() || self.plane.is_some()
    }

    /// `payload` may be cut.
    pub(crate) fn admits(&self, view: &JobView, payload: &[u8], now: Time) -> bool {
        let reason = || view.reason.as_deref().unwrap_or_default().to_lowercase();
        let dead_for = || Some((now - view.at?).to_std().unwrap_or_default());
        let age = match self.state {
            JobState::Dead => dead_for(),
            _ => view.age_ms.map(Duration::from_millis),
        };
        let died = view.at.filter(|_| self.state == JobState::Dead);
        self.until.is_none_or(|t| died.is_none_or(|at| at <= t))
            && self.older_than.is_none_or(|t| age.is_some_and(|age| age >= t))
            && self.reason.as_ref().is_none_or(|r| reason().contains(&r.to_lowercase()))
            && (!self.reads_payload() || {
                let about = About::of(payload);
                let plane = about.plane.or_else(|| view.queue.parse::<Queue>().ok()?.plane());
                self.tenant.as_ref().is_none_or(|t| about.tenants.contains(t))
                    && self.plane.is_none_or(|p| plane == Some(p))
            })
    }
}

/// One bounded look through a queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looked {
    /// What matched.
    pub jobs: Vec<JobView>,
    /// How many were looked at.
    pub scanned: u64,
    /// Where to go on; nothing at the end.
    pub next: Option<String>,
}

/// Where a look goes on: the partition, and how many jobs there it has passed that stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: u16,
    pub(crate) passed: usize,
}

impl Place {
    /// A cursor from elsewhere begins at the begin.
    pub(crate) fn read(cursor: Option<&str>) -> Self {
        let read = |text: &str| {
            let (p, n) = text.split_once('.')?;
            Some(Self { partition: p.parse().ok()?, passed: n.parse().ok()? })
        };
        cursor.and_then(read).unwrap_or_default()
    }

    pub(crate) fn text(self) -> String {
        format!("{}.{}", self.partition, self.passed)
    }
}

/// What a worker process says of itself with every heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerReport {
    pub version: String,
    pub host: String,
    pub pid: u32,
    /// By the clock that decisions use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// What that clock showed when it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Time>,
    /// The queues it serves, with the number of jobs it holds of each.
    pub queues: BTreeMap<String, usize>,
    /// It leases nothing any more, ends what it holds and leaves.
    pub draining: bool,
}

/// How asking a worker to leave ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    Asked,
    /// It had been asked before.
    AskedBefore,
    /// No worker of that name has reported.
    Unknown,
}

/// What only operators need of a store.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Looks through the jobs of a queue in one state: the dead the longest dead first, the ready the last enqueued first, the
    /// scheduled the last due first, so that what workers do meanwhile hides nothing. At most `limit` that match; without
    /// their payloads. `taking`: the caller will act on all that is returned before it goes on, so they will not be there to be
    /// passed again.
    async fn look(
        &self,
        queue: Queue,
        filter: &JobFilter,
        cursor: Option<&str>,
        limit: usize,
        taking: bool,
    ) -> Result<Looked>;

    /// Moves jobs of one queue, in the order given, if they are in the state `from`; returns how many it moved. `why` is kept
    /// in the events: the selection they were chosen by.
    async fn act(
        &self,
        queue: Queue,
        from: JobState,
        jobs: &[(Partition, JobId)],
        act: Act,
        by: &By,
        why: &str,
    ) -> Result<u64>;

    /// When the newest of the dead jobs of a queue died, by the clock of the worker that ended it.
    async fn newest_death(&self, queue: Queue) -> Result<Option<Time>>;

    /// Where each of these jobs is, if it exists. One round trip.
    async fn whereabouts(&self, jobs: &[JobId]) -> Result<Vec<Option<(Partition, Queue)>>>;

    async fn flow(&self) -> Result<Flow>;

    /// Keeps what a worker says of itself, until it is declared dead in partition 0; returns whether it is asked to leave.
    /// Nothing is kept of a worker that does not beat there.
    async fn report(&self, who: &Incarnation, report: &WorkerReport) -> Result<bool>;
    /// What the workers said last, and whether each was asked to leave. One whose report cannot be read is left out.
    async fn reports(&self) -> Result<BTreeMap<Incarnation, (WorkerReport, bool)>>;
    /// Forgets what a worker said, since it has left.
    async fn forget(&self, who: &Incarnation) -> Result<()>;
    /// Asks a worker to lease no more, end what it holds and leave; leaves an event in partition 0.
    async fn drain(&self, who: &Incarnation, by: &By) -> Result<Drain>;
}

/// Jobs by their partition; those of partitions that there are not are nobody's.
pub(crate) fn by_partition(jobs: &[(Partition, JobId)], partitions: u16) -> BTreeMap<Partition, Vec<JobId>> {
    let mut found: BTreeMap<Partition, Vec<JobId>> = BTreeMap::new();
    for (p, id) in jobs.iter().filter(|(p, _)| p.0 < partitions) {
        found.entry(*p).or_default().push(id.clone());
    }
    found
}

/// The audit event of an operator; a count of `-1` becomes the number of jobs that changed.
fn audit(kind: EventKind, about: &[&str], by: &By, data: serde_json::Value) -> Event {
    let at = by.now.timestamp_millis().to_string();
    let parts = [&[kind.as_str(), by.correlation_id.as_str(), &at], about].concat();
    by.event(EventId::derive(&parts), kind, "", data)
}

pub(crate) fn act_event(queue: Queue, act: Act, jobs: &[JobId], by: &By, why: &str) -> Event {
    let name = queue.to_string();
    let mut about = vec![name.as_str()];
    about.extend(jobs.iter().map(JobId::as_str));
    let mut data = serde_json::json!({"queue": name, "count": -1});
    if let [job] = jobs {
        data["job"] = serde_json::json!(job);
    }
    if !why.is_empty() {
        data["selection"] = serde_json::json!(why.chars().take(512).collect::<String>());
    }
    let causation_id = if let [job] = jobs { Some(job.clone()) } else { None };
    Event { causation_id, ..audit(act.event(), &about, by, data) }
}

pub(crate) fn queue_event(p: Partition, queue: Queue, pause: bool, by: &By) -> Event {
    let kind = if pause { EventKind::QueuePaused } else { EventKind::QueueResumed };
    let name = queue.to_string();
    audit(kind, &[&p.to_string(), &name], by, serde_json::json!({"queue": name, "count": -1}))
}

pub(crate) fn drain_event(who: &Incarnation, by: &By) -> Event {
    audit(EventKind::WorkerDrained, &[&who.0], by, serde_json::json!({"worker": who}))
}

/// For stores that nobody operates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoOperations;

fn none<T>() -> Result<T> {
    Err(EngineError::Refused("this store has no operations".into()))
}

#[async_trait]
impl Operations for NoOperations {
    async fn look(&self, _: Queue, _: &JobFilter, _: Option<&str>, _: usize, _: bool) -> Result<Looked> {
        none()
    }
    async fn act(
        &self,
        _: Queue,
        _: JobState,
        _: &[(Partition, JobId)],
        _: Act,
        _: &By,
        _: &str,
    ) -> Result<u64> {
        none()
    }
    async fn newest_death(&self, _: Queue) -> Result<Option<Time>> {
        none()
    }
    async fn whereabouts(&self, _: &[JobId]) -> Result<Vec<Option<(Partition, Queue)>>> {
        none()
    }
    async fn flow(&self) -> Result<Flow> {
        Ok(Flow::new())
    }
    async fn report(&self, _: &Incarnation, _: &WorkerReport) -> Result<bool> {
        Ok(false)
    }
    async fn reports(&self) -> Result<BTreeMap<Incarnation, (WorkerReport, bool)>> {
        Ok(BTreeMap::new())
    }
    async fn forget(&self, _: &Incarnation) -> Result<()> {
        Ok(())
    }
    async fn drain(&self, _: &Incarnation, _: &By) -> Result<Drain> {
        none()
    }
}
