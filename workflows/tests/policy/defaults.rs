//! What the shipped policy decides.

use serde_json::json;
use trueup_model::{Caps, DriftKind, Duration, Severity, Trip, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, DEFAULT};

use super::{case, drift, intent, rules_of, t0};
use DriftKind::{ComplianceDrift, MissingAssignment, ScopeMismatch, VersionMismatch};

#[test]
fn the_shipped_policy_is_sound_and_nobody_is_warned_of_it() {
    let checked = trueup_workflows::policy::check::check(DEFAULT, t0()).unwrap();
    assert_eq!(checked.warnings, []);
    assert_eq!(checked.policy, Policy::default());
}

/// Every example in its comments works once the # is taken away.
#[test]
fn the_examples_in_the_shipped_policy_are_sound() {
    let (before, examples) = DEFAULT.split_once("take the # away").unwrap();
    let is_toml = |line: &&str| line.starts_with("[[") || line.contains(" = ");
    let examples: Vec<&str> = examples
        .lines()
        .filter_map(|l| l.strip_prefix("# "))
        .filter(is_toml)
        .filter(|l| !l.contains("say = \"review\"."))
        .collect();
    let text = format!("{before}\n{}", examples.join("\n"));
    let checked = trueup_workflows::policy::check::check(&text, super::at("2026-11-21T00:00:00Z"))
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(checked.warnings, []);
    assert_eq!(checked.cases.len(), 1);
    for section in ["window", "freeze", "exception", "ignore", "incident", "boundary"] {
        assert!(text.contains(&format!("\n[[{section}]]\n")), "{section}");
    }
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
        let intent = intent(json!({"ring": ring, "privileged": privileged}));
        let d = policy.decide(&case(&intent, &drift(*kind)));
        assert_eq!(
            (d.decision.verdict, rules_of(&d)),
            (*verdict, rules.to_vec()),
            "{kind} {ring} {privileged}"
        );
        assert_eq!(d.decision.policy, policy.digest().to_string());
        assert!(!d.decision.would_change.is_empty());
        assert_eq!(d.security, *kind == ScopeMismatch);
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
        let intent = intent(json!({"mode": mode}));
        let d = Policy::default().decide(&case(&intent, &drift(kind)));
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
    let drifted = drift(MissingAssignment);
    for (criticality, age, waits, severity) in table {
        let intent = intent(json!({"criticality": criticality}));
        let now = t0() + Duration::minutes(age);
        let d = Policy::default().decide(&Case { now, ..case(&intent, &drifted) });
        let expected = waits.map(|m| t0() + Duration::minutes(m));
        assert_eq!((d.decision.not_before, d.severity), (expected, severity), "{criticality} {age}");
        assert_eq!(d.decision.verdict, Verdict::Automatic);
    }
    let reviewed = intent(json!({"criticality": "low"}));
    let d = Policy::default().decide(&case(&reviewed, &drift(ScopeMismatch)));
    assert_eq!(d.decision.not_before, None, "only what is automatic waits");
}

#[test]
fn what_cannot_be_mended_was_tried_in_vain_or_is_too_much_goes_to_people() {
    let (intent, drifted) = (intent(json!({})), drift(MissingAssignment));
    let ask = |case: Case<'_>| Policy::default().decide(&case).decision;
    let case = case(&intent, &drifted);
    assert_eq!(ask(Case { remedy: false, ..case.clone() }).verdict, Verdict::Review);

    let exhausted = ask(Case { exhausted: true, ..case.clone() });
    assert_eq!(exhausted.verdict, Verdict::Cab);
    assert!(exhausted.reasons.iter().any(|r| r.rule == "ladder"));

    let trip =
        Trip { tenant: "acme".into(), plane: intent.plane(), at: t0(), cap: "100 attempts within 1h".into() };
    let held = ask(Case { held: Some(&trip), ..case.clone() });
    assert_eq!(held.verdict, Verdict::Review);
    let why = held.reasons.iter().find(|r| r.rule == "blast_radius").unwrap();
    assert!(
        why.because.contains("100 attempts within 1h") && why.because.contains("2026-01-01T00:00:00Z"),
        "{why:?}"
    );
    assert!(held.would_change.contains("`trueup blast rearm acme intune`"), "{}", held.would_change);
    assert_eq!(ask(Case { held: Some(&trip), exhausted: true, ..case }).verdict, Verdict::Cab);
}

#[test]
fn the_default_caps() {
    let caps = Policy::default().caps(&intent(json!({}))).unwrap();
    let expected =
        Caps { actions: Some(100), percent: Some(10.0), at_least: 20, window_s: 3_600, per_minute: Some(30) };
    assert_eq!(caps, expected);
    for (intents, attempts) in [(5, 20), (200, 20), (500, 50), (5_000, 100)] {
        assert_eq!(caps.within_window(intents), Some(attempts), "{intents}");
    }
}

#[test]
fn the_version_follows_the_content_and_nothing_else() {
    let version = |text: &str| Policy::parse(text).unwrap().digest().clone();
    let default = Policy::default().digest().clone();
    let reordered = DEFAULT.replace("rings = [\"lab\", \"canary\"]", "rings = [ 'canary',\n  'lab' ]");
    for same in [
        format!("# a comment\n{DEFAULT}"),
        reordered,
        DEFAULT.replace("window = \"1h\"", "window = \"60m\""),
        DEFAULT.replace("low = \"24h\"", "low = \"1d\""),
        format!(
            "{DEFAULT}\n[[case]]\nname = 'a'\ndrift = 'version_mismatch'\nnow = 2026-01-01T00:00:00Z\nexpect = 'review'"
        ),
    ] {
        assert_eq!(version(&same), default);
    }
    for other in [
        DEFAULT.replace("[\"lab\", \"canary\"]", "[\"lab\"]"),
        DEFAULT.replace("high = \"1h\"", "high = \"2h\""),
        DEFAULT.replace("per_minute = 30", "per_minute = 31"),
    ] {
        assert_ne!(version(&other), default);
    }
}
