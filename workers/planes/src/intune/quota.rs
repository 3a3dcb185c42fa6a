//! How much of what Graph allows is used.

use serde::{Deserialize, Serialize};
use trueup_model::Budget;

use super::request::{APPS, DEVICES, WRITES};

/// Seconds in a window, as Graph publishes its limits for Intune.
const WINDOW_S: u32 = 20;

/// Most calls that the whole fleet makes through this connection in any 20 s. Each part of a batch counts as a call.
///
/// Graph publishes, per application registration and tenant: 1000 requests and 100 writes about applications, 2000
/// requests and 200 writes about devices. The defaults leave a fifth of that to others and to counting differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Requests about applications. Default 800.
    pub apps: u32,
    /// Requests about devices and what they report. Default 1600.
    pub devices: u32,
    /// Writes of all kinds. Default 80.
    pub writes: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { apps: 800, devices: 1600, writes: 80 }
    }
}

impl Quota {
    pub(super) fn budgets(&self) -> Vec<Budget> {
        [(APPS, self.apps), (DEVICES, self.devices), (WRITES, self.writes)]
            .map(|(name, calls)| Budget::new(name, calls.max(1), WINDOW_S))
            .into()
    }
}
