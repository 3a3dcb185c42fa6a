//! What a plane reported. Untrusted: bounded in size here, treated as data everywhere.

use serde::{Deserialize, Serialize};

use crate::intent::{Install, Scope};
use crate::{Fault, Time};

/// The answer to one look at one target. Missing data is never drift and never silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    Seen(Observed),
    /// No answer; says why.
    Unreachable(Fault),
}

impl From<Result<Observed, Fault>> for Observation {
    fn from(answer: Result<Observed, Fault>) -> Self {
        match answer {
            Ok(seen) => Self::Seen(seen),
            Err(fault) => Self::Unreachable(fault),
        }
    }
}

/// Lists in an observation are cut to this many entries; counts are always whole.
pub const MAX_LISTED: usize = 50;

/// `None` in an aspect: the plane was not asked, or cannot tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// When the plane was asked (the age of an answer served from a bulk read is its read's).
    pub at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignments: Option<Assignments>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<VersionSeen>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<ComplianceSeen>,
}

/// Assignments are kept by the plane itself, so they are as fresh as `Observed::at`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// On the target's application, sorted.
    pub here: Vec<AssignmentSeen>,
    /// On an older application that the target replaces, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<AssignmentSeen>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AssignmentSeen {
    /// The application that carries it.
    pub app: String,
    pub scope: Scope,
    pub install: Install,
    /// An exclusion rather than an inclusion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
}

/// How many devices report a version, and how fresh their reports are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionSeen {
    pub version: String,
    pub devices: u32,
    /// The newest check-in among those devices; `None` where the plane was not asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Time>,
}

/// Which devices do not comply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceSeen {
    pub devices: u32,
    pub noncompliant: u32,
    /// Could not be told (never checked in, skipped in check mode). Not drift.
    #[serde(default)]
    pub unknown: u32,
    /// Ids of noncompliant devices, sorted, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// What differs, for people: one line each, redacted, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// The newest report among the noncompliant devices if there are any, else among all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Time>,
}
