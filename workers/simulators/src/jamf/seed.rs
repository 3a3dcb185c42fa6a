//! The default fleet of a Jamf Pro, deterministic, so that intents that match it can be written without asking.
//!
//! Policy `n` has the id [`policy_id`]`(n)`, installs version `1.0.0` of [`app_name`]`(n)` ([`bundle_id`]`(n)`), runs at
//! check-in, and is scoped to the static group [`group_id`]`(n)`, whose members are the computers that carry it:
//! `computers_per_policy` of them, from computer `n * computers_per_policy` on, around. All report `1.0.0`. With `older`,
//! [`old_policy_id`]`(n)` installs the version before it (`0.9.0`) and is scoped to nobody. The smart group
//! [`failing_group_id`]`(n)` has the computers that do not comply with it (none at first); computers in the static group
//! [`remedy_group_id`]`(n)` comply again at their next check-in.

use trueup_model::{CorrelationId, Duration};

/// What a tenant begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JamfSeed {
    pub policies: usize,
    pub computers: usize,
    pub computers_per_policy: usize,
    /// Time between two check-ins of a computer, each with an inventory. Default 15 min.
    pub checkin: Duration,
    /// Also the version before, for each policy.
    pub older: bool,
}

impl Default for JamfSeed {
    fn default() -> Self {
        Self {
            policies: 0,
            computers: 0,
            computers_per_policy: 5,
            checkin: Duration::minutes(15),
            older: false,
        }
    }
}

/// Most policies of a seed: ids of other things begin above.
pub(crate) const MAX_POLICIES: usize = 99_999;

fn id(base: u32, n: usize) -> u32 {
    base + u32::try_from(n).unwrap_or(u32::MAX / 2)
}

/// Id of the policy number `n`.
pub fn policy_id(n: usize) -> u32 {
    id(1, n)
}

/// Id of the policy that number `n` replaces.
pub fn old_policy_id(n: usize) -> u32 {
    id(100_001, n)
}

/// The static group to which policy `n` is scoped.
pub fn group_id(n: usize) -> u32 {
    id(1, n)
}

/// The smart group of computers that do not comply with policy `n`.
pub fn failing_group_id(n: usize) -> u32 {
    id(200_001, n)
}

/// The static group whose members run the compliance policy of `n`.
pub fn remedy_group_id(n: usize) -> u32 {
    id(300_001, n)
}

pub fn computer_id(n: usize) -> u32 {
    id(1, n)
}

/// Buildings 1 to 3; computer `n` is in building `1 + n % 3`.
pub fn building_id(n: usize) -> u32 {
    id(1, n % 3)
}

/// Departments 1 to 2; computer `n` is in department `1 + n % 2`.
pub fn department_id(n: usize) -> u32 {
    id(1, n % 2)
}

/// The name under which computers report application `n`.
pub fn app_name(n: usize) -> String {
    format!("App {n:05}.app")
}

pub fn bundle_id(n: usize) -> String {
    format!("com.example.app{n:05}")
}

fn guid(parts: &[&str]) -> String {
    CorrelationId::derive(parts).to_string()
}

/// The API client that may ask for tokens.
pub fn client_id(tenant: &str) -> String {
    guid(&["sim-jamf-client", tenant])
}

/// Its secret. Opens nothing but a simulator.
pub fn client_secret(tenant: &str) -> String {
    format!("sim-secret-{}", guid(&["sim-jamf-secret", tenant]))
}

/// The account that may ask for tokens.
pub fn username(tenant: &str) -> String {
    format!("api-{tenant}")
}

/// Its password. Opens nothing but a simulator.
pub fn password(tenant: &str) -> String {
    format!("sim-password-{}", guid(&["sim-jamf-password", tenant]))
}

pub(crate) fn udid(tenant: &str, computer: u32) -> String {
    guid(&["sim-jamf-computer", tenant, &computer.to_string()]).to_ascii_uppercase()
}
