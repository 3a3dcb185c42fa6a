//! Findings and approvals.

use trueup_model::{
    Approval, ApprovalKind, ApprovalState, CorrelationId, Decision, Delta, Digest, DriftKind, Finding, Plan,
    Time, Verdict, Write,
};

use super::Fresh;
use super::given::*;

/// A finding on an intent, last seen at that time.
pub(super) fn finding(intent: &str, kind: DriftKind, seen: Time) -> Finding {
    let decision = Decision {
        verdict: Verdict::Automatic,
        reasons: Vec::new(),
        policy: "default".into(),
        would_change: String::new(),
        not_before: None,
    };
    Finding {
        plane: trueup_model::PlaneKind::Intune,
        persistent: false,
        security: false,
        causes: Vec::new(),
        id: Finding::id_of(&key(intent), kind),
        intent: key(intent),
        kind,
        open: true,
        severity: kind.severity(),
        digest: Digest::of(&intent),
        affected_devices: 3,
        delta: vec![Delta { path: "version".into(), desired: "2".into(), observed: "1".into() }],
        opened_at: t(0),
        last_seen_at: seen,
        resolved_at: None,
        recurrences: 0,
        attempts: 0,
        decision,
        next_at: None,
        correlation_id: CorrelationId::derive(&[intent]),
        facts: Vec::new(),
    }
}

/// An open question about that finding.
pub(super) fn approval(intent: &str, drift: DriftKind, opened_at: Time) -> Approval {
    let (finding, digest) = (Finding::id_of(&key(intent), drift), Digest::of(&intent));
    Approval {
        id: Approval::id_of(&finding, ApprovalKind::Review, &digest, opened_at),
        kind: ApprovalKind::Review,
        state: ApprovalState::Open,
        intent: key(intent),
        finding,
        drift,
        plan: Plan::new(1, &[&digest], Vec::new()),
        digest,
        because: vec!["production ring".into()],
        opened_at,
        closed_at: None,
        correlation_id: CorrelationId::derive(&[intent]),
    }
}

fn finds(findings: &[Finding]) -> trueup_model::Commit {
    writes(findings.iter().map(|f| Write::Finding(Box::new(f.clone()))).collect())
}
fn asks(approvals: &[Approval]) -> trueup_model::Commit {
    writes(approvals.iter().map(|a| Write::Approval(Box::new(a.clone()))).collect())
}

pub(crate) async fn a_finding_is_replaced_by_its_id(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let p = key("i").partition(4);
    applied(&*store, &intent("i")).await;
    let (mut a, b) =
        (finding("i", DriftKind::ComplianceDrift, t(1)), finding("i", DriftKind::VersionMismatch, t(2)));
    carried_out(&*store, p, "1", finds(&[a.clone(), b.clone()])).await;
    a.affected_devices = 9;
    a.last_seen_at = t(3);
    carried_out(&*store, p, "2", finds(std::slice::from_ref(&a))).await;

    let mut found = store.findings(&key("i")).await.unwrap();
    found.sort_by_key(|f| f.last_seen_at);
    assert_eq!(found, [b.clone(), a.clone()]);
    assert_eq!(store.finding(&a.id).await.unwrap(), Some(a), "in whichever partition");
    assert_eq!(store.finding(&trueup_model::FindingId::derive(&["none"])).await.unwrap(), None);
    assert!(store.findings(&key("nobody")).await.unwrap().is_empty());
}

pub(crate) async fn findings_are_listed_newest_first(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    for n in 0..12 {
        let name = format!("i{n}");
        applied(&*store, &intent(&name)).await;
        // Seen in another order than that of their names.
        let seen = t((n * 5) % 12);
        let one = finding(&name, DriftKind::ComplianceDrift, seen);
        carried_out(&*store, key(&name).partition(4), &name, finds(&[one])).await;
    }
    for limit in [1, 5, 12, 100] {
        let (mut seen, mut cursor): (Vec<Time>, Option<String>) = (Vec::new(), None);
        loop {
            let page = store.list_findings(cursor.as_deref(), limit).await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|f| f.last_seen_at));
            cursor = page.next;
            if cursor.is_none() || seen.len() > 12 {
                break;
            }
        }
        assert_eq!(seen, (0..12).rev().map(t).collect::<Vec<_>>(), "pages of {limit}");
    }
}

pub(crate) async fn an_approval_is_replaced_by_its_id(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let p = key("i").partition(4);
    applied(&*store, &intent("i")).await;
    let (a, b) =
        (approval("i", DriftKind::ScopeMismatch, t(1)), approval("i", DriftKind::ComplianceDrift, t(2)));
    carried_out(&*store, p, "1", asks(&[a.clone(), b.clone()])).await;
    let mut open = store.approvals(&key("i")).await.unwrap();
    open.sort_by_key(|a| a.opened_at);
    assert_eq!(open, [a.clone(), b.clone()]);

    let withdrawn = Approval { state: ApprovalState::Withdrawn, closed_at: Some(t(5)), ..a };
    carried_out(&*store, p, "2", asks(std::slice::from_ref(&withdrawn))).await;
    assert_eq!(store.approvals(&key("i")).await.unwrap(), [b], "only what is still open");
    assert_eq!(store.approval(&withdrawn.id).await.unwrap(), Some(withdrawn), "and the rest by its id");
    assert_eq!(store.approval(&trueup_model::ApprovalId::derive(&["none"])).await.unwrap(), None);
}

pub(crate) async fn approvals_are_listed_newest_first(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    for n in 0..6 {
        let name = format!("i{n}");
        applied(&*store, &intent(&name)).await;
        let one = approval(&name, DriftKind::ScopeMismatch, t((n * 5) % 6));
        carried_out(&*store, key(&name).partition(4), &name, asks(&[one])).await;
    }
    let first = store.list_approvals(None, 4).await.unwrap();
    let second = store.list_approvals(first.next.as_deref(), 4).await.unwrap();
    let opened: Vec<Time> = first.items.iter().chain(&second.items).map(|a| a.opened_at).collect();
    assert_eq!(opened, (0..6).rev().map(t).collect::<Vec<_>>());
    assert!(first.next.is_some() && second.next.is_none());
}

pub(crate) async fn nothing_is_recorded_about_a_missing_intent(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (f, a) = (
        finding("gone", DriftKind::ComplianceDrift, t(1)),
        approval("gone", DriftKind::ComplianceDrift, t(1)),
    );
    let both = vec![Write::Finding(Box::new(f.clone())), Write::Approval(Box::new(a.clone()))];
    let commit = trueup_model::Commit { events: vec![an_event("e")], ..writes(both) };
    // The intent was deleted while its run was active: the run ends and leaves nothing behind.
    assert_eq!(carried_out(&*store, P, "1", commit).await, trueup_model::commit::Committed::Yes);
    assert_eq!((store.finding(&f.id).await.unwrap(), store.approval(&a.id).await.unwrap()), (None, None));
    assert!(store.list_findings(None, 9).await.unwrap().items.is_empty());
    assert!(store.list_approvals(None, 9).await.unwrap().items.is_empty());
    assert_eq!(all_events(&*store).await.len(), 1, "what happened stays in the events");
}
