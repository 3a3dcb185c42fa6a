//! The words of `emit`: what its events say.

use serde_json::json;
use trueup_model::{Condition, Decision, DriftKind, EventKind, Finding, IntentRecord, job};

use super::attempts;
use crate::events::Events;

pub(super) fn finding_ids(record: &IntentRecord, kinds: &[DriftKind]) -> Vec<String> {
    kinds.iter().map(|k| Finding::id_of(&record.intent.key, *k).to_string()).collect()
}

pub(super) fn condition(before: Condition, job: &job::Emit, events: &mut Events<'_>) {
    let after = job.condition;
    // The first look finds a condition, it does not change one; only that nothing can be told is worth a word.
    let expected = before == Condition::Unknown && matches!(after, Condition::InSync | Condition::Drifted);
    if before != after && !expected {
        let data = json!({"from": before, "to": after, "because": job.unjudged});
        events.push(EventKind::ConditionChanged, data);
    }
}

/// In the shape of seed 000 ("Event Store Integration"), and what one needs to find the rest.
pub(super) fn drift(kind: EventKind, finding: &Finding, triggered: bool, events: &mut Events<'_>) {
    let data = json!({
        "drift_type": finding.kind, "severity": finding.severity, "affected_devices": finding.affected_devices,
        "remediation_triggered": triggered, "finding_id": finding.id, "delta": finding.delta,
        "opened_at": finding.opened_at, "recurrences": finding.recurrences,
    });
    events.push(kind, data);
}

pub(super) fn policy(before: Option<Decision>, finding: &Finding, events: &mut Events<'_>) {
    let decision = &finding.decision;
    let same = before.is_some_and(|mut before| {
        before.not_before = decision.not_before;
        before == *decision
    });
    if !same {
        let data = json!({
            "drift_type": finding.kind, "finding_id": finding.id, "severity": finding.severity,
            "decision": decision,
        });
        events.push(EventKind::PolicyDecided, data);
    }
}

pub(super) fn attempt(verdict: &attempts::Verdict, record: &IntentRecord, events: &mut Events<'_>) {
    let (event, attempt, kinds) = match verdict {
        attempts::Verdict::Nothing => return,
        attempts::Verdict::Failed { attempt, kinds } => (EventKind::RemediationFailed, attempt, kinds),
        attempts::Verdict::Verified { attempt, kinds } => (EventKind::RemediationVerified, attempt, kinds),
    };
    let ids = finding_ids(record, kinds);
    events.push(event, json!({"attempt": attempt, "drift_types": kinds, "finding_ids": ids}));
}
