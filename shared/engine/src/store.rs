//! `Store`: what durable state can do. Two implementations, Redis and memory, pass one contract suite
//! (`tests/src/contract`, run by `tests/tests/contract_{memory,redis}.rs`).
//!
//! # Guarantees
//! The promises E1–E12 of the design, as far as one call can keep them; the loop around the calls (`hub`,
//! `committer`, `heart`) keeps the rest.
//!
//! # Errors
//! [`EngineError`]: `Unavailable` may pass by itself, the others need somebody.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::{
    Approval, ApprovalId, Caps, Commit, CorrelationId, Event, EventId, EventKind, Finding, FindingId, Intent,
    IntentKey, IntentRecord, Job, JobId, Notice, Outcome, Partition, PlaneKind, Queue, Reserved, Time, Trip,
    Write,
    commit::{Committed, MAX_PARTS},
};

pub use crate::view::{Admin, JobState, JobView, QueueDepth, WorkerView};
use crate::{Census, EngineError};

type Result<T> = std::result::Result<T, EngineError>;

/// A worker process start. A new one at every start, and after having been declared dead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job to be enqueued. Enqueueing an id that exists changes nothing (E8).
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub id: JobId,
    pub queue: Queue,
    /// Normally `Job::encode`; bytes, so that tests can enqueue what no encoder writes.
    pub payload: Vec<u8>,
    pub at: Option<Time>,
    pub traceparent: Option<String>,
}

impl NewJob {
    pub fn of(id: JobId, queue: Queue, job: &Job, at: Option<Time>) -> Self {
        Self { id, queue, payload: job.encode(), at, traceparent: None }
    }
}

/// A job in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedJob {
    pub id: JobId,
    pub queue: Queue,
    pub payload: Vec<u8>,
    /// Tries before this one that ended in `Retry`.
    pub attempts: u32,
    /// Times it was taken back from a worker that died (E6).
    pub rescued: u32,
    pub traceparent: Option<String>,
}

/// Whether a commit is within its bounds, and takes notices only in partition 0.
pub(crate) fn well_formed(commit: &Commit, p: Partition) -> bool {
    let taken = |w: &Write| if let Write::Taken(ids) = w { ids.len() } else { 0 };
    let takes = commit.writes.iter().any(|w| matches!(w, Write::Taken(_)));
    [commit.events.len(), commit.writes.len(), commit.next.len()].iter().all(|n| *n <= MAX_PARTS)
        && (!takes || p == Partition(0))
        && commit.writes.iter().map(taken).sum::<usize>() <= MAX_TAKEN
}

/// What one lease call brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leases {
    pub jobs: Vec<LeasedJob>,
    /// When the next delayed job of these queues is due; nothing if none waits.
    pub next_due: Option<Time>,
    /// More is ready than was asked for.
    pub more: bool,
}

/// A finished execution on its way to Redis.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub job: JobId,
    pub queue: Queue,
    pub outcome: Outcome,
    /// For the jobs that follow.
    pub traceparent: Option<String>,
}

/// What a heartbeat learned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// We were declared dead since the last beat: take a new incarnation.
    pub declared_dead: bool,
    /// Jobs taken back from dead workers in this beat.
    pub rescued: u64,
    /// Jobs sent to the dead letters because their workers kept dying.
    pub worn_out: u64,
}

/// How applying one intent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Applied {
    pub intent: IntentKey,
    pub change: Change,
    pub generation: u64,
    /// As `IntentRecord::version`.
    #[serde(default)]
    pub version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Created,
    Changed,
    Unchanged,
    Deleted,
    NotFound,
    /// Not what was expected there: nothing was done.
    Conflict,
}

/// Who asks for a change, and under which correlation id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    pub actor: String,
    pub correlation_id: CorrelationId,
    pub now: Time,
}

