//! What a process may still send: grants of the store, and the pace at which they are used up.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;
use trueup_engine::budgets::Grant;
use trueup_model::Budget;

/// One bucket's credit.
#[derive(Debug)]
pub(super) struct Credit {
    pub(super) budget: Budget,
    grants: VecDeque<(u32, Instant)>,
    pacer: Option<Pacer>,
}

impl Credit {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, grants: VecDeque::new(), pacer: None }
    }

    /// What can be spent now; what is too old is lost.
    pub(super) fn left(&mut self, now: Instant) -> u32 {
        while self.grants.front().is_some_and(|(n, until)| *n == 0 || *until <= now) {
            self.grants.pop_front();
        }
        self.grants.iter().map(|(n, _)| n).sum()
    }

    pub(super) fn clear(&mut self) {
        self.grants.clear();
    }

    pub(super) fn add(&mut self, grant: Grant, now: Instant) {
        let good_for = Duration::from_secs_f64(grant.good_for_ms.clamp(0.0, 3_600_000.0) / 1000.0);
        self.grants.push_back((grant.calls, now + good_for));
        let interval = Duration::from_secs_f64(grant.interval_ms.clamp(0.000_001, 86_400_000.0) / 1000.0);
        if self.pacer.as_ref().is_none_or(|p| !p.is_at(interval)) {
            self.pacer = Some(Pacer::new(interval, self.budget.at_once().div_ceil(4)));
        }
    }

    /// Spends, the oldest first, at the pace of the last grant.
    pub(super) async fn spend(&mut self, mut n: u32) {
        if let Some(pacer) = &self.pacer {
            pacer.take(n).await;
        }
        while n > 0
            && let Some((left, _)) = self.grants.front_mut()
        {
            let some = n.min(*left);
            *left -= some;
            n -= some;
            if *left == 0 {
                self.grants.pop_front();
            }
        }
    }
}

/// An even flow, with small bursts: a quarter of what may be sent at once.
#[derive(Debug)]
struct Pacer {
    interval: Duration,
    burst: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Pacer {
    fn new(interval: Duration, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(interval)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
            .allow_burst(burst);
        Self { interval, burst, limiter: RateLimiter::direct(quota) }
    }

    /// Whether it still paces about so fast.
    fn is_at(&self, interval: Duration) -> bool {
        (self.interval.as_secs_f64() / interval.as_secs_f64() - 1.0).abs() < 0.01
    }

    async fn take(&self, mut n: u32) {
        while let Some(some) = NonZeroU32::new(n.min(self.burst.get())) {
            // Never more than the burst, so there is always capacity for it sooner or later.
            let _ = self.limiter.until_n_ready(some).await;
            n -= some.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn grants_are_spent_in_order_and_lost_when_old() {
        let mut credit = Credit::new(Budget::new("devices", 100, 20));
        let now = Instant::now();
        let grant = |calls, good_for_ms| Grant { calls, interval_ms: 0.001, good_for_ms };
        credit.add(grant(3, 50.0), now);
        credit.add(grant(4, 100.0), now);
        assert_eq!(credit.left(now), 7);
        credit.spend(5).await;
        assert_eq!(credit.left(now), 2);
        assert_eq!(credit.left(now + Duration::from_millis(60)), 2);
        assert_eq!(credit.left(now + Duration::from_millis(100)), 0);
        credit.add(grant(1, 50.0), now);
        credit.clear();
        assert_eq!(credit.left(now), 0);
    }
}
