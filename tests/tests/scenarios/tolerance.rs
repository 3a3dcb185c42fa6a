//! Tolerated drift waits; what has stood for longer is overdue, and graver.

use trueup_model::{Condition, Criticality, Duration, EventKind, Intent, Ring, Severity};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn standard_waits_four_hours_and_is_then_mended() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    story.apply(&[Intent { criticality: Criticality::Standard, ..assigned(TENANT, 0) }]).await;
    story.pass(Duration::hours(4) - Duration::seconds(1)).await;
    assert_eq!(story.condition(&it).await, Condition::Drifted);
    assert!(story.sim().writes().is_empty());
    let finding = story.finding(&it).await;
    assert_eq!(finding.decision.not_before, Some(finding.opened_at + Duration::hours(4)));
    assert_eq!(finding.next_at, finding.decision.not_before, "and says when it will be tried");
    assert_eq!(finding.severity, Severity::High);

    story.pass(Duration::seconds(1)).await;
    assert_eq!(story.minutes(&it, EventKind::RemediationStarted).await, [240]);
    story.pass(Duration::minutes(5)).await;
    assert_eq!(story.minutes(&it, EventKind::RemediationVerified).await, [245]);
}

#[tokio::test]
async fn drift_that_goes_away_within_its_tolerance_is_never_touched() {
    let story = Story::begin().await;
    let (it, app) = (key(TENANT, 0), app_id(TENANT, 0));
    story.do_mischief(&Mischief::RemoveAssignments { app: app.clone() });
    story.apply(&[Intent { criticality: Criticality::Standard, ..assigned(TENANT, 0) }]).await;
    story.pass(Duration::hours(2)).await;
    story.do_mischief(&Mischief::AddGroup { app, group: trueup_simulators::group_id(0) });
    story.pass(Duration::hours(6)).await;
    assert!(story.sim().writes().is_empty());
    assert_eq!(story.happened(&it, EventKind::DriftResolved).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 0);
}

#[tokio::test]
async fn overdue_drift_raises_its_severity_one_step_once() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    let intent = Intent { criticality: Criticality::High, ring: Ring::Global, ..assigned(TENANT, 0) };
    story.apply(&[intent]).await;
    story.pass(Duration::minutes(59)).await;
    assert_eq!(story.finding(&it).await.severity, Severity::High);
    story.pass(Duration::hours(1)).await;
    let finding = story.finding(&it).await;
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.decision.reasons.iter().any(|r| r.because.contains("severity raised")));
    story.pass(Duration::hours(5)).await;
    assert_eq!(story.finding(&it).await.severity, Severity::Critical);
    assert_eq!(
        story.happened(&it, EventKind::PolicyDecided).await,
        2,
        "said when it became so, not at each look"
    );
}
