//! One execution of one job: gather, take the time, decide. Turns faults into outcomes.

use std::sync::Arc;

use apalis_core::error::BoxDynError;
use chrono::TimeDelta;
use tracing::Instrument;
use trueup_engine::Leased;
use trueup_model::job::Cx;
use trueup_model::{Fault, Job, Outcome, SharedClock, Time};
use trueup_workflows::Chain;

use crate::ports::FleetPorts;
use crate::trace;

/// Tries of a job that ends in faults which may pass, before it goes to the dead letters.
const TRIES: u32 = 8;
/// Tries of a job that ends in faults which are ours.
const TRIES_OF_BUGS: u32 = 3;

/// Everything an execution needs. One per process.
pub(crate) struct Executor {
    pub(crate) chain: Chain,
    pub(crate) ports: FleetPorts,
    pub(crate) clock: SharedClock,
}

/// An outcome, and the `traceparent` for what follows.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) traceparent: String,
}

pub(crate) async fn execute(leased: Leased, executor: Arc<Executor>) -> Result<Ended, BoxDynError> {
    let span = trace::span(&leased);
    let onward = trace::onward(&span, &leased);
    let now = executor.clock.now();
    let mut cx = Cx {
        now,
        started_at: now,
        job: leased.id.clone(),
        partition: leased.partition,
        attempt: leased.attempt,
        trace: onward.clone(),
    };
    let outcome = async {
        match executor.chain.gather(&cx, &leased.job, &executor.ports).await {
            Ok(facts) => {
                cx.now = executor.clock.now();
                executor.chain.decide(&cx, &leased.job, facts)
            }
            Err(fault) => after(&fault, &leased, executor.clock.now()),
        }
    }
    .instrument(span)
    .await;
    Ok(Ended { outcome, traceparent: onward.as_str().to_owned() })
}

/// What becomes of a job whose gathering failed.
pub(crate) fn after(fault: &Fault, leased: &Leased, now: Time) -> Outcome {
    let tries = match fault {
        // Believed between a second and an hour, so that no answer can make it spin or sleep for good.
        Fault::Throttled { until, .. } => {
            return Outcome::Defer {
                at: (*until).clamp(now + TimeDelta::seconds(1), now + TimeDelta::hours(1)),
            };
        }
        Fault::Transient { .. } => TRIES,
        Fault::Permanent { .. } => 1,
        Fault::Bug { .. } => TRIES_OF_BUGS,
    };
    let because = fault.to_string();
    // The tick is the guarantee that anything is ever looked at: it goes on however often it fails.
    let is_tick = matches!(leased.job.as_ref(), Job::Sweep(s) if s.only.is_none());
    if leased.attempt >= tries && !is_tick {
        tracing::error!(job = %leased.id, queue = %leased.queue, tries = leased.attempt, "to the dead letters: {because}");
        return Outcome::Dead { because };
    }
    let wait = TimeDelta::seconds(5i64 << (leased.attempt - 1).min(6));
    tracing::warn!(job = %leased.id, queue = %leased.queue, attempt = leased.attempt, "will be tried again: {because}");
    Outcome::Retry { at: now + wait, because }
}
