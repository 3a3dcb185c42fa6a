//! Devices that have not checked in say nothing: neither that it failed, nor that it worked.

use trueup_model::{Condition, Duration, EventKind};
use trueup_simulators::{Mischief, Seed, WaitStyle, app_id, old_app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key, seed};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn an_attempt_waits_for_the_devices_and_is_not_failed_by_their_silence() {
    // Every device checks in once in six hours.
    let seed = Seed { checkin: Duration::hours(6), devices: 3, devices_per_app: 3, apps: 1, ..seed() };
    let story = Story::with(seed, WaitStyle::Whole).await;
    let it = key(TENANT, 0);
    let mut intent = assigned(TENANT, 0);
    intent.desired.version = Some("1.0.0".into());
    // The older version was rolled out, and the devices just said that they have it.
    let (from, to) = (app_id(TENANT, 0), old_app_id(TENANT, 0));
    story.do_mischief(&Mischief::MoveAssignments { from, to });
    story.apply(&[intent]).await;
    story.work().await;
    assert_eq!(story.minutes(&it, EventKind::RemediationStarted).await, [0]);

    // The first rung of the ladder passes, and still nobody knows anything.
    story.pass(Duration::minutes(5)).await;
    assert_eq!(story.condition(&it).await, Condition::Stale);
    let mut looks = 0;
    while story.condition(&it).await == Condition::Stale {
        let attempts = story.record(&it).await.state.attempts;
        assert_eq!((attempts.made, attempts.open), (1, true), "silence costs no attempt");
        assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 0);
        story.pass(Duration::minutes(15)).await;
        looks += 1;
        assert!(looks < 30, "six hours and more, and no device checked in");
    }
    assert!(looks > 4, "the devices were away past the first rung: {looks}");

    story.pass(Duration::hours(12)).await;
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 0);
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1, "one attempt was enough");
    assert_eq!(story.sim().writes().len(), 2, "assigned, and taken away from the older one");
}

#[tokio::test]
async fn devices_that_checked_in_and_kept_the_old_version_are_a_failed_attempt() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    let mut intent = assigned(TENANT, 0);
    intent.desired.version = Some("1.0.0".into());
    let app = app_id(TENANT, 0);
    story.do_mischief(&Mischief::ChangeVersion { app: app.clone(), version: "0.9.0".into(), devices: 3 });
    story.do_mischief(&Mischief::Stubborn { app, devices: 3 });
    story.apply(&[intent]).await;
    story.pass(Duration::hours(8)).await;
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 3);
    assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 3);
    assert_eq!(story.happened(&it, EventKind::Escalated).await, 1);
    assert_eq!(story.finding(&it).await.affected_devices, 3);
}

#[tokio::test]
async fn a_report_older_than_the_tolerance_is_stale_and_leads_to_nothing() {
    let seed = Seed { checkin: Duration::days(7), ..seed() };
    let story = Story::with(seed, WaitStyle::Whole).await;
    let it = key(TENANT, 0);
    let app = app_id(TENANT, 0);
    // They do not comply, and said so; a day later nobody can say whether that is still so.
    story.do_mischief(&Mischief::BreakCompliance { app, devices: 3 });
    story.pass(Duration::days(1)).await;
    let mut intent = assigned(TENANT, 0);
    intent.desired.compliant = true;
    story.apply(&[intent]).await;
    story.pass(Duration::hours(1)).await;
    assert_eq!(story.condition(&it).await, Condition::Stale);
    assert_eq!(story.happened(&it, EventKind::DriftDetected).await, 0);
    let events = story.events_of(&it).await;
    let said = events.iter().find(|e| e.event_type == EventKind::ConditionChanged).expect("never silence");
    assert!(said.event_data["because"].to_string().contains("the last report is of"), "{said:?}");
    assert!(story.sim().writes().is_empty());
}
