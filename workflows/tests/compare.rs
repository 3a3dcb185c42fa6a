//! What the comparators judge, and that a digest depends on what differs and on nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use trueup_model::{
    Condition, DriftKind, Duration, Fault, Intent, Observation, Observed, Time,
    intent::{Install, Scope},
    observed::{AssignmentSeen, Assignments, ComplianceSeen, VersionSeen},
};
use trueup_workflows::compare::{Judged, evidence::Freshness, judge};
use trueup_workflows::plan::plan;
use world::plane::{group, seen};
use world::{HERE, OLDER, intent, t0};

use DriftKind::{ComplianceDrift, MissingAssignment, ScopeMismatch, VersionMismatch};

fn fresh(last_action: Option<Time>) -> Freshness {
    Freshness { now: t0(), stale_after: Duration::hours(1), last_action }
}

fn observed() -> Observed {
    Observed { at: t0(), assignments: None, versions: None, compliance: None }
}

fn judged(intent: &Intent, observed: Observed, last_action: Option<Time>) -> Judged {
    judge(&intent.desired, &Observation::Seen(observed), &intent.target, &fresh(last_action))
}

fn kinds(j: &Judged) -> Vec<DriftKind> {
    j.drifts.iter().map(|d| d.kind).collect()
}

fn assigned(here: Vec<AssignmentSeen>, replaced: Vec<AssignmentSeen>) -> Observed {
    Observed { assignments: Some(Assignments { here, replaced }), ..observed() }
}

fn excluded(scope: Scope) -> AssignmentSeen {
    AssignmentSeen { excluded: true, ..seen(HERE, scope) }
}

#[test]
fn assignments() {
    let desired = |exclusive: bool| {
        let a = json!({"include": [{"group": "a"}, {"group": "b"}], "exclude": [{"group": "x"}], "exclusive": exclusive});
        intent("i", json!({"desired": {"assignment": a}}))
    };
    let here = |id: &str| seen(HERE, group(id));
    let old = |id: &str| seen(OLDER, group(id));
    let available = AssignmentSeen { install: Install::Available, ..here("b") };
    let table: Vec<(&str, bool, Vec<_>, Vec<_>, Vec<DriftKind>)> = vec![
        ("as meant", true, vec![here("a"), here("b"), excluded(group("x"))], vec![], vec![]),
        ("nothing", false, vec![], vec![], vec![MissingAssignment]),
        ("only others", true, vec![here("z")], vec![], vec![MissingAssignment]),
        ("only an exclusion of it", false, vec![excluded(group("a"))], vec![], vec![MissingAssignment]),
        ("all still older", false, vec![], vec![old("a"), old("b")], vec![VersionMismatch]),
        ("half moved", false, vec![here("a"), excluded(group("x"))], vec![old("b")], vec![VersionMismatch]),
        ("older reaches others", false, vec![], vec![old("z")], vec![MissingAssignment]),
        ("one missing", false, vec![here("a"), excluded(group("x"))], vec![], vec![ScopeMismatch]),
        ("exclusion missing", false, vec![here("a"), here("b")], vec![], vec![ScopeMismatch]),
        (
            "other install",
            false,
            vec![here("a"), available, excluded(group("x"))],
            vec![],
            vec![ScopeMismatch],
        ),
        (
            "included and excluded",
            false,
            vec![here("a"), here("b"), excluded(group("b")), excluded(group("x"))],
            vec![],
            vec![ScopeMismatch],
        ),
        ("extra", false, vec![here("a"), here("b"), here("z"), excluded(group("x"))], vec![], vec![]),
        (
            "extra where exclusive",
            true,
            vec![here("a"), here("b"), here("z"), excluded(group("x"))],
            vec![],
            vec![ScopeMismatch],
        ),
        (
            "missing here, older there, extra",
            true,
            vec![here("a"), here("z")],
            vec![old("b")],
            vec![VersionMismatch, ScopeMismatch],
        ),
    ];
    for (name, exclusive, here, replaced, expected) in table {
        let j = judged(&desired(exclusive), assigned(here, replaced), None);
        assert_eq!(kinds(&j), expected, "{name}: {j:?}");
        let condition = if expected.is_empty() { Condition::InSync } else { Condition::Drifted };
        assert_eq!(j.condition, condition, "{name}");
    }
    let unknown = judged(&desired(false), observed(), None);
    assert_eq!((unknown.condition, unknown.drifts.len()), (Condition::Stale, 0), "not told is not drift");
    let before = judged(&desired(false), assigned(vec![], vec![]), Some(t0()));
    assert_eq!((before.condition, before.drifts.len()), (Condition::Stale, 0), "an answer before the action");
}

