//! Opening the store that a process works on.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use trueup_engine::{RedisOptions, RedisStore, Store};
use trueup_model::{SharedClock, SystemClock};

/// A store that is safe to use, with the clock its fleet agreed on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    /// To be shown wherever health is shown.
    pub(crate) warnings: Vec<String>,
}

/// Connects to the durable store behind `redis_url` and checks that it is safe to use.
///
/// # Errors
/// Says what is wrong with the URL or the Redis behind it, and what to do. Never shows a password.
pub(crate) async fn open_store(
    redis_url: &str,
    partitions: Option<u16>,
    or_create: Option<u16>,
) -> anyhow::Result<Opened> {
    let shown = trueup_engine::shown(redis_url);
    let place = || format!("opening the store at {shown}");
    let clock: SharedClock = match RedisStore::load_clock(redis_url).await.with_context(place)? {
        Some(scaled) => Arc::new(scaled),
        None => Arc::new(SystemClock),
    };
    let store = RedisStore::connect(RedisOptions {
        partitions,
        or_create,
        ..RedisOptions::new(redis_url, clock.clone())
    })
    .await
    .with_context(place)?;
    let preflight = store.preflight().await.with_context(place)?;
    if !preflight.refused.is_empty() {
        bail!("the Redis at {shown} is not safe to use: {}", preflight.refused.join("; "));
    }
    Ok(Opened { store: Arc::new(store), clock, warnings: preflight.warnings })
}
