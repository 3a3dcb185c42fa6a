//! A plane that does not answer: known as such, no drift, and nothing to be done about it twice.

use trueup_model::{Condition, Duration, EventKind};
use trueup_simulators::{Mischief, Trouble, app_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn an_outage_is_unreachable_and_not_drift_and_passes() {
    let story = Story::begin().await;
    let (it, other) = (key(TENANT, 0), key(OTHER, 0));
    story.apply(&[assigned(TENANT, 0), assigned(OTHER, 0)]).await;
    story.work().await;
    assert_eq!(story.condition(&it).await, Condition::InSync);

    story.sim().trouble(Trouble::Status(503));
    story.pass(Duration::minutes(46)).await;
    assert_eq!(story.condition(&it).await, Condition::Unreachable);
    assert_eq!(story.condition(&other).await, Condition::InSync);
    assert_eq!(story.happened(&it, EventKind::DriftDetected).await, 0);
    let events = story.events_of(&it).await;
    let changed: Vec<_> = events.iter().filter(|e| e.event_type == EventKind::ConditionChanged).collect();
    assert_eq!(changed.len(), 1, "said once, not at each look: {changed:#?}");
    assert!(changed[0].event_data["because"].to_string().contains("503"), "{changed:#?}");
    assert!(story.record(&it).await.state.runs >= 4, "the looks went on");

    story.sim().no_more_trouble();
    story.pass(Duration::minutes(15)).await;
    assert_eq!(story.condition(&it).await, Condition::InSync);
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
    assert!(story.sim().writes().is_empty());
}

#[tokio::test]
async fn an_outage_between_action_and_look_costs_no_attempt() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    story.apply(&[assigned(TENANT, 0)]).await;
    story.work().await;
    story.sim().trouble(Trouble::Status(503));
    // Past the first rung.
    story.pass(Duration::minutes(75)).await;
    assert_eq!(story.condition(&it).await, Condition::Unreachable);
    let attempts = story.record(&it).await.state.attempts;
    assert_eq!((attempts.made, attempts.open), (1, true));
    assert!(story.finding(&it).await.open, "nobody knows whether it is mended");

    story.sim().no_more_trouble();
    story.pass(Duration::minutes(20)).await;
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 0);
    assert_eq!(story.sim().writes().len(), 1);
}
