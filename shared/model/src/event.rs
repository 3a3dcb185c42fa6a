//! Events: what happened, append-only, in the shape of seed 000 ("Event Store Integration").

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CorrelationId, EventId, JobId, Time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventKind {
    IntentApplied,
    IntentRetired,
    ConditionChanged,
    DriftDetected,
    DriftChanged,
    DriftResolved,
    PolicyDecided,
    ApprovalOpened,
    ApprovalWithdrawn,
    /// An attempt on the ladder begins.
    RemediationStarted,
    /// The plane accepted one action.
    RemediationApplied,
    /// The plane refused one action for good.
    RemediationRefused,
    /// A newer observation shows the drift is still there.
    RemediationFailed,
    /// A newer observation shows the drift is gone.
    RemediationVerified,
    Escalated,
    /// More remediation at once than policy allows: everything of this tenant on this plane is manual until somebody
    /// rearms it.
    BlastRadiusTripped,
    BlastRadiusRearmed,
    NotificationSent,
    /// A channel refused a notification for good.
    NotificationFailed,
    RunAbandoned,
    /// Somebody asked for checks, of one intent or of many.
    ReconciliationRequested,
    JobDead,
    QueuePaused,
    QueueResumed,
    JobRetried,
    JobDiscarded,
    /// To the front of its queue.
    JobMoved,
    /// Asked to lease no more, end what it holds and leave.
    WorkerDrained,
    /// An API key; the event has its id and grants, never its secret.
    KeyCreated,
    KeyRotated,
    KeyRevoked,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IntentApplied => "INTENT_APPLIED",
            Self::IntentRetired => "INTENT_RETIRED",
            Self::ConditionChanged => "CONDITION_CHANGED",
            Self::DriftDetected => "DRIFT_DETECTED",
            Self::DriftChanged => "DRIFT_CHANGED",
            Self::DriftResolved => "DRIFT_RESOLVED",
            Self::PolicyDecided => "POLICY_DECIDED",
            Self::ApprovalOpened => "APPROVAL_OPENED",
            Self::ApprovalWithdrawn => "APPROVAL_WITHDRAWN",
            Self::RemediationStarted => "REMEDIATION_STARTED",
            Self::RemediationApplied => "REMEDIATION_APPLIED",
            Self::RemediationRefused => "REMEDIATION_REFUSED",
            Self::RemediationFailed => "REMEDIATION_FAILED",
            Self::RemediationVerified => "REMEDIATION_VERIFIED",
            Self::Escalated => "ESCALATED",
            Self::BlastRadiusTripped => "BLAST_RADIUS_TRIPPED",
            Self::BlastRadiusRearmed => "BLAST_RADIUS_REARMED",
            Self::NotificationSent => "NOTIFICATION_SENT",
            Self::NotificationFailed => "NOTIFICATION_FAILED",
            Self::RunAbandoned => "RUN_ABANDONED",
            Self::ReconciliationRequested => "RECONCILIATION_REQUESTED",
            Self::JobDead => "JOB_DEAD",
            Self::QueuePaused => "QUEUE_PAUSED",
            Self::QueueResumed => "QUEUE_RESUMED",
            Self::JobRetried => "JOB_RETRIED",
            Self::JobDiscarded => "JOB_DISCARDED",
            Self::JobMoved => "JOB_MOVED",
            Self::WorkerDrained => "WORKER_DRAINED",
            Self::KeyCreated => "KEY_CREATED",
            Self::KeyRotated => "KEY_ROTATED",
            Self::KeyRevoked => "KEY_REVOKED",
        }
    }
}

/// Who did it when nobody asked for it.
pub const LOOP: &str = "system:reconciliation_loop";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    pub event_id: EventId,
    /// Position in the partition's stream, without gaps. Given by the engine when it commits; 0 before.
    #[serde(default)]
    pub seq: u64,
    pub schema: u8,
    pub event_type: EventKind,
    pub tenant: String,
    /// Empty for events about queues.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intent: String,
    pub correlation_id: CorrelationId,
    /// The job that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    pub actor: String,
    pub created_at: Time,
    pub event_data: Value,
}
