//! The failure table of the engine's design, against real processes and a real Redis. Each test says which mechanism it
//! guards: it fails when that is taken away.
//!
//! One at a time: each uses every core there is, and some measure time.

mod due;
mod kill;
mod poison;
mod redis_faults;
mod stock;
mod stop;

use tokio::sync::{Mutex, MutexGuard};
use trueup_model::Intent;
use trueup_tests::fleet::Setting;
use trueup_tests::fleet::plane::{Behaviour, intent};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

fn setting() -> Setting {
    Setting::of(env!("CARGO_BIN_EXE_chaos_worker"))
}

/// Intents of all behaviours but the one that aborts.
fn mixed(n: usize) -> Vec<Intent> {
    (0..n).map(|n| intent("acme", n, Behaviour::nth(n))).collect()
}

/// The value that this share of the sorted values does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}
