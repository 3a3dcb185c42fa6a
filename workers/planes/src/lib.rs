//! The connectors. One file per plane (config, pure request builder, pure parser, the trait), plus `http` (limits,
//! retry, spans, faults) and `cli` (spawn, timeout, output limit, redaction).
//!
//! Answers of planes are untrusted: bounded in size, parsed strictly, treated as data.

use async_trait::async_trait;
use trueup_model::{Action, EffectKey, Fault, Observed, Receipt, Target, job::Check};

pub mod ansible;
pub mod broker;
pub mod channels;
pub mod cli;
pub mod configmgr;
pub mod http;
pub mod intune;
pub mod jamf;
pub mod metrics;
mod put_off;
pub mod redact;
pub mod registry;
mod retry;
pub mod secret;

pub use broker::{Broker, LocalBroker};
pub use registry::{ConfigError, ConnectionConfig, Planes, connect};
pub use secret::{FixedSecrets, HostSecrets, Secret, SecretRef, Secrets};

/// One connection to one plane: a tenant and a credential.
#[async_trait]
pub trait Plane: Send + Sync + std::fmt::Debug {
    /// Looks at targets. One answer per check, in order; one target's trouble is not another's. `Check::newer_than`
    /// forbids answers from a cache filled before it.
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>>;

    /// Performs ONE outside effect. Called again with the same key after a crash, it does no more than the first time.
    async fn apply(&self, target: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault>;

    /// Cheapest call that proves credentials and reachability. For `doctor` and at start.
    async fn probe(&self) -> Result<String, Fault>;
}
