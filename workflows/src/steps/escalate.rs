//! Escalate: tells people, once, that the ladder is at its end.
//!
//! # Purpose
//! What is still drifted after the last attempt belongs to people.
//! # Reads
//! The record, to see that it is still so; the approvals. Sends ONE notice.
//! # Decides
//! The fact that it was escalated, a question to the change advisory board for each drift, and the end of the run.
//! # Guarantees
//! Nothing automatic follows until the drift is resolved or the intent is changed. Whether or not the notice could be
//! delivered, the board's questions are open and the event says so.

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Approval, ApprovalKind, ApprovalState, Commit, DateTime, EventKind, Fault, Finding, IntentRecord,
    Outcome, StepName,
    job::{self, Cx},
};

use super::emit::open_approval;
use super::{held, illegal, nothing, only, withdrawn};
use crate::{Notice, Ports, Rules, Step, compare::bounded, events::Events, transitions};

#[derive(Debug)]
pub struct Escalate<'a>(pub &'a Rules);

#[derive(Debug, Clone, PartialEq)]
pub enum Facts {
    /// The intent is gone, or another run holds it. Nobody was told.
    NotHeld,
    /// The intent was changed. Nobody was told.
    Withdrawn(Box<IntentRecord>),
    Told(Box<Told>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub record: IntentRecord,
    pub findings: Vec<Finding>,
    pub approvals: Vec<Approval>,
    /// Why the notice could not be delivered, and never will be as things are.
    pub trouble: Option<String>,
}

#[async_trait]
impl Step for Escalate<'_> {
    const NAME: StepName = StepName::Escalate;
    type Payload = job::Escalate;
    type Facts = Facts;

    async fn gather(&self, cx: &Cx, job: &job::Escalate, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some((record, ..)) = held(super::record(ports, &job.intent).await?, &job.run) else {
            return Ok(Facts::NotHeld);
        };
        if withdrawn(&record, record.state.attempts.generation).is_some() {
            return Ok(Facts::Withdrawn(Box::new(record)));
        }
        let findings = ports.findings(&job.intent).await?;
        let approvals = ports.approvals(&job.intent).await?;
        let trouble = match ports.notify(&notice(job), &cx.effect()).await {
            Ok(()) => None,
            Err(Fault::Permanent { what }) => Some(what),
            Err(fault) => return Err(fault),
        };
        Ok(Facts::Told(Box::new(Told { record, findings, approvals, trouble })))
    }

    fn decide(&self, cx: &Cx, job: &job::Escalate, facts: Facts) -> Outcome {
        let told = match facts {
            Facts::NotHeld => return nothing(),
            Facts::Withdrawn(record) => {
                return match transitions::close(&record, record.state.clone(), &job.run, Some(cx.now), cx.now)
                {
                    Ok(write) => only(write),
                    Err(why) => illegal(why),
                };
            }
            Facts::Told(told) => *told,
        };
        let Told { record, findings, approvals, trouble } = told;
        let Some((record, active, mut state)) = held(Some(record), &job.run) else { return nothing() };
        let mut events = Events::of(cx, &record.intent.key, &active);
        let key = &record.intent.key;
        let ladder = &self.0.ladder;
        let wait = |n| (ladder.over(n, DateTime::UNIX_EPOCH) - DateTime::UNIX_EPOCH).num_seconds();
        let kinds: Vec<_> = job.drifts.iter().map(|d| d.kind).collect();
        let ids: Vec<_> = kinds.iter().map(|k| Finding::id_of(key, *k)).collect();
        events.push(
            EventKind::Escalated,
            json!({
                "attempts": job.attempts, "drift_types": kinds, "finding_ids": ids,
                "waits_s": (1..=ladder.attempts()).map(wait).collect::<Vec<_>>(),
                "notified": trouble.is_none(), "trouble": trouble.as_deref().map(bounded),
                "effect_key": cx.effect(),
            }),
        );
        let mut writes = Vec::new();
        for drift in &job.drifts {
            let Some(finding) = findings.iter().find(|f| f.kind == drift.kind && f.open) else { continue };
            let asked = |a: &Approval| {
                (a.kind, a.state) == (ApprovalKind::Cab, ApprovalState::Open)
                    && a.finding == finding.id
                    && a.digest == drift.digest
            };
            if !approvals.iter().any(asked) {
                let because = vec![format!("ladder: still there after {} attempts", job.attempts)];
                let (kind, plan) = (ApprovalKind::Cab, job.plan.clone());
                writes.push(open_approval(finding, kind, drift, plan, because, &mut events, cx.now));
            }
        }
        state.attempts.escalated = true;
        match transitions::close(&record, state, &job.run, None, cx.now) {
            Ok(write) => {
                writes.push(write);
                Outcome::Done(Commit { events: events.done(), writes, next: vec![] })
            }
            Err(why) => illegal(why),
        }
    }
}

fn notice(job: &job::Escalate) -> Notice {
    let kinds: Vec<_> = job.drifts.iter().map(|d| d.kind.as_str()).collect();
    let mut text = format!("{} is still drifted after {} attempts.\n", job.intent, job.attempts);
    for drift in &job.drifts {
        text.push_str(&format!("\n{} ({} devices):\n", drift.kind, drift.affected_devices));
        for d in drift.delta.iter().take(10) {
            text.push_str(&format!(
                "  {}: meant {}, is {}\n",
                d.path,
                bounded(&d.desired),
                bounded(&d.observed)
            ));
        }
    }
    text.push_str("\nTried, and to be decided by the change advisory board:\n");
    for planned in job.plan.actions.iter().take(10) {
        text.push_str(&format!("  {}\n", bounded(&planned.summary)));
    }
    Notice { subject: format!("Drift not remediated: {} ({})", job.intent, kinds.join(", ")), text }
}
