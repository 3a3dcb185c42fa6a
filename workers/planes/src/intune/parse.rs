//! What Graph answers, read strictly where it matters and tolerantly where Graph grows: unknown properties are
//! ignored, an unknown value of an enumeration we decide on is a fault.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use trueup_model::intent::{Install, Scope};
use trueup_model::observed::AssignmentSeen;
use trueup_model::{DateTime, Duration, Time, Utc};

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    pub next: Option<String>,
}

/// `mobileApp`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct App {
    pub id: String,
    /// Absent where they were not expanded, which is not the same as none.
    pub assignments: Option<Vec<Value>>,
    /// The expanded list is not whole.
    #[serde(rename = "assignments@odata.nextLink")]
    pub more_assignments: Option<String>,
}

/// `mobileAppAssignment`.
#[derive(Debug, Deserialize)]
struct AssignmentWire {
    intent: String,
    target: Option<TargetWire>,
}

/// `deviceAndAppManagementAssignmentTarget` and what derives from it.
#[derive(Debug, Deserialize)]
struct TargetWire {
    #[serde(rename = "@odata.type")]
    kind: String,
    #[serde(rename = "groupId")]
    group: Option<String>,
}

pub const GROUP: &str = "groupAssignmentTarget";
pub const EXCLUSION: &str = "exclusionGroupAssignmentTarget";
pub const ALL_USERS: &str = "allLicensedUsersAssignmentTarget";
pub const ALL_DEVICES: &str = "allDevicesAssignmentTarget";

/// Whom an assignment reaches, or `None` for a kind of target this product has no word for.
pub fn scope_of(target: &Value) -> Result<Option<(Scope, bool)>, String> {
    let target: Option<TargetWire> =
        serde_json::from_value(target.clone()).map_err(|e| format!("target: {e}"))?;
    let Some(target) = target else { return Ok(None) };
    let group = || target.group.clone().filter(|g| !g.is_empty()).ok_or("a group target without groupId");
    Ok(match local_name(&target.kind) {
        GROUP => Some((Scope::Group(group()?), false)),
        EXCLUSION => Some((Scope::Group(group()?), true)),
        ALL_USERS => Some((Scope::AllUsers, false)),
        ALL_DEVICES => Some((Scope::AllDevices, false)),
        _ => None,
    })
}

/// `#microsoft.graph.x` and `microsoft.graph.x` are the same type.
pub fn local_name(odata_type: &str) -> &str {
    odata_type.trim_start_matches('#').trim_start_matches("microsoft.graph.")
}

pub fn install_name(install: Install) -> &'static str {
    match install {
        Install::Required => "required",
        Install::Available => "available",
        Install::AvailableWithoutEnrollment => "availableWithoutEnrollment",
        Install::Uninstall => "uninstall",
    }
}

fn install_of(intent: &str) -> Option<Install> {
    [Install::Required, Install::Available, Install::AvailableWithoutEnrollment, Install::Uninstall]
        .into_iter()
        .find(|i| install_name(*i) == intent)
}

/// An application's assignments, sorted.
pub fn assignments(app: &str, wire: &[Value]) -> Result<Vec<AssignmentSeen>, String> {
    let mut seen = Vec::with_capacity(wire.len());
    for value in wire {
        let assignment: AssignmentWire = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
        let install = install_of(&assignment.intent)
            .ok_or_else(|| format!("unknown intent '{}'", assignment.intent.escape_default()))?;
        if assignment.target.is_none() {
            continue;
        }
        if let Some((scope, excluded)) = scope_of(&value["target"])? {
            seen.push(AssignmentSeen { app: app.to_owned(), scope, install, excluded });
        }
    }
    seen.sort();
    seen.dedup();
    Ok(seen)
}

/// `detectedApp`, as far as it is read.
#[derive(Debug, Clone, Deserialize)]
pub struct DetectedApp {
    pub id: String,
    #[serde(rename = "displayName")]
    pub name: Option<String>,
    pub version: Option<String>,
    #[serde(rename = "deviceCount", default)]
    pub devices: i64,
}

