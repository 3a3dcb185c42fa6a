//! What a policy makes of a case, in the few values by which two outcomes are compared.

use serde::Serialize;
use trueup_model::{Decision, Severity, Time, Verdict};

use super::{Case, Policy, words};

/// What becomes of a drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// None: it is ignored.
    pub verdict: Option<Verdict>,
    /// Automatic, but not before this time: what policy waits for, not the ladder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The rules that spoke, in their order.
    pub rules: Vec<String>,
}

impl Outcome {
    pub fn verdict(&self) -> &'static str {
        self.verdict.map_or("ignored", Verdict::as_str)
    }

    /// Of a decision as it was recorded. What the ladder waits for is no part of it: policy's own waits have a reason.
    pub(super) fn recorded(decision: &Decision, severity: Option<Severity>) -> Self {
        let rules: Vec<String> = decision.reasons.iter().map(|r| r.rule.clone()).collect();
        let waits = rules.iter().any(|r| words::is_wait(r));
        Self {
            verdict: Some(decision.verdict),
            not_before: decision.not_before.filter(|_| waits),
            severity,
            rules,
        }
    }

    /// Whether something else is done, or otherwise told; not only for other reasons.
    pub(super) fn differs(&self, other: &Self) -> bool {
        (self.verdict, self.not_before, self.severity) != (other.verdict, other.not_before, other.severity)
    }
}

impl Policy {
    /// What this policy makes of a case, from what it ignores on.
    pub fn outcome(&self, case: &Case<'_>) -> Outcome {
        let left = self.ignore(case.intent, case.drift.clone(), case.now);
        let Some(drift) = left.drift else {
            let mut rules: Vec<String> = left.rules.into_iter().map(|(rule, _)| rule).collect();
            rules.dedup();
            return Outcome { verdict: None, not_before: None, severity: None, rules };
        };
        let decided = self.decide(&Case { drift: &drift, ..case.clone() });
        Outcome::recorded(&decided.decision, Some(decided.severity))
    }
}
