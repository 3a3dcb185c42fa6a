//! The fleet process: leases jobs, gathers facts, lets the pure part decide, commits.
//!
//! One apalis `Worker` per step with its own concurrency. Around each job, from the outside in: `Finish` (commits the
//! outcome, whatever it was), catch-panic, timeout, `Execute` (the job's span, `gather`, `decide`).

mod broker;
mod config;
mod execute;
mod finish;
mod fleet;
mod metrics;
mod options;
mod ports;
mod trace;

pub use broker::FleetBroker;
pub use config::WorkConfig;
pub use fleet::{Fleet, FleetError};
pub use options::{Options, Slots};
pub use trueup_planes::channels::{ChannelConfig, Channels};
pub use trueup_planes::{FixedSecrets, Secret};
pub use trueup_workflows::policy;
pub use trueup_workflows::policy::DEFAULT as DEFAULT_POLICY;
