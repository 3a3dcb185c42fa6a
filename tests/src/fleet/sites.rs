//! The endpoint planes side by side: a simulated Jamf Pro and a simulated Configuration Manager site, as
//! [`super::world_graph`] is for Intune; and intents that mean the same on each of the three.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::{
    ConfigMgrCompliance, ConfigMgrRemedy, ConfigMgrTarget, IntuneTarget, JamfCompliance, JamfTarget,
};
use trueup_model::{
    Criticality, Duration, Intent, IntentKey, Mode, PlaneKind, Ring, SharedClock, Status, Target,
};
use trueup_planes::{ConnectionConfig, FixedSecrets, Secret};
use trueup_simulators::jamf::{self, JamfMischief, JamfSeed, JamfSimulator, JamfTenant};
use trueup_simulators::{
    CONFIGMGR_SCOPE, ConfigMgrMischief, ConfigMgrSeed, ConfigMgrSimulator, ConfigMgrSite, Mischief, Tenant,
    app_id, app_name, approved_script, baseline_id, ci_id, client_id, client_secret, collection_id, group_id,
    old_app_id, old_ci_id,
};

use super::world_graph::{self, Graph};

/// The planes that seed 000 names.
pub const ENDPOINT_PLANES: [PlaneKind; 3] = [PlaneKind::Intune, PlaneKind::Jamf, PlaneKind::ConfigMgr];

/// Both end with the value.
#[derive(Debug)]
pub struct Sites {
    pub jamf: JamfSimulator,
    pub configmgr: ConfigMgrSimulator,
    pub jamf_origin: String,
    pub configmgr_origin: String,
    servers: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What goes wrong, in the words of seed 000 ("Drift Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    MissingAssignment,
    /// The older application is assigned instead, and devices report its version.
    OlderAssigned,
    /// Devices report another version.
    OtherVersion,
    /// One more group.
    Scope,
    Compliance,
    /// Devices check in, and stay as they are.
    Stubborn,
}

impl Sites {
    /// One tenant, `apps` applications and as many devices, on each.
    pub async fn start(clock: &SharedClock, tenants: &[&str], apps: usize) -> anyhow::Result<Self> {
        let jamf = JamfSimulator::new(clock.clone());
        let configmgr = ConfigMgrSimulator::new(clock.clone());
        for tenant in tenants {
            jamf.tenant(tenant).seed(&JamfSeed {
                policies: apps,
                computers: apps,
                computers_per_policy: 3,
                older: true,
                ..JamfSeed::default()
            });
            configmgr.tenant(tenant).seed(&ConfigMgrSeed {
                apps,
                devices: apps,
                devices_per_app: 3,
                older: true,
                // Sooner than they report, so that the first report after an action already shows it.
                policy: Duration::minutes(1),
                inventory: Duration::minutes(15),
            });
        }
        let (mut servers, mut origins) = (Vec::new(), Vec::new());
        for n in 0..2 {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            origins.push(format!("http://{}", listener.local_addr()?));
            let (jamf, configmgr) = (jamf.clone(), configmgr.clone());
            servers.push(tokio::spawn(async move {
                match n {
                    0 => jamf.serve(listener, std::future::pending()).await,
                    _ => configmgr.serve(listener, std::future::pending()).await,
                }
            }));
        }
        let configmgr_origin = origins.pop().unwrap_or_default();
        let jamf_origin = origins.pop().unwrap_or_default();
        Ok(Self { jamf, configmgr, jamf_origin, configmgr_origin, servers })
    }

    /// Two connections for each tenant.
    pub fn connections(&self, tenants: &[&str]) -> anyhow::Result<Vec<ConnectionConfig>> {
        let mut all = Vec::new();
        for tenant in tenants {
            all.push(serde_json::from_value(json!({
                "plane": "jamf", "name": format!("{tenant}-jamf"), "tenant": tenant,
                "url": format!("{}/{tenant}", self.jamf_origin), "client_id": jamf::client_id(tenant),
                "client_secret_env": jamf_secret(tenant), "quota": 1_000_000,
            }))?);
            all.push(serde_json::from_value(json!({
                "plane": "configmgr", "name": format!("{tenant}-configmgr"), "tenant": tenant,
                "url": format!("{}/AdminService", self.configmgr_origin),
                "auth": {"entra": {"login_url": self.configmgr_origin, "directory_tenant": tenant,
                    "client_id": client_id(tenant), "client_secret_env": configmgr_secret(tenant),
                    "scope": CONFIGMGR_SCOPE}},
                "quota": {"calls": 1_000_000, "writes": 1_000_000},
            }))?);
        }
        Ok(all)
    }

    pub fn jamf_of(&self, tenant: &str) -> Arc<JamfTenant> {
        self.jamf.tenant(tenant)
    }

