//! Emit: records drift, asks policy, decides what follows for ONE intent.
//!
//! # Purpose
//! The only place where drift becomes a fact, and where it is decided whether anything is done about it.
//! # Reads
//! The intent, its findings, its open approvals. Nothing outside.
//! # Decides
//! What became of the open attempt; findings opened, changed, resolved; the policy's decision for each; approvals
//! opened or withdrawn; then, by the ladder: an attempt, a look later, or escalation.
//! # Guarantees
//! Only drift leads to an action, and only evidence newer than the last action judges it. What could not be judged
//! stays as it is. At most one of: `remediate`, `escalate`, the end of the run.

mod approvals;
mod attempts;
mod case;
mod findings;
mod tell;

use async_trait::async_trait;
use trueup_model::{
    Approval, Fault, Finding, IntentRecord, Outcome, StepName,
    job::{self, Cx},
};

use super::{held, illegal, nothing, only, record as read};
use crate::{Ports, Rules, Step, transitions};

pub(crate) use approvals::open as open_approval;

#[derive(Debug)]
pub struct Emit<'a>(pub &'a Rules);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub record: Option<IntentRecord>,
    pub findings: Vec<Finding>,
    pub approvals: Vec<Approval>,
}

#[async_trait]
impl Step for Emit<'_> {
    const NAME: StepName = StepName::Emit;
    type Payload = job::Emit;
    type Facts = Facts;

    async fn gather(&self, _cx: &Cx, job: &job::Emit, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some((record, ..)) = held(read(ports, &job.intent).await?, &job.run) else {
            return Ok(Facts::default());
        };
        let findings = ports.findings(&job.intent).await?;
        let approvals = ports.approvals(&job.intent).await?;
        Ok(Facts { record: Some(record), findings, approvals })
    }

    fn decide(&self, cx: &Cx, job: &job::Emit, facts: Facts) -> Outcome {
        let Some((record, active, state)) = held(facts.record, &job.run) else { return nothing() };
        if !record.intent.status.is_reconciled() || record.generation != job.generation {
            // What was compared is not what is meant any more.
            return match transitions::close(&record, state, &job.run, Some(cx.now), cx.now) {
                Ok(write) => only(write),
                Err(why) => illegal(why),
            };
        }
        let case = case::Case { cx, job, rules: self.0, record: &record, active: &active };
        match case.decide(facts.findings, &facts.approvals) {
            Ok(commit) => Outcome::Done(commit),
            Err(why) => illegal(why),
        }
    }
}
