//! `make bench`: how fast, beside a peer or a limit in the same run.
//!
//! Prints a table with settings and writes `target/bench/summary.json`. Every figure is a median of at least three
//! runs. Usage: `bench [NAME…]` runs only the named parts: chain, loop, memory, latency, enqueue.

mod chain;
mod enqueue;
mod latency;
mod limit;
mod report;
mod stock;
mod sweep;

use std::path::Path;

use report::Report;

/// Runs of each figure.
pub(crate) const RUNS: usize = 3;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    let mut report = Report::default();
    if wanted("chain") {
        for steps in [8_000, 80_000] {
            chain::figures(&mut report, steps).await?;
        }
    }
    if only.iter().any(|o| o == "engine") {
        // Ours alone, for a profiler.
        chain::alone(8_000).await?;
        chain::alone(80_000).await?;
    }
    if wanted("latency") {
        latency::figures(&mut report).await?;
    }
    if wanted("enqueue") {
        enqueue::figures(&mut report).await?;
    }
    if wanted("loop") || wanted("memory") {
        sweep::figures(&mut report).await?;
    }
    report.print();
    report.write(Path::new("target/bench/summary.json"))?;
    Ok(())
}
