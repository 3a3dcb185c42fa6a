//! The steps of the chain, and `notify` beside it.

pub mod compare;
pub mod emit;
pub mod escalate;
pub mod notify;
pub mod query;
pub mod remediate;
pub mod sweep;

use trueup_model::{Commit, IntentKey, IntentRecord, IntentState, Outcome, Write};

use trueup_model::{Fault, Mode, RunId, run::ActiveRun};

use crate::Ports;

/// Nothing is left to do: the intent is gone, or another run holds it.
fn nothing() -> Outcome {
    Outcome::Done(Commit::default())
}

/// Only state is written.
fn only(write: Write) -> Outcome {
    Outcome::Done(Commit { writes: vec![write], ..Commit::default() })
}

/// A transition that cannot be is ours to mend: the job ends and the run's deadline recovers the intent.
fn illegal(why: trueup_model::run::Illegal) -> Outcome {
    Outcome::Dead { because: format!("bug: {why}") }
}

async fn record(ports: &dyn Ports, intent: &IntentKey) -> Result<Option<IntentRecord>, Fault> {
    Ok(ports.intents(std::slice::from_ref(intent)).await?.into_iter().next().flatten())
}

/// The record, if this run still holds it.
fn held(record: Option<IntentRecord>, run: &RunId) -> Option<(IntentRecord, ActiveRun, IntentState)> {
    let record = record?;
    let active = record.state.run.clone().filter(|active| active.id == *run)?;
    let state = record.state.clone();
    Some((record, active, state))
}

/// Why a step with an outside effect must not perform it any more, if so.
fn withdrawn(record: &IntentRecord, generation: u64) -> Option<&'static str> {
    let intent = &record.intent;
    if !intent.status.is_reconciled() {
        Some("the intent is not reconciled any more")
    } else if intent.mode != Mode::Enforce {
        Some("the intent's mode does not allow actions any more")
    } else if record.generation != generation {
        Some("the intent was changed")
    } else {
        None
    }
}
