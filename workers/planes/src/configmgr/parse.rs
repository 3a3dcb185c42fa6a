//! What the AdminService answers, read strictly where it matters: what we decide on is there in the right type, or it is
//! a fault. Unknown properties are ignored.

use serde::Deserialize;
use serde_json::Value;
use trueup_model::intent::Install;
use trueup_model::{DateTime, Duration, Time, Utc};

/// A page of a list. By key the answer is one too.
#[derive(Debug, Deserialize)]
pub struct Page {
    pub value: Vec<Value>,
    #[serde(rename = "@odata.nextLink")]
    pub next: Option<String>,
}

/// `SMS_ApplicationAssignment`, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deployment {
    #[serde(rename = "AssignmentID")]
    pub id: u32,
    #[serde(rename = "AssignmentName")]
    pub name: Option<String>,
    #[serde(rename = "ApplicationName")]
    pub app_name: Option<String>,
    /// Absent: the site did not tell what it deploys.
    #[serde(rename = "AssignedCIs")]
    pub cis: Option<Vec<u32>>,
    #[serde(rename = "TargetCollectionID")]
    pub collection: String,
    desired_config_type: i64,
    #[serde(rename = "OfferTypeID")]
    offer_type: Option<i64>,
    enabled: Option<bool>,
}

impl Deployment {
    /// One that the site does not list yet.
    pub(crate) fn unlisted(id: u32, ci: u32, collection: &str, install: Install) -> Self {
        Self {
            id,
            name: None,
            app_name: None,
            cis: Some(vec![ci]),
            collection: collection.to_owned(),
            desired_config_type: if install == Install::Uninstall { 2 } else { 1 },
            offer_type: Some(if install == Install::Available { 2 } else { 0 }),
            enabled: Some(true),
        }
    }

    /// Disabled, it reaches nobody.
    pub fn enabled(&self) -> bool {
        self.enabled != Some(false)
    }

    /// `DesiredConfigType` 1 required, 2 not allowed; `OfferTypeID` 0 required, 2 available. Another value is not guessed.
    pub fn install(&self) -> Result<Install, String> {
        match (self.desired_config_type, self.offer_type) {
            (1, Some(0)) => Ok(Install::Required),
            (1, Some(2)) => Ok(Install::Available),
            (2, _) => Ok(Install::Uninstall),
            (config, offer) => Err(format!(
                "the deployment {} has DesiredConfigType {config} and OfferTypeID {}, which have no meaning here",
                self.id,
                offer.map_or("null".into(), |o| o.to_string())
            )),
        }
    }

    /// What it deploys, as far as it tells.
    pub fn cis(&self) -> &[u32] {
        self.cis.as_deref().unwrap_or_default()
    }
}

/// `SMS_DeploymentSummary`, as far as it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    #[serde(rename = "AssignmentID")]
    pub id: u32,
    pub feature_type: Option<u32>,
    pub number_targeted: Option<i64>,
    pub number_unknown: Option<i64>,
    pub number_errors: Option<i64>,
    pub summarization_time: Option<String>,
}

/// `FeatureType` of applications.
pub const APPLICATION: u32 = 1;

/// `SMS_G_System_INSTALLED_SOFTWARE`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Software {
    #[serde(rename = "ResourceID")]
    pub device: u32,
    #[serde(rename = "ProductName")]
    pub product: String,
    #[serde(rename = "ProductVersion")]
    pub version: Option<String>,
    /// When this row last changed: an inventory sends only what is new.
    #[serde(rename = "TimeStamp")]
    pub at: Option<String>,
}

/// `SMS_G_System_WORKSTATION_STATUS`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Scan {
    #[serde(rename = "ResourceID")]
    pub device: u32,
    #[serde(rename = "LastHardwareScan")]
    pub at: Option<String>,
}

/// `SMS_FullCollectionMembership`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Member {
    #[serde(rename = "ResourceID")]
    pub device: u32,
    #[serde(rename = "CollectionID")]
    pub collection: String,
}

/// `SMS_DCMDeploymentNonCompliantAssetDetails`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Failing {
    #[serde(rename = "AssetID")]
    pub asset: u32,
    /// 0 user, 1 machine.
    #[serde(rename = "AssetType")]
    pub kind: u32,
    #[serde(rename = "AssignmentID")]
    pub baseline: u32,
    #[serde(rename = "RuleName")]
    pub rule: Option<String>,
}

/// `SMS_Collection` in a list.
#[derive(Debug, Deserialize)]
pub struct Collection {
    #[serde(rename = "CollectionID")]
    pub id: String,
}

/// `SMS_Collection` by key. Other kinds of rules (queries, includes, excludes) name no resource.
#[derive(Debug, Deserialize)]
pub struct Rules {
    #[serde(rename = "CollectionRules", default)]
    pub rules: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
pub struct Rule {
    #[serde(rename = "ResourceID")]
    pub resource: Option<u32>,
}

/// Answer to a creation.
#[derive(Debug, Deserialize)]
pub struct Created {
    #[serde(rename = "AssignmentID")]
    pub id: u32,
}

/// Answer to `RunScript` (`value`) or `InitiateClientOperation` (`OperationID`).
#[derive(Debug, Deserialize)]
pub struct Operation {
    #[serde(alias = "OperationID")]
    pub value: Option<u64>,
}

/// How far clocks may be apart.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// A time a moment ahead of us is taken as now. One in the future tells nothing (it must not pass for a report after an
/// action), as do the site's words for never (1970, 1980).
pub fn time(text: Option<&str>, now: Time) -> Option<Time> {
    const NEVER: i64 = 400_000_000;
    let at = DateTime::parse_from_rfc3339(text?).ok()?.with_timezone(&Utc);
    (at.timestamp() > NEVER && at <= now + CLOCK_SKEW).then(|| at.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_kind_of_deployment_is_not_guessed() {
        let of = |config: i64, offer: Value| {
            let wire = json!({"AssignmentID": 1, "TargetCollectionID": "ABC00001", "DesiredConfigType": config, "OfferTypeID": offer});
            serde_json::from_value::<Deployment>(wire).unwrap().install()
        };
        assert_eq!(of(1, json!(0)), Ok(Install::Required));
        assert_eq!(of(1, json!(2)), Ok(Install::Available));
        assert_eq!(of(2, json!(0)), Ok(Install::Uninstall));
        for (config, offer) in [(1, Value::Null), (1, json!(1)), (3, json!(0))] {
            assert!(of(config, offer).is_err());
        }
    }

    #[test]
    fn times() {
        let now: Time = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(time(Some("2026-11-21T10:05:00Z"), now), Some(now));
        for ahead in ["2026-11-21T10:05:01Z", "2030-01-01T00:00:00Z"] {
            assert_eq!(time(Some(ahead), now), None, "a clock that is ahead tells nothing");
        }
        assert_eq!(time(Some("2025-02-15T23:13:23Z"), now).unwrap().timestamp(), 1_739_661_203);
        for never in [None, Some("1970-01-01T00:00:00Z"), Some("1980-01-01T06:00:00Z"), Some("yesterday")] {
            assert_eq!(time(never, now), None);
        }
    }
}
