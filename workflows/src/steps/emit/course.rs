//! What would be done about one intent's drift: the evidence, the ladder, policy, and a place within the blast radius.
//!
//! # Decides
//! Twice from the same: once in `gather`, to know whether a place must be asked for, and once in `decide`, with the
//! answer. Both take the time at which the job began, so that they cannot come to different conclusions.
//! # Guarantees
//! No attempt without a place.

use std::collections::BTreeMap;

use trueup_model::{
    Attempts, Caps, Drift, DriftKind, Finding, IntentRecord, Plan, Reserved, Time, Trip, Verdict, job,
};

use super::attempts::{self, Follow};
use crate::policy::{self, Decided};
use crate::{Rules, plan::plan};

pub(super) type Findings = BTreeMap<DriftKind, Finding>;

/// Everything that is known before anything is decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) job: &'a job::Emit,
    pub(super) rules: &'a Rules,
    pub(super) record: &'a IntentRecord,
    pub(super) findings: &'a Findings,
    /// When the job began.
    pub(super) now: Time,
}

/// A question to policy, and its answer.
pub(super) struct Asked<'a> {
    pub(super) case: policy::Case<'a>,
    pub(super) decided: Decided,
}

pub(super) type Decisions<'a> = BTreeMap<DriftKind, Asked<'a>>;

/// What is to be done.
pub(super) struct Course<'a> {
    /// As they stand before what follows.
    pub(super) attempts: Attempts,
    pub(super) verdict: attempts::Verdict,
    pub(super) decisions: Decisions<'a>,
    /// Drift that policy lets us mend now.
    pub(super) ready: Vec<&'a Drift>,
    pub(super) follow: Follow,
    /// What would be mended now, were the blast radius not exceeded.
    pub(super) held: Option<(&'a Trip, Vec<DriftKind>)>,
}

impl<'a> Known<'a> {
    /// The caps on an attempt, if one would begin. Also where policy has none: a switch that has tripped holds until it
    /// is rearmed, whatever becomes of the caps.
    pub(super) fn wants_place(self) -> Option<Caps> {
        let is_attempt = matches!(self.uncapped().follow, Follow::Attempt(_));
        is_attempt.then(|| self.rules.policy.caps(&self.record.intent).unwrap_or_default())
    }

    /// What is done, given the answer to asking for a place.
    pub(super) fn course(self, place: Option<&'a Reserved>) -> Course<'a> {
        let course = self.uncapped();
        if !matches!(course.follow, Follow::Attempt(_)) {
            return course;
        }
        match place {
            Some(Reserved::Granted) => course,
            Some(Reserved::Held { trip, .. }) => self.held(course, trip),
            // Nobody asked, so nobody may: cannot be, as `gather` decides the same from the same.
            None => Course { follow: Follow::Look(Some(self.now + self.again())), ..course },
        }
    }

    fn uncapped(self) -> Course<'a> {
        let mut attempts = self.record.state.attempts.clone();
        let verdict = attempts::judge(&mut attempts, self.job);
        let mut decisions = self.ask_policy(attempts.escalated, None);
        let mut ready = ready(&self.job.drifts, &decisions);
        let ladder = &self.rules.ladder;
        let follows = |ready| attempts::follow(&attempts, ready, ladder, self.now, self.again());
        let mut follow = follows(!ready.is_empty());
        // A window or a freeze delays what is done, not that people are told that it was in vain.
        let spent = tried(&self.job.drifts, &decisions);
        if !spent.is_empty() && follows(true) == Follow::Escalate {
            (follow, ready) = (Follow::Escalate, spent);
        }
        match follow {
            Follow::Attempt(_) => {}
            Follow::Escalate => decisions = self.ask_policy(true, None),
            Follow::Look(at) => {
                for drift in &ready {
                    if let Some(asked) = decisions.get_mut(&drift.kind) {
                        asked.decided.decision.not_before = at;
                    }
                }
            }
        }
        Course { attempts, verdict, decisions, ready, follow, held: None }
    }

    /// Manual from here on. Whoever rearms the switch is noticed at the next check.
    fn held(self, course: Course<'a>, trip: &'a Trip) -> Course<'a> {
        let kinds = course.ready.iter().map(|d| d.kind).collect();
        let decisions = self.ask_policy(course.attempts.escalated, Some(trip));
        Course {
            decisions,
            ready: Vec::new(),
            follow: Follow::Look(None),
            held: Some((trip, kinds)),
            ..course
        }
    }

    fn ask_policy(self, exhausted: bool, held: Option<&'a Trip>) -> Decisions<'a> {
        let ask = |drift: &'a Drift| {
            let open = self.findings.get(&drift.kind).filter(|f| f.open);
            let case = policy::Case {
                intent: &self.record.intent,
                drift,
                opened_at: open.map_or(self.now, |f| f.opened_at),
                now: self.now,
                remedy: !self.plan(&[drift]).actions.is_empty(),
                exhausted,
                held,
            };
            let decided = self.rules.policy.decide(&case);
            (drift.kind, Asked { case, decided })
        };
        self.job.drifts.iter().map(ask).collect()
    }

    pub(super) fn plan(self, drifts: &[&Drift]) -> Plan {
        let job = self.job;
        plan(&self.record.intent, self.record.generation, drifts, &job.drifts, &job.ignored)
    }

    fn again(self) -> trueup_model::Duration {
        self.rules.settings.look_again().min(self.record.intent.criticality.interval())
    }
}

/// Drift that is ours to mend, be it that its window is closed.
fn tried<'a>(drifts: &'a [Drift], decisions: &Decisions<'_>) -> Vec<&'a Drift> {
    let ours = |a: &Asked<'_>| {
        let decision = &a.decided.decision;
        decision.verdict == Verdict::Automatic
            && (decision.not_before.is_none() || policy::waits_for_calendar_only(decision))
    };
    drifts.iter().filter(|drift| decisions.get(&drift.kind).is_some_and(ours)).collect()
}

/// Drift that policy lets us mend now.
fn ready<'a>(drifts: &'a [Drift], decisions: &Decisions<'_>) -> Vec<&'a Drift> {
    let may = |a: &Asked<'_>| {
        a.decided.decision.verdict == Verdict::Automatic && a.decided.decision.not_before.is_none()
    };
    drifts.iter().filter(|drift| decisions.get(&drift.kind).is_some_and(may)).collect()
}
