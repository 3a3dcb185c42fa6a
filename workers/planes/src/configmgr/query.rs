//! What this plane reads in lists, as data. Pure.
//!
//! How well each class is known: `SMS_ApplicationAssignment`, `SMS_FullCollectionMembership`, `SMS_DeploymentSummary`,
//! `SMS_Collection`, `SMS_DCMDeploymentNonCompliantAssetDetails`, `SMS_G_System_WORKSTATION_STATUS`: vendor documentation.
//! `SMS_G_System_INSTALLED_SOFTWARE`: an inventory class whose columns are known from public queries; the site must collect it
//! (hardware inventory, "Installed Software - Asset Intelligence").

use serde_json::Value;

use super::request::{DEPLOYMENT, Request, SOFTWARE, encode, get};

/// Rows asked for at a time.
pub const PAGE: usize = 1000;
/// Longest `$filter` made of alternatives, in encoded bytes: some servers refuse URLs beyond 2 KiB.
const MAX_FILTER: usize = 1200;

/// All rows of a class that fit, in order of a column: pages begin where the one before ended, so that what appears or
/// goes meanwhile shifts nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub template: &'static str,
    pub class: &'static str,
    pub select: &'static [&'static str],
    /// The column that orders them; one of `select`.
    pub key: &'static str,
    pub filter: Option<String>,
}

impl Query {
    /// The first rows, or those from this key on.
    pub fn page(&self, from: Option<&Value>) -> Request {
        let from = from.map(|key| format!("{} ge {}", self.key, literal(key)));
        let filter = match (&self.filter, from) {
            (Some(filter), Some(from)) => Some(format!("({filter}) and {from}")),
            (filter, from) => filter.clone().or(from),
        };
        let filter = filter.map(|f| format!("$filter={}&", encode(&f))).unwrap_or_default();
        let path = format!(
            "/wmi/{}?{filter}$select={}&$orderby={}&$top={PAGE}",
            self.class,
            self.select.join(","),
            self.key
        );
        get(path, self.template)
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

/// `Column eq 'a' or Column eq 'b'`, cut into pieces that fit into a URL.
fn alternatives(column: &str, values: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut filters: Vec<String> = Vec::new();
    for value in values {
        let one = format!("{column} eq {}", literal(&value));
        match filters.last_mut() {
            Some(last) if encode(last).len() + encode(&one).len() < MAX_FILTER => {
                last.push_str(" or ");
                last.push_str(&one);
            }
            _ => filters.push(one),
        }
    }
    filters
}

const DEPLOYMENTS: Query = Query {
    template: DEPLOYMENT,
    class: "SMS_ApplicationAssignment",
    select: &[
        "AssignmentID",
        "AssignmentName",
        "ApplicationName",
        "AssignedCIs",
        "TargetCollectionID",
        "DesiredConfigType",
        "OfferTypeID",
        "Enabled",
    ],
    key: "AssignmentID",
    filter: None,
};

/// Every deployment of every application.
pub fn deployments() -> Query {
    DEPLOYMENTS
}

pub fn deployments_to<'a>(collections: impl IntoIterator<Item = &'a str>) -> Vec<Query> {
    let filters = alternatives("TargetCollectionID", collections.into_iter().map(Value::from));
    filters.into_iter().map(|f| Query { filter: Some(f), ..DEPLOYMENTS }).collect()
}

const COLLECTIONS: Query = Query {
    template: "/wmi/SMS_Collection",
    class: "SMS_Collection",
    select: &["CollectionID"],
    key: "CollectionID",
    filter: None,
};

/// Every collection of the site.
pub fn collections() -> Query {
    COLLECTIONS
}

/// Those of these that exist.
pub fn collections_of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<Query> {
    let filters = alternatives("CollectionID", ids.into_iter().map(Value::from));
    filters.into_iter().map(|f| Query { filter: Some(f), ..COLLECTIONS }).collect()
}

/// Counts of all deployments that have an `AssignmentID` (not packages and task sequences).
pub fn summaries() -> Query {
    Query {
        template: "/wmi/SMS_DeploymentSummary",
        class: "SMS_DeploymentSummary",
        select: &[
            "AssignmentID",
            "FeatureType",
            "NumberTargeted",
            "NumberUnknown",
            "NumberErrors",
            "SummarizationTime",
        ],
        key: "AssignmentID",
        filter: Some("AssignmentID gt 0".into()),
    }
}

/// When each device last sent its hardware inventory.
pub fn scans() -> Query {
    Query {
        template: "/wmi/SMS_G_System_WORKSTATION_STATUS",
        class: "SMS_G_System_WORKSTATION_STATUS",
        select: &["ResourceID", "LastHardwareScan"],
        key: "ResourceID",
        filter: None,
    }
}

/// Who has these products, and in which version.
pub fn software<'a>(products: impl IntoIterator<Item = &'a str>) -> Vec<Query> {
    let filters = alternatives("ProductName", products.into_iter().map(Value::from));
    let query = |filter| Query {
        template: SOFTWARE,
        class: "SMS_G_System_INSTALLED_SOFTWARE",
        select: &["ResourceID", "ProductName", "ProductVersion", "TimeStamp"],
        key: "ResourceID",
        filter: Some(filter),
    };
    filters.into_iter().map(query).collect()
}

