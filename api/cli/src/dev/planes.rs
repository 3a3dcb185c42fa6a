//! The simulated part of the world of a `dev`: three tenants, each with Intune, Jamf Pro and Configuration Manager, and
//! the connections to them.
//!
//! Their budgets are the defaults of any connection. They are kept, and the simulated Graph counts, by the shown clock.

use std::collections::BTreeMap;
use std::future::Future;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use trueup_boot::shutdown::Shutdown;
use trueup_model::{Duration, PlaneKind, SharedClock};
use trueup_runner::{FixedSecrets, Secret, WorkConfig};
use trueup_simulators::jamf::{self, JamfOptions, JamfSeed, JamfSimulator};
use trueup_simulators::{
    CONFIGMGR_SCOPE, ConfigMgrOptions, ConfigMgrSeed, ConfigMgrSimulator, Options, Seed, Simulator,
    client_id, client_secret,
};

use super::{DevOptions, Speed};
use crate::failure::{Exit, Failure};

/// The simulated tenants.
pub(crate) const TENANTS: [&str; 3] = ["contoso", "fabrikam", "tailspin"];

/// The planes that each of them has.
pub(crate) const PLANES: [PlaneKind; 3] = [PlaneKind::Intune, PlaneKind::Jamf, PlaneKind::ConfigMgr];

/// Devices of an application on the simulated Jamf Pro and Configuration Manager; no two applications share one.
const DEVICES: usize = 2;

/// Work takes real time, however fast the shown clock runs. So these are real seconds: the life of a token, the time for
/// a run, how long what was read serves other checks, and the longest time between two ticks.
const TOKEN_S: u32 = 1_800;
const RUN_S: u32 = 300;
const REUSE_S: u32 = 1;
const TICK_S: u32 = 1;
/// Real milliseconds in which what becomes due is gathered for one query.
const GATHER_MS: u32 = 250;

/// The simulated planes, all tenants of one kind behind one address.
#[derive(Debug, Clone)]
pub(crate) struct Simulators {
    pub(crate) graph: Simulator,
    pub(crate) jamf: JamfSimulator,
    pub(crate) configmgr: ConfigMgrSimulator,
}

/// What `simulate` started.
pub(super) struct Simulated {
    pub(super) simulators: Simulators,
    pub(super) servers: Vec<JoinHandle<std::io::Result<()>>>,
    /// The user's, with the connections to the simulated tenants.
    pub(super) config: WorkConfig,
    pub(super) secrets: FixedSecrets,
}

fn failed(e: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start the simulated planes: {e}"))
}

impl Simulators {
    fn new(clock: &SharedClock, speed: Speed) -> Self {
        let token_seconds = speed.shown_seconds(TOKEN_S).max(TOKEN_S);
        Self {
            graph: Simulator::with(Options {
                throttle_clock: clock.clone(),
                token_seconds,
                ..Options::new(clock.clone())
            }),
            jamf: JamfSimulator::with(JamfOptions { token_seconds, ..JamfOptions::new(clock.clone()) }),
            configmgr: ConfigMgrSimulator::with(ConfigMgrOptions {
                token_seconds,
                ..ConfigMgrOptions::new(clock.clone())
            }),
        }
    }

    /// Gives a tenant its applications on one plane.
    fn seed(&self, plane: PlaneKind, tenant: &str, apps: usize) {
        match plane {
            PlaneKind::Jamf => self.jamf.tenant(tenant).seed(&JamfSeed {
                policies: apps,
                computers: apps * DEVICES,
                computers_per_policy: DEVICES,
                older: true,
                ..JamfSeed::default()
            }),
            PlaneKind::ConfigMgr => self.configmgr.tenant(tenant).seed(&ConfigMgrSeed {
                apps,
                devices: apps * DEVICES,
                devices_per_app: DEVICES,
                older: true,
                // A site that is in a hurry: nobody who tries it out wants to wait for the product's seven days.
                policy: Duration::minutes(1),
                inventory: Duration::minutes(15),
            }),
            PlaneKind::Intune | PlaneKind::Ansible => {
                let seed = Seed { apps, devices: apps * 5, older: true, ..Seed::default() };
                self.graph.tenant(tenant).seed(&seed);
            }
        }
    }
}

