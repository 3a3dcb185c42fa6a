//! A step: gather facts with I/O, then decide purely.
//!
//! # Expected flow
//! The runner leases a job, calls `gather`, takes the time, calls `decide`, and hands the outcome to the engine, which
//! carries it out once or not at all. `gather` may run any number of times for one job; `decide` has no effects.
//!
//! # Guarantees
//! Same job, same facts, same `Cx`: same outcome, byte for byte.
//!
//! # Why it differs from the design's sketch
//! `decide` returns an `Outcome`, not a `Commit`: to wait for a plane or to give up is a decision too, and belongs to
//! the pure part. `Payload` is a type of its own, so that a step cannot be called with another step's job.

use async_trait::async_trait;
use trueup_model::{Fault, Outcome, StepName, job::Cx};

use crate::Ports;

#[async_trait]
pub trait Step: Send + Sync {
    const NAME: StepName;
    type Payload: Send + Sync;
    type Facts: Send;

    /// I/O. `remediate` and `escalate` perform exactly one outside effect here, under `Cx::effect`.
    async fn gather(&self, cx: &Cx, job: &Self::Payload, ports: &dyn Ports) -> Result<Self::Facts, Fault>;

    /// No I/O, no clock, no randomness.
    fn decide(&self, cx: &Cx, job: &Self::Payload, facts: Self::Facts) -> Outcome;
}
