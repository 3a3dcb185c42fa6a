//! Where an intent is carried out: one variant per plane, typed, so that a wrong target is refused when it is applied.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The planes this build knows. A plane has its own `query` and `remediate` queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaneKind {
    Intune,
    Ansible,
}

impl PlaneKind {
    pub const ALL: [Self; 2] = [Self::Intune, Self::Ansible];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intune => "intune",
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
#[serde(rename_all = "snake_case")]
pub enum Target {
    Intune(IntuneTarget),
    Ansible(AnsibleTarget),
}

/// An application in Microsoft Intune.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// Hosts that a playbook manages. The playbook is the desired state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
            Self::Ansible(_) => PlaneKind::Ansible,
        }
    }

    /// Reads the `target` of a manifest for a plane; the error names the field.
    pub fn parse(plane: PlaneKind, value: serde_json::Value) -> Result<Self, String> {
        let target = match plane {
            PlaneKind::Intune => serde_json::from_value(value).map(Self::Intune),
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

/// 8-4-4-4-12 hex digits.
pub fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}
