//! Findings: what is kept of a drift, as bitemporal facts.

use std::collections::BTreeMap;

use serde_json::Value;
use trueup_model::{CorrelationId, Delta, Drift, Fact, Finding, Intent, Time};

use crate::policy::Decided;

/// What an observation changed about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Changed,
    Same,
}

/// The finding as it is now that the drift was seen. A fact is appended only when something differs from the last one.
pub(super) fn seen(
    before: Option<Finding>,
    intent: &Intent,
    drift: &Drift,
    decided: Decided,
    correlation: &CorrelationId,
    now: Time,
) -> (Finding, Change) {
    let Decided { decision, severity, security, .. } = decided;
    let target = &intent.target;
    let (change, mut finding) = match before {
        Some(f) if f.open && f.digest == drift.digest => (Change::Same, f),
        Some(f) if f.open => (Change::Changed, f),
        Some(f) => {
            let recurrences = f.recurrences.saturating_add(1);
            let (opened_at, correlation_id) = (now, correlation.clone());
            (
                Change::Opened,
                Finding { open: true, opened_at, resolved_at: None, recurrences, correlation_id, ..f },
            )
        }
        None => (
            Change::Opened,
            Finding {
                id: Finding::id_of(&intent.key, drift.kind),
                intent: intent.key.clone(),
                plane: target.plane(),
                persistent: false,
                security: false,
                causes: Vec::new(),
                kind: drift.kind,
                open: true,
                severity,
                digest: drift.digest.clone(),
                affected_devices: drift.affected_devices,
                delta: drift.delta.clone(),
                opened_at: now,
                last_seen_at: now,
                resolved_at: None,
                recurrences: 0,
                attempts: 0,
                decision: decision.clone(),
                next_at: None,
                correlation_id: correlation.clone(),
                facts: Vec::new(),
            },
        ),
    };
    finding.severity = severity;
    finding.security = security;
    finding.decision = decision;
    finding.digest = drift.digest.clone();
    finding.affected_devices = drift.affected_devices;
    finding.delta = drift.delta.clone();
    finding.plane = target.plane();
    finding.causes = trueup_model::cause::candidates(target, drift);
    finding.last_seen_at = now;
    if change != Change::Same {
        finding.append(fact(true, desired(&drift.delta), observed(&drift.delta), drift.evidence_at, now));
    }
    (finding, change)
}

/// The finding as it is now that the drift was looked for and is gone. `seen_at`: when the plane was asked.
pub(super) fn resolved(mut finding: Finding, seen_at: Time, now: Time) -> Finding {
    let meant = desired(&finding.delta);
    finding.append(fact(false, meant.clone(), meant, seen_at, now));
    finding.open = false;
    finding.persistent = false;
    finding.resolved_at = Some(now);
    finding.next_at = None;
    finding
}

fn fact(drifted: bool, desired: Value, observed: Value, valid_from: Time, now: Time) -> Fact {
    Fact {
        drifted,
        desired,
        observed,
        // A plane whose clock runs ahead cannot report the future.
        valid_from: valid_from.min(now),
        valid_to: None,
        recorded_at: now,
        superseded_at: None,
    }
}

fn desired(delta: &[Delta]) -> Value {
    by_path(delta, |d| &d.desired)
}

fn observed(delta: &[Delta]) -> Value {
    by_path(delta, |d| &d.observed)
}

/// Path → what is there, in order, without repetition.
fn by_path(delta: &[Delta], side: impl Fn(&Delta) -> &String) -> Value {
    let mut paths: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for d in delta {
        let there = paths.entry(&d.path).or_default();
        if !there.contains(&side(d)) {
            there.push(side(d));
        }
    }
    serde_json::json!(paths)
}
