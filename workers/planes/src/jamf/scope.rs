//! Read-modify-write of a policy: which elements to send so that it reaches whom it shall. Pure.
//!
//! # Decides
//! `PUT` leaves top-level elements of the policy that are not sent, but a `<scope>` that is sent replaces the whole scope
//! there: leaving out `limitations` would install to more people than before. So the scope is sent whole, as it was read,
//! with our changes. Only `limit_to_users` is left out: it mirrors `limitations.user_groups`, and servers refuse groups in
//! it that they cannot look up any more.
//! (Wire-checked by Jamf's own tools: Jamf-Concepts/jamf-cli pull request 379, jamf/terraform-provider-jamfplatform 281.)
//!
//! Whether a policy is on, and whether Self Service offers it, concerns all it reaches. So these two are changed only
//! where the action names everybody the policy reaches; else a person must decide.

use std::collections::BTreeSet;

use trueup_model::intent::{Install, Scope};

use super::policy::{KINDS, Lists, Policy, entry_of};
use super::xml::Element;

/// What is wanted of one policy's scope; what is not named stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Also turns the policy on. `None`: neither this nor that changes.
    pub install: Option<Install>,
    pub include: Option<&'a BTreeSet<Scope>>,
    pub exclude: Option<&'a BTreeSet<Scope>>,
    pub remove: Option<&'a BTreeSet<Scope>>,
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The `<policy>` to send.
    pub element: Element,
    /// The policy as it will be.
    pub next: Policy,
}

/// What to write, or `None` if the policy is as wanted already.
pub fn merge(current: &Policy, wanted: &Wanted<'_>) -> Result<Option<Change>, String> {
    let mut next = current.clone();
    for scope in wanted.remove.into_iter().flatten() {
        match entry_of(scope) {
            Some((kind, id)) => {
                next.targets[kind].remove(&id);
                next.exclusions[kind].remove(&id);
            }
            None if *scope == Scope::AllDevices => next.all_computers = false,
            None => return Err(no_such(scope)),
        }
    }
    for scope in wanted.include.into_iter().flatten() {
        match entry_of(scope) {
            Some((kind, id)) => {
                next.targets[kind].insert(id);
                next.exclusions[kind].remove(&id);
            }
            None if *scope == Scope::AllDevices => next.all_computers = true,
            None => return Err(no_such(scope)),
        }
    }
    for scope in wanted.exclude.into_iter().flatten() {
        let (kind, id) = entry_of(scope).ok_or_else(|| match scope {
            Scope::AllDevices => "a policy cannot exclude all computers: unassign or disable it".to_owned(),
            other => no_such(other),
        })?;
        next.exclusions[kind].insert(id);
        next.targets[kind].remove(&id);
    }
    if let Some(install) = wanted.install {
        next.enabled = true;
        next.self_service = match install {
            Install::Required => false,
            Install::Available => true,
            other => return Err(format!("Jamf Pro policies know required and available, not {other:?}")),
        };
        concerns_nobody_else(current, &next, wanted)?;
    }
    Ok((next != *current).then(|| Change { element: change(current, &next), next }))
}

fn no_such(scope: &Scope) -> String {
    format!("a policy cannot be scoped to {scope:?}")
}

/// What is switched for a whole policy may be switched only if nobody else has a part in it.
fn concerns_nobody_else(current: &Policy, next: &Policy, wanted: &Wanted<'_>) -> Result<(), String> {
    let switched = match (current.enabled, current.self_service == next.self_service) {
        (true, true) => return Ok(()),
        (false, _) => "is disabled; enabling it",
        (true, false) if next.self_service => "runs by itself; offering it in Self Service instead",
        (true, false) => "is offered in Self Service; running it by itself instead",
    };
    let named = |scope: &Scope| wanted.include.is_some_and(|set| set.contains(scope));
    let mut others: Vec<String> = next.others.iter().map(|list| format!("entries of {list}")).collect();
    if next.all_computers && !named(&Scope::AllDevices) {
        others.push("all computers".into());
    }
    for (ids, kind) in next.targets.iter().zip(KINDS) {
        let unnamed = ids.iter().filter(|id| !named(&(kind.scope)(id.to_string())));
        others.extend(unnamed.map(|id| format!("{} {id}", kind.item)));
    }
    if others.is_empty() {
        return Ok(());
    }
    let (few, more) = (others.len().min(5), others.len().saturating_sub(5));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!(
        "it {switched} would also concern {}{more}, which the intent does not name: do it in Jamf Pro, or take them out of the policy's scope",
        others[..few].join(", ")
    ))
}

