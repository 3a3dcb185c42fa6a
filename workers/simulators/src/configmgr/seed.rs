//! The default fleet, deterministic, so that intents that match it can be written without asking.
//!
//! Application `n` has the CI_ID [`ci_id`]`(n)`, is called and reported [`crate::app_name`]`(n)`, delivers version `1.0.0`, and is
//! deployed `Required` to [`collection_id`]`(n)`, whose members are `devices_per_app` devices from number
//! `n * devices_per_app` on, around. All report `1.0.0`. [`baseline_id`]`(n)` is a configuration baseline deployed to the
//! same collection, with which all comply. [`device_collection_id`]`(n)` is empty, and nothing is deployed to it. With `older`,
//! [`old_ci_id`]`(n)` is the version before (`0.9.0`), deployed to nobody.

use trueup_model::{CorrelationId, Duration};

/// What a site begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMgrSeed {
    pub apps: usize,
    pub devices: usize,
    pub devices_per_app: usize,
    /// Also the version before, for each application.
    pub older: bool,
    /// Between two policy polls of a device. Default 60 min, as the product.
    pub policy: Duration,
    /// Between two hardware inventories of a device. Default 4 h (the product's: 7 days).
    pub inventory: Duration,
}

impl Default for ConfigMgrSeed {
    fn default() -> Self {
        Self {
            apps: 0,
            devices: 0,
            devices_per_app: 5,
            older: false,
            policy: Duration::minutes(60),
            inventory: Duration::hours(4),
        }
    }
}

fn number(base: u32, n: usize) -> u32 {
    base.saturating_add(u32::try_from(n).unwrap_or(u32::MAX))
}

/// `CI_ID` of application `n`.
pub fn ci_id(n: usize) -> u32 {
    number(17_000_000, n)
}

/// `CI_ID` of the version that application `n` replaces.
pub fn old_ci_id(n: usize) -> u32 {
    number(18_000_000, n)
}

/// The collection to which application `n` is deployed.
pub fn collection_id(n: usize) -> String {
    format!("TUP{n:05X}")
}

/// An empty collection for the device scopes of application `n`.
pub fn device_collection_id(n: usize) -> String {
    format!("TUD{n:05X}")
}

/// `AssignmentID` of the baseline deployed beside application `n`.
pub fn baseline_id(n: usize) -> u32 {
    number(19_000_000, n)
}

/// `ResourceID` of device `n`.
pub fn resource_id(n: usize) -> u32 {
    number(16_777_216, n)
}

/// An approved script that makes a device comply.
pub fn approved_script() -> String {
    CorrelationId::derive(&["sim-script", "approved"]).to_string()
}

/// A script that nobody approved.
pub fn unapproved_script() -> String {
    CorrelationId::derive(&["sim-script", "unapproved"]).to_string()
}
