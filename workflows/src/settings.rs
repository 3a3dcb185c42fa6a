//! The numbers of the chain, and everything its decisions depend on besides facts.

use serde::{Deserialize, Serialize};
use trueup_model::{Duration, Ladder, PlaneKind, Route};

use crate::Policy;

/// Intents one sweep takes at once; with their jobs and events they fit one commit (`MAX_PARTS`).
pub const BATCH: usize = 256;

/// Targets one `query` job looks at, on a plane. Where one look at one target takes minutes, a batch is small: a job must
/// end within its step's time limit, and its first answer should not wait for the last.
pub const fn checks(plane: PlaneKind) -> usize {
    match plane {
        PlaneKind::Intune | PlaneKind::Jamf | PlaneKind::ConfigMgr => 64,
        PlaneKind::Ansible => 4,
    }
}

/// Timing and limits of the chain. Times are the product's clock, not the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seconds after which a run that has not ended is given up and begun anew. At least 60. Default 3600.
    pub run_deadline_s: u32,
    /// `query` jobs per plane and partition above which sweep begins no more runs for that plane. Default 1000.
    pub high_water: u32,
    /// Seconds between the last action of an attempt and the look that judges it. Default 300.
    pub verify_after_s: u32,
    /// At most this many seconds between two looks at an attempt that could not be judged yet. Default 900.
    pub look_again_s: u32,
    /// At most this many seconds between two ticks of a partition. At least 1. Default 60.
    pub tick_s: u32,
    /// Milliseconds between two ticks in which what becomes due is gathered, so that checks share a query. A look may be
    /// late by as much. Below `tick_s`. Default 1000.
    pub gather_ms: u32,
    /// Seconds between two messages to one channel while there is something to tell; the first goes out within two
    /// ticks. Default 300.
    pub digest_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            run_deadline_s: 3_600,
            high_water: 1_000,
            verify_after_s: 300,
            look_again_s: 900,
            tick_s: 60,
            gather_ms: 1_000,
            digest_s: 300,
        }
    }
}

fn seconds(s: u32) -> Duration {
    Duration::seconds(i64::from(s))
}

impl Settings {
    pub fn run_deadline(&self) -> Duration {
        seconds(self.run_deadline_s.max(60))
    }
    pub fn verify_after(&self) -> Duration {
        seconds(self.verify_after_s)
    }
    pub fn look_again(&self) -> Duration {
        seconds(self.look_again_s.max(1))
    }
    pub fn tick(&self) -> Duration {
        seconds(self.tick_s.max(1))
    }
    pub fn digest(&self) -> Duration {
        seconds(self.digest_s.max(1))
    }
    pub fn gather(&self) -> Duration {
        Duration::milliseconds(i64::from(self.gather_ms))
    }
}

/// What every step is given besides its job and its facts.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub settings: Settings,
    pub policy: Policy,
    pub ladder: Ladder,
    /// Where notices go. None: nobody is told.
    pub routes: Vec<Route>,
}
