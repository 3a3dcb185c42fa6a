//! Emit: records drift, asks policy, decides what follows for ONE intent.
//!
//! # Purpose
//! The only place where drift becomes a fact, and where it is decided whether anything is done about it.
//! # Reads
//! The intent, its findings, its open approvals. If an attempt would begin: whether there is a
//! place left within the blast radius, which takes it. Nothing outside.
//! # Decides
//! What became of the open attempt; findings opened, changed, resolved; the policy's decision for each; approvals
//! opened or withdrawn; then, by the ladder: an attempt, a look later, or escalation. Beyond the blast radius: a review
//! instead of the attempt. Who trips the switch tells of it, once: `BLAST_RADIUS_TRIPPED` and one notice are that
//! escalation; `ESCALATED` stays the end of one intent's ladder.
//! # Guarantees
//! Only drift leads to an action, and only evidence newer than the last action judges it. What could not be judged
//! stays as it is. At most one of: `remediate`, `escalate`, the end of the run.

mod approvals;
mod attempts;
mod case;
mod course;
mod findings;
mod tell;

use async_trait::async_trait;
use trueup_model::{
    Approval, Fault, Finding, IntentRecord, Outcome, Reserved, StepName,
    job::{self, Cx},
};

use super::{held, illegal, nothing, only, record as read};
use crate::{Ports, Rules, Step, transitions};

pub(crate) use approvals::{open as open_approval, settle as settle_approvals};
pub(crate) use tell::left as tell_left;

#[derive(Debug)]
pub struct Emit<'a>(pub &'a Rules);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub record: Option<IntentRecord>,
    pub findings: Vec<Finding>,
    pub approvals: Vec<Approval>,
    /// The answer to asking for a place, if an attempt would begin.
    pub place: Option<Reserved>,
}

#[async_trait]
impl Step for Emit<'_> {
    const NAME: StepName = StepName::Emit;
    type Payload = job::Emit;
    type Facts = Facts;

    async fn gather(&self, cx: &Cx, job: &job::Emit, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some((record, ..)) = held(read(ports, &job.intent).await?, &job.run) else {
            return Ok(Facts::default());
        };
        let findings = ports.findings(&job.intent).await?;
        let approvals = ports.approvals(&job.intent).await?;
        let mut place = None;
        if is_meant(&record, job) {
            let by_kind = by_kind(findings.clone());
            let now = cx.started_at;
            let known = course::Known { job, rules: self.0, record: &record, findings: &by_kind, now };
            if let Some(caps) = known.wants_place() {
                let intent = &record.intent;
                place =
                    Some(ports.reserve(&intent.key.tenant, intent.plane(), &caps, &cx.effect(), now).await?);
            }
        }
        Ok(Facts { record: Some(record), findings, approvals, place })
    }

    fn decide(&self, cx: &Cx, job: &job::Emit, facts: Facts) -> Outcome {
        let Some((record, active, state)) = held(facts.record, &job.run) else { return nothing() };
        if !is_meant(&record, job) {
            // What was compared is not what is meant any more.
            return match transitions::close(&record, state, &job.run, Some(cx.now), cx.now) {
                Ok(write) => only(write),
                Err(why) => illegal(why),
            };
        }
        let findings = by_kind(facts.findings);
        let (approvals, place) = (facts.approvals.as_slice(), facts.place.as_ref());
        let case = case::Case { cx, job, rules: self.0, record: &record, active: &active, approvals, place };
        match case.decide(&findings) {
            Ok(commit) => Outcome::Done(commit),
            Err(why) => illegal(why),
        }
    }
}

/// Whether what was compared is what is meant.
fn is_meant(record: &IntentRecord, job: &job::Emit) -> bool {
    record.intent.status.is_reconciled() && record.generation == job.generation
}

fn by_kind(findings: Vec<Finding>) -> course::Findings {
    findings.into_iter().map(|f| (f.kind, f)).collect()
}
