//! Which planes there are, and the connections that are configured.
//!
//! To add a plane: its file, a variant of [`ConnectionConfig`], a line in [`connect`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trueup_model::{PlaneKind, SharedClock};

use crate::ansible::{Ansible, AnsibleConfig};
use crate::broker::Counted;
use crate::configmgr::{ConfigMgr, ConfigMgrConfig};
use crate::intune::{Intune, IntuneConfig};
use crate::jamf::{Jamf, JamfConfig};
use crate::{Broker, Plane, Secrets};

/// Why a connection cannot be made. Says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Secret(String),
    #[error("connection '{name}': {why}")]
    Connection { name: String, why: Box<ConfigError> },
    #[error("notifications: channel '{name}': {why}")]
    Channel { name: String, why: Box<ConfigError> },
}

/// A connection: who (`tenant`), what (`plane`), and what that plane needs.
///
/// ```json
/// {"plane": "intune", "name": "contoso-intune", "tenant": "contoso", "directory_tenant": "contoso.onmicrosoft.com",
///  "client_id": "…", "client_secret_env": "CONTOSO_SECRET"}
/// {"plane": "jamf", "name": "contoso-jamf", "tenant": "contoso", "url": "https://contoso.jamfcloud.com",
///  "client_id": "…", "client_secret_env": "CONTOSO_JAMF_SECRET"}
/// {"plane": "ansible", "name": "contoso-hosts", "tenant": "contoso", "project": "playbooks"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "plane", rename_all = "snake_case")]
pub enum ConnectionConfig {
    Intune(IntuneConfig),
    Jamf(JamfConfig),
    #[serde(rename = "configmgr", alias = "sccm")]
    ConfigMgr(ConfigMgrConfig),
    Ansible(AnsibleConfig),
}

impl ConnectionConfig {
    /// For people, unique.
    pub fn name(&self) -> &str {
        match self {
            Self::Intune(c) => &c.name,
            Self::Jamf(c) => &c.name,
            Self::ConfigMgr(c) => &c.name,
            Self::Ansible(c) => &c.name,
        }
    }
    /// Whose intents it serves.
    pub fn tenant(&self) -> &str {
        match self {
            Self::Intune(c) => &c.tenant,
            Self::Jamf(c) => &c.tenant,
            Self::ConfigMgr(c) => &c.tenant,
            Self::Ansible(c) => &c.tenant,
        }
    }
    pub fn plane(&self) -> PlaneKind {
        match self {
            Self::Intune(_) => PlaneKind::Intune,
            Self::Jamf(_) => PlaneKind::Jamf,
            Self::ConfigMgr(_) => PlaneKind::ConfigMgr,
            Self::Ansible(_) => PlaneKind::Ansible,
        }
    }
}

/// Makes one connection. Reads its credential; talks to nobody yet.
pub fn connect(
    config: &ConnectionConfig,
    clock: SharedClock,
    secrets: &dyn Secrets,
    broker: &Arc<dyn Broker>,
) -> Result<Arc<dyn Plane>, ConfigError> {
    let plane: Result<Arc<dyn Plane>, ConfigError> = match config {
        ConnectionConfig::Intune(c) => {
            Intune::new(c, clock, secrets, broker.clone()).map(|p| Arc::new(p) as _)
        }
        ConnectionConfig::ConfigMgr(c) => {
            ConfigMgr::new(c, clock, secrets, broker.clone()).map(|p| Arc::new(p) as _)
        }
        ConnectionConfig::Jamf(c) => Jamf::new(c, clock, secrets, broker.clone()).map(|p| Arc::new(p) as _),
        ConnectionConfig::Ansible(c) => Ansible::new(c, clock, secrets).map(|p| Arc::new(p) as _),
    };
    let connection = config.name().to_owned();
    match plane {
        Ok(plane) => Ok(Arc::new(Counted { plane, connection, broker: broker.clone() })),
        Err(why) => Err(ConfigError::Connection { name: connection, why: Box::new(why) }),
    }
}

/// All connections of a process, by tenant and plane.
#[derive(Debug, Clone, Default)]
pub struct Planes(HashMap<PlaneKind, HashMap<String, Arc<dyn Plane>>>);

