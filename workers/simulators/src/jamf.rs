//! A stand-in for Jamf Pro: the Classic API (policies, computer groups) and the Jamf Pro API (tokens, inventory v4).
//!
//! # Guarantees
//! As strict as the real service is known to be: writes are XML, a scope that is sent replaces the whole scope, ids of
//! nothing are refused, old versions of the inventory are gone, a sixth connection is refused, errors are HTML or JSON as
//! the API has it. There are two nodes behind one address: who does not send the cookie back may see for a minute what
//! was there before a write. Computers change only when they check in, by the injected clock, computed when somebody
//! looks: there are no background tasks. Same seed, same requests, same answers.
//!
//! # What is deliberately absent
//! JSON from the Classic API, creating and deleting, RSQL filters (refused, not ignored), privileges by role.

mod checkin;
mod classic;
mod control;
mod mischief;
mod policy_xml;
mod pro;
mod seed;
mod server;
mod state;
mod tenant;
mod token;
mod trouble;
mod wire;
mod xml;

pub use mischief::JamfMischief;
pub use seed::{
    JamfSeed, app_name, building_id, bundle_id, client_id, client_secret, computer_id, department_id,
    failing_group_id, group_id, old_policy_id, password, policy_id, remedy_group_id, username,
};
pub use server::JamfSimulator;
pub use tenant::{JamfCounts, JamfTenant, JamfWrite};
pub use trouble::{JamfPlanned, JamfTrouble};

/// How a Jamf Pro behaves.
#[derive(Debug, Clone)]
pub struct JamfOptions {
    /// Time of computers, tokens and reports.
    pub clock: trueup_model::SharedClock,
    /// Life of a token in seconds. Default 1800; some servers give 60.
    pub token_seconds: u32,
    /// Calls at once beyond which one is refused.
    pub connections: usize,
}

impl JamfOptions {
    pub fn new(clock: trueup_model::SharedClock) -> Self {
        Self { clock, token_seconds: 1800, connections: 5 }
    }
}
