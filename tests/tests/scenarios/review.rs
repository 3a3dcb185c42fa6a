//! What policy does not do by itself: it asks, once, and waits.

use trueup_model::{
    ApprovalKind, ApprovalState, Condition, DriftKind, Duration, EventKind, Intent, Ring, Verdict,
};
use trueup_simulators::{Mischief, app_id, group_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

/// The story of one intent that is drifted and for whose drift somebody must be asked.
async fn asks(intent: Intent, mischief: Mischief, kind: DriftKind, rules: &[&str]) -> Story {
    let story = Story::begin().await;
    let it = intent.key.clone();
    story.do_mischief(&mischief);
    story.apply(&[intent]).await;
    story.work().await;
    let finding = story.finding(&it).await;
    assert_eq!((finding.kind, finding.decision.verdict), (kind, Verdict::Review));
    let spoke: Vec<&str> = finding.decision.reasons.iter().map(|r| r.rule.as_str()).collect();
    assert_eq!(spoke, rules);

    let approvals = story.open_approvals(&it).await;
    assert_eq!(approvals.len(), 1, "{approvals:#?}");
    let asked = &approvals[0];
    assert_eq!((asked.kind, asked.state, asked.drift), (ApprovalKind::Review, ApprovalState::Open, kind));
    assert_eq!(asked.because.len(), rules.len(), "every rule says why");
    assert_eq!(asked.plan.actions.len(), 1, "what would be done: {asked:#?}");
    assert_eq!(story.happened(&it, EventKind::ApprovalOpened).await, 1);

    story.pass(Duration::hours(3)).await;
    assert_eq!(story.open_approvals(&it).await, approvals, "asked once, however often it is seen");
    assert_eq!(story.condition(&it).await, Condition::Drifted);
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 0);
    assert!(story.sim().writes().is_empty());
    story
}

#[tokio::test]
async fn a_scope_mismatch_in_global_waits_for_a_review() {
    let intent = Intent { ring: Ring::Global, ..assigned(TENANT, 0) };
    let (app, from, to) = (app_id(TENANT, 0), group_id(0), group_id(9));
    // The meant group is there, and one that was not meant.
    let widened = Mischief::AddGroup { app: app.clone(), group: to.clone() };
    let story = asks(intent, widened, DriftKind::ScopeMismatch, &["scope-change", "production-ring"]).await;

    // Somebody takes the other group away by hand: the question is gone with the drift.
    story.do_mischief(&Mischief::SwapGroup { app, from: to, to: from });
    story.pass(Duration::minutes(20)).await;
    assert_eq!(story.condition(&key(TENANT, 0)).await, Condition::InSync);
    assert!(story.open_approvals(&key(TENANT, 0)).await.is_empty());
    assert_eq!(story.happened(&key(TENANT, 0), EventKind::ApprovalWithdrawn).await, 1);
}

#[tokio::test]
async fn compliance_drift_goes_to_a_review_even_in_the_lab() {
    let mut intent = assigned(TENANT, 0);
    intent.desired.compliant = true;
    let app = app_id(TENANT, 0);
    let broken = Mischief::BreakCompliance { app, devices: 2 };
    let story = asks(intent, broken, DriftKind::ComplianceDrift, &["default"]).await;
    assert_eq!(story.finding(&key(TENANT, 0)).await.affected_devices, 2);
}

#[tokio::test]
async fn a_privileged_application_is_never_mended_unasked() {
    let intent = Intent { privileged: true, ..assigned(TENANT, 0) };
    let removed = Mischief::RemoveAssignments { app: app_id(TENANT, 0) };
    asks(intent, removed, DriftKind::MissingAssignment, &["privileged"]).await;
}

#[tokio::test]
async fn another_difference_is_another_question() {
    let story = Story::begin().await;
    let (it, app) = (key(TENANT, 0), app_id(TENANT, 0));
    story.do_mischief(&Mischief::AddGroup { app: app.clone(), group: group_id(8) });
    story.apply(&[assigned(TENANT, 0)]).await;
    story.work().await;
    let first = story.open_approvals(&it).await;
    story.do_mischief(&Mischief::AddGroup { app, group: group_id(9) });
    // A check, and as long as what was read serves others.
    story.pass(Duration::minutes(20)).await;
    let second = story.open_approvals(&it).await;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].id, second[0].id);
    assert_ne!(first[0].plan.digest, second[0].plan.digest);
    assert_eq!(story.happened(&it, EventKind::ApprovalWithdrawn).await, 1);
    assert_eq!(story.happened(&it, EventKind::DriftChanged).await, 1);
}
