//! The requests this plane makes to Graph v1.0, as data. Pure; names and casing are checked against the CSDL.

use reqwest::Method;
use serde_json::{Value, json};

use crate::http::Cost;

/// Most requests in one `$batch`.
pub const MAX_BATCH: usize = 20;
/// Page size of `mobileApps`.
pub const APPS_PER_PAGE: usize = 100;
/// Page size of `detectedApps`: asked for, and followed whatever comes (known from other clients, not documented).
pub const DETECTED_PER_PAGE: usize = 500;
/// Page size of `managedDevices`, the largest that Graph gives.
pub const DEVICES_PER_PAGE: usize = 1000;
/// What is read of a device.
pub const DEVICE_FIELDS: [&str; 3] = ["id", "complianceState", "lastSyncDateTime"];

/// A request below the version root (`https://graph.microsoft.com/v1.0`).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    /// Path and query, encoded, beginning with `/`.
    pub path: String,
    /// The path with names for ids.
    pub template: &'static str,
    pub cost: Cost,
    pub body: Option<Value>,
}

fn read(path: String, template: &'static str, bucket: &'static str) -> Request {
    Request { method: Method::GET, path, template, cost: Cost::of(bucket, 1), body: None }
}

/// Names of budgets.
pub const APPS: &str = "apps";
pub const DEVICES: &str = "devices";
pub const WRITES: &str = "writes";

/// Every application with its assignments.
pub fn apps_with_assignments() -> Request {
    read(
        format!("/deviceAppManagement/mobileApps?$expand=assignments&$top={APPS_PER_PAGE}"),
        "/deviceAppManagement/mobileApps",
        APPS,
    )
}

/// The cheapest call that needs the permission to read applications.
pub fn first_app() -> Request {
    read("/deviceAppManagement/mobileApps?$top=1&$select=id".into(), "/deviceAppManagement/mobileApps", APPS)
}

pub fn assignments_of(app: &str) -> Request {
    read(
        format!("/deviceAppManagement/mobileApps/{}/assignments", encode(app)),
        "/deviceAppManagement/mobileApps/{id}/assignments",
        APPS,
    )
}

/// Replaces ALL assignments of an application.
pub fn assign(app: &str, assignments: Vec<Value>) -> Request {
    Request {
        method: Method::POST,
        path: format!("/deviceAppManagement/mobileApps/{}/assign", encode(app)),
        template: "/deviceAppManagement/mobileApps/{id}/assign",
        cost: Cost::of(APPS, 1).and(WRITES, 1),
        body: Some(json!({ "mobileAppAssignments": assignments })),
    }
}

/// Every version of every application that any device reports.
pub fn detected_apps() -> Request {
    let path = format!("/deviceManagement/detectedApps?$top={DETECTED_PER_PAGE}");
    read(path, "/deviceManagement/detectedApps", DEVICES)
}

pub fn detected_apps_named(name: &str) -> Request {
    let literal = format!("'{}'", name.replace('\'', "''"));
    read(
        format!("/deviceManagement/detectedApps?$filter={}", encode(&format!("displayName eq {literal}"))),
        "/deviceManagement/detectedApps",
        DEVICES,
    )
}

pub fn devices_of(detected_app: &str) -> Request {
    read(
        format!(
            "/deviceManagement/detectedApps/{}/managedDevices?$select={}",
            encode(detected_app),
            DEVICE_FIELDS.join(",")
        ),
        "/deviceManagement/detectedApps/{id}/managedDevices",
        DEVICES,
    )
}

/// Every device.
pub fn devices() -> Request {
    let fields = DEVICE_FIELDS.join(",");
    let path = format!("/deviceManagement/managedDevices?$select={fields}&$top={DEVICES_PER_PAGE}");
    read(path, "/deviceManagement/managedDevices", DEVICES)
}

pub fn sync_device(device: &str) -> Request {
    Request {
        method: Method::POST,
        path: format!("/deviceManagement/managedDevices/{}/syncDevice", encode(device)),
        template: "/deviceManagement/managedDevices/{id}/syncDevice",
        cost: Cost::of(DEVICES, 1).and(WRITES, 1),
        body: None,
    }
}

/// Many in one. An item's id is its place.
pub fn batch(items: &[Request]) -> Request {
    let mut requests = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let mut one = json!({"id": i.to_string(), "method": item.method.as_str(), "url": item.path});
        if let Some(body) = &item.body {
            one["headers"] = json!({"Content-Type": "application/json"});
            one["body"] = body.clone();
        }
        requests.push(one);
    }
    Request {
        method: Method::POST,
        path: "/$batch".into(),
        template: "/$batch",
        cost: items.iter().fold(Cost::free(), |sum, i| sum.plus(&i.cost)),
        body: Some(json!({ "requests": requests })),
    }
}

/// Percent-encodes all but letters, digits and `-._~`: ids come from the plane and are not trusted.
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
            detected_apps_named("O'Hare & Söhne").path,
            "/deviceManagement/detectedApps?$filter=displayName%20eq%20%27O%27%27Hare%20%26%20S%C3%B6hne%27"
        );
        assert_eq!(
            sync_device("../users/1?x").path,
            "/deviceManagement/managedDevices/..%2Fusers%2F1%3Fx/syncDevice"
        );
    }

    #[test]
    fn a_batch_costs_what_its_parts_cost() {
        let all = batch(&[assignments_of("a"), sync_device("d"), assign("a", Vec::new())]);
        assert_eq!(all.cost, Cost::of(APPS, 2).and(DEVICES, 1).and(WRITES, 2));
        let body = all.body.unwrap();
        assert_eq!(
            body["requests"][1],
            json!({"id": "1", "method": "POST", "url": "/deviceManagement/managedDevices/d/syncDevice"})
        );
        assert_eq!(body["requests"][2]["headers"]["Content-Type"], "application/json");
    }
}