impl By {
    /// The audit event of what they did. `tenant`: empty where it is about the fleet.
    pub(crate) fn event(&self, event_id: EventId, kind: EventKind, tenant: &str, event_data: Value) -> Event {
        Event {
            event_id,
            seq: 0,
            schema: 1,
            event_type: kind,
            tenant: tenant.to_owned(),
            intent: String::new(),
            correlation_id: self.correlation_id.clone(),
            causation_id: None,
            trace_id: None,
            actor: self.actor.clone(),
            created_at: self.now,
            event_data,
        }
    }
}

/// A page; `next` goes into the next call, nothing means the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What could not be read, and why: the rest is all that is known now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Which events. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub correlation_id: Option<CorrelationId>,
    pub intent: Option<IntentKey>,
    pub kind: Option<EventKind>,
    pub since: Option<Time>,
    /// Before it.
    pub until: Option<Time>,
}

/// How safe this Redis is to use. Each entry is for people and says what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preflight {
    pub server: String,
    /// Nothing may start while there are any.
    pub refused: Vec<String>,
    /// Shown loudly wherever health is shown.
    pub warnings: Vec<String>,
    /// By how much the clock of the process that asked is ahead of Redis's, in milliseconds. Leases go by Redis's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// Events that Redis holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Of the fullest partition, those beyond what an archive leaves there ([`crate::archive::KEEP`]); nothing where the fleet
    /// has no archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_behind: Option<u64>,
}

/// Notices that the outbox of one partition holds.
pub const MAX_OUTBOX: usize = 10_000;
/// How long an id that was told is remembered, by Redis's clock.
pub const TOLD_FOR: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// Ids that one commit may take.
pub const MAX_TAKEN: usize = trueup_model::notice::MAX_COLLECTED;

