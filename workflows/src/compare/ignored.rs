//! Ignore rules: what they hide is no drift, and is listed.

use trueup_model::{Condition, Ignored, Intent, Time, drift::MAX_IGNORED};

use super::{Judged, bounded};
use crate::Policy;

impl Judged {
    /// What is left of it under the policy's ignore rules.
    #[must_use]
    pub fn under(mut self, policy: &Policy, intent: &Intent, now: Time) -> Self {
        for drift in std::mem::take(&mut self.drifts) {
            let kind = drift.kind;
            let left = policy.ignore(intent, drift, now);
            let hidden = left.rules.into_iter();
            self.ignored.extend(hidden.map(|(rule, path)| Ignored { rule, kind, path: bounded(&path) }));
            self.drifts.extend(left.drift);
        }
        self.ignored.truncate(MAX_IGNORED);
        if self.drifts.is_empty() && self.condition == Condition::Drifted {
            self.condition = if self.unjudged.is_empty() { Condition::InSync } else { Condition::Stale };
        }
        self
    }
}