    pub fn configmgr_of(&self, tenant: &str) -> Arc<ConfigMgrSite> {
        self.configmgr.tenant(tenant)
    }
}

fn jamf_secret(tenant: &str) -> String {
    format!("JAMF_SECRET_OF_{}", tenant.to_uppercase())
}

fn configmgr_secret(tenant: &str) -> String {
    format!("CONFIGMGR_SECRET_OF_{}", tenant.to_uppercase())
}

/// The secrets that the connections of all three planes name.
pub fn secrets(tenants: &[&str]) -> FixedSecrets {
    let mut all: BTreeMap<String, Secret> = world_graph::secrets().0;
    for tenant in tenants {
        all.insert(jamf_secret(tenant), Secret::new(jamf::client_secret(tenant)));
        all.insert(configmgr_secret(tenant), Secret::new(client_secret(tenant)));
    }
    FixedSecrets(all)
}

pub fn key(tenant: &str, plane: PlaneKind, n: usize) -> IntentKey {
    IntentKey::new(tenant, format!("{plane}-app-{n}"))
}

fn target(plane: PlaneKind, tenant: &str, n: usize) -> Target {
    match plane {
        PlaneKind::Jamf => Target::Jamf(JamfTarget {
            policy_id: jamf::policy_id(n),
            app_name: jamf::app_name(n),
            bundle_id: Some(jamf::bundle_id(n)),
            replaces: vec![jamf::old_policy_id(n)],
            compliance: Some(JamfCompliance {
                failing_group: jamf::failing_group_id(n),
                remedy_group: jamf::remedy_group_id(n),
            }),
        }),
        PlaneKind::ConfigMgr => Target::ConfigMgr(ConfigMgrTarget {
            ci_id: ci_id(n),
            app_name: app_name(n),
            product_name: None,
            replaces: vec![old_ci_id(n)],
            device_collection: None,
            compliance: Some(ConfigMgrCompliance {
                baseline_assignment: baseline_id(n),
                remedy: ConfigMgrRemedy::Script(approved_script()),
            }),
        }),
        PlaneKind::Intune | PlaneKind::Ansible => Target::Intune(IntuneTarget {
            app_id: app_id(tenant, n),
            app_name: app_name(n),
            replaces: vec![old_app_id(tenant, n)],
        }),
    }
}

/// The group to which application `n` is assigned.
pub fn group(plane: PlaneKind, n: usize) -> Scope {
    Scope::Group(match plane {
        PlaneKind::Jamf => jamf::group_id(n).to_string(),
        PlaneKind::ConfigMgr => collection_id(n),
        PlaneKind::Intune | PlaneKind::Ansible => group_id(n),
    })
}

/// Application `n`, to its group and to nobody else, in version 1.0.0, on compliant devices: in the lab, critical
/// (nothing is tolerated), enforced.
pub fn intent(plane: PlaneKind, tenant: &str, n: usize) -> Intent {
    Intent {
        key: key(tenant, plane, n),
        workspace: None,
        target: target(plane, tenant, n),
        desired: Desired {
            assignment: Some(Assignment {
                install: Install::Required,
                include: BTreeSet::from([group(plane, n)]),
                exclude: BTreeSet::new(),
                exclusive: true,
            }),
            version: Some("1.0.0".into()),
            compliant: true,
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

/// Makes application `n` of a tenant go wrong on a plane.
pub fn go_wrong(graph: &Graph, sites: &Sites, plane: PlaneKind, tenant: &str, n: usize, wrong: Wrong) {
    let done = match plane {
        PlaneKind::Jamf => sites.jamf_of(tenant).mischief(&on_jamf(n, wrong)),
        PlaneKind::ConfigMgr => sites.configmgr_of(tenant).mischief(&on_configmgr(n, wrong)),
        PlaneKind::Intune | PlaneKind::Ansible => on_intune(&graph.tenant(tenant), tenant, n, wrong),
    };
    done.unwrap_or_else(|why| panic!("{wrong:?} of {n} on {plane}: {why}"));
}

fn on_intune(site: &Tenant, tenant: &str, n: usize, wrong: Wrong) -> Result<(), String> {
    let app = app_id(tenant, n);
    site.mischief(&match wrong {
        Wrong::MissingAssignment => Mischief::RemoveAssignments { app },
        Wrong::OlderAssigned => Mischief::MoveAssignments { from: app, to: old_app_id(tenant, n) },
        Wrong::OtherVersion => Mischief::ChangeVersion { app, version: "0.8.0".into(), devices: 2 },
        Wrong::Scope => Mischief::AddGroup { app, group: group_id(n + 1) },
        Wrong::Compliance => Mischief::BreakCompliance { app, devices: 2 },
        Wrong::Stubborn => Mischief::Stubborn { app, devices: 3 },
    })
}

fn on_jamf(n: usize, wrong: Wrong) -> JamfMischief {
    let policy = jamf::policy_id(n);
    match wrong {
        Wrong::MissingAssignment => JamfMischief::RemoveScope { policy },
        Wrong::OlderAssigned => JamfMischief::MoveScope { from: policy, to: jamf::old_policy_id(n) },
        Wrong::OtherVersion => JamfMischief::ChangeVersion { policy, version: "0.8.0".into(), computers: 2 },
        Wrong::Scope => JamfMischief::AddGroup { policy, group: jamf::group_id(n + 1) },
        Wrong::Compliance => JamfMischief::BreakCompliance { policy, computers: 2 },
        Wrong::Stubborn => JamfMischief::Stubborn { policy, computers: 3 },
    }
}

fn on_configmgr(n: usize, wrong: Wrong) -> ConfigMgrMischief {
    let ci = ci_id(n);
    match wrong {
        Wrong::MissingAssignment => ConfigMgrMischief::DeleteDeployments { ci },
        Wrong::OlderAssigned => ConfigMgrMischief::MoveDeployments { from: ci, to: old_ci_id(n) },
        Wrong::OtherVersion => ConfigMgrMischief::ChangeVersion { ci, version: "0.8.0".into(), devices: 2 },
        Wrong::Scope => ConfigMgrMischief::Deploy { ci, collection: collection_id(n + 1) },
        Wrong::Compliance => ConfigMgrMischief::BreakCompliance { baseline: baseline_id(n), devices: 2 },
        Wrong::Stubborn => ConfigMgrMischief::Stubborn { ci, devices: 3 },
    }
}