#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// How many partitions there are; fixed at the first start.
    fn partitions(&self) -> u16;

    // --- jobs -----------------------------------------------------------------------------------------------------

    /// Enqueues up to 256 jobs of one partition; returns how many were new.
    async fn enqueue(&self, p: Partition, jobs: &[NewJob]) -> Result<u64>;
    /// Takes up to the wanted number from each queue, in the order given. `now` decides which delayed jobs are due.
    async fn lease(
        &self,
        p: Partition,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
    ) -> Result<Leases>;
    /// Ends up to 64 executions, each independently of the others; one answer each, in order.
    async fn commit(&self, p: Partition, who: &Incarnation, ended: &[Ended]) -> Result<Vec<Committed>>;
    /// Gives leased jobs back to the front of their queues: they were never started.
    async fn give_back(&self, p: Partition, who: &Incarnation, jobs: &[(JobId, Queue)]) -> Result<()>;
    /// Heartbeat of one worker in one partition; takes back the jobs of dead workers, 256 at a time. Who was silent itself
    /// for that long judges nobody until its next beat.
    async fn beat(&self, p: Partition, who: &Incarnation) -> Result<Beat>;
    /// A worker leaves for good; what it still holds is taken back at once.
    async fn leave(&self, p: Partition, who: &Incarnation) -> Result<()>;
    /// What a worker holds in a partition, as the store sees it.
    async fn held(&self, p: Partition, who: &Incarnation) -> Result<Vec<(JobId, Queue)>>;
    /// Waits until something was made ready in any partition, or the time is over. May return early.
    async fn woken(&self, at_most: std::time::Duration);

    // --- intents --------------------------------------------------------------------------------------------------

    /// Stores manifests. A new or changed one is due at once (through `dirty` if a run is active). One answer each.
    async fn apply(&self, intents: &[Intent], by: &By) -> Result<Vec<Applied>>;
    /// Forgets intents with their findings and approvals; a run still active finds nothing and ends.
    async fn delete(&self, keys: &[IntentKey], by: &By) -> Result<Vec<Applied>>;
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>>;
    /// Intents of a partition that are due, the most overdue first, and the time of the first that is not yet.
    async fn due(&self, p: Partition, now: Time, limit: usize) -> Result<(Vec<IntentKey>, Option<Time>)>;
    /// All intents, in no particular order.
    async fn list_intents(&self, cursor: Option<&str>, limit: usize) -> Result<Page<IntentRecord>>;

    // --- findings, approvals, events ------------------------------------------------------------------------------

    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>>;
    /// By id; looks in every partition.
    async fn finding(&self, id: &FindingId) -> Result<Option<Finding>>;
    /// Newest first.
    async fn list_findings(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Finding>>;
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>>;
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>>;
    async fn list_approvals(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Approval>>;
    /// Oldest first within a partition; `after` is the sequence number last seen of each partition.
    async fn events(
        &self,
        filter: &EventFilter,
        after: &BTreeMap<u16, u64>,
        limit: usize,
    ) -> Result<Vec<(Partition, Event)>>;
    /// The newest `limit` events that match, oldest first.
    async fn last_events(&self, filter: &EventFilter, limit: usize) -> Result<Vec<(Partition, Event)>>;

    // --- queues ---------------------------------------------------------------------------------------------------

    async fn depths(&self) -> Result<Vec<QueueDepth>>;
    /// Depth of one queue in one partition: ready and scheduled (E11).
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64>;
    async fn jobs(&self, queue: Queue, state: JobState, limit: usize) -> Result<Vec<JobView>>;
    async fn job(&self, id: &JobId) -> Result<Option<JobView>>;
    async fn workers(&self) -> Result<Vec<WorkerView>>;
    /// Applies to the queue in every partition; returns how many jobs (or partitions, for pause and resume) changed.
    async fn admin(&self, queue: Queue, what: &Admin, by: &By) -> Result<u64>;

    // --- notices, blast radius, census, budgets --------------------------------------------------------------------

    /// Notices of all partitions that no delivery has taken yet, the oldest first. Also clears away what was taken. A notice
    /// is in the answer until the commit that takes it, and never after. An outbox holds [`MAX_OUTBOX`] notices; what comes
    /// beyond is dropped and counted in the census. An id that was told is not told again for [`TOLD_FOR`].
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>>;
    /// Takes a place for one automatic attempt, fleet-wide. The same `member` again gets the same answer. Beyond a cap the
    /// switch of that tenant and plane trips, and nobody gets a place until it is rearmed.
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        member: &str,
        now: Time,
    ) -> Result<Reserved>;
    /// Forgets a trip and all places taken; leaves an audit event in partition 0. False if it was not tripped.
    async fn rearm(&self, tenant: &str, plane: PlaneKind, by: &By) -> Result<bool>;
    /// The switches that are tripped, by tenant and plane.
    async fn trips(&self) -> Result<Vec<Trip>>;
    /// How many intents and open findings there are, and of which sort.
    async fn census(&self) -> Result<Census>;

    async fn preflight(&self) -> Result<Preflight>;

    /// What callers asked for, and what they were answered.
    fn requests(&self) -> &dyn crate::requests::Requests {
        &crate::requests::NoRequests
    }

    /// What connections may ask of their planes.
    fn budgets(&self) -> &dyn crate::budgets::Budgets {
        &crate::budgets::NoBudgets
    }

    /// Intents, written on a condition.
    fn manifests(&self) -> &dyn crate::manifests::Manifests;

    /// API keys.
    fn credentials(&self) -> &dyn crate::credentials::Credentials {
        &crate::credentials::NoCredentials
    }

    /// What only operators need.
    fn operations(&self) -> &dyn crate::operate::Operations {
        &crate::operate::NoOperations
    }

    /// The events as the archive takes them; nothing if this store has none to hand over.
    fn event_log(&self) -> Option<&dyn crate::archive::EventLog> {
        None
    }
}

impl EventFilter {
    pub fn admits(&self, e: &Event) -> bool {
        self.correlation_id.as_ref().is_none_or(|c| *c == e.correlation_id)
            && self.intent.as_ref().is_none_or(|i| i.tenant == e.tenant && i.id == e.intent)
            && self.kind.is_none_or(|k| k == e.event_type)
            && self.since.is_none_or(|t| e.created_at >= t)
            && self.until.is_none_or(|t| e.created_at < t)
    }

    /// Whether a partition can hold a match.
    pub fn may_be_in(&self, p: Partition, partitions: u16) -> bool {
        self.intent.as_ref().is_none_or(|i| i.partition(partitions) == p)
    }
}