/// As a connection in the configuration of the workers. `secret`: the name under which its secret is kept.
fn connection(
    plane: PlaneKind,
    tenant: &str,
    origin: &str,
    secret: &str,
    reuse_seconds: u32,
) -> (Value, String) {
    let name = format!("{tenant}-{plane}");
    match plane {
        PlaneKind::Jamf => (
            json!({
                "plane": plane, "name": name, "tenant": tenant, "url": format!("{origin}/{tenant}"),
                "client_id": jamf::client_id(tenant), "client_secret_env": secret,
                "reuse_seconds": reuse_seconds,
            }),
            jamf::client_secret(tenant),
        ),
        PlaneKind::ConfigMgr => (
            json!({
                "plane": plane, "name": name, "tenant": tenant, "url": format!("{origin}/AdminService"),
                "reuse_seconds": reuse_seconds,
                "auth": {"entra": {
                    "login_url": origin, "directory_tenant": tenant, "client_id": client_id(tenant),
                    "client_secret_env": secret, "scope": CONFIGMGR_SCOPE,
                }},
            }),
            client_secret(tenant),
        ),
        PlaneKind::Intune | PlaneKind::Ansible => (
            json!({
                "plane": plane, "name": name, "tenant": tenant, "directory_tenant": tenant,
                "client_id": client_id(tenant), "client_secret_env": secret,
                "graph_url": format!("{origin}/v1.0"), "login_url": origin,
                "reuse_seconds": reuse_seconds,
            }),
            client_secret(tenant),
        ),
    }
}

/// Starts the planes; they end when `ending` is requested. Where the user has a connection of a tenant and plane, that one
/// is used instead.
pub(super) async fn simulate(
    options: &DevOptions,
    clock: &SharedClock,
    speed: Speed,
    ending: &Shutdown,
) -> Result<Simulated, Failure> {
    let simulators = Simulators::new(clock, speed);
    let mut config = options.config.clone();
    let settings = &mut config.settings;
    settings.run_deadline_s = settings.run_deadline_s.max(speed.shown_seconds(RUN_S));
    settings.tick_s = settings.tick_s.max(speed.shown_seconds(TICK_S));
    settings.gather_ms = settings.gather_ms.max(speed.shown_seconds(GATHER_MS));
    let reuse_seconds = speed.shown_seconds(REUSE_S).max(225);
    // As the defaults are: what was read just after an action is too old to judge it by.
    settings.verify_after_s = settings.verify_after_s.max(reuse_seconds.saturating_mul(4) / 3);
    let mut secrets = BTreeMap::new();
    let mut servers = Vec::new();
    for plane in PLANES {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| failed(&e))?;
        let origin = format!("http://{}", listener.local_addr().map_err(|e| failed(&e))?);
        servers.push(serve(&simulators, plane, listener, ending));
        for tenant in TENANTS {
            if config.connections.iter().any(|c| c.tenant() == tenant && c.plane() == plane) {
                continue;
            }
            simulators.seed(plane, tenant, options.apps);
            let name = format!("SIMULATED_{plane}_{tenant}").to_uppercase();
            let (connection, secret) = connection(plane, tenant, &origin, &name, reuse_seconds);
            config.connections.push(serde_json::from_value(connection).map_err(|e| failed(&e))?);
            secrets.insert(name, Secret::new(secret));
        }
    }
    Ok(Simulated { simulators, servers, config, secrets: FixedSecrets(secrets) })
}

fn serve(
    simulators: &Simulators,
    plane: PlaneKind,
    listener: TcpListener,
    ending: &Shutdown,
) -> JoinHandle<std::io::Result<()>> {
    fn until(ending: &Shutdown) -> impl Future<Output = ()> + Send + 'static {
        let ending = ending.clone();
        async move { ending.requested().await }
    }
    let (all, end) = (simulators.clone(), until(ending));
    tokio::spawn(async move {
        match plane {
            PlaneKind::Jamf => all.jamf.serve(listener, end).await,
            PlaneKind::ConfigMgr => all.configmgr.serve(listener, end).await,
            PlaneKind::Intune | PlaneKind::Ansible => all.graph.serve(listener, end).await,
        }
    })
}
