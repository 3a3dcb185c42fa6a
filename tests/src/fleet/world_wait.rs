//! Waiting for something to be so, with a bound, looking every few milliseconds.

use std::time::Duration;

use crate::stopwatch::Stopwatch;

const EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` gives something.
///
/// # Panics
/// With `what`, and with what `look` said last, when the time is over.
pub async fn wait_for<T>(
    what: &str,
    at_most: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let watch = Stopwatch::start();
    let mut often = tokio::time::interval(EVERY);
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        often.tick().await;
        match look().await {
            Ok(found) => return found,
            Err(seen) if watch.seconds() > at_most.as_secs_f64() => {
                panic!("{what}: not within {at_most:?}; last seen: {seen}")
            }
            Err(_) => {}
        }
    }
}
