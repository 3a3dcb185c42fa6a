//! Drift, and findings: drift with a history (bitemporal facts, seed 004).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CorrelationId, Decision, Digest, FindingId, IntentKey, PlaneKind, Time};

/// The four kinds of seed 000. Their severity and remedy are in `domain.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    MissingAssignment,
    VersionMismatch,
    ScopeMismatch,
    ComplianceDrift,
}

impl DriftKind {
    pub const ALL: [Self; 4] =
        [Self::MissingAssignment, Self::VersionMismatch, Self::ScopeMismatch, Self::ComplianceDrift];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingAssignment => "missing_assignment",
            Self::VersionMismatch => "version_mismatch",
            Self::ScopeMismatch => "scope_mismatch",
            Self::ComplianceDrift => "compliance_drift",
        }
    }
    /// Before overdue drift raises it.
    pub fn severity(self) -> Severity {
        match self {
            Self::MissingAssignment | Self::ScopeMismatch => Severity::High,
            Self::VersionMismatch | Self::ComplianceDrift => Severity::Medium,
        }
    }
}

impl std::fmt::Display for DriftKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
    /// One step up; overdue drift is raised once.
    pub fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }
}

/// One place where desired and observed differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delta {
    /// Where, in the words of the manifest: `assignment.include`, `version`.
    pub path: String,
    pub desired: String,
    pub observed: String,
}

/// A difference between what was meant and what is, as a comparator found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drift {
    pub kind: DriftKind,
    /// Sorted by path.
    pub delta: Vec<Delta>,
    /// How many devices it concerns, if the plane tells.
    pub affected_devices: u32,
    /// The same for the same difference.
    pub digest: Digest,
    /// How old the evidence is: the plane's own report for what devices tell, the time of asking for the rest.
    pub evidence_at: Time,
    /// What a remedy needs to know beyond the delta (device ids).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

impl Drift {
    pub fn new(kind: DriftKind, mut delta: Vec<Delta>, evidence_at: Time) -> Self {
        delta.sort();
        let digest = Digest::of(&(kind, &delta));
        Self { kind, delta, affected_devices: 0, digest, evidence_at, devices: Vec::new() }
    }
}

/// Most of them kept of one look.
pub const MAX_IGNORED: usize = 20;

/// A difference that an ignore rule of the policy hid: it is there, and it is no drift.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ignored {
    /// The rule's name.
    pub rule: String,
    pub kind: DriftKind,
    /// As in [`Delta::path`].
    pub path: String,
}

/// Facts kept with a finding in Redis; older ones are in the event archive.
pub const MAX_FACTS: usize = 20;

/// All drift of one kind on one intent, over its recurrences. Its id never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    pub id: FindingId,
    pub intent: IntentKey,
    pub plane: PlaneKind,
    pub kind: DriftKind,
    pub open: bool,
    /// The ladder is at its end and people were told; until it is resolved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persistent: bool,
    /// A security incident, or drift across a boundary, by the policy that decided last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
    pub severity: Severity,
    pub digest: Digest,
    pub affected_devices: u32,
    pub delta: Vec<Delta>,
    /// What may have caused it, to be grouped by ([`crate::cause`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Onset of the current (or last) occurrence, as far as we know: when we first saw it.
    pub opened_at: Time,
    pub last_seen_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    /// How often it came back after having been resolved.
    pub recurrences: u32,
    /// Of the current occurrence.
    pub attempts: u8,
    pub decision: Decision,
    /// When it will next be looked at or tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    pub correlation_id: CorrelationId,
    /// Oldest first, at most [`MAX_FACTS`].
    pub facts: Vec<Fact>,
}

impl Finding {
    pub fn id_of(intent: &IntentKey, kind: DriftKind) -> FindingId {
        FindingId::derive(&[&intent.tenant, &intent.id, kind.as_str()])
    }

    /// Appends a fact; the one before it is superseded now, and its validity ends where the new one begins.
    pub fn append(&mut self, fact: Fact) {
        if let Some(last) = self.facts.last_mut()
            && last.superseded_at.is_none()
        {
            last.superseded_at = Some(fact.recorded_at);
            last.valid_to.get_or_insert(fact.valid_from);
        }
        self.facts.push(fact);
        let extra = self.facts.len().saturating_sub(MAX_FACTS);
        self.facts.drain(..extra);
    }
}

/// `valid` is when it was so in the world, `recorded` is when we knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fact {
    /// Whether the drift was there.
    pub drifted: bool,
    pub desired: Value,
    pub observed: Value,
    pub valid_from: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Time>,
    pub recorded_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
}