/// Devices that are in a collection by a direct rule.
pub fn direct_members<'a>(collections: impl IntoIterator<Item = &'a str>) -> Vec<Query> {
    let filters = alternatives("CollectionID", collections.into_iter().map(Value::from));
    let query = |filter| Query {
        template: "/wmi/SMS_FullCollectionMembership",
        class: "SMS_FullCollectionMembership",
        select: &["ResourceID", "CollectionID"],
        key: "ResourceID",
        filter: Some(format!("IsDirect eq true and ({filter})")),
    };
    filters.into_iter().map(query).collect()
}

/// Who does not comply with these deployed baselines: a row for each rule that a device fails.
pub fn noncompliant(baselines: impl IntoIterator<Item = u32>) -> Vec<Query> {
    let filters = alternatives("AssignmentID", baselines.into_iter().map(Value::from));
    let query = |filter| Query {
        template: "/wmi/SMS_DCMDeploymentNonCompliantAssetDetails",
        class: "SMS_DCMDeploymentNonCompliantAssetDetails",
        select: &["AssetID", "AssetType", "AssignmentID", "RuleName"],
        key: "AssetID",
        filter: Some(filter),
    };
    filters.into_iter().map(query).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_trusted_is_encoded() {
        assert_eq!(
            software(["O'Hare & Söhne"])[0].page(Some(&json!(7))).path,
            "/wmi/SMS_G_System_INSTALLED_SOFTWARE?$filter=%28ProductName%20eq%20%27O%27%27Hare%20%26%20S%C3%B6hne%27%29%20and%20ResourceID%20ge%207&$select=ResourceID,ProductName,ProductVersion,TimeStamp&$orderby=ResourceID&$top=1000"
        );
        assert_eq!(
            collections().page(Some(&json!("A'B"))).path.split('&').next(),
            Some("/wmi/SMS_Collection?$filter=CollectionID%20ge%20%27A%27%27B%27")
        );
    }

    #[test]
    fn filters_fit_into_a_url() {
        let names: Vec<String> = (0..500).map(|n| format!("Product {n:04} & more")).collect();
        let queries = software(names.iter().map(String::as_str));
        assert!(queries.len() < 60, "{}", queries.len());
        assert!(queries.iter().all(|q| q.page(Some(&json!(u32::MAX))).path.len() < 1600));
        let whole: usize =
            queries.iter().map(|q| q.filter.as_ref().unwrap().matches("ProductName eq").count()).sum();
        assert_eq!(whole, 500);
        assert!(software([]).is_empty());
    }
}
