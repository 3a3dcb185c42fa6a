//! Remediate: performs ONE action of a plan.
//!
//! # Purpose
//! The only step that changes a plane.
//! # Reads
//! The record, to see that the run still holds the intent and that the plan still fits; windows, freezes and incidents of the
//! policy, to see that it may be done now; then the plane's answer.
//! # Decides
//! The next action; or the end of the run, with the look that will judge the attempt; or, if the plane refused for
//! good, that the attempt has failed.
//! # Guarantees
//! One outside effect at most, under a key derived from this job, so that a repetition is recognised. What the plane
//! asks to wait for, and what may pass by itself, is a fault and waits in the queue: it uses up no attempt of the
//! ladder, until the job has used up its tries: then it counts as refused. Acceptance is not success: only a later observation is.

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Commit, EventKind, Fault, IntentRecord, Job, Next, Outcome, Receipt, StepName,
    job::{self, Cx},
};

use super::{held, illegal, nothing, only, withdrawn};
use crate::{Ports, Rules, Step, compare::bounded, events::Events, retries::is_last, transitions};

#[derive(Debug)]
pub struct Remediate<'a>(pub &'a Rules);

#[derive(Debug, Clone, PartialEq)]
pub enum Facts {
    /// The intent is gone, or another run holds it. Nothing was done.
    NotHeld,
    /// The plan does not fit any more, or not now: the next look decides. Nothing was done.
    Withdrawn(Box<IntentRecord>),
    Applied(Box<IntentRecord>, Receipt),
    /// For good; says why.
    Refused(Box<IntentRecord>, String),
}

#[async_trait]
impl Step for Remediate<'_> {
    const NAME: StepName = StepName::Remediate;
    type Payload = job::Remediate;
    type Facts = Facts;

    async fn gather(&self, cx: &Cx, job: &job::Remediate, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some((record, ..)) = held(super::record(ports, &job.intent).await?, &job.run) else {
            return Ok(Facts::NotHeld);
        };
        let record = Box::new(record);
        // It may have waited in its queue for long: a freeze or an incident may have begun, a window may have closed.
        let may = |kind| self.0.policy.may_act_now(&record.intent, kind, cx.now);
        if withdrawn(&record, job.generation).is_some() || !job.plan.actions.iter().all(|p| may(p.kind)) {
            return Ok(Facts::Withdrawn(record));
        }
        let Some(planned) = job.plan.actions.get(job.index) else {
            return Ok(Facts::Refused(record, format!("the plan has no action {}", job.index)));
        };
        match ports.act(&job.intent.tenant, &record.intent.target, &planned.action, &cx.effect()).await {
            Ok(receipt) => Ok(Facts::Applied(record, receipt)),
            Err(Fault::Permanent { what }) => Ok(Facts::Refused(record, what)),
            Err(fault) if is_last(Self::NAME, &fault, cx.attempt) => {
                Ok(Facts::Refused(record, format!("given up after {} tries: {fault}", cx.attempt)))
            }
            Err(fault) => Err(fault),
        }
    }

    fn decide(&self, cx: &Cx, job: &job::Remediate, facts: Facts) -> Outcome {
        let (record, answer) = match facts {
            Facts::NotHeld => return nothing(),
            Facts::Withdrawn(record) => {
                // The next look tells whether the drift is still there, and takes the attempt back if nothing was done.
                return match transitions::close(&record, record.state.clone(), &job.run, Some(cx.now), cx.now)
                {
                    Ok(write) => only(write),
                    Err(why) => illegal(why),
                };
            }
            Facts::Applied(record, receipt) => (record, Ok(receipt)),
            Facts::Refused(record, why) => (record, Err(why)),
        };
        let Some((record, active, mut state)) = held(Some(*record), &job.run) else { return nothing() };
        let mut events = Events::of(cx, &record.intent, &active);
        let planned = job.plan.actions.get(job.index);
        let mut data = json!({
            "attempt": job.attempt, "action": job.index + 1, "of": job.plan.actions.len(),
            "drift_type": planned.map(|p| p.kind), "summary": planned.map(|p| &p.summary),
            "effect_key": cx.effect(), "run_started_at": active.started_at,
        });
        state.attempts.last_at = Some(cx.now);
        state.attempts.acted = true;
        state.attempts.trace = Some(cx.trace.clone());
        let over = self.0.ladder.over(job.attempt, cx.now);
        let look_at = match answer {
            Ok(receipt) => {
                data["receipt"] = json!({"note": bounded(&receipt.note), "changed": receipt.changed});
                events.push(EventKind::RemediationApplied, data);
                let index = job.index + 1;
                if index < job.plan.actions.len() {
                    let job = Job::Remediate(job::Remediate { index, ..job.clone() });
                    let Some(queue) = job.queue(Some(record.intent.plane())) else { return nothing() };
                    let next = vec![Next { id: cx.next_id(0), queue, job, at: None }];
                    let write = transitions::hold(&record, state, self.0.settings.run_deadline());
                    return Outcome::Done(Commit { events: events.done(), writes: vec![write], next });
                }
                over.min(cx.now + self.0.settings.verify_after())
            }
            Err(why) => {
                data["because"] = json!(bounded(&why));
                events.push(EventKind::RemediationRefused, data);
                state.attempts.open = false;
                over
            }
        };
        // A check before the look would judge the plane while it still carries out what it accepted.
        state.next_check = state.next_check.map(|t| t.max(look_at));
        match transitions::close(&record, state, &job.run, Some(look_at), cx.now) {
            Ok(write) => Outcome::Done(Commit { events: events.done(), writes: vec![write], next: vec![] }),
            Err(why) => illegal(why),
        }
    }
}
