//! What changes a site: creations, deletions, methods. Each body is held against its class first.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};
use trueup_model::{Duration, Time};

use super::cycle::Visit;
use super::route::{Reply, bad_request, not_found};
use super::schema::class;
use super::seed::approved_script;
use super::state::{Deployment, State};

/// A collection is evaluated this long after its rules changed.
const EVALUATION: Duration = Duration::seconds(30);
/// A client that is online does what it is told within this time.
const CLIENT: Duration = Duration::seconds(60);

fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("The request body must be an object.".into()),
        Err(e) => Err(format!("Unable to read JSON request payload: {e}")),
    }
}

/// `POST wmi/SMS_ApplicationAssignment`.
pub(crate) fn deploy(state: &mut State, body: &[u8], origin: &str, now: Time) -> Reply {
    match deployment(state, body, now) {
        Err(why) => bad_request(&why),
        Ok(new) => {
            let (mut row, collection) = (new.body.clone(), new.collection.clone());
            let id = state.add(new);
            state.policy_changed(&collection, now);
            row.insert(
                "@odata.context".into(),
                format!("{origin}/AdminService/wmi/$metadata#SMS_ApplicationAssignment/$entity").into(),
            );
            row.insert("AssignmentID".into(), id.into());
            Reply::json(201, Value::Object(row))
        }
    }
}

fn deployment(state: &State, body: &[u8], now: Time) -> Result<Deployment, String> {
    const NAME: &str = "SMS_ApplicationAssignment";
    let body = object(body)?;
    class(NAME).ok_or("unknown class")?.check_new(NAME, &body)?;
    let collection = body["TargetCollectionID"].as_str().unwrap_or_default().to_owned();
    if !state.collections.contains_key(&collection) {
        return Err(format!("The collection '{collection}' does not exist."));
    }
    let [ci] = body["AssignedCIs"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err("An application assignment has one CI.".into());
    };
    let ci = ci.as_u64().and_then(|ci| u32::try_from(ci).ok()).filter(|ci| state.apps.contains_key(ci));
    let ci = ci.ok_or("The CI does not exist.")?;
    if body.get("AssignmentType").and_then(Value::as_i64).is_some_and(|t| t != 2) {
        return Err("AssignmentType of an application assignment is 2.".into());
    }
    let twice = state.deployments.values().any(|d| d.ci == ci && d.collection == collection);
    if state.one_deployment_only && twice {
        return Err("The application has already been deployed to this collection.".into());
    }
    Ok(Deployment { ci, collection, visible_at: now + state.visible_after, body })
}

/// `DELETE wmi/SMS_ApplicationAssignment/{id}`.
pub(crate) fn undeploy(state: &mut State, id: &str, now: Time) -> Reply {
    let removed = id.parse().ok().and_then(|id: u32| state.deployments.remove(&id));
    match removed {
        None => not_found(),
        Some(deployment) => {
            state.policy_changed(&deployment.collection, now);
            Reply::no_content()
        }
    }
}

/// `AdminService.AddMembershipRule` and `AdminService.DeleteMembershipRule`.
pub(crate) fn rule(state: &mut State, id: &str, body: &[u8], add: bool, now: Time) -> Reply {
    let Some(collection) = state.collections.get(id) else { return not_found() };
    let (resource, name) = match read_rule(body) {
        Ok(rule) => rule,
        Err(why) => return bad_request(&why),
    };
    let there = collection.rules.contains_key(&resource);
    let Some(device) = state.device_at(resource) else { return bad_request("The resource does not exist.") };
    if there == add {
        return bad_request(if add { "The rule exists already." } else { "The rule does not exist." });
    }
    if let Some(collection) = state.collections.get_mut(id) {
        if add {
            collection.rules.insert(resource, name)
        } else {
            collection.rules.remove(&resource)
        };
    }
    state.visits.push(Reverse((now + EVALUATION, device, Visit::Evaluate(id.to_owned()))));
    Reply::json(201, json!({"ReturnValue": 0}))
}

fn read_rule(body: &[u8]) -> Result<(u32, String), String> {
    let mut body = object(body)?;
    let rule = body.remove("collectionRule");
    let (Some(Value::Object(mut rule)), true) = (rule, body.is_empty()) else {
        return Err("The method takes one parameter, 'collectionRule'.".into());
    };
    let kind = rule.remove("@odata.type");
    if kind.as_ref().and_then(Value::as_str) != Some("#AdminService.SMS_CollectionRuleDirect") {
        return Err("'collectionRule' must be a '#AdminService.SMS_CollectionRuleDirect'.".into());
    }
    const NAME: &str = "SMS_CollectionRuleDirect";
    class(NAME).ok_or("unknown class")?.check_new(NAME, &rule)?;
    if rule["ResourceClassName"] != "SMS_R_System" {
        return Err("ResourceClassName must be SMS_R_System.".into());
    }
    let resource = rule["ResourceID"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    Ok((resource, rule["RuleName"].as_str().unwrap_or_default().to_owned()))
}

/// `SMS_ClientOperation.InitiateClientOperation`: devices poll, and take their remedies.
pub(crate) fn client_operation(state: &mut State, body: &[u8], now: Time) -> Reply {
    const NAME: &str = "SMS_ClientOperation.InitiateClientOperation";
    let body = match object(body)
        .and_then(|b| class(NAME).ok_or("unknown class")?.check_call(NAME, &b).map(|()| b))
    {
        Ok(body) => body,
        Err(why) => return bad_request(&why),
    };
    let id = body["TargetCollectionID"].as_str().unwrap_or_default();
    let Some(collection) = state.collections.get(id) else {
        return bad_request(&format!("The collection '{id}' does not exist."));
    };
    let mut asked: Vec<usize> = collection.members.iter().copied().collect();
    if let Some(named) = body.get("TargetResourceIDs").and_then(Value::as_array) {
        asked.retain(|at| named.iter().any(|n| n.as_u64() == Some(u64::from(state.devices[*at].resource))));
    }
    for device in asked {
        for visit in [Visit::Policy, Visit::Comply] {
            state.visits.push(Reverse((now + CLIENT, device, visit)));
        }
    }
    state.next_operation += 1;
    Reply::json(201, json!({"OperationID": 16_777_216 + state.next_operation, "ReturnValue": 0}))
}

/// `v1.0/Device(id)/AdminService.RunScript`.
pub(crate) fn run_script(state: &mut State, device: &str, body: &[u8], now: Time) -> Reply {
    let body = match object(body) {
        Ok(body) => body,
        Err(why) => return bad_request(&why),
    };
    let (Some(guid), 1) = (body.get("ScriptGuid").and_then(Value::as_str), body.len()) else {
        return bad_request("The method takes one parameter, 'ScriptGuid'.");
    };
    let Some(device) = device.parse().ok().and_then(|id| state.device_at(id)) else { return not_found() };
    if !guid.eq_ignore_ascii_case(&approved_script()) {
        return Reply::empty(403);
    }
    state.visits.push(Reverse((now + CLIENT, device, Visit::Comply)));
    state.next_operation += 1;
    Reply::json(200, json!({"value": 16_777_216 + state.next_operation}))
}