impl Planes {
    /// Makes every connection; a second one for the same tenant and plane, or of the same name, is refused.
    pub fn connect(
        configs: &[ConnectionConfig],
        clock: &SharedClock,
        secrets: &dyn Secrets,
        broker: &Arc<dyn Broker>,
    ) -> Result<Self, ConfigError> {
        let mut planes = Self::default();
        let mut names = HashSet::new();
        for config in configs {
            if !names.insert(config.name()) {
                let why =
                    "another connection has the same name: budgets are kept by name, give it one of its own";
                return Err(ConfigError::Connection {
                    name: config.name().to_owned(),
                    why: Box::new(ConfigError::Invalid(why.into())),
                });
            }
            let plane = connect(config, clock.clone(), secrets, broker)?;
            crate::metrics::connected(config.name(), config.tenant(), config.plane());
            if planes.insert(config.tenant(), config.plane(), plane).is_some() {
                let why =
                    format!("tenant '{}' has another connection to {}", config.tenant(), config.plane());
                return Err(ConfigError::Connection {
                    name: config.name().to_owned(),
                    why: Box::new(ConfigError::Invalid(why)),
                });
            }
        }
        Ok(planes)
    }

    /// Puts a connection in; gives the one that was there.
    pub fn insert(&mut self, tenant: &str, kind: PlaneKind, plane: Arc<dyn Plane>) -> Option<Arc<dyn Plane>> {
        self.0.entry(kind).or_default().insert(tenant.to_owned(), plane)
    }

    pub fn get(&self, tenant: &str, kind: PlaneKind) -> Option<Arc<dyn Plane>> {
        self.0.get(&kind)?.get(tenant).cloned()
    }

    /// Sorted by tenant, then plane.
    pub fn all(&self) -> Vec<(&str, PlaneKind, &Arc<dyn Plane>)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .flat_map(|(kind, tenants)| {
                tenants.iter().map(move |(tenant, plane)| (tenant.as_str(), *kind, plane))
            })
            .collect();
        all.sort_by_key(|(tenant, kind, _)| (*tenant, *kind));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedSecrets, LocalBroker, Secret};
    use trueup_model::SystemClock;

    fn intune(name: &str) -> serde_json::Value {
        serde_json::json!({"plane": "intune", "name": name, "tenant": "contoso", "directory_tenant": "contoso.example",
            "client_id": "11111111-1111-1111-1111-111111111111", "client_secret_env": "S"})
    }

    fn secrets() -> FixedSecrets {
        FixedSecrets([("S".to_owned(), Secret::new("sesame-sesame"))].into())
    }

    #[test]
    fn looks_up_by_tenant_and_plane() {
        let clock: SharedClock = Arc::new(SystemClock);
        let config: ConnectionConfig = serde_json::from_value(intune("a")).unwrap();
        let broker: Arc<dyn Broker> = Arc::new(LocalBroker::new(clock.clone()));
        let connect = |configs: &[ConnectionConfig]| Planes::connect(configs, &clock, &secrets(), &broker);
        let planes = connect(std::slice::from_ref(&config)).unwrap();
        assert!(planes.get("contoso", PlaneKind::Intune).is_some());
        assert!(planes.get("contoso", PlaneKind::Ansible).is_none());
        assert!(planes.get("fabrikam", PlaneKind::Intune).is_none());
        assert_eq!(planes.all().len(), 1);
        assert!(!format!("{planes:?}").contains("sesame"), "a secret was printed");
        let other = serde_json::from_value(intune("b")).unwrap();
        let e = connect(&[config.clone(), other]).unwrap_err().to_string();
        assert!(e.contains("another connection to intune"), "{e}");
        let e = connect(&[config.clone(), config]).unwrap_err().to_string();
        assert!(e.contains("connection 'a': another connection has the same name"), "{e}");
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let clock: SharedClock = Arc::new(SystemClock);
        let broker: Arc<dyn Broker> = Arc::new(LocalBroker::new(clock.clone()));
        let cases = [
            (serde_json::json!({"tenat": "x"}), "unknown field `tenat`"),
            (serde_json::json!({"plane": "nomad"}), "unknown variant `nomad`"),
            (serde_json::json!({"client_secret": "inline"}), "unknown field `client_secret`"),
            (
                serde_json::json!({"client_secret_env": null}),
                "exactly one of client_secret_file and client_secret_env",
            ),
            (serde_json::json!({"client_secret_env": "UNSET_IN_TESTS"}), "UNSET_IN_TESTS"),
            (serde_json::json!({"graph_url": "http://graph.microsoft.com/v1.0"}), "graph_url"),
            (serde_json::json!({"directory_tenant": "a/../b"}), "directory_tenant"),
        ];
        for (change, expected) in cases {
            let mut value = intune("a");
            for (k, v) in change.as_object().unwrap() {
                value[k] = v.clone();
            }
            let error = match serde_json::from_value::<ConnectionConfig>(value) {
                Err(e) => e.to_string(),
                Ok(c) => connect(&c, clock.clone(), &secrets(), &broker).unwrap_err().to_string(),
            };
            assert!(error.contains(expected), "{change}: {error}");
        }
    }
}
