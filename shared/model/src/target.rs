//! Where an intent is carried out: one variant per plane, typed, so that a wrong target is refused when it is applied.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The planes this build knows. A plane has its own `query` and `remediate` queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlaneKind {
    Intune,
    Jamf,
    /// Microsoft Configuration Manager, formerly SCCM.
    #[serde(rename = "configmgr", alias = "sccm")]
    ConfigMgr,
    Ansible,
}

impl PlaneKind {
    pub const ALL: [Self; 4] = [Self::Intune, Self::Jamf, Self::ConfigMgr, Self::Ansible];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intune => "intune",
            Self::Jamf => "jamf",
            Self::ConfigMgr => "configmgr",
            Self::Ansible => "ansible",
        }
    }
}

impl fmt::Display for PlaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PlaneKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown plane '{text}' (known: {known})")
        })
    }
}

/// What a plane needs to find the thing. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Intune(IntuneTarget),
    Jamf(JamfTarget),
    #[serde(rename = "configmgr")]
    ConfigMgr(ConfigMgrTarget),
    Ansible(AnsibleTarget),
}

/// An application in Microsoft Intune.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IntuneTarget {
    /// The `mobileApp` that carries the desired version (a GUID).
    pub app_id: String,
    /// The name under which devices report it (`detectedApp.displayName`).
    pub app_name: String,
    /// Older `mobileApp`s of the same application, from which assignments are moved away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

/// An application that Jamf Pro policies install on Macs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JamfTarget {
    /// The policy that installs the desired version; its scope is the assignment.
    pub policy_id: u32,
    /// The name under which computers report it (`applications[].name`), e.g. `Google Chrome.app`.
    pub app_name: String,
    /// Tells applications of one name apart (`applications[].bundleId`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_id: Option<String>,
    /// Policies of older versions of the same application, from whose scope computers are moved away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<u32>,
    /// Needed for `desired.compliant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<JamfCompliance>,
}

/// What compliance means on Jamf Pro, and how it is brought about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JamfCompliance {
    /// The smart computer group whose members do not comply.
    pub failing_group: u32,
    /// The static computer group to which the policy with the compliance script is scoped: failing computers join it.
    pub remedy_group: u32,
}

/// An application that Configuration Manager deploys to collections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfigMgrTarget {
    /// `SMS_Application.CI_ID` of the application that carries the desired version.
    pub ci_id: u32,
    /// Its name (`LocalizedDisplayName`, `ApplicationName` of its deployments).
    pub app_name: String,
    /// The name under which devices report it in their inventory (`ProductName`). Default: `app_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    /// CI_IDs of older applications, whose deployments are moved away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<u32>,
    /// The collection whose direct membership rules follow the scopes of kind `device`. Needed if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_collection: Option<String>,
    /// Needed for `desired.compliant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<ConfigMgrCompliance>,
}

/// What compliance means on Configuration Manager, and how it is brought about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfigMgrCompliance {
    /// `AssignmentID` of the deployed configuration baseline that says which devices comply.
    pub baseline_assignment: u32,
    pub remedy: ConfigMgrRemedy,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConfigMgrRemedy {
    /// An approved script, by its GUID, run on each failing device.
    Script(String),
    /// A client operation (`SMS_ClientOperation.InitiateClientOperation`, e.g. 8: fetch machine policy) on this collection,
    /// limited to the failing devices.
    ClientOperation {
        #[serde(rename = "type")]
        kind: u32,
        collection: String,
    },
}

