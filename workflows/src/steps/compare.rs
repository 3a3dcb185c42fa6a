//! Compare: holds what was seen against what was meant.
//!
//! # Purpose
//! Most checks end here: nothing differs and nothing is open, so the run is closed without another job.
//! # Reads
//! The records of the intents in the batch. Nothing outside.
//! # Decides
//! Close the run, or hand it to an `emit` job: because something differs, or to resolve, judge or note what was open.
//! # Guarantees
//! An answer for a run that no longer holds its intent is dropped. Observed data is compared, never interpreted.

use std::collections::BTreeSet;

use async_trait::async_trait;
use trueup_model::{
    Attempts, Commit, Condition, Duration, Fault, IntentKey, IntentRecord, Job, Next, Outcome, Queue,
    StepName, TraceParent, Trigger,
    commit::MAX_PARTS,
    job::{self, Cx, Seen},
};

use super::held;
use crate::compare::{Judged, evidence::Freshness, judge};
use crate::{Ports, Rules, Step, transitions};

/// Runs that one request may have in its own trace.
const ASKED_TOGETHER: usize = 16;
/// How long after its last action an attempt's trace goes on; longer than any wait of the ladder.
const TRACE_GOES_ON: Duration = Duration::hours(5);

#[derive(Debug)]
pub struct Compare<'a>(pub &'a Rules);

#[async_trait]
impl Step for Compare<'_> {
    const NAME: StepName = StepName::Compare;
    type Payload = job::Compare;
    /// One record per observation, in order; none where the intent is gone.
    type Facts = Vec<Option<IntentRecord>>;

    async fn gather(&self, _cx: &Cx, job: &job::Compare, ports: &dyn Ports) -> Result<Self::Facts, Fault> {
        if job.seen.len() > MAX_PARTS {
            return Err(Fault::permanent(format!("more than {MAX_PARTS} observations in one comparison")));
        }
        let keys: Vec<IntentKey> = job.seen.iter().map(|seen| seen.intent.clone()).collect();
        ports.intents(&keys).await
    }

    fn decide(&self, cx: &Cx, job: &job::Compare, facts: Self::Facts) -> Outcome {
        let mut commit = Commit::default();
        let mut done = BTreeSet::new();
        for (n, (seen, record)) in job.seen.iter().zip(facts).enumerate() {
            let Some((record, _, state)) = held(record, &seen.run) else { continue };
            if !done.insert(&seen.intent) {
                continue;
            }
            let judged = record.intent.status.is_reconciled().then(|| judge_one(self.0, cx, seen, &record));
            match judged {
                Some(judged) if !is_quiet(&judged, &record) => {
                    commit.next.extend(emit(cx, job, n, seen, &record, judged));
                }
                quiet => {
                    let mut state = state;
                    if let Some(judged) = quiet {
                        state.now_is(judged.condition, cx.now);
                        if judged.condition != Condition::Unreachable {
                            state.ignored = judged.ignored;
                        }
                    }
                    match transitions::close(&record, state, &seen.run, None, cx.now) {
                        Ok(write) => commit.writes.push(write),
                        Err(why) => return super::illegal(why),
                    }
                }
            }
        }
        Outcome::Done(commit)
    }
}

fn judge_one(rules: &Rules, cx: &Cx, seen: &Seen, record: &IntentRecord) -> Judged {
    let intent = &record.intent;
    let attempts = &record.state.attempts;
    let fresh = Freshness {
        now: cx.now,
        stale_after: intent.criticality.stale_after(),
        last_action: attempts.last_at.filter(|_| attempts.open),
    };
    judge(&intent.desired, &seen.observation, &intent.target, &fresh).under(&rules.policy, intent, cx.now)
}

/// Nothing differs, nothing is open, and there is nothing to say about the condition.
fn is_quiet(judged: &Judged, record: &IntentRecord) -> bool {
    let state = &record.state;
    let same = judged.condition == state.condition
        || (state.condition == Condition::Unknown && judged.condition == Condition::InSync);
    judged.drifts.is_empty() && state.drifts.is_empty() && state.attempts == Attempts::default() && same
}

/// The trace of whoever asked, if few were asked for: of many, each run has its own. Else the trace of the attempt that is
/// to be judged, as long as it is not old: a drift that stays must not make a trace without an end.
fn goes_on(cx: &Cx, job: &job::Compare, record: &IntentRecord) -> Option<TraceParent> {
    let (run, attempts) = (record.state.run.as_ref()?, &record.state.attempts);
    if run.trigger == Trigger::Request && job.seen.len() <= ASKED_TOGETHER {
        return Some(cx.trace.clone());
    }
    let young = attempts.last_at.is_some_and(|at| cx.now - at < TRACE_GOES_ON);
    attempts.trace.clone().filter(|_| young && !attempts.escalated)
}

fn emit(
    cx: &Cx,
    job: &job::Compare,
    n: usize,
    seen: &Seen,
    record: &IntentRecord,
    judged: Judged,
) -> Option<Next> {
    let emit = job::Emit {
        intent: seen.intent.clone(),
        run: seen.run.clone(),
        generation: record.generation,
        drifts: judged.drifts,
        unjudged: judged.unjudged,
        unjudged_kinds: judged.unjudged_kinds,
        ignored: judged.ignored,
        condition: judged.condition,
        passed: [job.swept.clone(), job.queried.clone(), cx.span()],
        trace: goes_on(cx, job, record),
    };
    let queue = Queue::new(StepName::Emit, None)?;
    Some(Next { id: cx.next_id(n), queue, job: Job::Emit(emit), at: None })
}
