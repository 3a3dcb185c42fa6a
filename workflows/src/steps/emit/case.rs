//! One intent's drift, from what is to be done to what is written: findings, decisions, approvals, notices, events, and
//! the job that follows.

use serde_json::json;
use trueup_model::{
    ActiveRun, Approval, ApprovalKind, Attempts, Commit, Condition, Drift, DriftKind, Duration, EventKind,
    Finding, IntentRecord, IntentState, Job, Next, PlaneKind, Reserved, Time, Verdict, Write,
    job::{self, Cx},
    run::Illegal,
};

use super::attempts::{self, Follow};
use super::course::{Asked, Course, Findings, Known};
use super::findings::{self, Change};
use super::{approvals, tell};
use crate::events::Events;
use crate::notices::Notices;
use crate::{Rules, policy, transitions};

/// The longest that a look is put off so that not all come at once when a window opens.
const SPREAD: Duration = Duration::minutes(15);

pub(super) struct Case<'a> {
    pub(super) cx: &'a Cx,
    pub(super) job: &'a job::Emit,
    pub(super) rules: &'a Rules,
    pub(super) record: &'a IntentRecord,
    pub(super) active: &'a ActiveRun,
    pub(super) approvals: &'a [Approval],
    pub(super) place: Option<&'a Reserved>,
}

impl<'a> Case<'a> {
    /// The moment for everything but the events, which say when they were written.
    fn began(&self) -> Time {
        self.cx.started_at
    }