#[test]
fn versions() {
    let meant = intent("i", json!({"desired": {"version": "2"}}));
    let at = |minutes: i64| Some(t0() - Duration::minutes(minutes));
    let on = |version: &str, devices, reported| VersionSeen { version: version.into(), devices, reported };
    let (drift, stale, fine) = (Condition::Drifted, Condition::Stale, Condition::InSync);
    let table = vec![
        ("right", vec![on("2", 9, at(5))], None, fine, 0),
        ("wrong", vec![on("1", 3, at(5)), on("2", 9, at(5))], None, drift, 3),
        ("two wrong", vec![on("1", 3, at(5)), on("3", 2, at(5))], None, drift, 5),
        ("wrong, but nobody", vec![on("1", 0, at(5)), on("2", 9, at(5))], None, fine, 0),
        ("nobody", vec![], None, stale, 0),
        ("wrong, old report", vec![on("1", 3, at(61)), on("2", 9, at(5))], None, stale, 0),
        ("right, old report", vec![on("2", 9, at(61))], None, stale, 0),
        ("right, one fresh", vec![on("2", 1, at(61)), on("2", 9, at(1))], None, fine, 0),
        ("wrong, before the action", vec![on("1", 3, at(10))], at(10), stale, 0),
        ("wrong, after the action", vec![on("1", 3, at(9))], at(10), drift, 3),
        ("right, before the action", vec![on("2", 3, at(11))], at(10), stale, 0),
        ("right, after the action", vec![on("2", 3, at(9))], at(10), fine, 0),
        ("no report time", vec![on("1", 3, None)], None, drift, 3),
        ("no report time, after an action", vec![on("1", 3, None)], at(10), stale, 0),
        ("report from the future", vec![on("1", 3, at(-500))], None, drift, 3),
    ];
    for (name, seen, action, condition, devices) in table {
        let j = judged(&meant, Observed { versions: Some(seen), ..observed() }, action);
        assert_eq!(j.condition, condition, "{name}: {j:?}");
        assert_eq!(j.drifts.iter().map(|d| d.affected_devices).sum::<u32>(), devices, "{name}");
        assert_eq!(j.unjudged_kinds.contains(&VersionMismatch), condition == stale, "{name}");
    }
}

#[test]
fn compliance() {
    let meant = intent("i", json!({"desired": {"compliant": true}}));
    let at = |minutes: i64| Some(t0() - Duration::minutes(minutes));
    let c = |devices, noncompliant, unknown, reported| ComplianceSeen {
        devices,
        noncompliant,
        unknown,
        reported,
        failing: (0..noncompliant).map(|n| format!("device-{n}")).collect(),
        details: vec![],
    };
    let (drift, stale, fine) = (Condition::Drifted, Condition::Stale, Condition::InSync);
    let table = vec![
        ("all comply", Some(c(5, 0, 0, at(1))), None, fine),
        ("some do not", Some(c(5, 2, 0, at(1))), None, drift),
        ("some do not, some unknown", Some(c(5, 2, 2, at(1))), None, drift),
        ("some unknown", Some(c(5, 0, 2, at(1))), None, stale),
        ("old report", Some(c(5, 2, 0, at(61))), None, stale),
        ("report before the action", Some(c(5, 2, 0, at(20))), at(10), stale),
        ("report after the action", Some(c(5, 2, 0, at(5))), at(10), drift),
        ("nobody", Some(c(0, 0, 0, at(1))), None, stale),
        ("not told", None, None, stale),
    ];
    for (name, compliance, action, condition) in table {
        let j = judged(&meant, Observed { compliance, ..observed() }, action);
        assert_eq!(j.condition, condition, "{name}: {j:?}");
    }
}

#[test]
fn no_answer_judges_nothing() {
    let i = intent("i", json!({}));
    let j = judge(&i.desired, &Observation::Unreachable(Fault::transient("502")), &i.target, &fresh(None));
    assert_eq!((j.condition, j.unjudged_kinds.len(), j.drifts.len()), (Condition::Unreachable, 4, 0));
}

/// What happens to whom is for the scope mismatch's policy: a version is moved without touching anybody else.
#[test]
fn a_plan_does_only_what_its_drift_is_about() {
    let a = json!({"include": [{"group": "a"}, {"group": "b"}, {"group": "c"}], "exclusive": true});
    let i = intent("i", json!({"desired": {"assignment": a}}));
    let here = vec![seen(HERE, group("a")), seen(HERE, group("z"))];
    let j = judged(&i, assigned(here, vec![seen(OLDER, group("b"))]), None);
    assert_eq!(kinds(&j), [VersionMismatch, ScopeMismatch]);
    let of = |drifts: &[_]| {
        let plan = plan(&i, 1, drifts, &j.drifts, &[]);
        plan.actions.iter().map(|p| serde_json::to_value(&p.action).unwrap()).collect::<Vec<Value>>()
    };
    let move_b =
        json!({"do": "unassign", "app": OLDER, "remove": [{"group": "a"}, {"group": "b"}, {"group": "c"}]});
    let moved = of(&[&j.drifts[0]]);
    assert_eq!(
        moved[0],
        json!({"do": "assign", "app": HERE, "install": "required", "include": [{"group": "b"}]})
    );
    assert_eq!(moved[1], json!({"do": "unassign", "app": OLDER, "remove": [{"group": "b"}]}));
    let all = of(&[&j.drifts[0], &j.drifts[1]]);
    assert_eq!(all.len(), 2, "two assignments of one application are one action");
    assert_eq!(all[0]["include"], move_b["remove"]);
    assert_eq!(all[0]["remove"], json!([{"group": "z"}]));
}

