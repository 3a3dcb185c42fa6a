//! One intent's drift, from evidence to what follows: the order of the decisions that `emit` takes.

use std::collections::BTreeMap;

use serde_json::json;
use trueup_model::{
    ActiveRun, Approval, ApprovalKind, Attempts, Commit, Drift, DriftKind, EventKind, Finding, IntentRecord,
    IntentState, Job, Next, Plan, PlaneKind, Time, Verdict, Write,
    job::{self, Cx},
    run::Illegal,
};

use super::attempts::{self, Follow};
use super::findings::{self, Change};
use super::{approvals, tell};
use crate::events::Events;
use crate::policy::{self, Decided};
use crate::{Rules, plan::plan, transitions};

pub(super) struct Case<'a> {
    pub(super) cx: &'a Cx,
    pub(super) job: &'a job::Emit,
    pub(super) rules: &'a Rules,
    pub(super) record: &'a IntentRecord,
    pub(super) active: &'a ActiveRun,
}

type Findings = BTreeMap<DriftKind, Finding>;
type Decisions = BTreeMap<DriftKind, Decided>;

impl Case<'_> {
    pub(super) fn decide(&self, known: Vec<Finding>, approvals: &[Approval]) -> Result<Commit, Illegal> {
        let Self { cx, job, rules, record, active } = self;
        let now = cx.now;
        let known: Findings = known.into_iter().map(|f| (f.kind, f)).collect();
        let mut state = record.state.clone();
        let before = state.condition;
        state.now_is(job.condition, now);
        let verdict = attempts::judge(&mut state.attempts, job);

        let mut decisions = self.ask_policy(&known, &state.attempts, state.attempts.escalated);
        let ready = ready(&job.drifts, &decisions);
        let again = rules.settings.look_again().min(record.intent.criticality.interval());
        let follow = attempts::follow(&state.attempts, !ready.is_empty(), &rules.ladder, now, again);
        match follow {
            Follow::Attempt(n) => {
                let unjudged = &job.unjudged_kinds;
                state.attempts = attempts::begin(&state.attempts, n, &ready, unjudged, record.generation);
            }
            Follow::Escalate => decisions = self.ask_policy(&known, &state.attempts, true),
            Follow::Look(at) => {
                for drift in &ready {
                    if let Some(d) = decisions.get_mut(&drift.kind) {
                        d.decision.not_before = at;
                    }
                }
            }
        }
        let look_at = self.look_at(follow, &decisions);

        let mut events = Events::of(cx, &record.intent.key, active);
        tell::condition(before, job, &mut events);
        let asking = follow != Follow::Escalate;
        let acting: &[&Drift] = if matches!(follow, Follow::Attempt(_)) { &ready } else { &[] };
        let mut writes =
            self.findings(known, decisions, &mut state, acting, look_at, asking, approvals, &mut events);
        tell::attempt(&verdict, record, &mut events);

        let (write, next) = self.follow(follow, state, &ready, look_at, &mut events)?;
        writes.push(write);
        Ok(Commit { events: events.done(), writes, next: next.into_iter().collect() })
    }

    fn ask_policy(&self, known: &Findings, attempts: &Attempts, exhausted: bool) -> Decisions {
        let ask = |drift: &Drift| {
            let open = known.get(&drift.kind).filter(|f| f.open);
            let case = policy::Case {
                intent: &self.record.intent,
                kind: drift.kind,
                opened_at: open.map_or(self.cx.now, |f| f.opened_at),
                now: self.cx.now,
                remedy: !self.plan(&[drift]).actions.is_empty(),
                exhausted: exhausted || attempts.escalated,
            };
            (drift.kind, self.rules.policy.decide(&case))
        };
        self.job.drifts.iter().map(ask).collect()
    }

    fn plan(&self, drifts: &[&Drift]) -> Plan {
        plan(&self.record.intent, self.record.generation, drifts, &self.job.drifts)
    }

    /// When somebody must look before the next check.
    fn look_at(&self, follow: Follow, decisions: &Decisions) -> Option<Time> {
        let wanted = match follow {
            Follow::Look(at) => at,
            Follow::Attempt(_) => Some(self.cx.now + self.rules.settings.verify_after()),
            Follow::Escalate => None,
        };
        decisions.values().filter_map(|d| d.decision.not_before).chain(wanted).min()
    }

    /// What became of each kind: findings, decisions, approvals.
    #[expect(
        clippy::too_many_arguments,
        reason = "one pass over the kinds; each argument is a part of the case"
    )]
    fn findings(
        &self,
        mut known: Findings,
        mut decisions: Decisions,
        state: &mut IntentState,
        acting: &[&Drift],
        look_at: Option<Time>,
        asking: bool,
        approvals: &[Approval],
        events: &mut Events<'_>,
    ) -> Vec<Write> {
        let (job, now, key) = (self.job, self.cx.now, &self.record.intent.key);
        let mut writes = Vec::new();
        for kind in DriftKind::ALL {
            let before = known.remove(&kind);
            let attempts = if state.attempts.kinds.contains(&kind) { state.attempts.made } else { 0 };
            let next_at = look_at.into_iter().chain(state.next_check).min();
            if let (Some(drift), Some(decided)) =
                (job.drifts.iter().find(|d| d.kind == kind), decisions.remove(&kind))
            {
                let decision = before.as_ref().filter(|f| f.open).map(|f| f.decision.clone());
                let (mut finding, change) =
                    findings::seen(before, key, drift, decided, events.correlation_id(), now);
                finding.attempts = attempts;
                finding.next_at = finding.decision.not_before.or(next_at);
                let triggered = acting.iter().any(|d| d.kind == kind);
                match change {
                    Change::Opened => tell::drift(EventKind::DriftDetected, &finding, triggered, events),
                    Change::Changed => tell::drift(EventKind::DriftChanged, &finding, triggered, events),
                    Change::Same => {}
                }
                tell::policy(decision, &finding, events);
                let ask = match finding.decision.verdict {
                    Verdict::Review => Some(ApprovalKind::Review),
                    Verdict::Cab if asking => Some(ApprovalKind::Cab),
                    _ => None,
                };
                let ask = ask.map(|kind| (kind, drift, self.plan(&[drift])));
                approvals::settle(&finding, ask, approvals, events, &mut writes, now);
                state.drifts.insert(kind, drift.digest.clone());
                writes.push(Write::Finding(Box::new(finding)));
            } else if job.unjudged_kinds.contains(&kind) {
                if let Some(mut finding) = before.filter(|f| f.open && f.next_at != next_at) {
                    finding.next_at = next_at;
                    writes.push(Write::Finding(Box::new(finding)));
                }
            } else {
                state.drifts.remove(&kind);
                if let Some(finding) = before.filter(|f| f.open) {
                    let finding = findings::resolved(finding, job.passed[1].to, now);
                    tell::drift(EventKind::DriftResolved, &finding, false, events);
                    approvals::settle(&finding, None, approvals, events, &mut writes, now);
                    writes.push(Write::Finding(Box::new(finding)));
                }
            }
        }
        writes
    }

    /// The end of the run, or the job that goes on with it.
    fn follow(
        &self,
        follow: Follow,
        state: IntentState,
        ready: &[&Drift],
        look_at: Option<Time>,
        events: &mut Events<'_>,
    ) -> Result<(Write, Option<Next>), Illegal> {
        let Self { cx, job, rules, record, .. } = self;
        let (intent, run) = (job.intent.clone(), job.run.clone());
        let following = match follow {
            Follow::Look(_) => return Ok((transitions::close(record, state, &run, look_at, cx.now)?, None)),
            Follow::Attempt(attempt) => {
                let plan = self.plan(ready);
                let kinds: Vec<_> = ready.iter().map(|d| d.kind).collect();
                let data = json!({
                    "attempt": attempt, "of": rules.ladder.attempts(), "drift_types": kinds,
                    "finding_ids": tell::finding_ids(record, &kinds), "plan": plan.digest,
                    "actions": plan.actions.iter().map(|p| &p.summary).collect::<Vec<_>>(),
                });
                events.push(EventKind::RemediationStarted, data);
                let generation = record.generation;
                Job::Remediate(job::Remediate { intent, run, plan, index: 0, attempt, generation })
            }
            Follow::Escalate => {
                let drifts = ready.iter().copied().cloned().collect();
                let (plan, attempts) = (self.plan(ready), state.attempts.made);
                Job::Escalate(job::Escalate { intent, run, drifts, attempts, plan })
            }
        };
        let write = transitions::hold(record, state, rules.settings.run_deadline());
        Ok((write, next(cx, following, record.intent.plane())))
    }
}

fn next(cx: &Cx, job: Job, plane: PlaneKind) -> Option<Next> {
    let queue = job.queue(Some(plane))?;
    Some(Next { id: cx.next_id(0), queue, job, at: None })
}

/// Drift that policy lets us mend now.
fn ready<'a>(drifts: &'a [Drift], decisions: &Decisions) -> Vec<&'a Drift> {
    let may = |d: &Decided| d.decision.verdict == Verdict::Automatic && d.decision.not_before.is_none();
    drifts.iter().filter(|drift| decisions.get(&drift.kind).is_some_and(may)).collect()
}
