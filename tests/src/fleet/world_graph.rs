//! A simulated Graph on a loopback port, the connections to it, and intents about what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::IntuneTarget;
use trueup_model::{Criticality, Intent, IntentKey, Mode, Ring, SharedClock, Status, Target};
use trueup_planes::{ConnectionConfig, FixedSecrets, Secret};
use trueup_simulators::{
    Options, Seed, Simulator, Tenant, WaitStyle, app_id, app_name, client_id, client_secret, group_id,
    old_app_id,
};

/// Where stories happen, unless they need two places.
pub const TENANT: &str = "contoso";
/// The other place.
pub const OTHER: &str = "fabrikam";

/// Calls in 20 s of real time that a connection allows itself: more than any test makes.
const QUOTA: u32 = 1_000_000;

/// Ends with the value.
#[derive(Debug)]
pub struct Graph {
    pub simulator: Simulator,
    /// `http://127.0.0.1:port`
    pub origin: String,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Ten applications on ten devices, each application on three of them, and its older version on none.
pub fn seed() -> Seed {
    Seed { apps: 10, devices: 10, devices_per_app: 3, older: true, ..Seed::default() }
}

impl Graph {
    /// Both tenants, seeded alike, on the given clock.
    pub async fn start(clock: &SharedClock, seed: &Seed, wait: WaitStyle) -> anyhow::Result<Self> {
        let throttle_clock = clock.clone();
        let simulator = Simulator::with(Options { throttle_clock, wait, ..Options::new(clock.clone()) });
        for tenant in [TENANT, OTHER] {
            simulator.tenant(tenant).seed(seed);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let served = simulator.clone();
        let server = tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
        Ok(Self { simulator, origin, server })
    }

    pub fn tenant(&self, name: &str) -> Arc<Tenant> {
        self.simulator.tenant(name)
    }

    /// One connection for each of these tenants.
    pub fn connections(&self, tenants: &[&str]) -> anyhow::Result<Vec<ConnectionConfig>> {
        tenants.iter().map(|tenant| connection(tenant, &self.origin)).collect()
    }
}

/// An Intune connection to whatever answers at `origin`.
pub fn connection(tenant: &str, origin: &str) -> anyhow::Result<ConnectionConfig> {
    Ok(serde_json::from_value(json!({
        "plane": "intune", "name": format!("{tenant}-intune"), "tenant": tenant, "directory_tenant": tenant,
        "client_id": client_id(tenant), "client_secret_env": secret_name(tenant),
        "graph_url": format!("{origin}/v1.0"), "login_url": origin,
        "quota": {"apps": QUOTA, "devices": QUOTA, "writes": QUOTA},
    }))?)
}

fn secret_name(tenant: &str) -> String {
    format!("SECRET_OF_{}", tenant.to_uppercase())
}

/// The secrets that the connections name.
pub fn secrets() -> FixedSecrets {
    let of = |tenant: &str| (secret_name(tenant), Secret::new(client_secret(tenant)));
    FixedSecrets(BTreeMap::from([of(TENANT), of(OTHER)]))
}

/// Application `n`, assigned to its group and to nobody else: in the lab, critical (nothing is tolerated), enforced.
/// Devices are not asked; stories about them set `desired.version` or `desired.compliant`.
pub fn assigned(tenant: &str, n: usize) -> Intent {
    Intent {
        key: key(tenant, n),
        workspace: None,
        target: Target::Intune(IntuneTarget {
            app_id: app_id(tenant, n),
            app_name: app_name(n),
            replaces: vec![old_app_id(tenant, n)],
        }),
        desired: Desired {
            assignment: Some(Assignment {
                install: Install::Required,
                include: BTreeSet::from([Scope::Group(group_id(n))]),
                exclude: BTreeSet::new(),
                exclusive: true,
            }),
            version: None,
            compliant: false,
        },
        criticality: Criticality::Critical,
        ring: Ring::Lab,
        privileged: false,
        mode: Mode::Enforce,
        status: Status::Completed,
        labels: BTreeMap::new(),
        windows: Vec::new(),
    }
}

pub fn key(tenant: &str, n: usize) -> IntentKey {
    IntentKey::new(tenant, format!("app-{n}"))
}
