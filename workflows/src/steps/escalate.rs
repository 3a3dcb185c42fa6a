//! Escalate: tells people, once, that the ladder is at its end.
//!
//! # Purpose
//! What is still drifted after the last attempt belongs to people.
//! # Reads
//! The record, to see that it is still so; the findings and approvals. Nothing outside.
//! # Decides
//! The fact that it was escalated, a question to the change advisory board and a notice for each drift, and the end of
//! the run.
//! # Guarantees
//! Nothing automatic follows until the drift is resolved or the intent is changed. The notices are in the outbox by the
//! same commit: whatever becomes of a channel, the board's questions are open and nothing is forgotten.

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Approval, ApprovalKind, ApprovalState, Commit, DateTime, EventKind, Fault, Finding, IntentRecord,
    Outcome, StepName, Write,
    job::{self, Cx},
};

use super::emit::open_approval;
use super::{held, illegal, nothing, only, withdrawn};
use crate::{Ports, Rules, Step, events::Events, notices::Notices, transitions};

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
}

#[async_trait]
impl Step for Escalate<'_> {
    const NAME: StepName = StepName::Escalate;
    type Payload = job::Escalate;
    type Facts = Facts;

    async fn gather(&self, _cx: &Cx, job: &job::Escalate, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some((record, ..)) = held(super::record(ports, &job.intent).await?, &job.run) else {
            return Ok(Facts::NotHeld);
        };
        if withdrawn(&record, record.state.attempts.generation).is_some() {
            return Ok(Facts::Withdrawn(Box::new(record)));
        }
        let findings = ports.findings(&job.intent).await?;
        let approvals = ports.approvals(&job.intent).await?;
        Ok(Facts::Told(Box::new(Told { record, findings, approvals })))
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
        let Told { record, findings, approvals } = told;
        let Some((record, active, mut state)) = held(Some(record), &job.run) else { return nothing() };
        let mut events = Events::of(cx, &record.intent, &active);
        let key = &record.intent.key;
        let ladder = &self.0.ladder;
        let wait = |n| (ladder.over(n, DateTime::UNIX_EPOCH) - DateTime::UNIX_EPOCH).num_seconds();
        let kinds: Vec<_> = job.drifts.iter().map(|d| d.kind).collect();
        let ids: Vec<_> = kinds.iter().map(|k| Finding::id_of(key, *k)).collect();
        events.push(
            EventKind::Escalated,
            json!({
                "attempts": job.attempts, "drift_types": kinds, "finding_ids": ids, "run_started_at": active.started_at,
                "waits_s": (1..=ladder.attempts()).map(wait).collect::<Vec<_>>(),
            }),
        );
        let notices = Notices::of(self.0, &record.intent, &active.correlation_id, cx.now);
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
                let approval = open_approval(finding, kind, drift, plan, because, &mut events, cx.now);
                writes.extend(notices.approval(finding, &approval));
                writes.push(Write::Approval(Box::new(approval)));
            }
            writes.extend(notices.escalated(finding, job.attempts, &job.plan, state.attempts.last_at));
            writes.push(Write::Finding(Box::new(Finding { persistent: true, ..finding.clone() })));
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
