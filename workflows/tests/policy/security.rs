//! Boundaries and security incidents.

use serde_json::json;
use trueup_model::{Drift, DriftKind, Intent, Verdict};
use trueup_workflows::policy::Case;

use super::{at, case, delta, drift, intent, rules_of, t0, with};

const FINANCE: &str = "[[boundary]]\nname = 'finance'\ngroups = ['group:fin-*', 'all_devices']\nlabels = ['team=finance']\nbecause = 'regulated'\n";

fn reaching(groups: &[&str], more: serde_json::Value) -> Intent {
    let include: Vec<_> = groups.iter().map(|g| json!({"group": g})).collect();
    let mut m = json!({"desired": {"assignment": {"include": include}}});
    for (k, v) in more.as_object().unwrap() {
        m[k] = v.clone();
    }
    intent(m)
}

#[test]
fn a_boundary_is_crossed_by_whom_it_does_not_name() {
    let scope = |path: &str, desired: &str, observed: &str| {
        Drift::new(DriftKind::ScopeMismatch, vec![delta(path, desired, observed)], t0())
    };
    let missing = drift(DriftKind::MissingAssignment);
    let member = json!({"labels": {"team": "finance"}});
    let table: Vec<(Intent, Drift, Option<&str>)> = vec![
        // Violation: the intent itself reaches inside.
        (
            reaching(&["g1", "fin-1"], json!({})),
            missing.clone(),
            Some("policy violation: the intent itself reaches group:fin-1"),
        ),
        (reaching(&["fin-1"], member.clone()), missing.clone(), None),
        (
            reaching(&["fin-1"], json!({"labels": {"team": "edge"}})),
            missing.clone(),
            Some("policy violation"),
        ),
        // The drift is about a scope inside.
        (
            reaching(&["g1"], json!({})),
            scope("assignment.extra", "absent", "group:fin-2"),
            Some("the drift is about group:fin-2"),
        ),
        (
            reaching(&["g1"], json!({})),
            scope("assignment.include", "group:fin-2 required", "absent"),
            Some("the drift is about group:fin-2"),
        ),
        (
            reaching(&["g1"], json!({})),
            scope("target.replaces.7", "absent", "group:fin-3"),
            Some("the drift is about group:fin-3"),
        ),
        (
            reaching(&["g1"], json!({})),
            scope("assignment.extra", "absent", "all_devices"),
            Some("the drift is about all_devices"),
        ),
        (reaching(&["g1"], member), scope("assignment.extra", "absent", "group:fin-2"), None),
        // Not about it: other scopes, and the same words in somebody's text.
        (reaching(&["g1"], json!({})), scope("assignment.extra", "absent", "group:g2"), None),
        (reaching(&["g1"], json!({})), scope("compliance.details", "compliant", "group:fin-2"), None),
        (reaching(&["g1"], json!({})), missing, None),
    ];
    let policy = with(FINANCE);
    for (intent, drift, crossing) in table {
        let d = policy.decide(&case(&intent, &drift));
        let reason = d.decision.reasons.iter().find(|r| r.rule == "boundary finance");
        assert_eq!(reason.is_some(), crossing.is_some(), "{crossing:?} {:?}", d.decision.reasons);
        if let (Some(reason), Some(crossing)) = (reason, crossing) {
            assert!(
                reason.because.contains(crossing) && reason.because.ends_with("(regulated)"),
                "{}",
                reason.because
            );
            assert_eq!(d.decision.verdict, Verdict::Cab);
            assert!(d.security);
        }
    }
}

