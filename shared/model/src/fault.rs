//! What can go wrong outside, sorted by what the caller can do about it. Three kinds of waiting, never mixed
//! (`engine.md`, "Retries").

use serde::{Deserialize, Serialize};

use crate::Time;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// Usually passes (connection reset, 502). The connector has already retried it for a few seconds.
    #[error("{what}")]
    Transient { what: String },
    /// The plane asks to wait. Costs no attempt.
    #[error("asked to wait until {until}: {what}")]
    Throttled { until: Time, what: String },
    /// The plane did not answer several times in a row and is left alone for a while: nothing was sent. An action waits, at
    /// no cost; a look has found that the plane is unreachable.
    #[error("left alone until {until}: {what}")]
    Away { until: Time, what: String },
    /// Will fail the same way again until somebody changes something. `what` says what to change.
    #[error("{what}")]
    Permanent { what: String },
    /// Ours. A panic, a broken invariant, an answer nobody foresaw.
    #[error("bug: {what}")]
    Bug { what: String },
}

impl Fault {
    /// The same fault, saying what it is about.
    pub fn about(self, subject: &str) -> Self {
        let named = |what: String| format!("{subject}: {what}");
        match self {
            Self::Transient { what } => Self::Transient { what: named(what) },
            Self::Throttled { until, what } => Self::Throttled { until, what: named(what) },
            Self::Away { until, what } => Self::Away { until, what: named(what) },
            Self::Permanent { what } => Self::Permanent { what: named(what) },
            Self::Bug { what } => Self::Bug { what: named(what) },
        }
    }
    pub fn transient(what: impl Into<String>) -> Self {
        Self::Transient { what: what.into() }
    }
    pub fn permanent(what: impl Into<String>) -> Self {
        Self::Permanent { what: what.into() }
    }
    pub fn bug(what: impl Into<String>) -> Self {
        Self::Bug { what: what.into() }
    }
}
