//! Time. `Clock::now` is the only source of it outside `shared/engine` (leases use the Redis server's clock).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use chrono::{DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::Time;

/// Where decisions get their time from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Time;
    /// How long a thread must really wait until this clock shows `at`; zero if it does already.
    fn real_until(&self, at: Time) -> StdDuration;
    /// How many of its seconds pass in a real one.
    fn speed(&self) -> f64 {
        1.0
    }
}

pub type SharedClock = Arc<dyn Clock>;

fn to_millis(t: Time) -> Time {
    t.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(t)
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the host's clock")]
    fn now(&self) -> Time {
        to_millis(Utc::now())
    }
    fn real_until(&self, at: Time) -> StdDuration {
        (at - self.now()).to_std().unwrap_or_default()
    }
}

/// A clock that moves only when told to. For tests.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Time>>);

impl ManualClock {
    pub fn at(now: Time) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }
    pub fn advance(&self, by: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn real_until(&self, at: Time) -> StdDuration {
        // Nobody can wait for a manual clock; look again soon whether somebody moved it.
        if at <= self.now() { StdDuration::ZERO } else { StdDuration::from_millis(5) }
    }
}

/// A clock that runs `factor` times as fast as the host's, so that an hour is lived in seconds. Its three numbers are
/// stored with the state, so that every process of a fleet, and the next start, agree on the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaledClock {
    /// Host time at which `shown` was shown.
    pub host: Time,
    /// What this clock showed at `host`.
    pub shown: Time,
    pub factor: f64,
}

impl ScaledClock {
    /// Starts (or goes on) at `shown`, now.
    pub fn starting_at(shown: Time, factor: f64) -> Self {
        Self { host: SystemClock.now(), shown, factor }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Time {
        let passed = (SystemClock.now() - self.host).num_milliseconds() as f64;
        self.shown + TimeDelta::milliseconds((passed * self.factor) as i64)
    }
    fn real_until(&self, at: Time) -> StdDuration {
        let shown = (at - self.now()).to_std().unwrap_or_default();
        shown.div_f64(self.factor.max(f64::MIN_POSITIVE))
    }
    fn speed(&self) -> f64 {
        self.factor
    }
}
