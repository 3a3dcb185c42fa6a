//! What policy decided about a drift, and why.

use serde::{Deserialize, Serialize};

use crate::Time;

/// Ordered: a stricter one wins over all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Remediate without asking.
    Automatic,
    /// One approver.
    Review,
    /// The change advisory board.
    Cab,
    /// Mode `observe`: record, do nothing.
    ObserveOnly,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Review => "review",
            Self::Cab => "cab",
            Self::ObserveOnly => "observe_only",
        }
    }
}

/// One rule's contribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// The rule's name in the policy file, or the built-in that spoke (`mode`, `tolerance`, `ladder`, `default`).
    pub rule: String,
    pub says: Verdict,
    pub because: String,
}

/// Recorded with the finding and in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// Digest of the policy that decided.
    pub policy: String,
    /// What would change it, for people.
    pub would_change: String,
    /// Automatic, but not before this time (tolerance, ladder).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
}
