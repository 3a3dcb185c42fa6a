//! Waiting for an outcome: looked for again and again, up to a bound. Nothing waits for time to pass.

use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Returns once `done` answers true.
///
/// # Panics
/// When it has not within the bound; says what was waited for.
pub async fn wait_until(within: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) {
    let looking = async {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if done().await {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(within, looking).await.is_ok(), "not within {within:?}: {what}");
}
