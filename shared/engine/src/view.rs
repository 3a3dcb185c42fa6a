//! Queues, jobs and workers as people see them, and what is done to a whole queue.

use serde::{Deserialize, Serialize};
use trueup_model::{JobId, Partition, Time};

use crate::store::Incarnation;

/// Which jobs of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Ready,
    Scheduled,
    InFlight,
    Dead,
}

/// What an operator can do. Each leaves an audit event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// Nothing is leased from the queue until it is resumed.
    Pause,
    Resume,
    /// Dead jobs back into the queue, with a clean slate. `None`: up to 256 of each partition, oldest first. For everything
    /// else that can be done to jobs see [`crate::operate::Operations::act`].
    Retry(Option<JobId>),
    /// Delete dead jobs for good. `None`: up to 256 of each partition, oldest first.
    Discard(Option<JobId>),
}

/// Numbers of one queue, over all partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueDepth {
    /// As shown: `query.intune`.
    pub queue: String,
    pub ready: u64,
    pub scheduled: u64,
    pub in_flight: u64,
    pub dead: u64,
    /// Milliseconds since the oldest ready job was enqueued (Redis's clock); nothing if none is ready.
    pub oldest_ms: Option<u64>,
    pub paused: bool,
}

/// One job, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobView {
    pub id: JobId,
    pub queue: String,
    pub partition: Partition,
    pub state: JobState,
    pub attempts: u32,
    pub rescued: u32,
    /// Why it is dead or waits.
    pub reason: Option<String>,
    /// When it is due, if it is scheduled; when it died, if it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Milliseconds since it was enqueued (Redis's clock), if a producer of ours did that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    pub traceparent: Option<String>,
    /// The payload as JSON, or as text with escapes where it is none. Cut to 64 KiB.
    pub payload: serde_json::Value,
    pub payload_bytes: usize,
    /// The worker that holds it.
    pub held_by: Option<Incarnation>,
}

/// A worker process as its heartbeat shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    pub incarnation: Incarnation,
    /// Milliseconds since its last heartbeat (Redis's clock).
    pub last_beat_ms: u64,
}
