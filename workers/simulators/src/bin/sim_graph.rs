//! `trueup-sim-graph`: the Graph simulator as a process of its own. Prints its address as one line of JSON.

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use trueup_model::{Duration, ScaledClock, SharedClock, SystemClock};
use trueup_simulators::{Limits, Options, Seed, Simulator, WaitStyle};

#[derive(Parser)]
#[command(about = "Microsoft Graph v1.0 for Intune, simulated")]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Applications in each tenant.
    #[arg(long, default_value_t = 100)]
    apps: usize,
    /// Devices in each tenant.
    #[arg(long, default_value_t = 100)]
    devices: usize,
    /// Devices that carry each application.
    #[arg(long, default_value_t = 5)]
    devices_per_app: usize,
    /// Minutes between two check-ins of a device.
    #[arg(long, default_value_t = 30)]
    checkin_minutes: u32,
    /// Also seed the version before, for each application.
    #[arg(long)]
    older: bool,
    #[arg(long, value_delimiter = ',', default_value = "contoso")]
    tenants: Vec<String>,
    /// How fast the devices' time passes.
    #[arg(long, default_value = "1x", value_parser = factor)]
    clock: f64,
    /// No throttling.
    #[arg(long)]
    unlimited: bool,
    /// A 429 never says how long to wait.
    #[arg(long)]
    silent: bool,
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
    let mut options = Options::new(clock);
    if args.unlimited {
        options.limits = Limits::none();
    }
    if args.silent {
        options.wait = WaitStyle::Silent;
    }
    let simulator = Simulator::with(options);
    let seed = Seed {
        apps: args.apps,
        devices: args.devices,
        devices_per_app: args.devices_per_app,
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
    println!(
        "{}",
        serde_json::json!({"graph_url": format!("{origin}/v1.0"), "login_url": origin, "tenants": args.tenants})
    );
    let stop = async {
        // If the signal cannot be waited for, the process is ended by it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    simulator.serve(listener, stop).await?;
    Ok(())
}
