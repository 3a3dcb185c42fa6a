//! What another policy would have decided about recorded drift.
//!
//! # Assumptions
//! Each `POLICY_DECIDED` event is one case, decided again at its recorded time. What a different decision would have led
//! to afterwards (other attempts, a tripped switch, other ages) is not simulated: `held` and `exhausted` are as they
//! were. Drift that was wholly ignored left no decision, so nothing can bring it back here.
//!
//! # What it can know
//! The first decision about each intent and kind is exactly what the other policy would have decided at that moment. A
//! later one is too, wherever its case (age, attempts, `held`, what still drifts) would have been the same; an attempt that
//! only one policy makes changes the cases after it. Caps are not replayed: `held` is as recorded. What the recording
//! policy ignored left no case and is not counted, neither as changed nor as the same.

use serde::{Deserialize, Serialize};
use trueup_model::{Decision, DriftKind, Event, EventKind, IntentKey, Severity, Time};

use super::Policy;
use super::outcome::Outcome;
use super::recorded;

/// The field of `POLICY_DECIDED` events that holds the case ([`super::Case::record`]).
pub const CASE: &str = "case";

/// A case that would be decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub intent: IntentKey,
    pub kind: DriftKind,
    /// When it was decided.
    pub at: Time,
    pub was: Outcome,
    pub would_be: Outcome,
}

/// What came of all cases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// In the order of the events.
    pub changed: Vec<Change>,
    pub same: usize,
    /// Decisions whose case is not recorded, or in a form that this Trueup does not know.
    pub unreadable: usize,
}

/// Decides each recorded case again. Events of other kinds are passed over.
pub fn replay<'e>(events: impl Iterator<Item = &'e Event>, policy: &Policy) -> Replay {
    let mut replay = Replay::default();
    events.for_each(|event| replay.add(event, policy));
    replay
}

impl Replay {
    /// One event more.
    pub fn add(&mut self, event: &Event, policy: &Policy) {
        if event.event_type != EventKind::PolicyDecided {
            return;
        }
        match again(event, policy) {
            None => self.unreadable += 1,
            Some(change) if change.was.differs(&change.would_be) => self.changed.push(change),
            Some(_) => self.same += 1,
        }
    }

    /// What came of others, behind this.
    pub fn append(&mut self, other: Self) {
        self.changed.extend(other.changed);
        self.same += other.same;
        self.unreadable += other.unreadable;
    }

    /// All decisions that were looked at.
    pub fn cases(&self) -> usize {
        self.changed.len() + self.same + self.unreadable
    }
}

fn again(event: &Event, policy: &Policy) -> Option<Change> {
    let data = &event.event_data;
    let case = recorded::Case::read(data.get(CASE)?).ok()?;
    let decision = Decision::deserialize(data.get("decision")?).ok()?;
    let severity = Severity::deserialize(data.get("severity")?).ok()?;
    let was = Outcome::recorded(&decision, Some(severity));
    let would_be = policy.outcome(&case.live());
    Some(Change { intent: case.intent.key, kind: case.drift.kind, at: case.now, was, would_be })
}
