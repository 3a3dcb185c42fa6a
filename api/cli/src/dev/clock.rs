//! The clock of a `dev`: real, or some times as fast, and going on from where it stopped.

use std::sync::Arc;
use std::time::Duration;

use trueup_engine::RedisStore;
use trueup_model::{Clock as _, ScaledClock, SharedClock, SystemClock, Time};

use crate::failure::{Exit, Failure};

/// How many times as fast as real time: `720x` lives an hour in five seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed(f64);

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(n) if (0.01..=100_000.0).contains(&n) => Ok(Self(n)),
            _ => Err(format!(
                "'{text}' is not a speed: write 1x for real time, 720x for an hour in five seconds (at most 100000x)"
            )),
        }
    }
}

impl Speed {
    /// Seconds of shown time that pass in so many real ones.
    pub(crate) fn shown_seconds(self, real: u32) -> u32 {
        (self.0 * f64::from(real)) as u32
    }
}

/// Saved this often, so that a crash loses no more of the shown time than this times the speed.
const SAVE_EVERY: Duration = Duration::from_secs(1);

fn unavailable(e: &trueup_engine::EngineError) -> Failure {
    Failure::new(Exit::Unreachable, format!("the fleet's clock: {e}"))
}

/// The clock to use, stored where every process of this fleet finds it.
pub(crate) async fn open(redis_url: &str, speed: Option<Speed>) -> Result<(SharedClock, Speed), Failure> {
    let stored = RedisStore::load_clock(redis_url).await.map_err(|e| unavailable(&e))?;
    if stored.is_none() && speed.is_none_or(|s| s.0 == 1.0) {
        return Ok((Arc::new(SystemClock), Speed(1.0)));
    }
    let shown: Time = stored.map_or_else(|| SystemClock.now(), |c| c.shown).max(SystemClock.now());
    let factor = speed.map(|s| s.0).or(stored.map(|c| c.factor)).unwrap_or(1.0);
    let clock = ScaledClock::starting_at(shown, factor);
    RedisStore::save_clock(redis_url, &clock).await.map_err(|e| unavailable(&e))?;
    Ok((Arc::new(clock), Speed(factor)))
}

/// Notes what the clock shows now, so that the next start goes on from there.
pub(crate) async fn save(redis_url: &str, clock: &SharedClock) -> Result<(), Failure> {
    let stored = RedisStore::load_clock(redis_url).await.map_err(|e| unavailable(&e))?;
    let Some(stored) = stored else { return Ok(()) };
    let now = ScaledClock::starting_at(clock.now(), stored.factor);
    RedisStore::save_clock(redis_url, &now).await.map_err(|e| unavailable(&e))
}

/// Saves it for as long as the process lives.
pub(crate) async fn keep(redis_url: String, clock: SharedClock) {
    let mut often = tokio::time::interval(SAVE_EVERY);
    loop {
        often.tick().await;
        if let Err(e) = save(&redis_url, &clock).await {
            tracing::debug!("not saved: {}", e.what);
        }
    }
}
