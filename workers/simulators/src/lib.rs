//! Stand-ins for planes that cannot run here: Microsoft Graph v1.0 as far as Intune needs it, with its login (described
//! here); others in files of their own (`configmgr`: the AdminService of Configuration Manager).
//!
//! # Guarantees
//! As strict as the real service is known to be: unknown paths, query options, properties and members of enumerations
//! are refused, casing counts, `assign` replaces, lists have pages, the published limits hold. Names are checked
//! against the service's CSDL by a test. Devices change only when they check in, by the injected clock, computed when
//! somebody looks: there are no background tasks. Same seed, same requests, same answers.
//!
//! # What is deliberately absent
//! Delta queries, beta properties, directory objects, permissions by scope: a token may do everything.

mod checkin;
mod configmgr;
mod control;
mod graph;
pub mod jamf;
mod login;
mod mischief;
mod seed;
mod server;
mod state;
mod tenant;
mod throttle;
mod trouble;

pub use configmgr::{
    CONFIGMGR_SCOPE, ConfigMgrCounts, ConfigMgrMischief, ConfigMgrOptions, ConfigMgrSeed, ConfigMgrSimulator,
    ConfigMgrSite, ConfigMgrWrite, approved_script, baseline_id, ci_id, collection_id, device_collection_id,
    known_classes, old_ci_id, resource_id, unapproved_script,
};
pub use graph::vocabulary;
pub use mischief::{List, Mischief};
pub use seed::{
    Seed, app_id, app_name, client_id, client_secret, device_id, group_id, old_app_id, secret_after,
};
pub use server::Simulator;
pub use tenant::{Counts, Tenant, Write};
pub use throttle::{Limits, WaitStyle};
pub use trouble::{Planned, Trouble};

/// How a simulator behaves. `Options::new(clock)` has the published limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time of devices, tokens and reports.
    pub clock: trueup_model::SharedClock,
    /// Time of the throttling windows: real by default, whatever `clock` does.
    pub throttle_clock: trueup_model::SharedClock,
    pub limits: Limits,
    /// What a 429 says about how long to wait.
    pub wait: WaitStyle,
    /// Life of a token in seconds.
    pub token_seconds: u32,
    /// A device that is online follows `syncDevice` after this many seconds, at its next check-in at the latest.
    pub sync_delay_seconds: u32,
}

impl Options {
    pub fn new(clock: trueup_model::SharedClock) -> Self {
        Self {
            clock,
            throttle_clock: std::sync::Arc::new(trueup_model::SystemClock),
            limits: Limits::default(),
            wait: WaitStyle::Mixed,
            token_seconds: 3599,
            sync_delay_seconds: 60,
        }
    }
}
