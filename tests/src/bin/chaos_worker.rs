//! A fleet process for the tests of faults: the real runner on a plane that writes down its calls.
//!
//! Reads `CHAOS_URL`, `CHAOS_DIR`, `CHAOS_OBSERVE_MS`, `CHAOS_APPLY_MS`. Ends when its standard input ends, so that it
//! never outlives the test that started it; its log goes to standard error.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::{Ladder, PlaneKind, SystemClock};
use trueup_planes::Planes;
use trueup_runner::{Channels, Fleet, Options, Slots};
use trueup_tests::fleet::TENANTS;
use trueup_tests::fleet::plane::ChaosPlane;
use trueup_tests::world::uncapped;
use trueup_workflows::{Chain, Rules, Settings};

fn var(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

fn millis(name: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_millis(var(name)?.parse().with_context(|| format!("{name} is not a number"))?))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let clock = Arc::new(SystemClock);
    let store = Arc::new(RedisStore::connect(RedisOptions::new(var("CHAOS_URL")?, clock.clone())).await?);
    let dir = PathBuf::from(var("CHAOS_DIR")?);
    let mut planes = Planes::default();
    for tenant in TENANTS {
        let plane = ChaosPlane::new(&dir, millis("CHAOS_OBSERVE_MS")?, millis("CHAOS_APPLY_MS")?)?;
        planes.insert(tenant, PlaneKind::Intune, Arc::new(plane));
    }
    // No look comes back to an attempt while a test runs.
    let settings = Settings { verify_after_s: 36_000, ..Settings::default() };
    let chain =
        Chain::new(Rules { settings, policy: uncapped(), ladder: Ladder::default(), routes: Vec::new() });
    let options = Options { slots: Slots::default(), planes: vec![PlaneKind::Intune], ..Options::default() };
    let fleet = Fleet::start(store, planes, Channels::default(), chain, clock, options).await?;
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0)
    });
    Ok(fleet.run().await?)
}
