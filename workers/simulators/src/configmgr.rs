//! Stand-in for the Configuration Manager AdminService, which has no published schema and cannot run here.
//!
//! # Guarantees
//! As strict as the documented classes (`configmgr/data`): an unknown class is 404; an unknown property, a missing `not_null`
//! one, a read-only one, a wrong type, a foreign value of an enumeration are 400; so are unknown query options and
//! properties in them. 401 and 403 have empty bodies. A new deployment is in no list for a while. Devices act at their next
//! policy poll and tell at their next inventory, by the injected clock, computed when somebody looks. Same seed, same
//! requests, same answers.
//!
//! # What is deliberately absent
//! Role-based scopes, Negotiate, creation of applications and collections, users as resources.

mod cycle;
mod filter;
mod login;
mod mischief;
mod odata;
mod route;
mod rows;
mod schema;
mod seed;
mod server;
mod site;
mod state;
mod write;

pub use login::CONFIGMGR_SCOPE;
pub use mischief::ConfigMgrMischief;
pub use schema::known_classes;
pub use seed::{
    ConfigMgrSeed, approved_script, baseline_id, ci_id, collection_id, device_collection_id, old_ci_id,
    resource_id, unapproved_script,
};
pub use server::ConfigMgrSimulator;
pub use site::{ConfigMgrCounts, ConfigMgrSite, ConfigMgrWrite};

/// How the simulator behaves.
#[derive(Debug, Clone)]
pub struct ConfigMgrOptions {
    pub clock: trueup_model::SharedClock,
    /// Life of a token in seconds.
    pub token_seconds: u32,
    /// Rows after which the server begins a new page.
    pub page: usize,
    /// Of links: `http`, or `https` where something in front of it speaks TLS.
    pub scheme: &'static str,
}

impl ConfigMgrOptions {
    pub fn new(clock: trueup_model::SharedClock) -> Self {
        Self { clock, token_seconds: 3599, page: 500, scheme: "http" }
    }
}