/// `managedDevice`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct DeviceWire {
    pub id: String,
    #[serde(rename = "complianceState")]
    pub compliance: Option<String>,
    #[serde(rename = "lastSyncDateTime")]
    pub last_sync: Option<String>,
}

/// What a `complianceState` means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Fine,
    Failing,
    Unknown,
}

impl Standing {
    /// A state that Graph may add later is not known to be bad.
    pub fn of(state: Option<&str>) -> Self {
        match state {
            Some("noncompliant" | "conflict" | "error") => Self::Failing,
            Some("compliant" | "inGracePeriod" | "configManager") => Self::Fine,
            _ => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub id: Arc<str>,
    pub standing: Standing,
    pub last_sync: Option<Time>,
}

impl DeviceWire {
    /// A check-in a moment ahead of us is taken as now. One in the future tells nothing (it must not pass for a report
    /// after an action), and one of year 1 is none.
    pub fn read(self, now: Time) -> Device {
        let last_sync = self
            .last_sync
            .and_then(|t| DateTime::parse_from_rfc3339(&t).ok())
            .map(|t| t.with_timezone(&Utc))
            .filter(|t| t.timestamp() > 0 && *t <= now + CLOCK_SKEW)
            .map(|t| t.min(now));
        Device { id: self.id.into(), standing: Standing::of(self.compliance.as_deref()), last_sync }
    }
}

/// How far clocks of servers may be apart.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// Answer to a `$batch`.
#[derive(Debug, Deserialize)]
pub struct Batch {
    pub responses: Vec<BatchItem>,
}

#[derive(Debug, Deserialize)]
pub struct BatchItem {
    pub id: String,
    pub status: u16,
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, Value>,
    #[serde(default)]
    pub body: Value,
}

impl BatchItem {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn targets() {
        let g = || Scope::Group("g".into());
        let t = |kind: &str| json!({"@odata.type": kind, "groupId": "g"});
        for (target, expected) in [
            (t("#microsoft.graph.groupAssignmentTarget"), Ok(Some((g(), false)))),
            (t("microsoft.graph.exclusionGroupAssignmentTarget"), Ok(Some((g(), true)))),
            (t("#microsoft.graph.allLicensedUsersAssignmentTarget"), Ok(Some((Scope::AllUsers, false)))),
            (t("#microsoft.graph.allDevicesAssignmentTarget"), Ok(Some((Scope::AllDevices, false)))),
            (t("microsoft.graph.deviceAndAppManagementAssignmentTarget"), Ok(None)),
            (Value::Null, Ok(None)),
            (json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget"}), Err(())),
            (json!({"groupId": "g"}), Err(())),
        ] {
            assert_eq!(scope_of(&target).map_err(|_| ()), expected, "{target}");
        }
    }

    #[test]
    fn an_unknown_intent_is_not_guessed() {
        let wire = |intent: &str| {
            vec![
                json!({"intent": intent, "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}),
            ]
        };
        assert_eq!(assignments("a", &wire("uninstall")).unwrap()[0].install, Install::Uninstall);
        assert!(assignments("a", &wire("Required")).is_err());
    }

    #[test]
    fn check_in_times() {
        let now: Time = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |t: Option<&str>| {
            DeviceWire { id: "d".into(), compliance: None, last_sync: t.map(str::to_owned) }
                .read(now)
                .last_sync
        };
        assert_eq!(read(Some("2026-11-21T10:05:00Z")), Some(now), "clocks of servers differ a little");
        assert_eq!(read(Some("2026-11-21T10:05:01Z")), None, "a clock that is ahead tells nothing");
        assert_eq!(read(Some("2017-01-01T00:02:49.3205976-08:00")).unwrap().timestamp(), 1_483_257_769);
        for never in [None, Some("0001-01-01T00:00:00Z"), Some("yesterday")] {
            assert_eq!(read(never), None);
        }
    }
}
