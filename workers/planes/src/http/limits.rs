//! The connection's own rate limit, below the server's published one, so that a 429 is the exception.
//!
//! A [`Quota`] counts calls in any window of 20 s (the unit in which Graph publishes its limits): a quarter of it may
//! be used at once, the rest flows in evenly.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, RateLimiter};
use serde::{Deserialize, Serialize};
use trueup_model::{Duration as Span, Fault, SharedClock};

/// Seconds in a window.
const WINDOW_S: u32 = 20;
/// A caller waits at most this long for its turn, then its job is put off.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most calls this connection makes in any 20 s. Each part of a batch counts as a call.
///
/// Graph publishes, per application and tenant: 1000 requests and 100 writes about applications, 2000 requests about
/// devices. The defaults leave a fifth of that to others and to counting differently.
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

/// What a call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    pub apps: u32,
    pub devices: u32,
    pub writes: u32,
}

impl Cost {
    pub const FREE: Self = Self { apps: 0, devices: 0, writes: 0 };

    pub fn plus(self, other: Self) -> Self {
        Self {
            apps: self.apps + other.apps,
            devices: self.devices + other.devices,
            writes: self.writes + other.writes,
        }
    }
}

#[derive(Debug)]
struct Bucket {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl Bucket {
    fn new(per_window: u32) -> Self {
        let per_window = per_window.max(2);
        let burst = NonZeroU32::new(per_window / 4).unwrap_or(NonZeroU32::MIN);
        let rest = (per_window - burst.get()).max(1);
        let every = Duration::from_secs(u64::from(WINDOW_S)) / rest;
        let quota = governor::Quota::with_period(every)
            .unwrap_or_else(|| governor::Quota::per_second(NonZeroU32::MAX))
            .allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), burst }
    }

    async fn take(&self, mut n: u32) {
        while let Some(some) = NonZeroU32::new(n.min(self.burst.get())) {
            // Never more than the burst, so there is always capacity for it sooner or later.
            let _ = self.limiter.until_n_ready(some).await;
            n -= some.get();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Limits {
    apps: Bucket,
    devices: Bucket,
    writes: Bucket,
}

impl Limits {
    pub(crate) fn new(quota: &Quota) -> Self {
        Self {
            apps: Bucket::new(quota.apps),
            devices: Bucket::new(quota.devices),
            writes: Bucket::new(quota.writes),
        }
    }

    /// Waits for this call's turn; `Throttled` if that would take too long to hold a worker.
    pub(crate) async fn admit(&self, cost: Cost, clock: &SharedClock) -> Result<(), Fault> {
        let turn = async {
            self.apps.take(cost.apps).await;
            self.devices.take(cost.devices).await;
            self.writes.take(cost.writes).await;
        };
        tokio::time::timeout(PATIENCE, turn).await.map_err(|_| Fault::Throttled {
            until: clock.now() + Span::seconds(i64::from(WINDOW_S)),
            what: "the connection's own quota is used up (raise `quota` if the plane allows more)".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_burst_through_and_no_more() {
        for (per_window, burst) in [(800, 200), (80, 20), (4, 1), (0, 1)] {
            let bucket = Bucket::new(per_window);
            assert_eq!(bucket.burst.get(), burst);
            let passed = (0..burst + 5).filter(|_| bucket.limiter.check().is_ok()).count() as u32;
            assert!((burst..burst + 2).contains(&passed), "{per_window}: {passed}");
        }
    }
}
