//! `<policy>`: as it is answered, and as it is taken.
//!
//! # Guarantees
//! `PUT` leaves top-level elements that are not sent, and the fields of `general` and `self_service` that are not sent. A
//! `scope` that is sent replaces the whole scope there, limitations and exclusions included; an empty one is ignored.
//! Elements that do not exist, flags that are neither true nor false, ids of nothing and groups in `limit_to_users` are
//! refused. A password is answered as twenty asterisks; sent back, the asterisks are the password from then on.

use std::collections::BTreeSet;

use trueup_model::Duration;

use super::classic::{conflict, not_found};
use super::state::{Before, LISTS, Lists, Policy, PolicyScope, State};
use super::wire::{Asked, Reply, html};
use super::xml::{Node, leaf, node, parse};

/// What stands for a password in an answer.
pub(crate) const MASK: &str = "********************";
/// How long other nodes of the cluster see a policy as it was.
const LAG: Duration = Duration::seconds(60);

impl State {
    /// The policy as this node of the cluster sees it.
    pub(crate) fn seen_policy(&self, id: u32, asked: &Asked<'_>) -> Option<&Policy> {
        let now = self.policies.get(&id)?;
        let before = self.before.get(&id).filter(|b| b.node != asked.node && b.until > asked.now);
        Some(before.map_or(now, |b| &b.policy))
    }
}

pub(crate) fn document(id: u32, policy: &Policy) -> Node {
    let none = |name: &str, text: &str| node(name, [leaf("id", -1), leaf("name", text)]);
    let general = [
        leaf("id", id),
        leaf("name", &policy.name),
        leaf("enabled", policy.enabled),
        leaf("trigger", "CHECKIN"),
        leaf("trigger_checkin", true),
        leaf("trigger_other", ""),
        leaf("frequency", "Ongoing"),
        none("category", "No category assigned"),
        none("site", "None"),
    ];
    let self_service = [
        leaf("use_for_self_service", policy.self_service),
        leaf("install_button_text", "Install"),
        // Twice, with two meanings, as the real one answers.
        leaf("notification", false),
        leaf("notification", "Self Service"),
    ];
    let package = node("package", [leaf("id", policy.app + 1), leaf("name", &policy.version)]);
    let account = node("management_account", [leaf("action", "doNotChange"), leaf("managed_password", MASK)]);
    node(
        "policy",
        [
            node("general", general),
            scope(&policy.scope),
            node("self_service", self_service),
            node("package_configuration", [node("packages", [leaf("size", 1), package])]),
            node("account_maintenance", [account]),
        ],
    )
}

fn named(list: &str, item: &str, names: &[String]) -> Node {
    node(list, names.iter().map(|name| node(item, [leaf("name", name)])))
}

fn lists(lists: &Lists) -> impl Iterator<Item = Node> + '_ {
    LISTS.iter().zip(lists).map(|((list, item), ids)| {
        let entry = |id: &u32| node(item, [leaf("id", id), leaf("name", format!("{item} {id}"))]);
        node(list, ids.iter().map(entry))
    })
}

fn scope(scope: &PolicyScope) -> Node {
    let mut all = vec![leaf("all_computers", scope.all_computers)];
    all.extend(lists(&scope.targets));
    let limit_to = scope.limit_to.iter().map(|name| leaf("user_group", name));
    all.push(node("limit_to_users", [node("user_groups", limit_to)]));
    let limitations = [
        named("users", "user", &scope.limited_users),
        named("user_groups", "user_group", &scope.limit_to),
        node("network_segments", []),
        node("ibeacons", []),
    ];
    all.push(node("limitations", limitations));
    let users = named("users", "user", &scope.excluded_users);
    let rest = [users, node("user_groups", []), node("network_segments", []), node("ibeacons", [])];
    all.push(node("exclusions", lists(&scope.exclusions).chain(rest)));
    node("scope", all)
}

