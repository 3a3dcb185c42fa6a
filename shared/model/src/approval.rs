//! A question to people. This version records it; deciding it comes later.

use serde::{Deserialize, Serialize};

use crate::{ApprovalId, CorrelationId, Digest, DriftKind, FindingId, IntentKey, Plan, Time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalKind {
    /// One approver.
    Review,
    /// The change advisory board.
    Cab,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    Open,
    /// The drift went away, or changed, before anybody answered.
    Withdrawn,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Approval {
    pub id: ApprovalId,
    pub kind: ApprovalKind,
    pub state: ApprovalState,
    pub intent: IntentKey,
    pub finding: FindingId,
    pub drift: DriftKind,
    /// Of the drift it is about.
    pub digest: Digest,
    /// What would be done.
    pub plan: Plan,
    /// Why people are asked.
    pub because: Vec<String>,
    pub opened_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    pub correlation_id: CorrelationId,
}

impl Approval {
    pub fn id_of(finding: &FindingId, kind: ApprovalKind, digest: &Digest, opened: Time) -> ApprovalId {
        let kind = match kind {
            ApprovalKind::Review => "review",
            ApprovalKind::Cab => "cab",
        };
        ApprovalId::derive(&[finding.as_str(), kind, digest.as_str(), &opened.timestamp_millis().to_string()])
    }
}
