//! The words of `emit`: what its events say.

use serde_json::json;
use trueup_model::{
    Condition, Decision, DriftKind, EventKind, Finding, Ignored, IntentRecord, Status, Trip, job,
};

use super::attempts;
use super::course::Asked;
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
/// `security`: of the decision about it.
pub(super) fn drift(
    kind: EventKind,
    finding: &Finding,
    triggered: bool,
    security: bool,
    events: &mut Events<'_>,
) {
    let mut data = about(finding, triggered);
    data["security"] = json!(security);
    events.push(kind, data);
}

fn about(finding: &Finding, triggered: bool) -> serde_json::Value {
    json!({
        "drift_type": finding.kind, "severity": finding.severity, "affected_devices": finding.affected_devices,
        "remediation_triggered": triggered, "finding_id": finding.id, "delta": finding.delta,
        "opened_at": finding.opened_at, "recurrences": finding.recurrences,
    })
}

/// `ignored_by`: it is still there, but rules say that it is no drift.
pub(super) fn resolved(finding: &Finding, ignored: &[Ignored], events: &mut Events<'_>) {
    let mut data = about(finding, false);
    let mut rules: Vec<_> = ignored.iter().filter(|i| i.kind == finding.kind).map(|i| &i.rule).collect();
    rules.dedup();
    if !rules.is_empty() {
        data["ignored_by"] = json!(rules);
    }
    events.push(EventKind::DriftResolved, data);
}

/// Nobody looks at it any more.
pub(crate) fn left(finding: &Finding, status: Status, events: &mut Events<'_>) {
    let mut data = about(finding, false);
    data["because"] = json!("the intent is not reconciled any more: nothing looks at it");
    data["status"] = json!(status);
    events.push(EventKind::DriftResolved, data);
}

/// Said once for each time the switch trips, by the job that tripped it.
pub(super) fn tripped(trip: &Trip, kinds: &[DriftKind], events: &mut Events<'_>) {
    let Trip { tenant, plane, at, cap } = trip;
    let data = json!({
        "plane": plane, "cap": cap, "at": at, "drift_types": kinds,
        "because": "more remediation at once than policy allows; all of it waits for reviews until it is rearmed",
        "rearm": format!("trueup blast rearm {tenant} {plane}"),
    });
    events.push(EventKind::BlastRadiusTripped, data);
}

/// `became_security`: a finding that was open is now a matter of security.
pub(super) fn policy(
    before: Option<Decision>,
    finding: &Finding,
    asked: &Asked<'_>,
    became_security: bool,
    events: &mut Events<'_>,
) {
    let decision = &finding.decision;
    let same = before.is_some_and(|mut before| {
        before.not_before = decision.not_before;
        before == *decision
    });
    if !same || became_security {
        let mut data = json!({
            "drift_type": finding.kind, "finding_id": finding.id, "severity": finding.severity,
            "security": asked.decided.security, "decision": decision, "case": asked.case.record(),
        });
        if became_security {
            data["became_security"] = json!(true);
        }
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
