//! Retrying a call that failed in a way that usually passes. The ONLY file that uses the `backoff` crate: version 0.4
//! is its last and it is unmaintained (RUSTSEC-2025-0012), so it must be easy to take out.
//!
//! # Guarantees
//! Only [`Fault::Transient`] is retried: 200 ms, doubled, jittered by half, at most [`TRIES`] tries and no new try
//! after [`PATIENCE`]. The two other kinds of waiting (a plane that asks to wait, a ladder) are not this file's.

use std::future::Future;
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use trueup_model::Fault;

/// Tries in all, the first included.
const TRIES: u32 = 3;
/// After this long no new try is begun.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Runs `attempt` until it succeeds, fails for good, or was tried often enough.
pub(crate) async fn transient<T, F, Fut>(mut attempt: F) -> Result<T, Fault>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Fault>>,
{
    let policy = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_WAIT)
        .with_multiplier(2.0)
        .with_randomization_factor(0.5)
        .with_max_elapsed_time(Some(PATIENCE))
        .build();
    let mut tries = 0;
    let operation = || {
        tries += 1;
        let last = tries >= TRIES;
        let attempt = attempt();
        async move {
            attempt.await.map_err(|fault| match fault {
                Fault::Transient { .. } if !last => backoff::Error::transient(fault),
                other => backoff::Error::permanent(other),
            })
        }
    };
    let note = |fault: Fault, wait: Duration| {
        tracing::debug!(error = %fault, wait_ms = wait.as_millis() as u64, "call failed, trying again");
    };
    backoff::future::retry_notify(policy, operation, note).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use trueup_model::Time;

    use super::*;

    async fn tries_until(success_at: u32, fault: Fault) -> (u32, bool) {
        let tries = AtomicU32::new(0);
        let result = transient(|| {
            let n = tries.fetch_add(1, Ordering::SeqCst) + 1;
            let fault = fault.clone();
            async move { if n >= success_at { Ok(()) } else { Err(fault) } }
        })
        .await;
        (tries.load(Ordering::SeqCst), result.is_ok())
    }

    #[tokio::test]
    async fn only_what_passes_is_retried() {
        let throttled = Fault::Throttled { until: Time::UNIX_EPOCH, what: "busy".into() };
        assert_eq!(tries_until(2, Fault::transient("reset")).await, (2, true));
        assert_eq!(tries_until(9, Fault::transient("reset")).await, (3, false));
        assert_eq!(tries_until(2, Fault::permanent("no")).await, (1, false));
        assert_eq!(tries_until(2, throttled).await, (1, false));
    }
}
