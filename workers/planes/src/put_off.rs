//! A list of many pages, of which one is put off: waiting for that page, rather than giving up those that were read.
//!
//! # Guarantees
//! Bounded: only [`Fault::Throttled`] that ends within [`LONGEST`], and [`MOST`] times in one read. Then, and for every
//! other fault, the fault is given on.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use trueup_model::{Duration, Fault, SharedClock};

/// Of the clock's time.
const LONGEST: Duration = Duration::seconds(30);
/// Waits in one read, of all its pages together.
const MOST: u32 = 12;

/// The waits of one read.
#[derive(Debug)]
pub(crate) struct Waits {
    clock: SharedClock,
    had: AtomicU32,
}

impl Waits {
    pub(crate) fn new(clock: &SharedClock) -> Self {
        Self { clock: clock.clone(), had: AtomicU32::new(0) }
    }

    /// A page after the first one.
    pub(crate) async fn page<T, F, Fut>(&self, mut read: F) -> Result<T, Fault>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        loop {
            let fault = match read().await {
                Err(fault) => fault,
                fine => return fine,
            };
            let Fault::Throttled { until, what } = &fault else { return Err(fault) };
            let soon = *until - self.clock.now() <= LONGEST;
            if !soon || self.had.fetch_add(1, Ordering::Relaxed) >= MOST {
                return Err(fault);
            }
            tracing::debug!(%until, what, "a page of a list is put off, waiting for it");
            self.wait(*until).await;
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "to come back later would throw away the pages that were read"
    )]
    async fn wait(&self, until: trueup_model::Time) {
        tokio::time::sleep(self.clock.real_until(until)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trueup_model::{ManualClock, Time};

    use super::*;

    /// How often a page was read that is put off so often, for so many seconds; and whether it came.
    async fn reads(put_off: u32, seconds: i64, fault: Option<Fault>) -> (u32, bool) {
        let clock: SharedClock = Arc::new(ManualClock::at(Time::UNIX_EPOCH));
        let waits = Waits::new(&clock);
        let reads = AtomicU32::new(0);
        let page = waits.page(|| async {
            let until = clock.now() + Duration::seconds(seconds);
            let throttled = Fault::Throttled { until, what: "busy".into() };
            let n = reads.fetch_add(1, Ordering::Relaxed);
            if n < put_off { Err(fault.clone().unwrap_or(throttled)) } else { Ok(()) }
        });
        let came = page.await.is_ok();
        (reads.load(Ordering::Relaxed), came)
    }

    #[tokio::test]
    async fn a_page_is_waited_for_a_while_and_some_times() {
        assert_eq!(reads(2, 10, None).await, (3, true));
        assert_eq!(reads(2, 30, None).await, (3, true));
        assert_eq!(reads(2, 31, None).await, (1, false), "too long");
        assert_eq!(reads(99, 10, None).await, (MOST + 1, false), "too often");
        let away = Fault::Away { until: Time::UNIX_EPOCH, what: "broken".into() };
        assert_eq!(reads(2, 1, Some(away)).await, (1, false));
        assert_eq!(reads(2, 1, Some(Fault::transient("reset"))).await, (1, false));
    }
}
