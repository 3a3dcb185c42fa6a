//! One execution of one job: gather, take the time, decide. Turns faults into outcomes.

use std::sync::Arc;

use apalis_core::error::BoxDynError;
use tracing::{Instrument, Span};
use trueup_engine::Leased;
use trueup_model::job::Cx;
use trueup_model::{Fault, Outcome, SharedClock, Time};
use trueup_workflows::{Chain, retries};

use crate::ports::FleetPorts;
use crate::trace;

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
    /// Of the execution; it goes on until the outcome is committed.
    pub(crate) span: Span,
}

pub(crate) async fn execute(leased: Leased, executor: Arc<Executor>) -> Result<Ended, BoxDynError> {
    let (span, onward) = trace::begin(&leased);
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
    .instrument(span.clone())
    .await;
    trace::ended(&span, &outcome);
    Ok(Ended { outcome, traceparent: onward.as_str().to_owned(), span })
}

/// What becomes of a job whose gathering failed, and a line about it.
pub(crate) fn after(fault: &Fault, leased: &Leased, now: Time) -> Outcome {
    let outcome = retries::after(&leased.job, fault, leased.attempt, now);
    match &outcome {
        Outcome::Dead { because } => {
            tracing::error!(queue = %leased.queue, tries = leased.attempt, "to the dead letters: {because}");
        }
        Outcome::Retry { at, because } => {
            tracing::warn!(queue = %leased.queue, %at, "will be tried again: {because}");
        }
        // Shown with the queue, for as long as it waits.
        Outcome::Defer { .. } | Outcome::Done(_) => {}
    }
    outcome
}
