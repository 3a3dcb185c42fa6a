//! The intent: what was meant. Its manifest is what a user writes; `Intent` is what survived validation.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{IntentKey, PlaneKind, Target};

/// How much it matters. Sets how often it is looked at and how long low-risk drift may wait (seed 000,
/// "Reconciliation Frequency").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    Critical,
    High,
    Standard,
    Low,
}

impl Criticality {
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Standard, Self::Low];

    /// Time between two checks.
    pub fn interval(self) -> TimeDelta {
        TimeDelta::minutes(match self {
            Self::Critical => 15,
            Self::High => 30,
            Self::Standard => 60,
            Self::Low => 240,
        })
    }
    /// How long low-risk drift may stand before it is remediated.
    pub fn tolerance(self) -> TimeDelta {
        TimeDelta::hours(match self {
            Self::Critical => 0,
            Self::High => 1,
            Self::Standard => 4,
            Self::Low => 24,
        })
    }
    /// A plane's own report older than this is `stale`: the tolerance, but at least four intervals, since a tolerance
    /// of zero would call every report stale.
    pub fn stale_after(self) -> TimeDelta {
        self.tolerance().max(self.interval() * 4)
    }
}

/// Where in the rollout it is (seed 000: Lab and Canary are not production).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ring {
    Lab,
    Canary,
    Pilot,
    Department,
    Global,
}

impl Ring {
    pub const ALL: [Self; 5] = [Self::Lab, Self::Canary, Self::Pilot, Self::Department, Self::Global];
}

/// The most that Trueup may do about drift of this intent; caps what any policy rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Detect only.
    Observe,
    /// Plan, and never act without an approval.
    Propose,
    /// Policy decides.
    #[default]
    Enforce,
}

/// Only the first three are reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
    Paused,
    Retired,
}

impl Status {
    pub fn is_reconciled(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Completed)
    }
}

/// Whom an assignment reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    AllDevices,
    AllUsers,
    /// By id: a directory group (Intune), a computer group (Jamf), a collection (ConfigMgr).
    Group(String),
    /// One device, by the plane's id (Jamf: computer, ConfigMgr: `ResourceID`).
    Device(String),
    /// Jamf only, by id.
    Building(String),
    /// Jamf only, by id.
    Department(String),
}

/// What an assignment asks of a device (Graph: `installIntent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Install {
    #[default]
    Required,
    Available,
    AvailableWithoutEnrollment,
    Uninstall,
}

/// Who shall have it, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    #[serde(default)]
    pub install: Install,
    /// At least one.
    pub include: BTreeSet<Scope>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<Scope>,
    /// Whether an assignment to anybody else is drift. Off by default, since other intents may share the application.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
}

/// What was meant. What is absent is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Desired {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// The version that every device which reports the application must report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether devices must be compliant (Ansible: whether a check run must find nothing to change).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compliant: bool,
}

/// A validated intent. Its generation and state are kept beside it (`IntentRecord`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Manifest", into = "Manifest")]
pub struct Intent {
    pub key: IntentKey,
    pub workspace: Option<String>,
    pub target: Target,
    pub desired: Desired,
    pub criticality: Criticality,
    pub ring: Ring,
    /// A privileged application is never remediated without a person.
    pub privileged: bool,
    pub mode: Mode,
    pub status: Status,
    pub labels: BTreeMap<String, String>,
    /// Names of change windows of the policy: automatic remediation waits for one of them. None: the policy's own.
    pub windows: Vec<String>,
}

impl Intent {
    pub fn plane(&self) -> PlaneKind {
        self.target.plane()
    }
}

/// An intent as it is written: one YAML document or one JSON line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Unique within its tenant.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub id: String,
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub workspace: Option<String>,
    #[cfg_attr(feature = "openapi", schema(value_type = crate::PlaneKind))]
    pub plane: String,
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::AnyTarget))]
    pub target: serde_json::Value,
    pub desired: Desired,
    pub criticality: Criticality,
    pub ring: Ring,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub status: Status,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 8))]
    pub windows: Vec<String>,
}

impl TryFrom<Manifest> for Intent {
    type Error = String;

    /// The one place where an intent is checked.
    fn try_from(m: Manifest) -> Result<Self, String> {
        for (field, name) in
            [("id", Some(&m.id)), ("tenant", Some(&m.tenant)), ("workspace", m.workspace.as_ref())]
        {
            if let Some(name) = name {
                check_name(field, name)?;
            }
        }
        let plane: PlaneKind = m.plane.parse().map_err(|e| format!("plane: {e}"))?;
        let target = Target::parse(plane, m.target)?;
        let d = &m.desired;
        if d.assignment.is_none() && d.version.is_none() && !d.compliant {
            return Err("desired: empty; name at least one of assignment, version, compliant".into());
        }
        if let Some(a) = &d.assignment {
            if a.include.is_empty() {
                return Err("desired.assignment.include: empty; name at least one scope".into());
            }
            if let Some(both) = a.include.intersection(&a.exclude).next() {
                return Err(format!("desired.assignment: {both:?} is both included and excluded"));
            }
            if a.include.len() + a.exclude.len() > 200 {
                return Err("desired.assignment: more than 200 scopes".into());
            }
        }
        check_desired(&target, d)?;
        for name in &m.windows {
            check_name("windows", name)?;
        }
        if m.windows.len() > 8 {
            return Err("windows: at most 8".into());
        }
        if plane == PlaneKind::Ansible && (d.assignment.is_some() || d.version.is_some() || !d.compliant) {
            return Err(
                "desired: on plane 'ansible' the playbook is the desired state; write only 'compliant: true'"
                    .into(),
            );
        }
        if m.labels.len() > 32 || m.labels.iter().any(|(k, v)| k.len() > 63 || v.len() > 63 || k.is_empty()) {
            return Err("labels: at most 32, with keys and values of at most 63 characters".into());
        }
        Ok(Self {
            key: IntentKey::new(m.tenant, m.id),
            workspace: m.workspace,
            target,
            desired: m.desired,
            criticality: m.criticality,
            ring: m.ring,
            privileged: m.privileged,
            mode: m.mode,
            status: m.status,
            labels: m.labels,
            windows: m.windows,
        })
    }
}

