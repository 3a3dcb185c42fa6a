//! The requests this plane makes to the AdminService for single things, and to change them, as data. Pure.
//!
//! How well they are known: creation of a deployment, membership rules by `AdminService.*`, `RunScript`: public reports of
//! working calls (`tests/fixtures/adminservice`); the rest: vendor documentation.

use reqwest::Method;
use serde_json::{Value, json};
use trueup_model::intent::Install;
use trueup_model::{EffectKey, Time};

pub(super) const DEPLOYMENT: &str = "/wmi/SMS_ApplicationAssignment";
pub(super) const SOFTWARE: &str = "/wmi/SMS_G_System_INSTALLED_SOFTWARE";

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

pub(super) fn get(path: String, template: &'static str) -> Request {
    Request { method: Method::GET, path, template, body: None }
}

fn post(path: String, template: &'static str, body: Value) -> Request {
    Request { method: Method::POST, path, template, body: Some(body) }
}

/// Whether the site collects installed software at all.
pub fn any_software() -> Request {
    get("/wmi/SMS_G_System_INSTALLED_SOFTWARE?$select=ResourceID&$top=1".into(), SOFTWARE)
}

/// The cheapest call that needs the right to read deployments.
pub fn first_deployment() -> Request {
    get("/wmi/SMS_ApplicationAssignment?$select=AssignmentID&$top=1".into(), DEPLOYMENT)
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
    post("/wmi/SMS_ApplicationAssignment".into(), DEPLOYMENT, body)
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
pub(super) fn encode(text: &str) -> String {
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
        assert_eq!(collection("x'/..").path, "/wmi/SMS_Collection('x%27%2F..')");
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