/// `PUT policies/id/{id}`.
pub(crate) fn put(state: &mut State, id: u32, asked: &Asked<'_>) -> Reply {
    let Some(root) = parse(asked.body).filter(|r| r.name == "policy") else {
        return html(400, "Bad Request", "Error: Unable to parse the request.");
    };
    let Some(before) = state.policies.get(&id) else { return not_found() };
    let mut policy = before.clone();
    if let Err(problem) = merge(state, &mut policy, &root) {
        return conflict(&problem);
    }
    let Some(before) = state.policies.insert(id, policy) else { return not_found() };
    let old = before.scope.clone();
    // Whoever asks another node meanwhile sees what was there before the first of these writes.
    let until = asked.now + LAG;
    let seen = Before { node: asked.node, until, policy: before };
    state.before.entry(id).and_modify(|b| (b.node, b.until) = (asked.node, until)).or_insert(seen);
    state.rescoped(id, &old, asked.now);
    Reply::xml(201, node("policy", [leaf("id", id)]))
}

fn problem(node: &Node) -> String {
    format!("Problem with {}", node.name)
}

fn flag(node: &Node) -> Result<bool, String> {
    node.text.parse().map_err(|_| problem(node))
}

fn merge(state: &State, policy: &mut Policy, root: &Node) -> Result<(), String> {
    for part in &root.children {
        match part.name.as_str() {
            "general" => {
                for field in &part.children {
                    match field.name.as_str() {
                        "enabled" => policy.enabled = flag(field)?,
                        "name" => policy.name = field.text.clone(),
                        _ => return Err(problem(field)),
                    }
                }
            }
            "scope" if part.children.is_empty() => {}
            "scope" => policy.scope = read_scope(state, part)?,
            "self_service" => {
                for field in &part.children {
                    match field.name.as_str() {
                        "use_for_self_service" => policy.self_service = flag(field)?,
                        "notification" | "install_button_text" => {}
                        _ => return Err(problem(field)),
                    }
                }
            }
            "account_maintenance" => {
                let sent = part.child("management_account").and_then(|a| a.child("managed_password"));
                policy.password = sent.ok_or_else(|| problem(part))?.text.clone();
            }
            _ => return Err(problem(part)),
        }
    }
    Ok(())
}

fn read_scope(state: &State, sent: &Node) -> Result<PolicyScope, String> {
    let mut scope = PolicyScope::default();
    for part in &sent.children {
        match part.name.as_str() {
            "all_computers" => scope.all_computers = flag(part)?,
            "limitations" => {
                for list in &part.children {
                    match list.name.as_str() {
                        "users" => scope.limited_users = names(list)?,
                        // The mirror: written here, it is written there.
                        "user_groups" => scope.limit_to = names(list)?,
                        "network_segments" | "ibeacons" if list.children.is_empty() => {}
                        _ => return Err(problem(list)),
                    }
                }
            }
            // As of a directory that is not reachable by its old name any more.
            "limit_to_users" if part.children.iter().any(|groups| !groups.children.is_empty()) => {
                return Err("Problem matching limit_to_users user group".into());
            }
            "limit_to_users" => {}
            "exclusions" => {
                for list in &part.children {
                    match list.name.as_str() {
                        "users" => scope.excluded_users = names(list)?,
                        "user_groups" | "network_segments" | "ibeacons" if list.children.is_empty() => {}
                        _ => replace(state, &mut scope.exclusions, list)?,
                    }
                }
            }
            _ => replace(state, &mut scope.targets, part)?,
        }
    }
    Ok(scope)
}

fn names(list: &Node) -> Result<Vec<String>, String> {
    let name = |entry: &Node| entry.child("name").map(|n| n.text.clone()).ok_or_else(|| problem(list));
    list.children.iter().map(name).collect()
}

fn replace(state: &State, lists: &mut Lists, sent: &Node) -> Result<(), String> {
    let found = LISTS.iter().position(|(list, _)| *list == sent.name);
    let kind = found.ok_or_else(|| problem(sent))?;
    let id = |entry: &Node| -> Option<u32> {
        let id = entry.child("id")?.text.parse().ok()?;
        let exists = match kind {
            0 => state.computers.contains_key(&id),
            1 => state.groups.contains_key(&id),
            2 => (1..=3).contains(&id),
            _ => (1..=2).contains(&id),
        };
        (entry.name == LISTS[kind].1 && exists).then_some(id)
    };
    let entries = sent.children.iter().filter(|e| e.name != "size");
    let ids: Option<BTreeSet<u32>> = entries.map(id).collect();
    lists[kind] = ids.ok_or_else(|| problem(sent))?;
    Ok(())
}
