//! Budgets of connections: how much a plane may be asked, by the whole fleet together, and what a connection learns
//! from its plane's answers. Pure.

use serde::{Deserialize, Serialize};

use crate::Time;

pub mod health;

pub use health::{FAILURES, Health, Pass, Why};

/// Who goes first when there is not enough for all. A sweep never starves a remediation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// What `apply` does, its reads included.
    Write,
    /// A look that somebody or something waits for: a request, a verification.
    Urgent,
    /// The schedule.
    Sweep,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Write, Self::Urgent, Self::Sweep];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Urgent => "urgent",
            Self::Sweep => "sweep",
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Most calls of one kind in any window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Budget {
    /// As the plane counts: `apps`, `devices`, `writes`.
    pub name: String,
    pub calls: u32,
    /// Seconds.
    pub window_s: u32,
}

impl Budget {
    pub fn new(name: impl Into<String>, calls: u32, window_s: u32) -> Self {
        Self { name: name.into(), calls, window_s }
    }

    /// Most calls that are sent as one (parts of a batch): a fiftieth of the budget, so that the rate need not be lowered
    /// for the sake of bursts.
    pub fn at_once(&self) -> u32 {
        (self.calls / 50).max(1)
    }
}

/// What a call told about its plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It answers.
    Fine,
    /// 429, or 503 with a time.
    AskedToWait { until: Option<Time> },
    /// It took some of a batch and refused others: the rate is too high, but there is no reason to stop.
    Crowded,
    /// It does not answer, or says that it is broken: `why`, one line.
    Failed { why: String },
}
