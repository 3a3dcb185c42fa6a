//! `<policy>` of the Classic API, as far as it is read: whether it is on, how it is offered, whom it reaches. Pure.
//!
//! # Decides
//! - A disabled policy reaches nobody, whatever its scope says.
//! - `limitations` and `limit_to_users` narrow a scope and are nobody's assignment: `limitations.user_groups` is a mirror
//!   of the other, so neither is compared. Passwords (twenty asterisks) and the doubled `<notification>` are not read.
//! - Targets this product has no word for (users, networks) are remembered by name only.

use std::collections::BTreeSet;

use trueup_model::intent::{Install, Scope};
use trueup_model::observed::AssignmentSeen;

use super::xml::Element;

/// A kind of thing that a scope lists: the list, its items, and the scope it is to us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) list: &'static str,
    pub(crate) item: &'static str,
    pub(crate) scope: fn(String) -> Scope,
}

/// In the order of [`Lists`].
pub(crate) const KINDS: [Kind; 4] = [
    Kind { list: "computers", item: "computer", scope: Scope::Device },
    Kind { list: "computer_groups", item: "computer_group", scope: Scope::Group },
    Kind { list: "buildings", item: "building", scope: Scope::Building },
    Kind { list: "departments", item: "department", scope: Scope::Department },
];

/// Ids per kind of [`KINDS`].
pub(crate) type Lists = [BTreeSet<u64>; 4];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub id: u32,
    pub enabled: bool,
    /// Offered in Self Service rather than run by itself.
    pub self_service: bool,
    pub(crate) all_computers: bool,
    pub(crate) targets: Lists,
    pub(crate) exclusions: Lists,
    /// Lists with entries of kinds that are not ours (`jss_users`).
    pub(crate) others: Vec<Box<str>>,
    /// Everything in the scope that is not ours, e.g. `limitations users: ada`: a write must not lose it.
    pub(crate) rest: BTreeSet<String>,
    /// As it came, to be sent back.
    pub(crate) raw: Element,
}

/// Where a scope is one entry of a list: which kind, which id. `None` for a scope that Jamf does not list.
pub(crate) fn entry_of(scope: &Scope) -> Option<(usize, u64)> {
    let (kind, id) = match scope {
        Scope::Device(id) => (0, id),
        Scope::Group(id) => (1, id),
        Scope::Building(id) => (2, id),
        Scope::Department(id) => (3, id),
        Scope::AllDevices | Scope::AllUsers => return None,
    };
    Some((kind, id.parse().ok()?))
}

/// Reads the answer to `GET policies/id/{id}`.
pub fn read(root: &Element) -> Result<Policy, String> {
    if &*root.name != "policy" {
        return Err(format!("<{}> where <policy> was expected", crate::redact::one_line(&root.name, 40)));
    }
    let general = root.child("general").ok_or("no <general>")?;
    let id = general.text_of("id").parse().map_err(|_| "<general><id> is not a number")?;
    let enabled = general.flag("enabled")?.ok_or("no <enabled>: whether the policy is on is not known")?;
    let scope = root.child("scope").ok_or("no <scope>: whom the policy reaches is not known")?;
    let self_service =
        root.child("self_service").map(|s| s.flag("use_for_self_service")).transpose()?.flatten();
    let ours = |name: &str| {
        is_ours(name) || matches!(name, "all_computers" | "limitations" | "limit_to_users" | "exclusions")
    };
    Ok(Policy {
        id,
        enabled,
        self_service: self_service.unwrap_or(false),
        all_computers: scope.flag("all_computers")?.ok_or("no <all_computers> in <scope>")?,
        targets: lists(scope)?,
        exclusions: scope.child("exclusions").map(lists).transpose()?.unwrap_or_default(),
        others: scope
            .children
            .iter()
            .filter(|c| !ours(&c.name) && c.children.iter().any(|entry| &*entry.name != "size"))
            .map(|c| c.name.clone())
            .collect(),
        rest: rest(scope),
        raw: scope.clone(),
    })
}

/// Entries by name (an id may be added to what was sent by name), of all lists that are not ours.
fn rest(scope: &Element) -> BTreeSet<String> {
    let of = |section: &str, list: &Element| -> Vec<String> {
        let called = |e: &Element| {
            let texts = [e.text_of("name"), e.text_of("id"), e.text.as_str()];
            let text = texts.into_iter().find(|t| !t.is_empty()).unwrap_or("?");
            crate::redact::one_line(&format!("{section}{}: {text}", list.name), 120)
        };
        list.children.iter().filter(|e| &*e.name != "size").map(called).collect()
    };
    let mut all = BTreeSet::new();
    for child in &scope.children {
        match &*child.name {
            // A mirror.
            "limit_to_users" => {}
            section @ ("limitations" | "exclusions") => {
                let lists = child.children.iter().filter(|l| !is_ours(&l.name));
                all.extend(lists.flat_map(|list| of(&format!("{section} "), list)));
            }
            name if is_ours(name) => {}
            _ => all.extend(of("", child)),
        }
    }
    all
}

pub(crate) fn is_ours(list: &str) -> bool {
    KINDS.iter().any(|kind| kind.list == list)
}

