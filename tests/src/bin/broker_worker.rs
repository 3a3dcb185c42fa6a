//! A fleet process as `trueup work` starts it, on the clock that the fleet shares.
//!
//! Reads `BROKER_URL` and `BROKER_CONFIG` (JSON). Ends when its standard input ends, so that it never outlives the test
//! that started it; its log goes to standard error.

use std::sync::Arc;

use anyhow::Context;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SharedClock;
use trueup_runner::WorkConfig;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let level = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).with_ansi(false).init();
    let url = std::env::var("BROKER_URL").context("BROKER_URL")?;
    let config: WorkConfig = serde_json::from_str(&std::env::var("BROKER_CONFIG").context("BROKER_CONFIG")?)?;
    let clock = RedisStore::load_clock(&url).await?.context("the fleet has no clock")?;
    let clock: SharedClock = Arc::new(clock);
    let store = Arc::new(RedisStore::connect(RedisOptions::new(url, clock.clone())).await?);
    let fleet = config.start(store, clock).await?;
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0)
    });
    Ok(fleet.run().await?)
}
