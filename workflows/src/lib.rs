//! The chain: what each step decides, and nothing that does anything.
//!
//! ```text
//!              tick (one per partition, sets the next one)        request (API, CLI)
//!                 └──────────────────────┬───────────────────────────────┘
//!                                        ▼
//!                                     ┌─────┐ begins a run for each intent that is due: the run HOLDS the intent
//!            ┌───────────────────────►│sweep│ until it is closed; a run past its deadline is given up, begun anew
//!            │                        └──┬──┘
//!            │                 one per (tenant, plane, batch)       
//!            │                           ▼
//!            │                        ┌─────┐ throttled: the batch, or the part that is, waits (no attempt used)
//!            │                        │query│◄─┐
//!            │                        └──┬──┘──┘
//!            │                           ▼
//!            │                       ┌───────┐
//!            ├── in sync: closed ────┤compare│
//!            │                       └──┬────┘
//!            │             one per intent that differs, or has something open
//!            │                          ▼
//!            │                        ┌────┐
//!            ├── look later: closed ──┤emit├── after the last attempt's wait ─────────────┐
//!            │                        └──┬─┘                                             ▼
//!            │                      attempt n                                       ┌────────┐
//!            │                           ▼                                          │escalate│
//!            │                     ┌─────────┐                                      └───┬────┘
//!            │                     │remediate│◄─┐ one job per action                    │
//!            │                     └─────┬───┘──┘                                       │
//!            └── look in 5 min: closed ──┴───────────── told: closed ───────────────────┘
//! ```
//!
//! Beside the chain: commits leave notices in the outbox, a tick finds them, and `notify` collects them into deliveries,
//! each a job of its own.
//!
//! To close a run is to set when the intent is looked at next: a wait is a due time in the state, never a job that
//! sleeps. Verification and the ladder's next rung are therefore checks like any other: new observations.
//!
//! # Guarantees
//! Everything here but [`Chain::gather`] is pure: same job, same facts, same [`Cx`](trueup_model::job::Cx), same
//! outcome. `gather` goes through [`Ports`] and nothing else.

pub mod compare;
mod events;
mod notices;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod retries;
pub mod settings;
pub mod step;
pub mod steps;
pub mod transitions;

use trueup_model::{Fault, Job, Outcome, job::Cx};

pub use policy::Policy;
pub use ports::Ports;
pub use settings::{Rules, Settings};
pub use step::Step;

use steps::{compare as comparing, emit, escalate, notify, query, remediate, sweep};

/// What `gather` brought, for `decide`.
#[derive(Debug, Clone, PartialEq)]
pub enum Facts {
    Sweep(<sweep::Sweep<'static> as Step>::Facts),
    Query(<query::Query<'static> as Step>::Facts),
    Compare(<comparing::Compare<'static> as Step>::Facts),
    Emit(Box<<emit::Emit<'static> as Step>::Facts>),
    Remediate(<remediate::Remediate<'static> as Step>::Facts),
    Escalate(<escalate::Escalate<'static> as Step>::Facts),
    Notify(<notify::Notify<'static> as Step>::Facts),
}

/// All steps, under one set of rules.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub rules: Rules,
}

impl Chain {
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// I/O. May be repeated.
    pub async fn gather(&self, cx: &Cx, job: &Job, ports: &dyn Ports) -> Result<Facts, Fault> {
        let r = &self.rules;
        Ok(match job {
            Job::Sweep(j) => Facts::Sweep(sweep::Sweep(r).gather(cx, j, ports).await?),
            Job::Query(j) => Facts::Query(query::Query(r).gather(cx, j, ports).await?),
            Job::Compare(j) => Facts::Compare(comparing::Compare(r).gather(cx, j, ports).await?),
            Job::Emit(j) => Facts::Emit(Box::new(emit::Emit(r).gather(cx, j, ports).await?)),
            Job::Remediate(j) => Facts::Remediate(remediate::Remediate(r).gather(cx, j, ports).await?),
            Job::Escalate(j) => Facts::Escalate(escalate::Escalate(r).gather(cx, j, ports).await?),
            Job::Notify(j) => Facts::Notify(notify::Notify(r).gather(cx, j, ports).await?),
        })
    }

    /// Pure. `cx.now` is the time after `gather`.
    pub fn decide(&self, cx: &Cx, job: &Job, facts: Facts) -> Outcome {
        let r = &self.rules;
        match job {
            Job::Sweep(j) => match facts {
                Facts::Sweep(facts) => sweep::Sweep(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
            Job::Query(j) => match facts {
                Facts::Query(facts) => query::Query(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
            Job::Compare(j) => match facts {
                Facts::Compare(facts) => comparing::Compare(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
            Job::Emit(j) => match facts {
                Facts::Emit(facts) => emit::Emit(r).decide(cx, j, *facts),
                _ => self.foreign(cx, job),
            },
            Job::Remediate(j) => match facts {
                Facts::Remediate(facts) => remediate::Remediate(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
            Job::Escalate(j) => match facts {
                Facts::Escalate(facts) => escalate::Escalate(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
            Job::Notify(j) => match facts {
                Facts::Notify(facts) => notify::Notify(r).decide(cx, j, facts),
                _ => self.foreign(cx, job),
            },
        }
    }

    /// What becomes of a job whose `gather` ended in a fault: see [`retries`].
    pub fn after(&self, cx: &Cx, job: &Job, fault: &Fault) -> Outcome {
        retries::after(job, fault, cx.attempt, cx.now)
    }

    fn foreign(&self, cx: &Cx, job: &Job) -> Outcome {
        self.after(cx, job, &Fault::bug(format!("facts of another step were given to {}", job.step())))
    }
}
