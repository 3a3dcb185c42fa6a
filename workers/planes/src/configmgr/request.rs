//! The requests this plane makes to the AdminService, as data. Pure.
//!
//! How well each class is known: `SMS_ApplicationAssignment`, `SMS_FullCollectionMembership`, `SMS_DeploymentSummary`,
//! `SMS_ClientOperation`, `SMS_DCMDeploymentNonCompliantAssetDetails`, `SMS_G_System_WORKSTATION_STATUS`: vendor documentation.
//! `SMS_G_System_INSTALLED_SOFTWARE`: an inventory class whose columns are known from public queries; the site must collect it
//! (hardware inventory, "Installed Software - Asset Intelligence"). Creation of a deployment, membership rules by
//! `AdminService.*`, `RunScript`: public reports of working calls (`tests/fixtures/adminservice`).

use reqwest::Method;
use serde_json::{Value, json};
use trueup_model::intent::Install;
use trueup_model::{EffectKey, Time};

/// Rows asked for at a time.
pub const PAGE: usize = 1000;
/// Longest `$filter` made of alternatives, in encoded bytes: some servers refuse URLs beyond 2 KiB.
const MAX_FILTER: usize = 1200;

/// A request below `…/AdminService`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    /// Path and query, encoded, beginning with `/`.
    pub path: String,
    /// The path with names for ids.
    pub template: &'static str,
    pub body: Option<Value>,
}

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

fn get(path: String, template: &'static str) -> Request {
    Request { method: Method::GET, path, template, body: None }
}