    fn known(&self, findings: &'a Findings) -> Known<'a> {
        Known { job: self.job, rules: self.rules, record: self.record, findings, now: self.began() }
    }

    pub(super) fn decide(&self, findings: &'a Findings) -> Result<Commit, Illegal> {
        let Self { cx, job, rules, record, active, .. } = self;
        let known = self.known(findings);
        let mut course = known.course(self.place);
        let mut state = record.state.clone();
        let before = state.condition;
        state.now_is(job.condition, self.began());
        if job.condition != Condition::Unreachable {
            state.ignored.clone_from(&job.ignored);
        }
        state.attempts = std::mem::take(&mut course.attempts);
        if let Follow::Attempt(n) = course.follow {
            let unjudged = &job.unjudged_kinds;
            state.attempts = attempts::begin(&state.attempts, n, &course.ready, unjudged, record.generation);
        }
        let look_at = self.look_at(&course);

        let mut events = Events::of(cx, &record.intent, active);
        tell::condition(before, job, &mut events);
        let mut writes = self.findings(known, &course, &mut state, look_at, &mut events);
        tell::attempt(&course.verdict, record, &mut events);
        if let (Some((trip, kinds)), Some(Reserved::Held { first: true, .. })) = (&course.held, self.place) {
            tell::tripped(trip, kinds, &mut events);
            let one_too_many = writes.iter().find_map(|w| match w {
                Write::Finding(f) if kinds.contains(&f.kind) => Some(f.clone()),
                _ => None,
            });
            let notices = Notices::of(rules, &record.intent, events.correlation_id(), self.began());
            writes.extend(one_too_many.and_then(|finding| notices.blast_radius(&finding, trip)));
        }
        let (write, next) = self.follow(known, &course, state, look_at, &mut events)?;
        writes.push(write);
        Ok(Commit { events: events.done(), writes, next: next.into_iter().collect() })
    }

    /// When somebody must look before the next check.
    fn look_at(&self, course: &Course<'_>) -> Option<Time> {
        let wanted = match course.follow {
            Follow::Look(at) => at,
            Follow::Attempt(_) => Some(self.began() + self.rules.settings.verify_after()),
            Follow::Escalate => None,
        };
        let decided = course.decisions.iter().filter_map(|(kind, asked)| {
            let decision = &asked.decided.decision;
            let at = decision.not_before?;
            Some(if policy::waits_for_calendar(decision) { self.spread(*kind, at) } else { at })
        });
        decided.chain(wanted).min()
    }

    /// A while after `at`, when a window opens or a freeze ends for many: each intent has its own place in the first quarter
    /// of an hour, or of what there is until it closes again. The decision itself is not later.
    fn spread(&self, kind: DriftKind, at: Time) -> Time {
        let intent = &self.record.intent;
        let open = self.rules.policy.closes(intent, kind, at).map_or(SPREAD, |end| (end - at) / 4);
        let ms = open.clamp(Duration::zero(), SPREAD).num_milliseconds() as f64;
        at.checked_add_signed(Duration::milliseconds((ms * intent.key.spread()) as i64)).unwrap_or(at)
    }

    /// What became of each kind: findings, decisions, approvals, notices.
    fn findings(
        &self,
        known: Known<'a>,
        course: &Course<'_>,
        state: &mut IntentState,
        look_at: Option<Time>,
        events: &mut Events<'_>,
    ) -> Vec<Write> {
        let job = self.job;
        let mut writes = Vec::new();
        for kind in DriftKind::ALL {
            let before = known.findings.get(&kind);
            let next_at = look_at.into_iter().chain(state.next_check).min();
            if let (Some(drift), Some(asked)) =
                (job.drifts.iter().find(|d| d.kind == kind), course.decisions.get(&kind))
            {
                let seen = Seen { before, drift, asked, next_at };
                self.drifted(known, course, &seen, &state.attempts, events, &mut writes);
                state.drifts.insert(kind, drift.digest.clone());
            } else if job.unjudged_kinds.contains(&kind) {
                let persistent = |f: &Finding| f.persistent && state.attempts.escalated;
                let is_other =
                    |f: &&Finding| f.open && (f.next_at != next_at || f.persistent != persistent(f));
                writes.extend(before.filter(is_other).map(|f| {
                    let finding = Finding { next_at, persistent: persistent(f), ..f.clone() };
                    Write::Finding(Box::new(finding))
                }));
            } else {
                state.drifts.remove(&kind);
                if let Some(finding) = before.filter(|f| f.open) {
                    let finding = findings::resolved(finding.clone(), job.passed[1].to, self.began());
                    tell::resolved(&finding, &job.ignored, events);
                    approvals::settle(&finding, None, self.approvals, events, &mut writes, self.began());
                    writes.push(Write::Finding(Box::new(finding)));
                }
            }
        }
        writes
    }

    /// A kind that is drifted.
    fn drifted(
        &self,
        known: Known<'a>,
        course: &Course<'_>,
        seen: &Seen<'_>,
        attempts: &Attempts,
        events: &mut Events<'_>,
        writes: &mut Vec<Write>,
    ) {
        let Seen { before, drift, asked, next_at } = *seen;
        let (intent, kind, now) = (&self.record.intent, drift.kind, self.began());
        let decision = before.filter(|f| f.open).map(|f| f.decision.clone());
        let was_security = before.is_some_and(|f| f.open && f.security);
        let correlation_id = events.correlation_id().clone();
        let decided = asked.decided.clone();
        let (mut finding, change) =
            findings::seen(before.cloned(), intent, drift, decided, &correlation_id, now);
        finding.attempts = if attempts.kinds.contains(&kind) { attempts.made } else { 0 };
        finding.next_at = finding.decision.not_before.or(next_at);
        finding.persistent &= attempts.escalated && change != Change::Opened;
        let acting = matches!(course.follow, Follow::Attempt(_));
        let triggered = acting && course.ready.iter().any(|d| d.kind == kind);
        match change {
            Change::Opened => {
                tell::drift(EventKind::DriftDetected, &finding, triggered, asked.decided.security, events)
            }
            Change::Changed => {
                tell::drift(EventKind::DriftChanged, &finding, triggered, asked.decided.security, events)
            }
            Change::Same => {}
        }
        let became_security = finding.security && !was_security;
        tell::policy(decision, &finding, asked, became_security && change != Change::Opened, events);
        let ask = match finding.decision.verdict {
            Verdict::Review => Some(ApprovalKind::Review),
            // The board is asked by the job that escalates.
            Verdict::Cab if course.follow != Follow::Escalate => Some(ApprovalKind::Cab),
            _ => None,
        };
        let ask = ask.map(|kind| (kind, drift, known.plan(&[drift])));
        let opened = approvals::settle(&finding, ask, self.approvals, events, writes, now);
        let notices = Notices::of(self.rules, intent, &correlation_id, now);
        if became_security {
            writes.extend(notices.security(&finding));
        }
        // Of all that is held people are told once, by the switch.
        let told = course.held.as_ref().is_some_and(|(_, kinds)| kinds.contains(&kind));
        if let Some(approval) = opened.filter(|_| !told) {
            writes.extend(notices.approval(&finding, &approval));
        }
        writes.push(Write::Finding(Box::new(finding)));
    }

    /// The end of the run, or the job that goes on with it.
    fn follow(
        &self,
        known: Known<'a>,
        course: &Course<'_>,
        state: IntentState,
        look_at: Option<Time>,
        events: &mut Events<'_>,
    ) -> Result<(Write, Option<Next>), Illegal> {
        let Self { cx, job, rules, record, .. } = self;
        let (intent, run, ready) = (job.intent.clone(), job.run.clone(), &course.ready);
        let following = match course.follow {
            Follow::Look(_) => {
                return Ok((transitions::close(record, state, &run, look_at, self.began())?, None));
            }
            Follow::Attempt(attempt) => {
                let plan = known.plan(ready);
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
                let (plan, attempts) = (known.plan(ready), state.attempts.made);
                Job::Escalate(job::Escalate { intent, run, drifts, attempts, plan })
            }
        };
        let write = transitions::hold(record, state, rules.settings.run_deadline());
        Ok((write, next(cx, following, record.intent.plane())))
    }
}

/// What is known of a kind that is drifted.
struct Seen<'a> {
    before: Option<&'a Finding>,
    drift: &'a Drift,
    asked: &'a Asked<'a>,
    /// When the intent is looked at next.
    next_at: Option<Time>,
}

fn next(cx: &Cx, job: Job, plane: PlaneKind) -> Option<Next> {
    let queue = job.queue(Some(plane))?;
    Some(Next { id: cx.next_id(0), queue, job, at: None })
}
