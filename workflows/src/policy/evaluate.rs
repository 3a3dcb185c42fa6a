//! From a case to a decision.

use trueup_model::{Decision, DriftKind, Duration, Intent, Mode, Reason, Time, Verdict};

use super::boundary::Crossing;
use super::conditions::Facts;
use super::exceptions::Exception;
use super::rules::Say;
use super::windows::{Calendar, time};
use super::{Case, Decided, Policy, words};

pub(super) fn reason(rule: impl Into<String>, says: Verdict, because: impl Into<String>) -> Reason {
    Reason { rule: rule.into(), says, because: because.into() }
}

fn strictest(reasons: &[Reason]) -> Verdict {
    reasons.iter().map(|r| r.says).max().unwrap_or(Verdict::Review)
}

/// How long a drift may stand, and whether it has stood longer.
struct Patience {
    tolerance: Duration,
    overdue: bool,
}

impl Policy {
    /// What shall be done about a drift, and why.
    pub fn decide(&self, case: &Case<'_>) -> Decided {
        let intent = case.intent;
        let tolerance = self.tolerance(intent.criticality);
        let stood = case.now.signed_duration_since(case.opened_at);
        let patience = Patience { tolerance, overdue: !tolerance.is_zero() && stood > tolerance };
        let severity = case.drift.kind.severity();
        let severity = if patience.overdue { severity.raised() } else { severity };

        let crossings: Vec<Crossing<'_>> =
            self.sections.boundaries.iter().filter_map(|b| b.crossed(intent, case.drift)).collect();
        let incidents: Vec<_> =
            self.sections.incidents.iter().filter(|i| i.holds(intent, case.drift.kind, case.now)).collect();
        let facts = Facts {
            severity,
            overdue: patience.overdue,
            security_incident: !incidents.is_empty(),
            crosses_boundary: !crossings.is_empty(),
        };

        let mut reasons = self.rules_say(case, &facts);
        if !case.remedy {
            let because = "there is no action that would mend it, so somebody has to";
            reasons.push(reason("remedy", Verdict::Review, because));
        }
        // Whatever else is said of it: what was tried had been allowed by somebody.
        if case.exhausted && reasons.iter().any(|r| r.says == Verdict::Automatic) {
            reasons.push(reason("ladder", Verdict::Cab, "it is still there after the last attempt"));
        }
        for incident in &incidents {
            reasons.push(reason(format!("incident {}", incident.name), Verdict::Cab, incident.words()));
        }
        for crossing in &crossings {
            let rule = format!("boundary {}", crossing.boundary);
            reasons.push(reason(rule, crossing.say.verdict(), crossing.because.clone()));
        }
        if let Some(trip) = case.held {
            let because = format!(
                "more at once than policy allows ({}); everything of {} on {} is manual since {}",
                trip.cap,
                trip.tenant,
                trip.plane,
                time(trip.at)
            );
            reasons.push(reason("blast_radius", Verdict::Review, because));
        }
        let calendar = self.calendar(intent, case.drift.kind);
        if !calendar.unknown.is_empty() {
            let names = calendar.unknown.join(", ");
            let because = format!("the intent names a window that the policy does not have: {names}");
            reasons.push(reason("windows", Verdict::Review, because));
        }
        match intent.mode {
            Mode::Enforce => {}
            Mode::Propose => {
                reasons.push(reason("mode", Verdict::Review, "mode 'propose' never acts unasked"))
            }
            Mode::Observe => {
                reasons.push(reason("mode", Verdict::ObserveOnly, "mode 'observe' only records"))
            }
        }
        let not_before = self.when(case, &calendar, &patience, &mut reasons);

        let verdict = strictest(&reasons);
        let exceptions: Vec<&Exception> = self.exceptions(case).collect();
        let would_change = words::would_change(case, verdict, &reasons, not_before, &calendar, &exceptions);
        let security =
            case.drift.kind == DriftKind::ScopeMismatch || facts.security_incident || facts.crosses_boundary;
        let policy = self.digest.to_string();
        Decided {
            decision: Decision { verdict, reasons, policy, would_change, not_before },
            severity,
            security,
        }
    }

