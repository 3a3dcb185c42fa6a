//! The Classic API: `/JSSResource`. XML only; errors are HTML. No I/O.

use std::collections::BTreeSet;

use super::policy_xml;
use super::state::State;
use super::wire::{Asked, Reply, html};
use super::xml::{Node, leaf, node, parse};

/// Answers a request with a good token that is not for the Jamf Pro API.
pub(crate) fn serve(state: &mut State, asked: &Asked<'_>) -> Reply {
    let Some(path) = asked.path.strip_prefix("/JSSResource/") else { return not_found() };
    let segments: Vec<&str> = path.split('/').collect();
    if !matches!(asked.method, "GET" | "PUT" | "POST") {
        return html(405, "Method Not Allowed", "The method is not allowed for this resource.");
    }
    if asked.method != "GET" && !is_xml(asked.content_type) {
        return html(415, "Unsupported Media Type", "The Classic API accepts XML only.");
    }
    if asked.method == "GET"
        && !asked.accept.is_empty()
        && !["xml", "*/*"].iter().any(|a| asked.accept.contains(a))
    {
        return html(406, "Not Acceptable", "This simulator answers in XML only.");
    }
    if !asked.query.is_empty() {
        return html(400, "Bad Request", "The Classic API has no query parameters.");
    }
    match (asked.method, segments.as_slice()) {
        ("GET", ["policies"]) => {
            let one = |(id, p): (&u32, &super::state::Policy)| ("policy", *id, p.name.clone(), None);
            list("policies", state.policies.iter().map(one))
        }
        ("GET", ["computers"]) => {
            let one = |(id, c): (&u32, &super::state::Computer)| ("computer", *id, c.name.clone(), None);
            list("computers", state.computers.iter().map(one))
        }
        ("GET", ["computergroups"]) => {
            let one = |(id, g): (&u32, &super::state::Group)| {
                ("computer_group", *id, g.name.clone(), Some(g.failing.is_some()))
            };
            list("computer_groups", state.groups.iter().map(one))
        }
        ("GET", ["policies", "id", id]) => match known(id, |id| state.seen_policy(id, asked)) {
            Some((id, policy)) => Reply::xml(200, policy_xml::document(id, policy)),
            None => not_found(),
        },
        ("PUT", ["policies", "id", id]) => match known(id, |id| state.policies.get(&id)) {
            Some((id, _)) => policy_xml::put(state, id, asked),
            None => not_found(),
        },
        ("GET", ["computergroups", "id", id]) => match known(id, |id| state.groups.get(&id)) {
            Some((id, _)) => Reply::xml(200, group(state, id)),
            None => not_found(),
        },
        ("PUT", ["computergroups", "id", id]) => match known(id, |id| state.groups.get(&id)) {
            Some((id, _)) => put_group(state, id, asked),
            None => not_found(),
        },
        (_, ["policies" | "computergroups" | "computers", ..]) if asked.method != "GET" => {
            html(405, "Method Not Allowed", "The method is not allowed for this resource.")
        }
        _ => not_found(),
    }
}

fn is_xml(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    matches!(kind, "application/xml" | "text/xml")
}

fn known<T>(id: &str, find: impl FnOnce(u32) -> Option<T>) -> Option<(u32, T)> {
    let id = id.parse().ok()?;
    Some((id, find(id)?))
}

pub(crate) fn not_found() -> Reply {
    html(404, "Not Found", "The server has not found anything matching the request URI.")
}

pub(crate) fn conflict(what: &str) -> Reply {
    html(409, "Conflict", &format!("Error: {what}"))
}

type Listed = (&'static str, u32, String, Option<bool>);

fn list(name: &str, items: impl ExactSizeIterator<Item = Listed>) -> Reply {
    let mut all = vec![leaf("size", items.len())];
    for (kind, id, name, smart) in items {
        let mut item = node(kind, [leaf("id", id), leaf("name", name)]);
        item.children.extend(smart.map(|s| leaf("is_smart", s)));
        all.push(item);
    }
    Reply::xml(200, node(name, all))
}

fn group(state: &State, id: u32) -> Node {
    let Some(group) = state.groups.get(&id) else { return Node::default() };
    let members = state.members(group);
    let mut computers = vec![leaf("size", members.len())];
    for computer in members {
        let name = state.computers.get(&computer).map_or("", |c| &c.name);
        let serial = leaf("serial_number", format!("C02{computer:09}"));
        let mac = leaf("mac_address", "");
        computers.push(node("computer", [leaf("id", computer), leaf("name", name), mac, serial]));
    }
    let mut criteria = vec![leaf("size", u8::from(group.failing.is_some()))];
    if group.failing.is_some() {
        let parts = [
            ("name", "Compliance"),
            ("priority", "0"),
            ("and_or", "and"),
            ("search_type", "is"),
            ("value", "Fail"),
            ("opening_paren", "false"),
            ("closing_paren", "false"),
        ];
        criteria.push(node("criterion", parts.map(|(name, text)| leaf(name, text))));
    }
    node(
        "computer_group",
        [
            leaf("id", id),
            leaf("name", &group.name),
            leaf("is_smart", group.failing.is_some()),
            node("site", [leaf("id", -1), leaf("name", "None")]),
            node("criteria", criteria),
            node("computers", computers),
        ],
    )
}

fn put_group(state: &mut State, id: u32, asked: &Asked<'_>) -> Reply {
    let Some(root) = parse(asked.body).filter(|r| r.name == "computer_group") else {
        return html(400, "Bad Request", "Error: Unable to parse the request.");
    };
    let Some(known) = state.groups.get(&id) else { return not_found() };
    let mut members = known.members.clone();
    let named = |list: &Node| -> Option<BTreeSet<u32>> {
        let entries = list.children.iter().filter(|c| c.name != "size");
        entries.map(|c| (c.name == "computer").then(|| c.child("id")?.text.parse().ok()).flatten()).collect()
    };
    for part in &root.children {
        let list = match part.name.as_str() {
            "computers" | "computer_additions" | "computer_deletions" => named(part),
            "id" | "name" | "is_smart" | "site" => continue,
            other => return conflict(&format!("Problem with {other}")),
        };
        if known.failing.is_some() {
            return conflict("Unable to update the membership of a smart group");
        }
        let Some(list) = list else { return conflict(&format!("Problem with {}", part.name)) };
        if list.iter().any(|computer| !state.computers.contains_key(computer)) {
            return conflict("Unable to match computer");
        }
        match part.name.as_str() {
            "computers" => members = list,
            "computer_additions" => members.extend(list),
            _ => members.retain(|m| !list.contains(m)),
        }
    }
    let changed: BTreeSet<u32> = members.symmetric_difference(&known.members).copied().collect();
    state.groups.entry(id).and_modify(|g| g.members = members);
    state.regrouped(id, &changed, asked.now);
    Reply::xml(201, node("computer_group", [leaf("id", id)]))
}
