//! The body of `assign`, held against the schema. Pure.

use serde_json::{Map, Value, json};
use trueup_model::target::is_guid;

use super::vocabulary::{ASSIGNMENT, INTENTS, SETTINGS, TARGETS};
use crate::state::{Assignment, Reach};

/// Reads `{"mobileAppAssignments": […]}`; the error says what Graph would refuse. `before`: what is assigned now.
pub(crate) fn read(body: &[u8], before: &[Assignment]) -> Result<Vec<Assignment>, String> {
    let body: Value =
        serde_json::from_slice(body).map_err(|e| format!("Unable to read JSON request payload: {e}"))?;
    let body = object(&body, "The request body")?;
    only(body, &["mobileAppAssignments"], "action 'assign'")?;
    let list = body.get("mobileAppAssignments").and_then(Value::as_array);
    let list = list.ok_or("Action 'assign' needs the parameter 'mobileAppAssignments', a collection.")?;
    let mut all: Vec<Assignment> = Vec::with_capacity(list.len());
    for item in list {
        let assignment = one(item, before)?;
        if all.iter().any(|a| a.reach == assignment.reach) {
            return Err("Duplicate assignment targets are not allowed.".into());
        }
        all.push(assignment);
    }
    Ok(all)
}

fn one(item: &Value, before: &[Assignment]) -> Result<Assignment, String> {
    let item = object(item, "mobileAppAssignment")?;
    typed(item, "mobileAppAssignment", false)?;
    only(item, &ASSIGNMENT, "mobileAppAssignment")?;
    let intent = item.get("intent").and_then(Value::as_str).ok_or("mobileAppAssignment needs 'intent'.")?;
    if !INTENTS.contains(&intent) && !before.iter().any(|a| a.intent == intent) {
        return Err(format!("Requested value '{}' was not found in installIntent.", brief(intent)));
    }
    let target = item.get("target").unwrap_or(&Value::Null);
    // What it served of a kind of its own it also takes, if nothing of it is lost.
    let other = Reach::Other(target.clone());
    let reach = match before.iter().any(|a| a.reach == other) {
        true => other,
        false => reach(object(target, "mobileAppAssignment.target")?)?,
    };
    let settings = item.get("settings").cloned().unwrap_or_default();
    if !settings.is_null() {
        let map = object(&settings, "settings")?;
        let kind = typed(map, "settings", true)?;
        let known = SETTINGS.iter().find(|(name, _)| *name == kind);
        let (_, fields) =
            known.ok_or_else(|| format!("'{}' is not a type of assignment settings.", brief(&kind)))?;
        only(map, fields, &kind)?;
    }
    Ok(Assignment { intent: intent.to_owned(), reach, settings })
}

fn reach(target: &Map<String, Value>) -> Result<Reach, String> {
    let kind = typed(target, "target", true)?;
    let known = TARGETS.iter().find(|(name, _)| *name == kind);
    let (_, fields) =
        known.ok_or_else(|| format!("'{}' is not a type of assignment target.", brief(&kind)))?;
    only(target, fields, &kind)?;
    let group = || {
        let id = target.get("groupId").and_then(Value::as_str).unwrap_or_default();
        if is_guid(id) { Ok(id.to_owned()) } else { Err(format!("'{}' is not a valid groupId.", brief(id))) }
    };
    Ok(match kind.as_str() {
        "groupAssignmentTarget" => Reach::Group(group()?),
        "exclusionGroupAssignmentTarget" => Reach::Exclusion(group()?),
        "allLicensedUsersAssignmentTarget" => Reach::AllUsers,
        _ => Reach::AllDevices,
    })
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} must be an object."))
}

/// The local name in `@odata.type`.
fn typed(map: &Map<String, Value>, expected: &str, needed: bool) -> Result<String, String> {
    let Some(kind) = map.get("@odata.type").and_then(Value::as_str) else {
        return if needed {
            Err(format!("{expected} needs '@odata.type'."))
        } else {
            Ok(expected.to_owned())
        };
    };
    let name = kind.strip_prefix('#').unwrap_or(kind).strip_prefix("microsoft.graph.");
    match name {
        Some(name) if needed || name == expected => Ok(name.to_owned()),
        _ => Err(format!("'{}' is not a type that can be here.", brief(kind))),
    }
}

