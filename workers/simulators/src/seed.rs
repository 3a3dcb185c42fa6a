//! The default fleet, deterministic, so that intents that match it can be written without asking.
//!
//! App `n` has the id [`app_id`]`(tenant, n)`, is reported by devices as [`app_name`]`(n)`, delivers version `1.0.0`, and
//! is assigned `required` to [`group_id`]`(n)`, whose members are the devices that carry it: `devices_per_app` of them,
//! from device `n * devices_per_app` on, around. All report `1.0.0`, all comply. With `older`, [`old_app_id`]`(tenant, n)`
//! is the version before it (`0.9.0`), assigned to nobody.

use trueup_model::{CorrelationId, Duration};

/// What a tenant begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    pub apps: usize,
    pub devices: usize,
    pub devices_per_app: usize,
    /// Time between two check-ins of a device. Default 30 min.
    pub checkin: Duration,
    /// Also the version before, for each application.
    pub older: bool,
}

impl Default for Seed {
    fn default() -> Self {
        Self { apps: 0, devices: 0, devices_per_app: 5, checkin: Duration::minutes(30), older: false }
    }
}

fn guid(parts: &[&str]) -> String {
    CorrelationId::derive(parts).to_string()
}

/// Id of the `mobileApp` number `n`.
pub fn app_id(tenant: &str, n: usize) -> String {
    guid(&["sim-app", tenant, &n.to_string()])
}

/// Id of the `mobileApp` that number `n` replaces.
pub fn old_app_id(tenant: &str, n: usize) -> String {
    guid(&["sim-old-app", tenant, &n.to_string()])
}

/// The name under which devices report application `n`.
pub fn app_name(n: usize) -> String {
    format!("App {n:05}")
}

/// The directory group number `n`, the same in every tenant.
pub fn group_id(n: usize) -> String {
    guid(&["sim-group", &n.to_string()])
}

pub fn device_id(tenant: &str, n: usize) -> String {
    guid(&["sim-device", tenant, &n.to_string()])
}

/// The application registration that may ask for tokens.
pub fn client_id(tenant: &str) -> String {
    guid(&["sim-client", tenant])
}

/// Its secret. Opens nothing but a simulator.
pub fn client_secret(tenant: &str) -> String {
    format!("sim-secret-{}", guid(&["sim-secret", tenant]))
}

/// The secret after it was rotated so many times.
pub fn secret_after(tenant: &str, rotated: u32) -> String {
    match rotated {
        0 => client_secret(tenant),
        n => format!("{}-{n}", client_secret(tenant)),
    }
}

pub(crate) fn detected_id(tenant: &str, name: &str, version: &str) -> String {
    // The real ones are 64 hex digits.
    format!("{0}{0}", guid(&["sim-detected", tenant, name, version]).replace('-', ""))
}
