//! The broker of a process that is alone: `governor` for the rates, a semaphore for what is under way at once.
//!
//! # Guarantees
//! In any window (of the clock's time, however fast it runs) no more than a budget's calls are admitted: a quarter may
//! pass at once, the rest flows evenly. It knows no lanes: who comes first is served first.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::{DefaultDirectRateLimiter, RateLimiter};
use tokio::sync::Semaphore;
use trueup_model::budget::{Health, Pass};
use trueup_model::{Budget, Duration as Span, Fault, SharedClock, Time};

use super::{Broker, Cost, Lane, Limits, Permit, Said};

/// A caller waits at most this long for its turn, then its job is put off.
const PATIENCE: Duration = Duration::from_secs(20);
/// A probe that says nothing for this long is given up.
const PROBE: Span = Span::seconds(60);
/// Milliseconds of the clock's time.
const SECOND: f64 = 1000.0;

#[derive(Debug)]
struct Bucket {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
    window: Duration,
}

impl Bucket {
    fn new(budget: &Budget, speed: f64) -> Self {
        let calls = budget.calls.max(2);
        let burst = NonZeroU32::new(calls / 4).unwrap_or(NonZeroU32::MIN);
        let rest = calls.saturating_sub(burst.get()).max(1);
        let window = Duration::from_secs(u64::from(budget.window_s.max(1)));
        let every = window.div_f64(f64::from(rest) * speed.max(0.001));
        let quota = governor::Quota::with_period(every)
            .unwrap_or_else(|| governor::Quota::per_second(NonZeroU32::MAX))
            .allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), burst, window }
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
struct Gate {
    buckets: HashMap<String, Bucket>,
    slots: Option<Arc<Semaphore>>,
    /// And why it failed last.
    health: Mutex<(Health, String)>,
}

#[derive(Debug)]
pub struct LocalBroker {
    clock: SharedClock,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

impl LocalBroker {
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, gates: Mutex::default() }
    }

    fn gate(&self, to: &Limits) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let speed = self.clock.speed();
            Arc::new(Gate {
                buckets: to.budgets.iter().map(|b| (b.name.clone(), Bucket::new(b, speed))).collect(),
                slots: to.at_most.map(|n| Arc::new(Semaphore::new(n.max(1) as usize))),
                health: Mutex::default(),
            })
        };
        gates.entry(to.connection.clone()).or_insert_with(new).clone()
    }

    /// Whether a call that may be sent is a probe.
    fn passes(&self, gate: &Gate) -> Result<bool, Fault> {
        let (health, failure) = &mut *gate.health();
        match health.pass(self.shown(), PROBE.num_milliseconds() as f64) {
            Pass::Go => Ok(false),
            Pass::Probe => Ok(true),
            Pass::Wait { until, why } => Err(why.fault(time(until), why.explain(failure))),
        }
    }

    fn shown(&self) -> f64 {
        self.clock.now().timestamp_millis() as f64
    }
}

impl Gate {
    fn health(&self) -> MutexGuard<'_, (Health, String)> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time(ms: f64) -> Time {
    Time::from_timestamp_millis(ms.ceil() as i64).unwrap_or(Time::MAX_UTC)
}

#[async_trait]
impl Broker for LocalBroker {
    async fn admit(&self, to: &Limits, _: Lane, cost: &Cost) -> Result<Permit, Fault> {
        let gate = self.gate(to);
        let probes = self.passes(&gate)?;
        let turn = async {
            for (name, n) in cost.iter() {
                if let Some(bucket) = gate.buckets.get(name) {
                    bucket.take(n).await;
                }
            }
            match &gate.slots {
                None => Ok(Permit::default()),
                Some(slots) => slots.clone().acquire_owned().await.map(Permit::holding),
            }
        };
        let busy = |what: &str| {
            let window = gate.buckets.values().map(|b| b.window).max().unwrap_or(PATIENCE);
            let until = self.clock.now() + Span::from_std(window).unwrap_or(PROBE);
            Fault::Throttled { until, what: what.to_owned() }
        };
        let permit = tokio::time::timeout(PATIENCE, turn)
            .await
            .map_err(|_| {
                busy("the connection's own quota is used up (raise `quota` if the plane allows more)")
            })?
            .map_err(|_| busy("the connection is closing"))?;
        if !probes {
            // Somebody may have learned something meanwhile.
            self.passes(&gate)?;
        }
        Ok(permit)
    }

    async fn learn(&self, to: &Limits, _: &Cost, said: Said) -> Option<Time> {
        let (gate, now) = (self.gate(to), self.shown());
        let (health, failure) = &mut *gate.health();
        match said {
            Said::Fine => health.fine(now),
            Said::Failed { why } => {
                *failure = why;
                health.failed(now, SECOND);
            }
            Said::Crowded => {}
            Said::AskedToWait { until } => {
                let told = until.map(|t| t.timestamp_millis() as f64);
                let (until, news) = health.asked_to_wait(now, told, SECOND);
                if news {
                    tracing::info!(connection = to.connection, until = %time(until), "the plane asked to wait");
                }
                return Some(time(until));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::ManualClock;

    fn broker() -> (ManualClock, LocalBroker) {
        let clock = ManualClock::at(Time::UNIX_EPOCH);
        (clock.clone(), LocalBroker::new(Arc::new(clock)))
    }

    #[test]
    fn a_bucket_lets_its_burst_through_and_no_more() {
        for (calls, burst) in [(800, 200), (80, 20), (4, 1), (0, 1)] {
            let bucket = Bucket::new(&Budget::new("b", calls, 20), 1.0);
            assert_eq!(bucket.burst.get(), burst);
            let passed = (0..burst + 5).filter(|_| bucket.limiter.check().is_ok()).count() as u32;
            assert!((burst..burst + 2).contains(&passed), "{calls}: {passed}");
        }
    }

    #[tokio::test]
    async fn slots_come_back_with_the_permit() {
        let (_, broker) = broker();
        let to = Limits { connection: "jamf".into(), budgets: Vec::new(), at_most: Some(2) };
        let free = Cost::free();
        let admit = || broker.admit(&to, Lane::Sweep, &free);
        let (one, _two) = (admit().await.unwrap(), admit().await.unwrap());
        let mut third = Box::pin(admit());
        assert!(futures::poll!(&mut third).is_pending(), "two are under way");
        drop(one);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn a_plane_that_is_broken_is_left_alone_then_probed_once() {
        let (clock, broker) = broker();
        let to = Limits { connection: "c".into(), budgets: Vec::new(), at_most: None };
        let free = Cost::free();
        for _ in 0..5 {
            assert!(broker.admit(&to, Lane::Sweep, &free).await.is_ok());
            broker.learn(&to, &free, Said::Failed { why: "refused".into() }).await;
        }
        let Err(Fault::Away { until, what }) = broker.admit(&to, Lane::Write, &free).await else {
            panic!("admitted");
        };
        assert!(
            (until - Time::UNIX_EPOCH).num_seconds() == 30 && what.contains("failed several times"),
            "{what}"
        );
        clock.advance(Span::seconds(30));
        assert!(broker.admit(&to, Lane::Sweep, &free).await.is_ok());
        assert!(broker.admit(&to, Lane::Sweep, &free).await.is_err(), "one probe");
        broker.learn(&to, &free, Said::Fine).await;
        assert!(broker.admit(&to, Lane::Sweep, &free).await.is_ok());
    }
}
