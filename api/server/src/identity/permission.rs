//! What can be permitted. The words are those of denials, policies and the documentation.

use std::fmt;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Intents, findings, events, approvals, runs, reconciliations, planes and policies of a tenant.
    Read,
    /// Apply and delete intents.
    WriteIntents,
    /// Ask for checks: reconciliations.
    Reconcile,
    /// Approve and reject.
    Decide,
    /// Rearm a blast-radius switch.
    Rearm,
    /// Read queues, jobs and workers, which belong to the whole fleet.
    ReadFleet,
    /// Pause, resume, retry, discard, move; drain workers.
    Operate,
    /// Create, rotate and revoke API keys.
    Administer,
}

impl Permission {
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::WriteIntents,
        Self::Reconcile,
        Self::Decide,
        Self::Rearm,
        Self::ReadFleet,
        Self::Operate,
        Self::Administer,
    ];

    /// Whether it is of the fleet as a whole, and not of a tenant.
    pub fn is_of_fleet(self) -> bool {
        matches!(self, Self::ReadFleet | Self::Operate)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::WriteIntents => "write-intents",
            Self::Reconcile => "reconcile",
            Self::Decide => "decide",
            Self::Rearm => "rearm",
            Self::ReadFleet => "read-fleet",
            Self::Operate => "operate",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
