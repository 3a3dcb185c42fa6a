//! The state of an intent, and the only transitions it has.
//!
//! # Guarantees
//! One active run per intent (E9). A run is begun by a sweep, ended by the step that finds nothing left to do, and
//! every write in between is refused unless it comes from the run that holds the intent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::owners::Owners;
use crate::{CorrelationId, Digest, DriftKind, Ignored, Intent, RunId, Time, TraceParent};

/// Why a run began. Events only make a check sooner; the schedule is the guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Schedule,
    /// API or command line.
    Request,
    /// A look after an action, or at the end of a ladder's wait.
    Verification,
    /// Something arrived while a run was active, or the intent was changed.
    Coalesced,
    /// The run before it was given up after its deadline.
    Recovery,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveRun {
    pub id: RunId,
    pub trigger: Trigger,
    pub correlation_id: CorrelationId,
    pub started_at: Time,
}

/// The four states of an observation, and the one before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    #[default]
    Unknown,
    InSync,
    Drifted,
    Stale,
    Unreachable,
}

impl Condition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InSync => "in_sync",
            Self::Drifted => "drifted",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Where the intent stands on the ladder. Reset when what it tried to mend is mended or the generation grows, and at
/// no other time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempts {
    pub made: u8,
    /// When the last action of an attempt was performed or refused. An attempt that has not acted yet leaves it as the
    /// attempt before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,
    /// The last one has neither been verified nor failed yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// The open one has performed an action, or the plane has refused one. Until then it is only meant, and nothing can
    /// be told about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalated: bool,
    /// Of the intent when the first one was made.
    #[serde(default)]
    pub generation: u64,
    /// What was to be mended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<DriftKind>,
    /// `traceparent` of the last action: the look that judges it belongs to the same trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
}

impl Attempts {
    /// Takes back an attempt of which nothing was done: its run was lost while the action still waited, or its plan did
    /// not fit any more. The ladder stands where it stood before; returns the attempt's number.
    pub fn take_back(&mut self) -> Option<u8> {
        if !self.open || self.acted || self.made == 0 {
            return None;
        }
        let number = self.made;
        if number == 1 {
            *self = Self::default();
        } else {
            self.made -= 1;
            self.open = false;
        }
        Some(number)
    }
}

/// Everything Trueup remembers about an intent beside its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntentState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<ActiveRun>,
    /// When the intent was first applied, in milliseconds: an intent that is deleted and applied again is another one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub born: u64,
    /// Runs begun so far; names the next one.
    #[serde(default)]
    pub runs: u64,
    #[serde(default)]
    pub condition: Condition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// The next check by schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
    /// A look wanted before that (verification, a rung, the end of a tolerance).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_at: Option<Time>,
    #[serde(default)]
    pub attempts: Attempts,
    /// Open findings, with the digest each was last seen with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drifts: BTreeMap<DriftKind, Digest>,
    /// Differences that ignore rules hid at the last look that had an answer; at most [`crate::drift::MAX_IGNORED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Ignored>,
    /// Checks that were due while one was still running.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A transition that would break a promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("a run is active already: {0}")]
    AlreadyRunning(RunId),
    #[error("run {0} does not hold the intent")]
    NotTheRun(RunId),
}

impl IntentState {
    /// The id the next run of this intent will have.
    pub fn next_run(&self, intent: &Intent) -> RunId {
        RunId::derive(&[
            &intent.key.tenant,
            &intent.key.id,
            &self.born.to_string(),
            &(self.runs + 1).to_string(),
        ])
    }

    /// Begins a run.
    pub fn begin(mut self, run: ActiveRun) -> Result<Self, Illegal> {
        if let Some(active) = self.run {
            return Err(Illegal::AlreadyRunning(active.id));
        }
        self.runs += 1;
        self.look_at = None;
        self.run = Some(run);
        Ok(self)
    }

    /// Ends the run that holds the intent.
    pub fn end(mut self, run: &RunId, now: Time) -> Result<Self, Illegal> {
        if !self.is_held_by(run) {
            return Err(Illegal::NotTheRun(run.clone()));
        }
        self.run = None;
        self.checked_at = Some(now);
        Ok(self)
    }

    pub fn is_held_by(&self, run: &RunId) -> bool {
        self.run.as_ref().is_some_and(|r| r.id == *run)
    }

    /// When somebody must look again.
    pub fn due(&self) -> Option<Time> {
        match (self.next_check, self.look_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Notes a condition; the time it began stays if it is the same.
    pub fn now_is(&mut self, condition: Condition, now: Time) {
        if self.condition != condition || self.since.is_none() {
            self.condition = condition;
            self.since = Some(now);
        }
    }
}

/// An intent with everything that is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntentRecord {
    #[cfg_attr(feature = "openapi", schema(value_type = crate::intent::Manifest))]
    pub intent: Intent,
    /// Grows with every change of `desired` (or target).
    pub generation: u64,
    pub state: IntentState,
    /// Grows with every write of `state`; a commit names the one it saw.
    pub rev: u64,
    /// Of the manifest and its owners: grows with every change of them, and never comes again, not even when the intent is
    /// deleted and applied anew. 0 if it was stored before versions were counted.
    #[serde(default)]
    pub version: u64,
    /// Who last set which field, where they said who they are.
    #[serde(default, skip_serializing_if = "Owners::is_empty")]
    pub owners: Owners,
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn only_an_attempt_that_has_not_acted_is_taken_back() {
        let at = |made, open, acted| Attempts {
            made,
            last_at: (made > 1).then_some(DateTime::UNIX_EPOCH),
            open,
            acted,
            generation: 1,
            ..Attempts::default()
        };
        let table = [
            (at(0, false, false), None, at(0, false, false)),
            (at(1, true, false), Some(1), Attempts::default()),
            (at(1, true, true), None, at(1, true, true)),
            (at(2, false, false), None, at(2, false, false)),
            (at(3, true, false), Some(3), at(2, false, false)),
        ];
        for (before, taken, after) in table {
            let mut attempts = before.clone();
            assert_eq!((attempts.take_back(), &attempts), (taken, &after), "{before:?}");
        }
    }
}
