//! Approvals: what policy sends to people is asked once, and taken back when the question is gone.

use serde_json::json;
use trueup_model::{Approval, ApprovalKind, ApprovalState, Drift, EventKind, Finding, Plan, Time, Write};

use crate::events::Events;

/// Withdraws what is not the question any more, and asks the one that is, unless it has been asked. Gives what it asked.
pub(crate) fn settle(
    finding: &Finding,
    ask: Option<(ApprovalKind, &Drift, Plan)>,
    known: &[Approval],
    events: &mut Events<'_>,
    writes: &mut Vec<Write>,
    now: Time,
) -> Option<Approval> {
    // What a board was asked names all that was tried; a review names exactly what would be done now.
    let same = |a: &Approval| {
        let matches = |(kind, drift, plan): &(ApprovalKind, &Drift, Plan)| {
            let fits = a.kind == ApprovalKind::Cab || a.plan.digest == plan.digest;
            a.kind == *kind && a.digest == drift.digest && fits
        };
        ask.as_ref().is_some_and(matches)
    };
    let mut asked = false;
    for approval in known.iter().filter(|a| a.state == ApprovalState::Open && a.finding == finding.id) {
        if !asked && same(approval) {
            asked = true;
            continue;
        }
        let mut gone = approval.clone();
        gone.state = ApprovalState::Withdrawn;
        gone.closed_at = Some(now);
        let (kind, drift) = (gone.kind, gone.drift);
        let data = json!({"approval_id": gone.id, "approval": kind, "drift_type": drift, "finding_id": gone.finding});
        events.push(EventKind::ApprovalWithdrawn, data);
        writes.push(Write::Approval(Box::new(gone)));
    }
    let (kind, drift, plan) = ask.filter(|_| !asked)?;
    let because = finding.decision.reasons.iter().map(|r| format!("{}: {}", r.rule, r.because)).collect();
    let approval = open(finding, kind, drift, plan, because, events, now);
    writes.push(Write::Approval(Box::new(approval.clone())));
    Some(approval)
}

/// Asks.
pub(crate) fn open(
    finding: &Finding,
    kind: ApprovalKind,
    drift: &Drift,
    plan: Plan,
    because: Vec<String>,
    events: &mut Events<'_>,
    now: Time,
) -> Approval {
    let approval = Approval {
        id: Approval::id_of(&finding.id, kind, &drift.digest, now),
        kind,
        state: ApprovalState::Open,
        intent: finding.intent.clone(),
        finding: finding.id.clone(),
        drift: drift.kind,
        digest: drift.digest.clone(),
        plan,
        because,
        opened_at: now,
        closed_at: None,
        correlation_id: events.correlation_id().clone(),
    };
    let data = json!({
        "approval_id": approval.id, "approval": kind, "drift_type": drift.kind, "finding_id": finding.id,
        "because": approval.because, "plan": approval.plan.digest,
        "actions": approval.plan.actions.iter().map(|p| &p.summary).collect::<Vec<_>>(),
    });
    events.push(EventKind::ApprovalOpened, data);
    approval
}
