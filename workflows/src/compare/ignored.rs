//! Ignore rules: what they hide is no drift, and is listed.

use std::collections::BTreeMap;

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
        if self.ignored.len() > MAX_IGNORED {
            // Some of each kind: that it was ignored at all decides what a plan may touch.
            let mut of_kind = BTreeMap::<_, usize>::new();
            let mut numbered: Vec<_> = std::mem::take(&mut self.ignored)
                .into_iter()
                .map(|i| {
                    let n = of_kind.entry(i.kind).or_default();
                    *n += 1;
                    (*n, i)
                })
                .collect();
            numbered.sort_by_key(|(n, _)| *n);
            self.ignored = numbered.into_iter().map(|(_, i)| i).take(MAX_IGNORED).collect();
        }
        if self.drifts.is_empty() && self.condition == Condition::Drifted {
            self.condition = if self.unjudged.is_empty() { Condition::InSync } else { Condition::Stale };
        }
        self
    }
}
