//! What policy decides: the default table, the caps of a mode, tolerance, and that the stricter rule wins.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use proptest::prelude::*;
use serde_json::json;
use trueup_model::{Criticality, DriftKind, Duration, Intent, Mode, Ring, Severity, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, Decided};
use world::{intent, t0};

use DriftKind::{ComplianceDrift, MissingAssignment, ScopeMismatch, VersionMismatch};

fn case(intent: &Intent, kind: DriftKind) -> Case<'_> {
    Case { intent, kind, opened_at: t0(), now: t0(), remedy: true, exhausted: false }
}

fn rules_of(d: &Decided) -> Vec<&str> {
    d.decision.reasons.iter().map(|r| r.rule.as_str()).collect()
}

#[test]
fn the_default_table() {
    let table: &[(DriftKind, &str, bool, Verdict, &[&str])] = &[
        (MissingAssignment, "lab", false, Verdict::Automatic, &["low-risk"]),
        (VersionMismatch, "canary", false, Verdict::Automatic, &["low-risk"]),
        (MissingAssignment, "lab", true, Verdict::Review, &["privileged"]),
        (MissingAssignment, "pilot", false, Verdict::Review, &["production-ring"]),
        (VersionMismatch, "department", false, Verdict::Review, &["production-ring"]),
        (VersionMismatch, "global", true, Verdict::Review, &["production-ring", "privileged"]),
        (ScopeMismatch, "lab", false, Verdict::Review, &["scope-change"]),
        (ComplianceDrift, "lab", false, Verdict::Review, &["default"]),
        (ComplianceDrift, "global", false, Verdict::Review, &["production-ring"]),
    ];
    let policy = Policy::default();
    for (kind, ring, privileged, verdict, rules) in table {
        let intent = intent("i", json!({"ring": ring, "privileged": privileged}));
        let d = policy.decide(&case(&intent, *kind));
        assert_eq!(
            (d.decision.verdict, rules_of(&d)),
            (*verdict, rules.to_vec()),
            "{kind} {ring} {privileged}"
        );
        assert_eq!(d.decision.policy, policy.digest().to_string());
        assert!(!d.decision.would_change.is_empty());
    }
}

#[test]
fn a_mode_caps_what_rules_allow_and_says_so() {
    let table = [
        ("enforce", MissingAssignment, Verdict::Automatic),
        ("propose", MissingAssignment, Verdict::Review),
        ("propose", ScopeMismatch, Verdict::Review),
        ("observe", MissingAssignment, Verdict::ObserveOnly),
        ("observe", ScopeMismatch, Verdict::ObserveOnly),
    ];
    for (mode, kind, verdict) in table {
        let intent = intent("i", json!({"mode": mode}));
        let d = Policy::default().decide(&case(&intent, kind));
        assert_eq!(d.decision.verdict, verdict, "{mode} {kind}");
        assert_eq!(rules_of(&d).contains(&"mode"), mode != "enforce");
    }
}

#[test]
fn low_risk_drift_waits_for_its_tolerance_and_is_overdue_after_it() {
    let table = [
        // criticality, age in minutes, waits until (minutes), severity
        ("critical", 0, None, Severity::High),
        ("critical", 10_000, None, Severity::High),
        ("high", 59, Some(60), Severity::High),
        ("high", 60, None, Severity::High),
        ("high", 61, None, Severity::Critical),
        ("standard", 0, Some(240), Severity::High),
        ("low", 1_439, Some(1_440), Severity::High),
        ("low", 1_441, None, Severity::Critical),
    ];
    for (criticality, age, waits, severity) in table {
        let intent = intent("i", json!({"criticality": criticality}));
        let now = t0() + Duration::minutes(age);
        let d = Policy::default().decide(&Case { now, ..case(&intent, MissingAssignment) });
        let expected = waits.map(|m| t0() + Duration::minutes(m));
        assert_eq!((d.decision.not_before, d.severity), (expected, severity), "{criticality} {age}");
        assert_eq!(d.decision.verdict, Verdict::Automatic);
    }
    let reviewed = intent("i", json!({"criticality": "low"}));
    let d = Policy::default().decide(&case(&reviewed, ScopeMismatch));
    assert_eq!(d.decision.not_before, None, "only what is automatic waits");
}

#[test]
fn what_cannot_be_mended_or_was_tried_in_vain_goes_to_people() {
    let intent = intent("i", json!({}));
    let no_remedy = Policy::default().decide(&Case { remedy: false, ..case(&intent, MissingAssignment) });
    assert_eq!(no_remedy.decision.verdict, Verdict::Review);
    let exhausted = Policy::default().decide(&Case { exhausted: true, ..case(&intent, MissingAssignment) });
    assert_eq!(exhausted.decision.verdict, Verdict::Cab);
    assert!(rules_of(&exhausted).contains(&"ladder"));
}

fn any_policy() -> impl Strategy<Value = Vec<(&'static str, Option<Ring>, Option<DriftKind>)>> {
    let say = prop::sample::select(vec!["automatic", "review", "cab"]);
    let ring = prop::option::of(prop::sample::select(Ring::ALL.to_vec()));
    let kind = prop::option::of(prop::sample::select(DriftKind::ALL.to_vec()));
    prop::collection::vec((say, ring, kind), 0..8)
}

fn written(rules: &[(&str, Option<Ring>, Option<DriftKind>)]) -> String {
    let mut text = String::new();
    for (n, (say, ring, kind)) in rules.iter().enumerate() {
        text.push_str(&format!("[[rule]]\nname = \"r{n}\"\nsay = \"{say}\"\nbecause = \"b\"\n"));
        if let Some(ring) = ring {
            text.push_str(&format!("rings = [{}]\n", serde_json::to_string(ring).unwrap()));
        }
        if let Some(kind) = kind {
            text.push_str(&format!("kinds = [\"{kind}\"]\n"));
        }
    }
    text
}

proptest! {
    #[test]
    fn the_stricter_rule_wins_whatever_the_order(
        rules in any_policy(),
        ring in prop::sample::select(Ring::ALL.to_vec()),
        kind in prop::sample::select(DriftKind::ALL.to_vec()),
        mode in prop::sample::select(vec![Mode::Observe, Mode::Propose, Mode::Enforce]),
        criticality in prop::sample::select(Criticality::ALL.to_vec()),
    ) {
        let mut intent = intent("i", json!({}));
        (intent.ring, intent.mode, intent.criticality) = (ring, mode, criticality);
        let decide = |rules: &[_]| Policy::parse(&written(rules)).unwrap().decide(&case(&intent, kind)).decision;
        let decision = decide(&rules);
        let strictest = decision.reasons.iter().map(|r| r.says).max().unwrap();
        prop_assert_eq!(decision.verdict, strictest);

        let mut reversed = rules.clone();
        reversed.reverse();
        prop_assert_eq!(decide(&reversed).verdict, decision.verdict);

        // One more rule never makes it less strict, unless it was only the default that spoke.
        let mut more = rules.clone();
        more.push(("cab", Some(ring), Some(kind)));
        prop_assert!(decide(&more).verdict >= decision.verdict);
        match mode {
            Mode::Observe => prop_assert_eq!(decision.verdict, Verdict::ObserveOnly),
            Mode::Propose => prop_assert!(decision.verdict >= Verdict::Review),
            Mode::Enforce => prop_assert!(decision.verdict <= Verdict::Cab),
        }
    }
}
