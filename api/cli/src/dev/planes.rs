//! The simulated part of the world of a `dev`: three tenants behind one Graph, and the connections to them.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::net::TcpListener;
use trueup_model::SharedClock;
use trueup_runner::{FixedSecrets, Secret, WorkConfig};
use trueup_simulators::{Options, Seed, Simulator, client_id, client_secret};

use super::{DevOptions, Speed};
use crate::failure::{Exit, Failure};

/// The simulated tenants.
pub(crate) const TENANTS: [&str; 3] = ["contoso", "fabrikam", "tailspin"];

/// Requests that the simulated Graph takes in its 20 seconds are counted on the shown clock, so a connection may ask as
/// many times more often as time runs faster.
const QUOTA: u32 = 1_000_000;

pub(super) async fn simulate(
    options: &DevOptions,
    clock: &SharedClock,
    speed: Speed,
) -> Result<(Simulator, TcpListener, WorkConfig, FixedSecrets), Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot start the simulated Graph: {e}"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    let simulator = Simulator::with(Options { throttle_clock: clock.clone(), ..Options::new(clock.clone()) });

    let mut config = options.config.clone();
    // A run that takes five real minutes is lost, however many hours those are on the shown clock.
    let patience = speed.shown_seconds(300);
    config.settings.run_deadline_s = config.settings.run_deadline_s.max(patience);
    let mut secrets = BTreeMap::new();
    for tenant in TENANTS {
        if config
            .connections
            .iter()
            .any(|c| c.tenant() == tenant && c.plane() == trueup_model::PlaneKind::Intune)
        {
            continue;
        }
        let seed = Seed { apps: options.apps, devices: options.apps * 5, older: true, ..Seed::default() };
        simulator.tenant(tenant).seed(&seed);
        let name = format!("SIMULATED_{}", tenant.to_uppercase());
        let connection = json!({
            "plane": "intune",
            "name": format!("{tenant}-simulated"),
            "tenant": tenant,
            "directory_tenant": tenant,
            "client_id": client_id(tenant),
            "client_secret_env": name,
            "graph_url": format!("http://{address}/v1.0"),
            "login_url": format!("http://{address}"),
            "quota": {"apps": QUOTA, "devices": QUOTA, "writes": QUOTA},
        });
        config.connections.push(serde_json::from_value(connection).map_err(|e| failed(&e))?);
        secrets.insert(name, Secret::new(client_secret(tenant)));
    }
    Ok((simulator, listener, config, FixedSecrets(secrets)))
}
