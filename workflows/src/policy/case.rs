//! What policy is asked, and what it answers.

use trueup_model::{Decision, Drift, Intent, Severity, Time, Trip};

/// What a decision is about: all of its inputs but the policy.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    pub intent: &'a Intent,
    /// What remains after [`super::Policy::ignore`].
    pub drift: &'a Drift,
    /// When the drift was first seen.
    pub opened_at: Time,
    pub now: Time,
    /// Whether there is an action that mends it.
    pub remedy: bool,
    /// All attempts of the ladder were made, in vain.
    pub exhausted: bool,
    /// The blast-radius switch of its tenant and plane, if it has tripped.
    pub held: Option<&'a Trip>,
}

/// A decision, and what it makes of the drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub decision: Decision,
    /// Raised one step if it is overdue.
    pub severity: Severity,
    /// A scope mismatch, a crossed boundary or a security incident: what the alert "security drift" counts.
    pub security: bool,
}

/// What is left of a drift under the ignore rules and the exceptions that say `ignore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// None: all of it is ignored. Its digest is that of what remains.
    pub drift: Option<Drift>,
    /// The rule, as `explain` shows it, and the path that it took out; sorted.
    pub rules: Vec<(String, String)>,
}
