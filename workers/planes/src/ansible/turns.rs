//! Who may run now: checks beside each other, a real run alone, and nobody waits for ever.
//!
//! # Guarantees
//! A call ends within [`LONGEST`]: who finds the project busy for too long is asked to come back, so that a job never
//! reaches its step's time limit while all it did was to wait.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{Semaphore, SemaphorePermit};
use trueup_model::{Fault, SharedClock};

use crate::ConfigError;

/// The longest a call takes, waiting for other runs included. Whoever gives it less time cuts it off in its middle.
pub const LONGEST: Duration = Duration::from_secs(19 * 60);
/// The most `timeout_seconds` may be, so that waiting and running fit into [`LONGEST`].
const MAX_TIMEOUT_S: u32 = 900;
/// How long a check waits for others to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// For ending a program and reading what it said.
const MARGIN: Duration = Duration::from_secs(10);
/// When who waited in vain is asked to come back.
const BUSY: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug)]
pub(super) struct Turns {
    free: Semaphore,
    all: u32,
    patience_of_checks: Duration,
    patience_of_runs: Duration,
}

impl Turns {
    pub(super) fn new(parallel: u32, timeout_seconds: u32) -> Result<Self, ConfigError> {
        if timeout_seconds > MAX_TIMEOUT_S {
            let most =
                format!("timeout_seconds: at most {MAX_TIMEOUT_S}; split a playbook that needs longer");
            return Err(ConfigError::Invalid(most));
        }
        let timeout = Duration::from_secs(u64::from(timeout_seconds));
        let all = parallel.max(1);
        Ok(Self {
            free: Semaphore::new(all as usize),
            all,
            patience_of_checks: PATIENCE,
            // Until the checks before it have ended: else their successors would keep it out for ever.
            patience_of_runs: (PATIENCE + timeout).min(LONGEST.saturating_sub(timeout + MARGIN)),
        })
    }

    /// A real run takes all turns: a check beside it would see half of its work.
    pub(super) async fn wait(&self, check: bool, clock: &SharedClock) -> Result<SemaphorePermit<'_>, Fault> {
        let (turns, patience) =
            if check { (1, self.patience_of_checks) } else { (self.all, self.patience_of_runs) };
        match tokio::time::timeout(patience, self.free.acquire_many(turns)).await {
            Ok(turn) => turn.map_err(|e| Fault::bug(e.to_string())),
            Err(_) => {
                let what = format!("all {} runs of this connection are busy", self.all);
                Err(Fault::Throttled { until: clock.now() + BUSY, what })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use trueup_model::{DateTime, ManualClock};

    /// Another run does not end: both kinds must come back, not wait for ever.
    #[tokio::test]
    async fn a_busy_project_asks_to_come_back() {
        let clock: SharedClock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let mut turns = Turns::new(2, 300).unwrap();
        (turns.patience_of_checks, turns.patience_of_runs) = (Duration::ZERO, Duration::ZERO);
        let back = |answer: Result<SemaphorePermit<'_>, Fault>| match answer {
            Err(Fault::Throttled { until, .. }) => Some((until - clock.now()).num_seconds()),
            _ => None,
        };
        let check = turns.wait(true, &clock).await.unwrap();
        assert_eq!(back(turns.wait(false, &clock).await), Some(30), "a real run is alone");
        let beside = turns.wait(true, &clock).await.unwrap();
        assert_eq!(back(turns.wait(true, &clock).await), Some(30), "no more than two");
        drop((check, beside));
        let real = turns.wait(false, &clock).await.unwrap();
        assert_eq!(back(turns.wait(true, &clock).await), Some(30), "nobody beside a real run");
        drop(real);
        assert!(turns.wait(true, &clock).await.is_ok());
    }

    #[test]
    fn waiting_and_running_fit_into_a_call() {
        for seconds in [0, 1, 300, 600, MAX_TIMEOUT_S] {
            let turns = Turns::new(2, seconds).unwrap();
            let longest = turns.patience_of_checks.max(turns.patience_of_runs);
            assert!(
                longest >= PATIENCE && longest + Duration::from_secs(seconds.into()) < LONGEST,
                "{seconds}"
            );
        }
        let refused = Turns::new(2, MAX_TIMEOUT_S + 1).unwrap_err();
        assert!(refused.to_string().contains("timeout_seconds: at most 900"), "{refused}");
    }
}
