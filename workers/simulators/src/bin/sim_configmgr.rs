//! `trueup-sim-configmgr`: the AdminService simulator as a process of its own. Prints its address as one line of JSON.

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use trueup_model::{Clock, Duration, ScaledClock, SharedClock, SystemClock};
use trueup_simulators::{CONFIGMGR_SCOPE, ConfigMgrMischief, ConfigMgrSeed, ConfigMgrSimulator};

#[derive(Parser)]
#[command(about = "The AdminService of Microsoft Configuration Manager, simulated")]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Applications on each site.
    #[arg(long, default_value_t = 100)]
    apps: usize,
    /// Devices on each site.
    #[arg(long, default_value_t = 100)]
    devices: usize,
    /// Devices that carry each application.
    #[arg(long, default_value_t = 5)]
    devices_per_app: usize,
    /// Minutes between two policy polls of a device.
    #[arg(long, default_value_t = 60)]
    policy_minutes: u32,
    /// Minutes between two hardware inventories of a device.
    #[arg(long, default_value_t = 240)]
    inventory_minutes: u32,
    /// Seconds until a new deployment is in any list.
    #[arg(long, default_value_t = 20)]
    visible_after: u32,
    /// Also seed the version before, for each application.
    #[arg(long)]
    older: bool,
    #[arg(long, value_delimiter = ',', default_value = "contoso")]
    tenants: Vec<String>,
    /// How fast the devices' time passes, e.g. `60x`.
    #[arg(long, default_value = "1x", value_parser = factor)]
    clock: f64,
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
        Arc::new(ScaledClock::starting_at(SystemClock.now(), args.clock))
    };
    let simulator = ConfigMgrSimulator::new(clock);
    let seed = ConfigMgrSeed {
        apps: args.apps,
        devices: args.devices,
        devices_per_app: args.devices_per_app,
        older: args.older,
        policy: Duration::minutes(i64::from(args.policy_minutes)),
        inventory: Duration::minutes(i64::from(args.inventory_minutes)),
    };
    for name in &args.tenants {
        let site = simulator.tenant(name);
        site.seed(&seed);
        site.mischief(&ConfigMgrMischief::VisibleAfter { seconds: args.visible_after })
            .map_err(anyhow::Error::msg)?;
    }
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let origin = format!("http://{}", listener.local_addr()?);
    println!(
        "{}",
        serde_json::json!({"url": format!("{origin}/AdminService"), "login_url": origin, "scope": CONFIGMGR_SCOPE,
            "tenants": args.tenants})
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