fn lists(parent: &Element) -> Result<Lists, String> {
    let mut all = Lists::default();
    for (ids, kind) in all.iter_mut().zip(KINDS) {
        let items = parent.child(kind.list).map_or(&[][..], |list| &list.children);
        for item in items.iter().filter(|i| &*i.name == kind.item) {
            let id = item.text_of("id");
            ids.insert(
                id.parse().map_err(|_| {
                    format!("<{}> with the id '{}'", kind.item, crate::redact::one_line(id, 40))
                })?,
            );
        }
    }
    Ok(all)
}

impl Policy {
    pub(crate) fn install(&self) -> Install {
        if self.self_service { Install::Available } else { Install::Required }
    }

    /// What it gives to whom, sorted.
    pub fn assignments(&self) -> Vec<AssignmentSeen> {
        if !self.enabled {
            return Vec::new();
        }
        let seen = |scope, excluded| AssignmentSeen {
            app: self.id.to_string(),
            scope,
            install: self.install(),
            excluded,
        };
        let mut all: Vec<AssignmentSeen> =
            self.all_computers.then(|| seen(Scope::AllDevices, false)).into_iter().collect();
        for (lists, excluded) in [(&self.targets, false), (&self.exclusions, true)] {
            for (ids, kind) in lists.iter().zip(KINDS) {
                all.extend(ids.iter().map(|id| seen((kind.scope)(id.to_string()), excluded)));
            }
        }
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jamf::xml;

    fn parse(document: &[u8]) -> Result<Policy, String> {
        read(&xml::parse(document).unwrap())
    }

    fn policy(enabled: &str, scope: &str, self_service: &str) -> String {
        format!(
            "<policy><general><id>7</id><enabled>{enabled}</enabled></general><scope>{scope}</scope>\
             <self_service>{self_service}</self_service></policy>"
        )
    }

    fn seen(document: &str) -> Result<Vec<String>, String> {
        let text = |a: AssignmentSeen| {
            format!("{}{:?} {:?}", if a.excluded { "not " } else { "" }, a.scope, a.install)
        };
        Ok(parse(document.as_bytes())?.assignments().into_iter().map(text).collect())
    }

    const ALL: &str = "<all_computers>true</all_computers>";
    const SOME: &str = "<all_computers>false</all_computers><computers><computer><id>3</id><name>m</name></computer></computers>\
        <computer_groups><size>2</size><computer_group><id>10</id></computer_group><computer_group><id>9</id></computer_group></computer_groups>\
        <buildings><building><id>1</id></building></buildings><departments/>\
        <limit_to_users><user_groups><user_group>staff</user_group></user_groups></limit_to_users>\
        <limitations><user_groups><user_group><id>5</id><name>staff</name></user_group></user_groups></limitations>\
        <exclusions><departments><department><id>4</id></department></departments><users><user><name>x</name></user></users></exclusions>";

    #[test]
    fn scopes() {
        let cases = [
            (policy("true", ALL, ""), Ok(vec!["AllDevices Required"])),
            (
                policy("true", SOME, "<use_for_self_service>true</use_for_self_service>"),
                Ok(vec![
                    "Group(\"10\") Available",
                    "Group(\"9\") Available",
                    "Device(\"3\") Available",
                    "Building(\"1\") Available",
                    "not Department(\"4\") Available",
                ]),
            ),
            (policy("false", ALL, ""), Ok(vec![])),
            (policy("", ALL, ""), Err("no <enabled>")),
            (policy("true", "", ""), Err("no <all_computers>")),
            (policy("1", ALL, ""), Err("<enabled> is '1'")),
            (
                policy(
                    "true",
                    "<all_computers>false</all_computers><computers><computer><name>m</name></computer></computers>",
                    "",
                ),
                Err("<computer> with the id ''"),
            ),
            (
                "<policy><general><id>7</id><enabled>true</enabled></general></policy>".into(),
                Err("no <scope>"),
            ),
            ("<computer/>".into(), Err("<computer> where <policy> was expected")),
        ];
        for (document, expected) in cases {
            match (seen(&document), expected) {
                (Ok(got), Ok(expected)) => {
                    let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
                    let mut got = got;
                    got.sort();
                    expected.sort();
                    assert_eq!(got, expected, "{document}");
                }
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
                (got, _) => panic!("{document}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_disabled_policy_reaches_nobody() {
        assert_eq!(seen(&policy("false", SOME, "")), Ok(Vec::new()));
    }

    #[test]
    fn mirrored_limitations_and_doubled_notifications_are_no_drift() {
        let plain = parse(policy("true", SOME, "<notification>false</notification>").as_bytes()).unwrap();
        let noise = SOME.replace("staff", "everybody else").replace("<id>5</id>", "<id>6</id>");
        let doubled = "<notification>true</notification><notification>Self Service</notification>";
        let other = parse(policy("true", &noise, doubled).as_bytes()).unwrap();
        assert_eq!(plain.assignments(), other.assignments());
    }

    #[test]
    fn what_is_not_ours_is_remembered_by_name() {
        let scope = "<all_computers>false</all_computers><jss_users><user><id>1</id></user></jss_users><jss_user_groups><size>0</size></jss_user_groups>";
        let policy = parse(policy("true", scope, "").as_bytes()).unwrap();
        assert_eq!(policy.others, ["jss_users".into()]);
        assert_eq!(policy.rest, BTreeSet::from(["jss_users: 1".to_owned()]));
        let policy = parse(self::policy("true", SOME, "").as_bytes()).unwrap();
        assert_eq!(
            policy.rest,
            BTreeSet::from(["exclusions users: x".to_owned(), "limitations user_groups: staff".to_owned()])
        );
    }
}
