//! The engine's own waits: for Redis to come back, and for time to pass between looks.
//!
//! These are the only sleeps of the product. No outcome depends on how long they take.

use std::time::Duration;

use crate::EngineError;

#[expect(
    clippy::disallowed_methods,
    reason = "the engine's loops pace themselves here; work waits by timers in the commit"
)]
pub(crate) async fn pause(d: Duration) {
    tokio::time::sleep(d).await;
}

/// Bounded backoff while Redis is away (E12): 50 ms doubling to 2 s. Says so once when it starts and once when it ends.
#[derive(Debug, Default)]
pub struct Patience {
    failures: u32,
}

impl Patience {
    /// Calls in a row that failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Waits after a failed call.
    pub async fn after(&mut self, what: &'static str, e: &EngineError) {
        if self.failures == 0 {
            tracing::warn!(error = %e, "{what}: waiting for Redis");
        }
        let ms = 50u64.saturating_mul(1 << self.failures.min(6)).min(2_000);
        self.failures += 1;
        pause(Duration::from_millis(ms)).await;
    }

    /// Notes that a call worked.
    pub fn over(&mut self, what: &'static str) {
        if self.failures > 0 {
            tracing::info!(after_failures = self.failures, "{what}: Redis is back");
            self.failures = 0;
        }
    }
}
