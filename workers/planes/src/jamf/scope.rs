//! Read-modify-write of a policy: which elements to send so that it reaches whom it shall. Pure.
//!
//! # Decides
//! `PUT` changes the elements that are sent and leaves the others, but a list that is sent replaces the one there. So
//! only lists that change are sent, and those whole, with everybody else's entries. `limitations` and `limit_to_users`
//! are never sent: what is not sent stays.
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

/// The `<policy>` to send, or `None` if the policy is as wanted already.
pub fn merge(current: &Policy, wanted: &Wanted<'_>) -> Result<Option<Element>, String> {
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
    Ok((next != *current).then(|| change(current, &next)))
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

fn change(current: &Policy, next: &Policy) -> Element {
    let flag = |name: &str, value: bool| Element::with_text(name, if value { "true" } else { "false" });
    let mut scope = Vec::new();
    if next.all_computers != current.all_computers {
        scope.push(flag("all_computers", next.all_computers));
    }
    scope.extend(changed(&current.targets, &next.targets));
    let exclusions = changed(&current.exclusions, &next.exclusions);
    if !exclusions.is_empty() {
        scope.push(Element::with("exclusions", exclusions));
    }
    let mut policy = Vec::new();
    if next.enabled != current.enabled {
        policy.push(Element::with("general", [flag("enabled", next.enabled)]));
    }
    if !scope.is_empty() {
        policy.push(Element::with("scope", scope));
    }
    if next.self_service != current.self_service {
        policy.push(Element::with("self_service", [flag("use_for_self_service", next.self_service)]));
    }
    Element::with("policy", policy)
}

/// Whole lists, those that differ.
fn changed(current: &Lists, next: &Lists) -> Vec<Element> {
    let differing = KINDS.iter().zip(current.iter().zip(next)).filter(|(_, (a, b))| a != b);
    let list = differing.map(|(kind, (_, ids))| {
        let item = |id: &u64| Element::with(kind.item, [Element::with_text("id", id.to_string())]);
        Element::with(kind.list, ids.iter().map(item))
    });
    list.collect()
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
        <limitations><users><user><name>u</name></user></users></limitations>\
        <exclusions><computer_groups><computer_group><id>8</id></computer_group></computer_groups>\
        <users><user><name>x</name></user></users></exclusions>";

    fn sent(
        policy: &Policy,
        install: Option<Install>,
        include: &[Scope],
        exclude: &[Scope],
        remove: &[Scope],
    ) -> Result<Option<String>, String> {
        let set = |scopes: &[Scope]| scopes.iter().cloned().collect::<BTreeSet<_>>();
        let (include, exclude, remove) = (set(include), set(exclude), set(remove));
        let wanted =
            Wanted { install, include: Some(&include), exclude: Some(&exclude), remove: Some(&remove) };
        let change = merge(policy, &wanted)?;
        Ok(change.map(|c| {
            let text = c.to_document().unwrap();
            text.split_once("?>")
                .unwrap()
                .1
                .replace("computer_", "c_")
                .replace("</id>", "")
                .replace("<id>", "#")
        }))
    }

    #[test]
    fn lists_are_sent_whole_and_only_those_that_change() {
        let p = policy(true, false, SCOPE);
        let required = Some(Install::Required);
        let cases = [
            (vec![group(1)], vec![], vec![], None),
            (
                vec![group(3)],
                vec![],
                vec![],
                Some(
                    "<scope><c_groups><c_group>#1</c_group><c_group>#2</c_group><c_group>#3</c_group></c_groups></scope>",
                ),
            ),
            (
                vec![group(8)],
                vec![],
                vec![group(2)],
                Some(
                    "<scope><c_groups><c_group>#1</c_group><c_group>#8</c_group></c_groups><exclusions><c_groups/></exclusions></scope>",
                ),
            ),
            (
                vec![],
                vec![Scope::Building("4".into())],
                vec![],
                Some(
                    "<scope><exclusions><buildings><building>#4</building></buildings></exclusions></scope>",
                ),
            ),
            (
                vec![Scope::AllDevices],
                vec![],
                vec![group(1), group(2)],
                Some("<scope><all_computers>true</all_computers><c_groups/></scope>"),
            ),
            (vec![], vec![], vec![group(99), Scope::AllDevices], None),
        ];
        for (include, exclude, remove, expected) in cases {
            let expected = expected.map(|e| format!("<policy>{e}</policy>"));
            assert_eq!(
                sent(&p, required, &include, &exclude, &remove),
                Ok(expected),
                "{include:?} {exclude:?}"
            );
        }
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
        assert!(merge(&p, &wanted).unwrap().is_some());
        let mut after = p.clone();
        after.targets[0].insert(5);
        after.targets[1] = [1, 3].into();
        after.exclusions[1] = [2, 8].into();
        assert_eq!(merge(&after, &wanted), Ok(None));
    }
}
