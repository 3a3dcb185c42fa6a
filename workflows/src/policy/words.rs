//! What would change a decision, in words.

use trueup_model::{Decision, Reason, Time, Verdict};

use super::Case;
use super::exceptions::Exception;
use super::windows::{Calendar, time};

pub(super) fn would_change(
    case: &Case<'_>,
    verdict: Verdict,
    reasons: &[Reason],
    not_before: Option<Time>,
    calendar: &Calendar<'_>,
    exceptions: &[&Exception],
) -> String {
    let says = |r: &&Reason| r.says == verdict;
    let deciding: Vec<&str> = reasons.iter().filter(says).map(|r| r.rule.as_str()).collect();
    let deciding = deciding.join(", ");
    let mut all = Vec::new();
    match verdict {
        // The tolerance alone has no time here: nothing about the decision is new when it is over.
        Verdict::Automatic => match not_before.filter(|_| reasons.iter().any(|r| is_of_calendar(&r.rule))) {
            Some(at) => {
                let waits = reasons.iter().map(|r| r.rule.as_str()).filter(|r| is_wait(r));
                let waits = waits.collect::<Vec<_>>().join(", ");
                all.push(format!("it is remediated without asking at {}, after: {waits}", time(at)));
            }
            None => {
                all.push(format!(
                    "it is remediated without asking while nothing is stricter than: {deciding}"
                ));
                all.extend(calendar.open(case.now));
            }
        },
        Verdict::Review => {
            all.push(format!("an approval; or that none of these asks for a review any more: {deciding}"));
        }
        Verdict::Cab => all.push(format!("the CAB; or that this does not hold any more: {deciding}")),
        Verdict::ObserveOnly => all.push("another mode of the intent".to_owned()),
    }
    if let Some(trip) = case.held.filter(|_| verdict != Verdict::ObserveOnly) {
        all.push(format!("once people have looked: `trueup blast rearm {} {}`", trip.tenant, trip.plane));
    }
    if !calendar.unknown.is_empty() {
        let names = calendar.unknown.join(", ");
        all.push(format!("a [[window]] of that name in the policy, or another name in the intent: {names}"));
    }
    for exception in exceptions {
        all.push(format!("exception {} ends {}", exception.name, time(exception.expires)));
    }
    all.join("; ")
}

/// Whether the reason is something that is waited for.
pub(super) fn is_wait(rule: &str) -> bool {
    rule == "tolerance" || is_of_calendar(rule)
}

/// Whether it waits for a window or the end of a freeze.
pub(crate) fn waits_for_calendar(decision: &Decision) -> bool {
    decision.not_before.is_some() && decision.reasons.iter().any(|r| is_of_calendar(&r.rule))
}

/// And for nothing else.
pub(crate) fn waits_for_calendar_only(decision: &Decision) -> bool {
    waits_for_calendar(decision) && decision.reasons.iter().all(|r| r.rule != "tolerance")
}

fn is_of_calendar(rule: &str) -> bool {
    rule.starts_with("window ") || rule.starts_with("freeze ")
}
