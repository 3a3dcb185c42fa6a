//! What must be created and deleted so that an application reaches the collections that were meant. Pure.
//!
//! # Decides
//! - A collection with an enabled deployment of the right kind is left as it is.
//! - One with none gets one. What was there instead (another kind, a disabled one) is deleted AFTER the new one exists, so
//!   that nobody is without.
//! - A second deployment of ours with the same meaning (made when the first was in no list yet) is deleted.
//! - Collections that were not named are left alone.

use std::collections::BTreeSet;

use trueup_model::intent::Install;

use super::parse::Deployment;
use super::request::deployment_name;

/// What an application shall reach.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub app: &'a str,
    pub ci: u32,
    pub install: Install,
    pub include: &'a BTreeSet<String>,
    pub remove: &'a BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// And then delete what it stands for.
    Create {
        collection: String,
        replaces: Vec<u32>,
    },
    Delete {
        collection: String,
        id: u32,
    },
}

/// In order. `known`: every deployment to these collections.
pub fn steps(known: &[Deployment], wanted: &Wanted<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for collection in wanted.include {
        let name = deployment_name(wanted.app, wanted.ci, collection, wanted.install);
        let here = deployments(known, wanted.ci, collection, Some(&name));
        let (right, wrong): (Vec<_>, Vec<_>) =
            here.into_iter().partition(|d| d.enabled() && d.install() == Ok(wanted.install));
        let wrong: Vec<u32> = wrong.into_iter().map(|d| d.id).collect();
        if right.is_empty() {
            steps.push(Step::Create { collection: collection.clone(), replaces: wrong });
            continue;
        }
        let again = right.iter().skip(1).filter(|d| d.name.as_ref() == Some(&name)).map(|d| d.id);
        let delete = |id| Step::Delete { collection: collection.clone(), id };
        steps.extend(wrong.into_iter().chain(again).map(delete));
    }
    for collection in wanted.remove.difference(wanted.include) {
        let here = deployments(known, wanted.ci, collection, None);
        steps.extend(here.into_iter().map(|d| Step::Delete { collection: collection.clone(), id: d.id }));
    }
    steps
}

/// Those of the application to the collection, the oldest first; also one of ours that does not tell what it deploys.
fn deployments<'a>(
    known: &'a [Deployment],
    ci: u32,
    collection: &str,
    name: Option<&str>,
) -> Vec<&'a Deployment> {
    let ours = |d: &Deployment| d.cis.is_none() && name.is_some() && d.name.as_deref() == name;
    let mut here: Vec<&Deployment> =
        known.iter().filter(|d| d.collection == collection && (d.cis().contains(&ci) || ours(d))).collect();
    here.sort_by_key(|d| d.id);
    here
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(id: u32, ci: u32, collection: &str, kind: (i64, i64), enabled: bool) -> Deployment {
        let name = deployment_name("App", ci, collection, Install::Required);
        serde_json::from_value(json!({"AssignmentID": id, "AssignmentName": name, "AssignedCIs": [ci],
            "TargetCollectionID": collection, "DesiredConfigType": kind.0, "OfferTypeID": kind.1, "Enabled": enabled}))
        .unwrap()
    }

    #[test]
    fn only_what_must_change_changes() {
        const REQUIRED: (i64, i64) = (1, 0);
        const AVAILABLE: (i64, i64) = (1, 2);
        let create = |replaces: &[u32]| Step::Create { collection: "A".into(), replaces: replaces.to_vec() };
        let delete = |collection: &str, id| Step::Delete { collection: collection.into(), id };
        let d = deployment;
        let cases = [
            ("none there", vec![], vec![create(&[])]),
            ("right already", vec![d(1, 7, "A", REQUIRED, true)], vec![]),
            ("another application's", vec![d(1, 8, "A", REQUIRED, true)], vec![create(&[])]),
            ("another kind", vec![d(1, 7, "A", AVAILABLE, true)], vec![create(&[1])]),
            ("disabled", vec![d(1, 7, "A", REQUIRED, false)], vec![create(&[1])]),
            (
                "both kinds",
                vec![d(2, 7, "A", AVAILABLE, true), d(1, 7, "A", REQUIRED, true)],
                vec![delete("A", 2)],
            ),
            (
                "twice ours",
                vec![d(2, 7, "A", REQUIRED, true), d(1, 7, "A", REQUIRED, true)],
                vec![delete("A", 2)],
            ),
            (
                "to be removed",
                vec![d(1, 7, "A", REQUIRED, true), d(3, 7, "B", AVAILABLE, true)],
                vec![delete("B", 3)],
            ),
            ("not named", vec![d(1, 7, "A", REQUIRED, true), d(3, 7, "C", REQUIRED, true)], vec![]),
        ];
        let (include, remove) = ([String::from("A")].into(), [String::from("B")].into());
        let wanted =
            Wanted { app: "App", ci: 7, install: Install::Required, include: &include, remove: &remove };
        for (name, known, expected) in cases {
            assert_eq!(steps(&known, &wanted), expected, "{name}");
        }
    }

    #[test]
    fn one_of_ours_that_tells_no_ci_is_known_by_its_name() {
        let mut ours = deployment(1, 7, "A", (1, 0), true);
        ours.cis = None;
        let (include, remove) = ([String::from("A")].into(), BTreeSet::new());
        let wanted =
            Wanted { app: "App", ci: 7, install: Install::Required, include: &include, remove: &remove };
        assert_eq!(steps(&[ours.clone()], &wanted), []);
        ours.name = Some("Another".into());
        assert_eq!(steps(&[ours], &wanted).len(), 1);
    }
}
