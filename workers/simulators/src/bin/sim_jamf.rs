//! `trueup-sim-jamf`: the Jamf Pro simulator as a process of its own. Prints its addresses as one line of JSON.

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use trueup_model::{Duration, ScaledClock, SharedClock, SystemClock};
use trueup_simulators::jamf::{JamfOptions, JamfSeed, JamfSimulator};

#[derive(Parser)]
#[command(about = "Jamf Pro, simulated")]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Policies in each tenant.
    #[arg(long, default_value_t = 100)]
    policies: usize,
    /// Computers in each tenant.
    #[arg(long, default_value_t = 100)]
    computers: usize,
    /// Computers that carry each application.
    #[arg(long, default_value_t = 5)]
    computers_per_policy: usize,
    /// Minutes between two check-ins of a computer.
    #[arg(long, default_value_t = 15)]
    checkin_minutes: u32,
    /// Also seed the version before, for each policy.
    #[arg(long)]
    older: bool,
    #[arg(long, value_delimiter = ',', default_value = "contoso")]
    tenants: Vec<String>,
    /// How fast the computers' time passes.
    #[arg(long, default_value = "1x", value_parser = factor)]
    clock: f64,
    /// Life of a token in seconds of that time.
    #[arg(long, default_value_t = 1800)]
    token_seconds: u32,
}

fn factor(text: &str) -> Result<f64, String> {
    let n = text.strip_suffix('x').unwrap_or(text).parse::<f64>().map_err(|e| e.to_string())?;
    if (0.001..=100_000.0).contains(&n) { Ok(n) } else { Err("must be between 0.001x and 100000x".into()) }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let clock: SharedClock = if (args.clock - 1.0).abs() < f64::EPSILON {
        Arc::new(SystemClock)
    } else {
        Arc::new(ScaledClock::starting_at(trueup_model::Clock::now(&SystemClock), args.clock))
    };
    let simulator =
        JamfSimulator::with(JamfOptions { token_seconds: args.token_seconds, ..JamfOptions::new(clock) });
    let seed = JamfSeed {
        policies: args.policies,
        computers: args.computers,
        computers_per_policy: args.computers_per_policy,
        checkin: Duration::minutes(i64::from(args.checkin_minutes)),
        older: args.older,
    };
    for name in &args.tenants {
        simulator.tenant(name).seed(&seed);
    }
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let origin = format!("http://{}", listener.local_addr()?);
    let urls: Vec<String> = args.tenants.iter().map(|t| format!("{origin}/{t}")).collect();
    println!("{}", serde_json::json!({"urls": urls, "tenants": args.tenants}));
    let stop = async {
        // If the signal cannot be waited for, the process is ended by it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    simulator.serve(listener, stop).await?;
    Ok(())
}