/// Hosts that a playbook manages. The playbook is the desired state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AnsibleTarget {
    /// Path of the playbook, below the connection's project folder.
    pub playbook: String,
    /// Path of the inventory, below the connection's project folder.
    pub inventory: String,
    /// As `ansible-playbook --limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Target {
    pub fn plane(&self) -> PlaneKind {
        match self {
            Self::Intune(_) => PlaneKind::Intune,
            Self::Jamf(_) => PlaneKind::Jamf,
            Self::ConfigMgr(_) => PlaneKind::ConfigMgr,
            Self::Ansible(_) => PlaneKind::Ansible,
        }
    }

    /// The application it is about; none where a target is not about one.
    pub fn app(&self) -> Option<AppRef<'_>> {
        match self {
            Self::Intune(t) => {
                Some(AppRef { id: t.app_id.clone(), name: &t.app_name, replaces: t.replaces.clone() })
            }
            Self::Jamf(t) => Some(AppRef {
                id: t.policy_id.to_string(),
                name: &t.app_name,
                replaces: t.replaces.iter().map(ToString::to_string).collect(),
            }),
            Self::ConfigMgr(t) => Some(AppRef {
                id: t.ci_id.to_string(),
                name: &t.app_name,
                replaces: t.replaces.iter().map(ToString::to_string).collect(),
            }),
            Self::Ansible(_) => None,
        }
    }

    /// Reads the `target` of a manifest for a plane; the error names the field.
    pub fn parse(plane: PlaneKind, value: serde_json::Value) -> Result<Self, String> {
        let target = match plane {
            PlaneKind::Intune => serde_json::from_value(value).map(Self::Intune),
            PlaneKind::Jamf => serde_json::from_value(value).map(Self::Jamf),
            PlaneKind::ConfigMgr => serde_json::from_value(value).map(Self::ConfigMgr),
            PlaneKind::Ansible => serde_json::from_value(value).map(Self::Ansible),
        };
        target.map_err(|e| format!("target: {e}"))?.check()
    }

    fn check(self) -> Result<Self, String> {
        match &self {
            Self::Intune(t) => {
                for id in std::iter::once(&t.app_id).chain(&t.replaces) {
                    if !is_guid(id) {
                        return Err(format!("target: '{id}' is not the GUID of a mobileApp"));
                    }
                }
                if t.app_name.trim().is_empty() {
                    return Err("target.app_name: must not be empty".into());
                }
            }
            Self::Jamf(t) => {
                if t.policy_id == 0 || t.replaces.contains(&0) {
                    return Err("target: 0 is not the id of a policy".into());
                }
                if t.replaces.contains(&t.policy_id) {
                    return Err("target.replaces: names target.policy_id itself".into());
                }
                if t.app_name.trim().is_empty() {
                    return Err("target.app_name: must not be empty".into());
                }
                if t.compliance.as_ref().is_some_and(|c| c.failing_group == c.remedy_group) {
                    return Err("target.compliance: failing_group and remedy_group must be two groups".into());
                }
            }
            Self::ConfigMgr(t) => {
                if t.ci_id == 0 || t.replaces.contains(&0) {
                    return Err("target: 0 is not a CI_ID".into());
                }
                if t.replaces.contains(&t.ci_id) {
                    return Err("target.replaces: names target.ci_id itself".into());
                }
                if t.app_name.trim().is_empty() {
                    return Err("target.app_name: must not be empty".into());
                }
                let remedy = t.compliance.as_ref().map(|c| &c.remedy);
                if let Some(ConfigMgrRemedy::Script(guid)) = remedy
                    && !is_guid(guid)
                {
                    return Err(format!("target.compliance.remedy.script: '{guid}' is not a GUID"));
                }
                let operated = match remedy {
                    Some(ConfigMgrRemedy::ClientOperation { collection, .. }) => Some(collection),
                    _ => None,
                };
                for id in t.device_collection.iter().chain(operated) {
                    if !is_collection_id(id) {
                        return Err(format!("target: '{id}' is not a CollectionID (like ABC00123)"));
                    }
                }
            }
            Self::Ansible(t) => {
                for (field, path) in [("playbook", &t.playbook), ("inventory", &t.inventory)] {
                    if path.is_empty()
                        || path.starts_with('/')
                        || path.starts_with('-')
                        || path.split('/').any(|p| p == "..")
                    {
                        return Err(format!(
                            "target.{field}: must be a path below the project folder, got '{path}'"
                        ));
                    }
                }
                if t.limit
                    .as_deref()
                    .is_some_and(|l| l.is_empty() || l.starts_with('-') || l.starts_with('@'))
                {
                    return Err("target.limit: must be a host pattern".into());
                }
            }
        }
        Ok(self)
    }
}

/// The application of a target, in the plane's own ids as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRef<'a> {
    pub id: String,
    pub name: &'a str,
    /// Older applications, whose assignments are moved away.
    pub replaces: Vec<String>,
}

/// Site code and number, as Configuration Manager names collections: eight letters or digits.
pub fn is_collection_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// 8-4-4-4-12 hex digits.
pub fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}