    /// Whether what was decided to be automatic may be done at `now`: its windows are open, nothing is frozen, there is no
    /// incident, and the mode allows it. What rules say is not asked again.
    pub fn may_act_now(&self, intent: &Intent, kind: DriftKind, now: Time) -> bool {
        let calendar = self.calendar(intent, kind);
        intent.mode == Mode::Enforce
            && calendar.unknown.is_empty()
            && !self.sections.incidents.iter().any(|i| i.holds(intent, kind, now))
            && calendar.first(now).0.is_some_and(|first| first <= now)
    }

    /// When, at the latest, what may be done automatically at `t` may not be any more, as far as that is known.
    pub(crate) fn closes(&self, intent: &Intent, kind: DriftKind, t: Time) -> Option<Time> {
        self.calendar(intent, kind).closes(t)
    }

    fn calendar<'a>(&'a self, intent: &'a Intent, kind: DriftKind) -> Calendar<'a> {
        Calendar::of(&self.sections.windows, &self.sections.freezes, intent, kind)
    }

    /// Active ones that say something else than to ignore it.
    fn exceptions(&self, case: &Case<'_>) -> impl Iterator<Item = &Exception> {
        let holds = |e: &&Exception| e.holds(case.intent, case.drift.kind, case.now);
        self.sections.exceptions.iter().filter(|e| e.say != Say::Ignore).filter(holds)
    }

    /// The rules, and the exceptions from them.
    fn rules_say(&self, case: &Case<'_>, facts: &Facts) -> Vec<Reason> {
        let mut protected = Vec::new();
        let mut reasons = Vec::new();
        for rule in self.sections.rules.iter().filter(|r| r.matches(case, facts)) {
            reasons.push(reason(&rule.name, rule.say.verdict(), &rule.because));
            protected.push(rule.is_protected());
        }
        if reasons.is_empty() {
            reasons.push(reason("default", Verdict::Review, "no rule of the policy foresees this drift"));
            protected.push(false);
        }
        let exceptions: Vec<&Exception> = self.exceptions(case).collect();
        // Of several exceptions, the strictest wins as well.
        let Some(lowest) = exceptions.iter().max_by_key(|e| e.say) else { return reasons };
        let to = lowest.say.verdict();
        if !case.intent.privileged {
            for (reason, _) in reasons.iter_mut().zip(&protected).filter(|(r, p)| !**p && r.says > to) {
                let by = format!("; said {}, set aside by exception {}", reason.says.as_str(), lowest.name);
                reason.because.push_str(&by);
                reason.says = to;
            }
        }
        let rules_say = strictest(&reasons);
        for exception in exceptions {
            let (mut because, mut says) = (exception.words(), exception.say.verdict());
            if case.intent.privileged {
                because.push_str("; it sets nothing aside for a privileged application");
                says = says.max(rules_say);
            }
            reasons.push(reason(format!("exception {}", exception.name), says, because));
        }
        reasons
    }

    /// When what is automatic may happen, if not at once. Adds what it waits for to the reasons.
    fn when(
        &self,
        case: &Case<'_>,
        calendar: &Calendar<'_>,
        patience: &Patience,
        reasons: &mut Vec<Reason>,
    ) -> Option<Time> {
        let verdict = strictest(reasons);
        let tolerated = self.sections.tolerance.words(case.intent.criticality);
        if patience.overdue {
            let because = format!("it has stood for longer than the tolerated {tolerated}; severity raised");
            // Not the name of a wait: nothing is waited for any more.
            reasons.push(reason("overdue", verdict, because));
        }
        if verdict != Verdict::Automatic {
            return None;
        }
        let mut from = case.now;
        if !patience.overdue && !patience.tolerance.is_zero() {
            reasons.push(reason("tolerance", verdict, format!("low-risk drift may stand for {tolerated}")));
            let over = case.opened_at.checked_add_signed(patience.tolerance);
            from = from.max(over.unwrap_or(Time::MAX_UTC));
        }
        let (first, waits) = calendar.first(from);
        let never = first.is_none();
        for wait in waits {
            let (says, because) = match never {
                true => (
                    Verdict::Review,
                    format!(
                        "{}; within two years there is no moment inside the windows and outside the freezes",
                        wait.because
                    ),
                ),
                false => (Verdict::Automatic, wait.because),
            };
            reasons.push(reason(wait.rule, says, because));
        }
        first.filter(|t| *t > case.now)
    }
}
