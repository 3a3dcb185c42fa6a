//! Query: looks at a batch of targets of one tenant through one plane.
//!
//! # Purpose
//! The only step that reads the outside world.
//! # Reads
//! The records, to see which runs still hold their intents; then one answer per target of those, in order.
//! # Decides
//! Answers and failures go to one `compare` job. What the plane asked to wait for waits; that costs no attempt.
//! # Guarantees
//! The plane is not asked for a run that was given up meanwhile. No answer is an observation too (`unreachable`), never silence. One target's trouble is not another's. Nothing is
//! written.

use async_trait::async_trait;
use trueup_model::{
    Commit, Duration, Fault, IntentKey, IntentRecord, Job, Next, Observation, Observed, Outcome, Queue,
    StepName, Time,
    commit::MAX_PARTS,
    job::{self, Check, Cx, Seen},
};

use super::held;
use crate::{Ports, Rules, Step};

/// A plane that asks to wait for less is asked again after this.
const SHORTEST_WAIT: Duration = Duration::seconds(1);

#[derive(Debug)]
pub struct Query<'a>(pub &'a Rules);

#[async_trait]
impl Step for Query<'_> {
    const NAME: StepName = StepName::Query;
    type Payload = job::Query;
    /// One answer per check, in order; none where another run, or nobody, holds the intent.
    type Facts = Vec<Option<Result<Observed, Fault>>>;

    async fn gather(&self, _cx: &Cx, job: &job::Query, ports: &dyn Ports) -> Result<Self::Facts, Fault> {
        if job.checks.len() > MAX_PARTS {
            return Err(Fault::permanent(format!("more than {MAX_PARTS} targets in one query")));
        }
        let keys: Vec<IntentKey> = job.checks.iter().map(|check| check.intent.clone()).collect();
        let records = ports.intents(&keys).await?;
        if records.len() != keys.len() {
            return Err(Fault::bug(format!("{} records of {} intents", records.len(), keys.len())));
        }
        let is_held = |(check, record): (&Check, Option<IntentRecord>)| held(record, &check.run).is_some();
        let is_held: Vec<bool> = job.checks.iter().zip(records).map(is_held).collect();
        let wanted = job.checks.iter().zip(&is_held).filter(|(_, held)| **held);
        let wanted: Vec<Check> = wanted.map(|(check, _)| check.clone()).collect();
        if wanted.is_empty() {
            return Ok(vec![None; is_held.len()]);
        }
        let answers = ports.observe(&job.tenant, job.plane, &wanted).await;
        if answers.len() != wanted.len() {
            return Err(Fault::bug(format!("{} answers to {} checks", answers.len(), wanted.len())));
        }
        let mut answers = answers.into_iter();
        Ok(is_held.into_iter().map(|held| if held { answers.next() } else { None }).collect())
    }

    fn decide(&self, cx: &Cx, job: &job::Query, facts: Self::Facts) -> Outcome {
        let mut seen = Vec::with_capacity(facts.len());
        let mut waiting = Vec::new();
        let mut wait_until: Option<Time> = None;
        let mut because = None;
        for (check, answer) in job.checks.iter().zip(facts) {
            let Some(answer) = answer else { continue };
            if let Err(ref fault @ Fault::Throttled { until, .. }) = answer {
                wait_until = wait_until.max(Some(until));
                because = because.or_else(|| Some(fault.to_string()));
                waiting.push(check.clone());
            } else {
                let (intent, run) = (check.intent.clone(), check.run.clone());
                seen.push(Seen { intent, run, observation: Observation::from(answer) });
            }
        }
        // A plane that asks to wait for a year, or until yesterday, is not believed.
        let longest = self.0.settings.run_deadline();
        let at = wait_until.map(|t| t.clamp(cx.now + SHORTEST_WAIT, cx.now + longest));
        if let (Some(at), true) = (at, seen.is_empty()) {
            return Outcome::Defer { at, because };
        }
        let mut next = Vec::new();
        if let (false, Some(queue)) = (seen.is_empty(), Queue::new(StepName::Compare, None)) {
            let (swept, queried) = (job.swept.clone(), cx.span());
            let job = Job::Compare(job::Compare { plane: job.plane, seen, swept, queried });
            next.push(Next { id: cx.next_id(0), queue, job, at: None });
        }
        if let (Some(_), Some(queue)) = (at, Queue::new(StepName::Query, Some(job.plane))) {
            let job = Job::Query(job::Query { checks: waiting, ..job.clone() });
            next.push(Next { id: cx.next_id(1), queue, job, at });
        }
        Outcome::Done(Commit { next, ..Commit::default() })
    }
}
