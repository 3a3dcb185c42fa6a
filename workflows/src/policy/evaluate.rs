//! From a drift to a decision.

use trueup_model::{Decision, DriftKind, Intent, Mode, Reason, Severity, Time, Verdict};

use super::Policy;

/// What a decision is about.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    pub intent: &'a Intent,
    pub kind: DriftKind,
    /// When the drift was first seen.
    pub opened_at: Time,
    pub now: Time,
    /// Whether there is an action that mends it.
    pub remedy: bool,
    /// All attempts of the ladder were made, in vain.
    pub exhausted: bool,
}

/// A decision, and what it makes of the drift's severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub decision: Decision,
    pub severity: Severity,
}

impl Policy {
    pub fn decide(&self, case: &Case<'_>) -> Decided {
        let mut reasons: Vec<Reason> = (self.rules.iter().filter(|rule| rule.matches(case)))
            .map(|rule| reason(&rule.name, rule.say.into(), rule.because.clone()))
            .collect();
        if reasons.is_empty() {
            let because = "no rule of the policy foresees this drift".to_owned();
            reasons.push(reason("default", Verdict::Review, because));
        }
        if !case.remedy {
            let because = "there is no action that would mend it, so somebody has to".to_owned();
            reasons.push(reason("remedy", Verdict::Review, because));
        }
        if case.exhausted && strictest(&reasons) == Verdict::Automatic {
            let because = "it is still there after the last attempt".to_owned();
            reasons.push(reason("ladder", Verdict::Cab, because));
        }
        match case.intent.mode {
            Mode::Enforce => {}
            Mode::Propose => {
                reasons.push(reason("mode", Verdict::Review, "mode 'propose' never acts unasked".to_owned()));
            }
            Mode::Observe => {
                reasons.push(reason("mode", Verdict::ObserveOnly, "mode 'observe' only records".to_owned()));
            }
        }
        let verdict = strictest(&reasons);
        let would_change = would_change(verdict, &reasons);

        let tolerance = case.intent.criticality.tolerance();
        let tolerated = !tolerance.is_zero();
        let overdue = tolerated && case.now - case.opened_at > tolerance;
        let hours = tolerance.num_hours();
        let mut not_before = None;
        if overdue {
            let because = format!("it has stood for longer than the tolerated {hours} h; severity raised");
            reasons.push(reason("tolerance", verdict, because));
        } else if tolerated && verdict == Verdict::Automatic {
            reasons.push(reason("tolerance", verdict, format!("low-risk drift may stand for {hours} h")));
            not_before = Some(case.opened_at + tolerance).filter(|t| *t > case.now);
        }
        let severity = case.kind.severity();
        let severity = if overdue { severity.raised() } else { severity };
        let policy = self.digest().to_string();
        Decided { decision: Decision { verdict, reasons, policy, would_change, not_before }, severity }
    }
}

fn reason(rule: &str, says: Verdict, because: String) -> Reason {
    Reason { rule: rule.to_owned(), says, because }
}

fn strictest(reasons: &[Reason]) -> Verdict {
    reasons.iter().map(|r| r.says).max().unwrap_or(Verdict::Review)
}

fn would_change(verdict: Verdict, reasons: &[Reason]) -> String {
    let deciding: Vec<&str> = reasons.iter().filter(|r| r.says == verdict).map(|r| r.rule.as_str()).collect();
    let deciding = deciding.join(", ");
    match verdict {
        Verdict::Automatic => {
            format!("it is remediated without asking while nothing is stricter than: {deciding}")
        }
        Verdict::Review => {
            format!("an approval; or that none of these asks for a review any more: {deciding}")
        }
        Verdict::Cab => format!("the CAB; or that this does not hold any more: {deciding}"),
        Verdict::ObserveOnly => "another mode of the intent".to_owned(),
    }
}
