//! Policy: what it decides, what its file may say, and that both are pure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod defaults;
mod files;
mod leases;
mod lint;
mod properties;
mod replays;
mod security;
mod tables;
mod times;

use trueup_model::{Delta, Drift, DriftKind, Intent, Time};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, Decided};

fn t0() -> Time {
    at("2026-01-01T00:00:00Z")
}

fn at(text: &str) -> Time {
    text.parse().unwrap()
}

/// Chrome in the lab, critical (so that nothing is tolerated), on Intune. `more` replaces or adds fields.
fn intent(more: serde_json::Value) -> Intent {
    let mut m = serde_json::json!({
        "id": "chrome", "tenant": "acme", "plane": "intune",
        "target": {"app_id": "11111111-1111-4111-8111-111111111111", "app_name": "Chrome"},
        "desired": {"assignment": {"include": [{"group": "g1"}]}},
        "criticality": "critical", "ring": "lab",
    });
    for (k, v) in more.as_object().unwrap() {
        m[k] = v.clone();
    }
    serde_json::from_value(m).unwrap()
}

fn drift(kind: DriftKind) -> Drift {
    let path = match kind {
        DriftKind::MissingAssignment | DriftKind::ScopeMismatch => "assignment.include",
        DriftKind::VersionMismatch => "version",
        DriftKind::ComplianceDrift => "compliance.details",
    };
    Drift::new(kind, vec![delta(path, "group:g1 required", "absent")], t0())
}

fn delta(path: &str, desired: &str, observed: &str) -> Delta {
    Delta { path: path.into(), desired: desired.into(), observed: observed.into() }
}

/// Seen and decided at [`t0`].
fn case<'a>(intent: &'a Intent, drift: &'a Drift) -> Case<'a> {
    Case { intent, drift, opened_at: t0(), now: t0(), remedy: true, exhausted: false, held: None }
}

fn rules_of(d: &Decided) -> Vec<&str> {
    d.decision.reasons.iter().map(|r| r.rule.as_str()).collect()
}

/// The default policy and these sections.
fn with(sections: &str) -> Policy {
    let text = format!("{}\n{sections}", trueup_workflows::policy::DEFAULT);
    Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"))
}