fn flag(name: &str, value: bool) -> Element {
    Element::with_text(name, if value { "true" } else { "false" })
}

fn change(current: &Policy, next: &Policy) -> Element {
    let mut policy = Vec::new();
    if next.enabled != current.enabled {
        policy.push(Element::with("general", [flag("enabled", next.enabled)]));
    }
    let scope = |p: &Policy| (p.all_computers, p.targets.clone(), p.exclusions.clone());
    if scope(next) != scope(current) {
        policy.push(whole(next));
    }
    if next.self_service != current.self_service {
        policy.push(Element::with("self_service", [flag("use_for_self_service", next.self_service)]));
    }
    Element::with("policy", policy)
}

/// The scope as it came, with the lists that are wanted.
fn whole(next: &Policy) -> Element {
    let mut scope = next.raw.clone();
    let mirrored = scope.child("limitations").and_then(|l| l.child("user_groups")).is_some_and(|g| {
        let groups = scope.child("limit_to_users").and_then(|l| l.child("user_groups"));
        g.children.len() >= groups.map_or(0, |m| m.children.len())
    });
    scope.children.retain(|child| &*child.name != "limit_to_users" || !mirrored);
    put(&mut scope, flag("all_computers", next.all_computers));
    fill(&mut scope, &next.targets);
    let mut exclusions = scope.child("exclusions").cloned().unwrap_or_else(|| Element::new("exclusions"));
    fill(&mut exclusions, &next.exclusions);
    put(&mut scope, exclusions);
    scope
}

/// In the place of the child of that name.
fn put(parent: &mut Element, child: Element) {
    match parent.children.iter_mut().find(|c| c.name == child.name) {
        Some(old) => *old = child,
        None => parent.children.push(child),
    }
}

fn fill(parent: &mut Element, lists: &Lists) {
    for (kind, ids) in KINDS.iter().zip(lists) {
        let item = |id: &u64| Element::with(kind.item, [Element::with_text("id", id.to_string())]);
        put(parent, Element::with(kind.list, ids.iter().map(item)));
    }
}

/// What a policy, read again after a write, lacks of what was sent; nothing if all is there.
pub fn lost(sent: &Policy, now: &Policy) -> Option<String> {
    let mut lost: Vec<String> = sent.rest.difference(&now.rest).cloned().collect();
    if (sent.enabled, sent.self_service, sent.all_computers)
        != (now.enabled, now.self_service, now.all_computers)
    {
        lost.push("a switch of the policy".into());
    }
    for (section, sent, now) in
        [("", &sent.targets, &now.targets), ("exclusions ", &sent.exclusions, &now.exclusions)]
    {
        let differs = KINDS.iter().zip(sent.iter().zip(now)).filter(|(_, (a, b))| a != b);
        lost.extend(differs.map(|(kind, _)| format!("{section}{}", kind.list)));
    }
    let more = lost.len().saturating_sub(5);
    lost.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!lost.is_empty()).then(|| format!("{}{more}", lost.join(", ")))
}