impl From<Intent> for Manifest {
    fn from(i: Intent) -> Self {
        let plane = i.plane().as_str().to_owned();
        let target = match &i.target {
            Target::Intune(t) => serde_json::to_value(t),
            Target::Jamf(t) => serde_json::to_value(t),
            Target::ConfigMgr(t) => serde_json::to_value(t),
            Target::Ansible(t) => serde_json::to_value(t),
        };
        Self {
            id: i.key.id,
            tenant: i.key.tenant,
            workspace: i.workspace,
            plane,
            target: target.unwrap_or_default(),
            desired: i.desired,
            criticality: i.criticality,
            ring: i.ring,
            privileged: i.privileged,
            mode: i.mode,
            status: i.status,
            labels: i.labels,
            windows: i.windows,
        }
    }
}

/// What a plane cannot carry out is refused when it is applied, not in the night.
fn check_desired(target: &Target, desired: &Desired) -> Result<(), String> {
    let plane = target.plane();
    if let Some(a) = &desired.assignment {
        for scope in a.include.iter().chain(&a.exclude) {
            check_scope(target, scope)?;
        }
        let fits = match plane {
            PlaneKind::Intune => true,
            PlaneKind::Jamf => matches!(a.install, Install::Required | Install::Available),
            PlaneKind::ConfigMgr => a.install != Install::AvailableWithoutEnrollment,
            PlaneKind::Ansible => true,
        };
        if !fits {
            return Err(format!(
                "desired.assignment.install: {:?} does not exist on plane '{plane}'",
                a.install
            ));
        }
        if plane == PlaneKind::ConfigMgr && !a.exclude.is_empty() {
            return Err("desired.assignment.exclude: a deployment has no exclusions on plane 'configmgr'; \
                        exclude members in the collection's own rules"
                .into());
        }
    }
    let lacks = match target {
        Target::Jamf(t) => t.compliance.is_none(),
        Target::ConfigMgr(t) => t.compliance.is_none(),
        Target::Intune(_) | Target::Ansible(_) => false,
    };
    if desired.compliant && lacks {
        return Err(format!("desired.compliant: needs target.compliance on plane '{plane}'"));
    }
    Ok(())
}

fn check_scope(target: &Target, scope: &Scope) -> Result<(), String> {
    // Without a zero before it: planes write ids so, and scopes are compared as text.
    let number = |id: &str| {
        (1..=10).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0')
    };
    let wrong = |why: &str| Err(format!("desired.assignment: {scope:?}: {why}"));
    match (target, scope) {
        (Target::Intune(_), Scope::Device(_) | Scope::Building(_) | Scope::Department(_)) => {
            wrong("plane 'intune' assigns to all_devices, all_users or a group")
        }
        (Target::Jamf(_), Scope::AllUsers) => wrong("plane 'jamf' has no such scope"),
        (
            Target::Jamf(_),
            Scope::Group(id) | Scope::Device(id) | Scope::Building(id) | Scope::Department(id),
        ) if !number(id) => wrong("ids of plane 'jamf' are numbers"),
        (Target::ConfigMgr(_), Scope::AllDevices) => {
            wrong("name the collection: plane 'configmgr' has {group: SMS00001} for all systems")
        }
        (Target::ConfigMgr(_), Scope::AllUsers | Scope::Building(_) | Scope::Department(_)) => {
            wrong("plane 'configmgr' deploys to a group (a CollectionID) or a device (a ResourceID)")
        }
        (Target::ConfigMgr(_), Scope::Group(id)) if !crate::target::is_collection_id(id) => {
            wrong("must be a CollectionID, like ABC00123")
        }
        (Target::ConfigMgr(t), Scope::Group(id)) if t.device_collection.as_ref() == Some(id) => {
            wrong("is target.device_collection: name its devices, or the collection as a group only")
        }
        (Target::ConfigMgr(t), Scope::Device(id)) if !number(id) || t.device_collection.is_none() => {
            wrong("must be a ResourceID (a number), and needs target.device_collection")
        }
        _ => Ok(()),
    }
}

/// Names end up in Redis keys, URLs, metrics and logs, so they are plain.
///
/// # Errors
/// What is wrong with it, naming `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let fine = (1..=128).contains(&name.len())
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if fine {
        return Ok(());
    }
    Err(format!(
        "{field}: '{}' must be 1 to 128 of a-z 0-9 - _ . and begin with a letter or digit",
        name.escape_default()
    ))
}