#[test]
fn a_boundary_may_ask_for_a_review_and_a_rule_may_ask_for_more() {
    let crossing = reaching(&["fin-1"], json!({}));
    let soft = FINANCE.replace("because", "say = 'review'\nbecause");
    let d = with(&soft).decide(&case(&crossing, &drift(DriftKind::MissingAssignment)));
    assert_eq!(d.decision.verdict, Verdict::Review);
    let rule = "[[rule]]\nname = 'c'\nsay = 'cab'\ncrosses_boundary = true\nrings = ['lab']\nbecause = 'b'\n";
    let lease = "[[exception]]\nname = 'e'\nsay = 'automatic'\nowner = 'o'\nticket = 't'\nexpires = 2027-01-01T00:00:00Z\n";
    let d =
        with(&format!("{soft}{rule}{lease}")).decide(&case(&crossing, &drift(DriftKind::MissingAssignment)));
    assert_eq!(
        d.decision.verdict,
        Verdict::Cab,
        "an exception sets no rule about boundaries aside: {:?}",
        rules_of(&d)
    );
}

#[test]
fn while_an_incident_holds_everything_it_matches_is_the_cabs() {
    let policy = with(
        "[[incident]]\nname = 'stolen'\nticket = 'SEC-7'\nsince = 2026-01-02T00:00:00Z\nuntil = 2026-01-03T00:00:00Z\nplanes = ['intune']\n",
    );
    let (lab, missing) = (intent(json!({})), drift(DriftKind::MissingAssignment));
    let table = [
        ("2026-01-01T23:59:59Z", Verdict::Automatic),
        ("2026-01-02T00:00:00Z", Verdict::Cab),
        ("2026-01-02T23:59:59Z", Verdict::Cab),
        ("2026-01-03T00:00:00Z", Verdict::Automatic),
    ];
    for (now, expected) in table {
        let d = policy.decide(&Case { now: at(now), ..case(&lab, &missing) });
        assert_eq!((d.decision.verdict, d.security), (expected, expected == Verdict::Cab), "{now}");
    }
    let d = policy.decide(&Case { now: at("2026-01-02T12:00:00Z"), ..case(&lab, &missing) });
    let why = d.decision.reasons.iter().find(|r| r.rule == "incident stolen").unwrap();
    assert_eq!(
        why.because,
        "security incident: ticket SEC-7, since 2026-01-02T00:00:00Z until 2026-01-03T00:00:00Z"
    );
    let ansible = intent(
        json!({"plane": "ansible", "target": {"playbook": "a.yml", "inventory": "h"}, "desired": {"compliant": true}}),
    );
    let d = policy.decide(&Case {
        now: at("2026-01-02T12:00:00Z"),
        ..case(&ansible, &drift(DriftKind::ComplianceDrift))
    });
    assert_eq!(d.decision.verdict, Verdict::Review, "another plane is not concerned");
}

#[test]
fn rules_see_incidents_and_boundaries() {
    let rule =
        |condition: &str| format!("[[rule]]\nname = 'r'\nsay = 'automatic'\n{condition}\nbecause = 'b'\n");
    let incident = "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2026-01-02T00:00:00Z\n";
    let missing = drift(DriftKind::MissingAssignment);
    let speaks = |sections: &str, intent: &Intent, now: &str| {
        let policy = with(sections);
        let d = policy.decide(&Case { now: at(now), ..case(intent, &missing) });
        rules_of(&d).contains(&"r")
    };
    let lab = intent(json!({}));
    for (condition, before, during) in
        [("security_incident = true", false, true), ("security_incident = false", true, false)]
    {
        let sections = format!("{incident}{}", rule(condition));
        assert_eq!(speaks(&sections, &lab, "2026-01-01T00:00:00Z"), before, "{condition}");
        assert_eq!(speaks(&sections, &lab, "2026-01-03T00:00:00Z"), during, "{condition}");
    }
    let inside = reaching(&["fin-1"], json!({}));
    for (condition, outside, crossing) in
        [("crosses_boundary = true", false, true), ("crosses_boundary = false", true, false)]
    {
        let sections = format!("{FINANCE}{}", rule(condition));
        assert_eq!(speaks(&sections, &lab, "2026-01-01T00:00:00Z"), outside, "{condition}");
        assert_eq!(speaks(&sections, &inside, "2026-01-01T00:00:00Z"), crossing, "{condition}");
    }
}
