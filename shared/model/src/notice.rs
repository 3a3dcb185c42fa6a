//! Notices: what people are to be told, and how it is put together for them.
//!
//! A commit writes notices beside the state that caused them (the outbox). Within two minutes, and then every five
//! minutes while there are more, one job of the fleet collects what is there, groups it by cause, and makes one delivery per
//! channel and tenant: a digest, not a storm.

use serde::{Deserialize, Serialize};

use crate::{CorrelationId, DriftKind, FindingId, IntentKey, NoticeId, PlaneKind, Severity, Time};

/// Notices that one collection takes.
pub const MAX_COLLECTED: usize = 1_000;
/// Examples that a delivery shows of each group.
pub const MAX_EXAMPLES: usize = 5;

/// What a notice is about. Channels choose among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Still drifted after the last attempt.
    Escalated,
    /// More remediation at once than policy allows.
    BlastRadius,
    /// A scope mismatch, or a violated policy.
    SecurityDrift,
    /// Somebody has to decide.
    ApprovalWanted,
}

impl Topic {
    pub const ALL: [Self; 4] =
        [Self::Escalated, Self::BlastRadius, Self::SecurityDrift, Self::ApprovalWanted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Escalated => "escalated",
            Self::BlastRadius => "blast_radius",
            Self::SecurityDrift => "security_drift",
            Self::ApprovalWanted => "approval_wanted",
        }
    }
}

/// One thing to be told about one intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Derived from topic, finding and occurrence: telling the same twice is telling it once.
    pub id: NoticeId,
    pub topic: Topic,
    pub at: Time,
    pub intent: IntentKey,
    pub plane: PlaneKind,
    pub kind: DriftKind,
    pub severity: Severity,
    pub finding: FindingId,
    /// As the finding's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// One line.
    pub subject: String,
    /// Some lines: what differs, what was tried, what to do.
    pub text: String,
    pub correlation_id: CorrelationId,
}

impl Notice {
    /// `occurred`: what tells one occurrence from the next: when the finding was opened, or its ladder ended.
    pub fn id_of(topic: Topic, finding: &FindingId, occurred: Time) -> NoticeId {
        NoticeId::derive(&[topic.as_str(), finding.as_str(), &occurred.timestamp_millis().to_string()])
    }
}

/// Where notices go: which of them a channel wants. How it is reached is the runner's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Of the channel, unique.
    pub channel: String,
    pub topics: Vec<Topic>,
    /// Empty: all.
    #[serde(default)]
    pub tenants: Vec<String>,
    pub min_severity: Severity,
}

impl Route {
    pub fn wants(&self, notice: &Notice) -> bool {
        self.topics.contains(&notice.topic)
            && (self.tenants.is_empty() || self.tenants.contains(&notice.intent.tenant))
            && notice.severity >= self.min_severity
    }
}

/// Notices of one topic, plane and kind that have one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeGroup {
    pub topic: Topic,
    pub plane: PlaneKind,
    pub kind: DriftKind,
    pub cause: String,
    pub members: u32,
    /// The highest among them.
    pub severity: Severity,
    /// At most [`MAX_EXAMPLES`], in order of intent.
    pub examples: Vec<Notice>,
}

/// ONE message to one channel, about one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub channel: String,
    pub tenant: String,
    pub at: Time,
    /// Stopped remediation first, then the largest first.
    pub groups: Vec<NoticeGroup>,
}