/// Whether writing what is wanted once more leaves nobody reached who was kept out: limitations, and exclusions that the
/// action does not name, cannot be brought back that way.
pub fn restorable(sent: &Policy, now: &Policy, wanted: &Wanted<'_>) -> bool {
    let again = merge(now, wanted).ok().flatten().map(|change| change.next);
    let excluded = again.as_ref().map_or(&now.exclusions, |next| &next.exclusions);
    sent.rest.is_subset(&now.rest) && sent.exclusions.iter().zip(excluded).all(|(a, b)| a.is_subset(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jamf::{policy, xml};

    fn policy(enabled: bool, self_service: bool, scope: &str) -> Policy {
        let document = format!(
            "<policy><general><id>7</id><enabled>{enabled}</enabled></general><scope>{scope}</scope>\
             <self_service><use_for_self_service>{self_service}</use_for_self_service></self_service></policy>"
        );
        policy::read(&xml::parse(document.as_bytes()).unwrap()).unwrap()
    }

    fn group(id: u32) -> Scope {
        Scope::Group(id.to_string())
    }

    const SCOPE: &str = "<all_computers>false</all_computers>\
        <computer_groups><computer_group><id>1</id></computer_group><computer_group><id>2</id></computer_group></computer_groups>\
        <limit_to_users><user_groups><user_group>staff</user_group></user_groups></limit_to_users>\
        <limitations><users><user><name>u</name></user></users>\
        <user_groups><user_group><id>5</id><name>staff</name></user_group></user_groups></limitations>\
        <exclusions><computer_groups><computer_group><id>8</id></computer_group></computer_groups>\
        <users><user><name>x</name></user></users></exclusions>";

    fn change(
        policy: &Policy,
        install: Option<Install>,
        include: &[Scope],
        exclude: &[Scope],
        remove: &[Scope],
    ) -> Result<Option<Change>, String> {
        let set = |scopes: &[Scope]| scopes.iter().cloned().collect::<BTreeSet<_>>();
        let (include, exclude, remove) = (set(include), set(exclude), set(remove));
        merge(
            policy,
            &Wanted { install, include: Some(&include), exclude: Some(&exclude), remove: Some(&remove) },
        )
    }

    fn sent(
        policy: &Policy,
        install: Option<Install>,
        include: &[Scope],
        exclude: &[Scope],
        remove: &[Scope],
    ) -> Result<Option<String>, String> {
        let change = change(policy, install, include, exclude, remove)?;
        Ok(change.map(|c| c.element.to_document().unwrap().split_once("?>").unwrap().1.to_owned()))
    }

    /// `all 1,2 | not 8 | rest`, of the scope that is sent.
    fn brief(change: &Change) -> String {
        let document = Element::with(
            "policy",
            [
                Element::with(
                    "general",
                    [Element::with_text("id", "7"), Element::with_text("enabled", "true")],
                ),
                change.element.child("scope").expect("a scope is sent").clone(),
            ],
        );
        let got = policy::read(&document).unwrap();
        let ids = |lists: &Lists| {
            let of = |(kind, ids): (usize, &BTreeSet<u64>)| {
                ids.iter().map(move |id| format!("{}{id}", ["c", "g", "b", "d"][kind])).collect::<Vec<_>>()
            };
            lists.iter().enumerate().flat_map(of).collect::<Vec<_>>().join(",")
        };
        let all = if got.all_computers { "all " } else { "" };
        let rest = got.rest.into_iter().collect::<Vec<_>>().join("; ");
        format!("{all}{} | not {} | {rest}", ids(&got.targets), ids(&got.exclusions))
    }

    #[test]
    fn the_scope_is_sent_whole_with_everybody_else_s_entries() {
        let p = policy(true, false, SCOPE);
        let required = Some(Install::Required);
        let rest = "exclusions users: x; limitations user_groups: staff; limitations users: u";
        let cases = [
            (vec![group(1)], vec![], vec![], None),
            (vec![group(3)], vec![], vec![], Some("g1,g2,g3 | not g8")),
            (vec![group(8)], vec![], vec![group(2)], Some("g1,g8 | not ")),
            (vec![], vec![Scope::Building("4".into())], vec![], Some("g1,g2 | not g8,b4")),
            (vec![Scope::AllDevices], vec![], vec![group(1), group(2)], Some("all  | not g8")),
            (vec![], vec![], vec![group(99), Scope::AllDevices], None),
        ];
        for (include, exclude, remove, expected) in cases {
            let change = change(&p, required, &include, &exclude, &remove).unwrap();
            let expected = expected.map(|e| format!("{e} | {rest}"));
            assert_eq!(change.as_ref().map(brief), expected, "{include:?} {exclude:?}");
            let mirror = |c: &Change| c.element.child("scope").unwrap().child("limit_to_users").is_some();
            assert!(!change.as_ref().is_some_and(mirror), "the mirror is not sent");
        }
    }

    #[test]
    fn a_limit_that_is_not_mirrored_is_sent() {
        let scope = SCOPE.replace("<user_group><id>5</id><name>staff</name></user_group>", "");
        let change = change(&policy(true, false, &scope), None, &[], &[], &[group(1)]).unwrap().unwrap();
        let sent = change.element.child("scope").unwrap().child("limit_to_users").unwrap();
        assert_eq!(sent.child("user_groups").unwrap().text_of("user_group"), "staff");
    }

    #[test]
    fn what_a_write_lost_is_named() {
        let p = policy(true, false, SCOPE);
        assert_eq!(lost(&p, &p), None);
        let narrower = policy(true, false, &SCOPE.replace("<user><name>u</name></user>", ""));
        assert_eq!(lost(&p, &narrower), Some("limitations users: u".into()));
        assert_eq!(lost(&narrower, &p), None, "more of others is not lost");
        let other = policy(false, false, &SCOPE.replace("<id>8</id>", "<id>9</id>"));
        assert_eq!(lost(&p, &other), Some("a switch of the policy, exclusions computer_groups".into()));
    }

    #[test]
    fn a_disabled_policy_is_enabled_only_for_those_who_are_named() {
        let p = policy(false, false, SCOPE);
        let required = Some(Install::Required);
        assert_eq!(
            sent(&p, required, &[group(1), group(2)], &[], &[]),
            Ok(Some("<policy><general><enabled>true</enabled></general></policy>".into()))
        );
        let error = sent(&p, required, &[group(1)], &[], &[]).unwrap_err();
        assert!(error.contains("is disabled; enabling it would also concern computer_group 2"), "{error}");
        let all = policy(false, false, "<all_computers>true</all_computers><jss_users><user/></jss_users>");
        let error = sent(&all, required, &[group(1)], &[], &[]).unwrap_err();
        assert!(error.contains("entries of jss_users, all computers"), "{error}");
        assert_eq!(sent(&p, None, &[], &[], &[group(1)]).unwrap().unwrap().matches("enabled").count(), 0);
    }

    #[test]
    fn self_service_is_switched_only_for_those_who_are_named() {
        let p = policy(true, true, SCOPE);
        assert_eq!(
            sent(&p, Some(Install::Required), &[group(1), group(2)], &[], &[]),
            Ok(Some(
                "<policy><self_service><use_for_self_service>false</use_for_self_service></self_service></policy>"
                    .into()
            ))
        );
        let error = sent(&p, Some(Install::Required), &[group(1)], &[], &[]).unwrap_err();
        assert!(error.contains("offered in Self Service") && error.contains("computer_group 2"), "{error}");
        assert_eq!(sent(&p, Some(Install::Available), &[group(1)], &[], &[]), Ok(None));
    }

    #[test]
    fn what_jamf_cannot_do_is_said() {
        let p = policy(true, false, SCOPE);
        for (install, include, exclude, expected) in [
            (Install::Required, vec![Scope::AllUsers], vec![], "cannot be scoped to AllUsers"),
            (Install::Required, vec![group(1)], vec![Scope::AllDevices], "cannot exclude all computers"),
            (Install::Uninstall, vec![group(1)], vec![], "not Uninstall"),
            (Install::Required, vec![Scope::Group("x".into())], vec![], "cannot be scoped"),
        ] {
            let error = sent(&p, Some(install), &include, &exclude, &[]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_second_time_there_is_nothing_to_do() {
        let p = policy(true, false, SCOPE);
        let include = BTreeSet::from([group(3), Scope::Device("5".into())]);
        let exclude = BTreeSet::from([group(2)]);
        let wanted = Wanted {
            install: Some(Install::Required),
            include: Some(&include),
            exclude: Some(&exclude),
            remove: None,
        };
        let after = merge(&p, &wanted).unwrap().unwrap().next;
        assert_eq!(merge(&after, &wanted), Ok(None));
    }
}