fn only(map: &Map<String, Value>, fields: &[&str], what: &str) -> Result<(), String> {
    match map.keys().find(|k| *k != "@odata.type" && !fields.contains(&k.as_str())) {
        None => Ok(()),
        Some(k) => Err(format!("The property '{}' does not exist on type '{what}'.", brief(k))),
    }
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

/// An assignment as Graph answers it.
pub(crate) fn write(assignment: &Assignment, n: usize) -> Value {
    let (kind, group) = match &assignment.reach {
        Reach::Group(id) => ("groupAssignmentTarget", Some(id)),
        Reach::Exclusion(id) => ("exclusionGroupAssignmentTarget", Some(id)),
        Reach::AllUsers => ("allLicensedUsersAssignmentTarget", None),
        Reach::AllDevices => ("allDevicesAssignmentTarget", None),
        Reach::Other(_) => ("other", None),
    };
    let mut target = match &assignment.reach {
        Reach::Other(target) => target.clone(),
        _ => json!({"@odata.type": format!("#microsoft.graph.{kind}")}),
    };
    if let Some(group) = group {
        target["groupId"] = group.as_str().into();
    }
    let id = format!("{}_{}_{}", group.map_or(kind, String::as_str), n, 0);
    json!({
        "@odata.type": "#microsoft.graph.mobileAppAssignment",
        "id": id, "intent": assignment.intent, "target": target, "settings": assignment.settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: &str = "11111111-2222-3333-4444-555555555555";

    fn item() -> Value {
        json!({"@odata.type": "#microsoft.graph.mobileAppAssignment", "intent": "required", "settings": null,
            "target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": G}})
    }

    fn read_items(items: Vec<Value>) -> Result<Vec<Assignment>, String> {
        read(json!({ "mobileAppAssignments": items }).to_string().as_bytes(), &[])
    }

    #[test]
    fn what_graph_takes() {
        let mut ios = item();
        ios["target"] = json!({"@odata.type": "microsoft.graph.allDevicesAssignmentTarget"});
        ios["settings"] =
            json!({"@odata.type": "#microsoft.graph.iosStoreAppAssignmentSettings", "isRemovable": true});
        assert_eq!(read_items(vec![item(), ios]).unwrap().len(), 2);
        assert_eq!(read_items(Vec::new()), Ok(Vec::new()));
        let again: Vec<Value> = read_items(vec![item()]).unwrap().iter().map(|a| write(a, 0)).collect();
        assert!(read_items(again).is_ok(), "what it serves it also takes");
    }

    #[test]
    fn what_graph_refuses() {
        let changed = |f: &dyn Fn(&mut Value)| {
            let mut i = item();
            f(&mut i);
            read_items(vec![i])
        };
        type Change = (&'static str, fn(&mut Value));
        let cases: [Change; 14] = [
            ("was not found in installIntent", |i| i["intent"] = "Required".into()),
            ("needs 'intent'", |i| i["intent"] = Value::Null),
            ("'Intent' does not exist", |i| i["Intent"] = "required".into()),
            ("'source' does not exist", |i| i["source"] = "direct".into()),
            ("target must be an object", |i| i["target"] = Value::Null),
            ("needs '@odata.type'", |i| i["target"] = json!({"groupId": G})),
            ("not a type of assignment target", |i| {
                i["target"]["@odata.type"] = "#microsoft.graph.GroupAssignmentTarget".into()
            }),
            ("not a type that can be here", |i| i["target"]["@odata.type"] = "groupAssignmentTarget".into()),
            ("not a valid groupId", |i| i["target"]["groupId"] = "x".into()),
            ("'groupid' does not exist", |i| i["target"]["groupid"] = G.into()),
            ("'groupId' does not exist", |i| {
                i["target"]["@odata.type"] = "#microsoft.graph.allDevicesAssignmentTarget".into()
            }),
            ("not a type of assignment settings", |i| {
                i["settings"] = json!({"@odata.type": "#microsoft.graph.x"})
            }),
            ("'isremovable' does not exist", |i| {
                i["settings"] = json!({"@odata.type": "#microsoft.graph.iosStoreAppAssignmentSettings", "isremovable": true});
            }),
            ("not a type that can be here", |i| i["@odata.type"] = "#microsoft.graph.mobileApp".into()),
        ];
        for (expected, change) in cases {
            let e = changed(&change).unwrap_err();
            assert!(e.contains(expected), "{expected}: {e}");
        }
        for (body, expected) in [
            ("", "Unable to read JSON"),
            ("[]", "must be an object"),
            ("{}", "mobileAppAssignments"),
            (r#"{"assignments":[]}"#, "'assignments' does not exist"),
            (r#"{"mobileAppAssignments":{}}"#, "a collection"),
        ] {
            let e = read(body.as_bytes(), &[]).unwrap_err();
            assert!(e.contains(expected), "{body}: {e}");
        }
        assert!(read_items(vec![item(), item()]).unwrap_err().contains("Duplicate"));
    }
}
