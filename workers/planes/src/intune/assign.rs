//! Read-modify-write of an application's assignments. `assign` replaces the whole set, so what others assigned is sent
//! back as it came, settings and all. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trueup_model::Fault;
use trueup_model::intent::{Install, Scope};

use super::parse::{ALL_DEVICES, ALL_USERS, EXCLUSION, GROUP, install_name, local_name, scope_of};

/// Groups that an error names at most.
const NAMED: usize = 10;

/// What is wanted of one application's assignments; scopes not named stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    pub install: Install,
    pub include: Option<&'a BTreeSet<Scope>>,
    pub exclude: Option<&'a BTreeSet<Scope>>,
    pub remove: Option<&'a BTreeSet<Scope>>,
}

impl Wanted<'_> {
    fn names(set: Option<&BTreeSet<Scope>>, scope: &Scope) -> bool {
        set.is_some_and(|s| s.iter().any(|other| same(other, scope)))
    }
}

/// Group ids are GUIDs: case does not matter.
fn same(a: &Scope, b: &Scope) -> bool {
    match (a, b) {
        (Scope::Group(a), Scope::Group(b)) => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

/// The set to send, or `None` if the application has it already.
pub fn merge(current: &[Value], wanted: &Wanted<'_>) -> Result<Option<Vec<Value>>, String> {
    let mut kept: Vec<Value> = Vec::new();
    let mut changed = false;
    let mut have: Vec<(Scope, bool)> = Vec::new();
    for assignment in current {
        let mut out = as_sent(assignment);
        let Some((scope, excluded)) = scope_of(&assignment["target"])? else {
            if !kept.contains(&out) {
                kept.push(out);
            }
            continue;
        };
        let included = Wanted::names(wanted.include, &scope);
        let shut_out = Wanted::names(wanted.exclude, &scope);
        let contradicts = (included && excluded) || (shut_out && !excluded);
        if Wanted::names(wanted.remove, &scope) || contradicts {
            changed = true;
            continue;
        }
        // Graph refuses two assignments with the same target; the first one stays.
        if have.iter().any(|(s, e)| same(s, &scope) && *e == excluded) {
            continue;
        }
        if (included || shut_out) && out["intent"] != install_name(wanted.install) {
            out["intent"] = install_name(wanted.install).into();
            changed = true;
        }
        have.push((scope, excluded));
        kept.push(out);
    }
    for (set, excluded) in [(wanted.include, false), (wanted.exclude, true)] {
        for scope in set.into_iter().flatten() {
            if !have.iter().any(|(s, e)| same(s, scope) && *e == excluded) {
                kept.push(new(wanted.install, scope, excluded)?);
                changed = true;
            }
        }
    }
    Ok(changed.then_some(kept))
}

/// What a refused write is most probably about: Graph does not take a new assignment to a group that does not exist.
pub fn explain(fault: Fault, before: &[Value], wanted: &Wanted<'_>) -> Fault {
    let Fault::Permanent { what } = fault else { return fault };
    let is_old = |id: &str| {
        before.iter().any(|a| a["target"]["groupId"].as_str().is_some_and(|g| g.eq_ignore_ascii_case(id)))
    };
    let new =
        [wanted.include, wanted.exclude].into_iter().flatten().flatten().filter_map(|scope| match scope {
            Scope::Group(id) if !is_old(id) => Some(id.as_str()),
            _ => None,
        });
    let new: Vec<&str> = new.take(NAMED).collect();
    let hint = if new.is_empty() {
        String::new()
    } else {
        format!("; check that these groups exist: {}", new.join(", "))
    };
    Fault::Permanent { what: format!("{what}{hint}") }
}

/// An assignment as Graph takes it: what Graph itself adds when it answers is left out.
fn as_sent(assignment: &Value) -> Value {
    let mut out = json!({
        "@odata.type": "#microsoft.graph.mobileAppAssignment",
        "intent": assignment["intent"],
        "target": assignment["target"],
        "settings": assignment["settings"],
    });
    if let Some(kind) = out["target"]["@odata.type"].as_str() {
        out["target"]["@odata.type"] = format!("#microsoft.graph.{}", local_name(kind)).into();
    }
    out
}

fn new(install: Install, scope: &Scope, excluded: bool) -> Result<Value, String> {
    let kind = |name: &str| format!("#microsoft.graph.{name}");
    let target = match (scope, excluded) {
        (Scope::Group(id), false) => json!({"@odata.type": kind(GROUP), "groupId": id}),
        (Scope::Group(id), true) => json!({"@odata.type": kind(EXCLUSION), "groupId": id}),
        (Scope::AllDevices, false) => json!({"@odata.type": kind(ALL_DEVICES)}),
        (Scope::AllUsers, false) => json!({"@odata.type": kind(ALL_USERS)}),
        (other, true) => return Err(format!("Intune can exclude groups only, not {other:?}")),
        (other, false) => return Err(format!("Intune cannot assign to {other:?}")),
    };
    Ok(as_sent(&json!({"intent": install_name(install), "target": target, "settings": null})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(ids: &[&str]) -> BTreeSet<Scope> {
        ids.iter().map(|g| Scope::Group((*g).into())).collect()
    }

    fn seen(intent: &str, kind: &str, group: Option<&str>) -> Value {
        let mut v = json!({"id": "x_0", "intent": intent, "settings": {"@odata.type": "#microsoft.graph.win32LobAppAssignmentSettings", "notifications": "hideAll"},
            "target": {"@odata.type": kind}, "source": "direct"});
        if let Some(g) = group {
            v["target"]["groupId"] = g.into();
        }
        v
    }

    fn brief(set: &[Value]) -> Vec<String> {
        let one = |v: &Value| {
            let kind =
                local_name(v["target"]["@odata.type"].as_str().unwrap()).replace("AssignmentTarget", "");
            let settings = if v["settings"].is_null() { "" } else { "+settings" };
            format!(
                "{} {kind} {}{settings}",
                v["intent"].as_str().unwrap(),
                v["target"]["groupId"].as_str().unwrap_or("-")
            )
        };
        set.iter().map(one).collect()
    }

    #[test]
    fn keeps_what_others_assigned() {
        let current = [
            seen("available", "#microsoft.graph.groupAssignmentTarget", Some("other")),
            seen("required", "#microsoft.graph.allLicensedUsersAssignmentTarget", None),
            seen("available", "microsoft.graph.groupAssignmentTarget", Some("MINE")),
            seen("required", "#microsoft.graph.exclusionGroupAssignmentTarget", Some("b")),
            seen("required", "#microsoft.graph.groupAssignmentTarget", Some("old")),
            seen("required", "#microsoft.graph.futureAssignmentTarget", None),
        ];
        let (include, exclude, remove) =
            (groups(&["mine", "b"]), groups(&["c"]), groups(&["old", "unknown"]));
        let wanted = Wanted {
            install: Install::Required,
            include: Some(&include),
            exclude: Some(&exclude),
            remove: Some(&remove),
        };
        let set = merge(&current, &wanted).unwrap().unwrap();
        assert_eq!(
            brief(&set),
            [
                "available group other+settings",
                "required allLicensedUsers -+settings",
                "required group MINE+settings",
                "required future -+settings",
                "required group b",
                "required exclusionGroup c",
            ]
        );
        assert!(set.iter().all(|a| a.get("id").is_none() && a.get("source").is_none()));
        assert_eq!(merge(&set, &wanted), Ok(None), "the second time there is nothing to do");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let all = BTreeSet::from([Scope::AllDevices]);
        let e = merge(&[], &Wanted { exclude: Some(&all), ..Wanted::default() }).unwrap_err();
        assert!(e.contains("exclude groups only"), "{e}");
    }

    #[test]
    fn removing_the_last_sends_an_empty_set() {
        let current = [seen("required", "#microsoft.graph.groupAssignmentTarget", Some("a"))];
        let remove = groups(&["A"]);
        let wanted = Wanted { remove: Some(&remove), ..Wanted::default() };
        assert_eq!(merge(&current, &wanted), Ok(Some(Vec::new())));
        assert_eq!(merge(&[], &wanted), Ok(None));
    }
}