/// Exclusions made by hand that a rule ignores: a new version must not overwrite them in passing.
#[test]
fn a_remedy_for_the_version_lets_alone_what_is_ignored() {
    let a = json!({"include": [{"group": "a"}, {"group": "b"}], "exclude": [{"group": "x"}]});
    let i = intent("i", json!({"desired": {"assignment": a}}));
    let here = vec![seen(HERE, group("a")), excluded(group("by-hand"))];
    let j = judged(&i, assigned(here, vec![seen(OLDER, group("b"))]), None);
    let version = j.drifts.iter().find(|d| d.kind == VersionMismatch).unwrap();
    let ignored = |kind| trueup_model::Ignored { rule: "ignore r".into(), kind, path: "p".into() };
    for (kind, exclusions) in [(ScopeMismatch, 0), (ComplianceDrift, 1)] {
        let plan = plan(&i, 1, &[version], std::slice::from_ref(version), &[ignored(kind)]);
        let trueup_model::Action::Assign { exclude, .. } = &plan.actions[0].action else {
            panic!("{plan:?}")
        };
        assert_eq!(exclude.len(), exclusions, "{kind:?}");
    }
    // Many ignored differences of another kind do not push it off the list.
    let delta =
        |n| trueup_model::Delta { path: format!("p{n:02}"), desired: "a".into(), observed: "b".into() };
    let drift = |kind, n| trueup_model::Drift::new(kind, (0..n).map(delta).collect(), t0());
    let many = Judged { drifts: vec![drift(VersionMismatch, 60), drift(ScopeMismatch, 1)], ..j };
    let rule = "[[ignore]]\nname = 'all'\npaths = ['*']\nbecause = 'b'\n";
    let left = many.under(&trueup_workflows::Policy::parse(rule).unwrap(), &i, t0());
    assert_eq!(left.ignored.len(), trueup_model::drift::MAX_IGNORED);
    assert!(left.ignored.iter().any(|i| i.kind == ScopeMismatch));
}

#[test]
fn without_a_remedy_there_is_no_plan() {
    let i = intent("i", json!({"desired": {"version": "2"}}));
    let versions = Some(vec![VersionSeen { version: "1".into(), devices: 1, reported: None }]);
    let j = judged(&i, Observed { versions, ..observed() }, None);
    assert_eq!(kinds(&j), [VersionMismatch]);
    assert!(plan(&i, 1, &[&j.drifts[0]], &j.drifts, &[]).actions.is_empty());
}

fn scopes() -> impl Strategy<Value = Vec<AssignmentSeen>> {
    let scope =
        prop_oneof![Just(Scope::AllDevices), Just(Scope::AllUsers), "[a-f]{1,2}".prop_map(Scope::Group),];
    let one =
        (scope, any::<bool>()).prop_map(|(scope, excluded)| AssignmentSeen { excluded, ..seen(HERE, scope) });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn a_digest_is_the_same_in_whatever_order_a_plane_lists_things(
        here in scopes().prop_shuffle(),
        shuffle in any::<prop::sample::Index>(),
        details in prop::collection::vec("[ -~]{0,500}", 0..6),
    ) {
        let a = json!({"include": [{"group": "a"}, {"group": "b"}], "exclude": ["all_users"], "exclusive": true});
        let i = intent("i", json!({"desired": {"assignment": a, "compliant": true, "version": "2"}}));
        let look = |turn: usize| {
            let mut here = here.clone();
            let mut details = details.clone();
            let mut versions: Vec<_> = ["1", "2", "3"]
                .map(|v| VersionSeen { version: v.into(), devices: 1, reported: None })
                .to_vec();
            if !here.is_empty() { let n = turn % here.len(); here.rotate_left(n); }
            if !details.is_empty() { let n = turn % details.len(); details.rotate_left(n); }
            versions.rotate_left(turn % 3);
            let compliance = Some(ComplianceSeen {
                devices: 9, noncompliant: 2, details, reported: Some(t0()), ..ComplianceSeen::default()
            });
            let o = Observed { versions: Some(versions), compliance, ..assigned(here, vec![]) };
            judged(&i, o, None)
        };
        let (one, other) = (look(0), look(shuffle.index(1_000)));
        prop_assert_eq!(&one, &other);
        // A finding is about one thing: each kind at most once, in order.
        prop_assert!(kinds(&one).windows(2).all(|w| w[0] < w[1]));
        prop_assert!(!(kinds(&one).contains(&MissingAssignment) && kinds(&one).contains(&ScopeMismatch)));
        prop_assert!(kinds(&one).contains(&ComplianceDrift) && kinds(&one).contains(&VersionMismatch));
    }
}