fn post(path: String, template: &'static str, body: Value) -> Request {
    Request { method: Method::POST, path, template, body: Some(body) }
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
    template: "/wmi/SMS_ApplicationAssignment",
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

pub fn collections() -> Query {
    Query {
        template: "/wmi/SMS_Collection",
        class: "SMS_Collection",
        select: &["CollectionID"],
        key: "CollectionID",
        filter: None,
    }
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

const SOFTWARE: &str = "/wmi/SMS_G_System_INSTALLED_SOFTWARE";

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

/// Whether the site collects installed software at all.
pub fn any_software() -> Request {
    get("/wmi/SMS_G_System_INSTALLED_SOFTWARE?$select=ResourceID&$top=1".into(), SOFTWARE)
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

/// The cheapest call that needs the right to read deployments.
pub fn first_deployment() -> Request {
    get("/wmi/SMS_ApplicationAssignment?$select=AssignmentID&$top=1".into(), DEPLOYMENTS.template)
}

/// One collection, with its rules. By key the answer is a list all the same.
pub fn collection(id: &str) -> Request {
    get(format!("/wmi/SMS_Collection('{}')", encode(id)), "/wmi/SMS_Collection({id})")
}

/// The name by which a deployment of ours is known again: what was meant, not who did it.
pub fn deployment_name(app: &str, ci: u32, collection: &str, install: Install) -> String {
    let app: String = app.chars().take(100).collect();
    format!("{app}_{ci}_{collection}_{install:?}")
}

/// What one new deployment is.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    pub app: &'a str,
    pub ci: u32,
    pub collection: &'a str,
    pub install: Install,
    pub now: Time,
    pub key: &'a EffectKey,
}

/// Every property that must not be null is there. `ApplicationName` is read-only in the documentation, and yet part of every
/// creation that is known to have worked.
pub fn deploy(new: Deployment<'_>) -> Request {
    let Deployment { app, ci, collection, install, now, key } = new;
    let at = now.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let available = install == Install::Available;
    let mut body = json!({
        "ApplicationName": app,
        "AssignedCIs": [ci],
        "AssignmentAction": 2,
        "AssignmentDescription": format!("Made by Trueup, effect {key}"),
        "AssignmentName": deployment_name(app, ci, collection, install),
        "AssignmentType": 2,
        "DesiredConfigType": if install == Install::Uninstall { 2 } else { 1 },
        "DisableMomAlerts": true,
        // Download from a local distribution point (bit 4) or a remote one (bit 6).
        "DPLocality": 0x50,
        "Enabled": true,
        "LogComplianceToWinEvent": false,
        "NotifyUser": false,
        "OfferFlags": 0,
        "OfferTypeID": if available { 2 } else { 0 },
        "OverrideServiceWindows": false,
        "Priority": 1,
        "RebootOutsideOfServiceWindows": false,
        "RequireApproval": false,
        "SendDetailedNonComplianceStatus": false,
        "StartTime": at,
        "SuppressReboot": 0,
        "TargetCollectionID": collection,
        "UpdateSupersedence": false,
        "UseGMTTimes": true,
        "UserUIExperience": true,
        "WoLEnabled": false,
    });
    if !available {
        body["EnforcementDeadline"] = at.into();
    }
    post("/wmi/SMS_ApplicationAssignment".into(), DEPLOYMENTS.template, body)
}

pub fn undeploy(assignment: u32) -> Request {
    Request {
        method: Method::DELETE,
        path: format!("/wmi/SMS_ApplicationAssignment/{assignment}"),
        template: "/wmi/SMS_ApplicationAssignment/{id}",
        body: None,
    }
}

pub fn add_rule(collection: &str, resource: u32) -> Request {
    rule(collection, resource, "Add", "/wmi/SMS_Collection({id})/AdminService.AddMembershipRule")
}

pub fn delete_rule(collection: &str, resource: u32) -> Request {
    rule(collection, resource, "Delete", "/wmi/SMS_Collection({id})/AdminService.DeleteMembershipRule")
}

fn rule(collection: &str, resource: u32, verb: &str, template: &'static str) -> Request {
    let body = json!({"collectionRule": {
        "@odata.type": "#AdminService.SMS_CollectionRuleDirect",
        "ResourceClassName": "SMS_R_System",
        "RuleName": format!("Trueup {resource}"),
        "ResourceID": resource,
    }});
    post(
        format!("/wmi/SMS_Collection('{}')/AdminService.{verb}MembershipRule", encode(collection)),
        template,
        body,
    )
}

/// One parameter exactly: any other is refused.
pub fn run_script(device: u32, script: &str) -> Request {
    post(
        format!("/v1.0/Device({device})/AdminService.RunScript"),
        "/v1.0/Device({id})/AdminService.RunScript",
        json!({ "ScriptGuid": script }),
    )
}

pub fn client_operation(kind: u32, collection: &str, devices: &[u32]) -> Request {
    let path = "/wmi/SMS_ClientOperation.InitiateClientOperation";
    let body = json!({"Type": kind, "TargetCollectionID": collection, "TargetResourceIDs": devices,
        "RandomizationWindow": 0});
    post(path.into(), path, body)
}

/// Percent-encodes all but letters, digits and `-._~`: ids and names come from outside and are not trusted.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
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
        assert_eq!(collection("x'/..").path, "/wmi/SMS_Collection('x%27%2F..')");
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

    #[test]
    fn an_available_deployment_has_no_deadline() {
        let key = EffectKey::of(&trueup_model::JobId::derive(&["j"]));
        let of = |install| {
            let new = Deployment {
                app: "App",
                ci: 7,
                collection: "ABC00200",
                install,
                now: Time::UNIX_EPOCH,
                key: &key,
            };
            deploy(new).body.unwrap()
        };
        for (install, config, offer, deadline) in [
            (Install::Required, 1, 0, true),
            (Install::Available, 1, 2, false),
            (Install::Uninstall, 2, 0, true),
        ] {
            let body = of(install);
            assert_eq!((&body["DesiredConfigType"], &body["OfferTypeID"]), (&json!(config), &json!(offer)));
            assert_eq!(body.get("EnforcementDeadline").is_some(), deadline, "{install:?}");
            assert_eq!(body["AssignmentName"], format!("App_7_ABC00200_{install:?}"));
        }
    }
}
