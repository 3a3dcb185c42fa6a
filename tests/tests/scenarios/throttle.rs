//! A plane that asks to wait is waited for: it costs no attempt, and nobody else anything.

use trueup_model::{Condition, Duration, EventKind};
use trueup_simulators::{Mischief, Planned, Seed, Trouble, WaitStyle, app_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned, key, seed};
use trueup_tests::fleet::world_story::Story;

fn throttled(retry_after: Option<&str>, only: Option<&str>) -> Planned {
    let trouble = Trouble::Throttle { retry_after: retry_after.map(str::to_owned) };
    Planned { trouble, times: None, only: only.map(str::to_owned) }
}

/// Both tenants miss the same assignment.
async fn two_tenants() -> Story {
    let story = Story::with(Seed { ..seed() }, WaitStyle::Whole).await;
    for tenant in [TENANT, OTHER] {
        let app = app_id(tenant, 0);
        story.graph.tenant(tenant).mischief(&Mischief::RemoveAssignments { app }).expect("done");
    }
    story
}

async fn looks_wait(retry_after: Option<&str>, healed_by: Duration) {
    let story = two_tenants().await;
    let (it, other) = (key(TENANT, 0), key(OTHER, 0));
    story.sim().trouble(throttled(retry_after, None));
    story.apply(&[assigned(TENANT, 0), assigned(OTHER, 0)]).await;
    story.pass(Duration::minutes(6)).await;
    assert_eq!(story.minutes(&other, EventKind::RemediationVerified).await, [5], "nothing of theirs waited");
    let record = story.record(&it).await;
    assert_eq!(record.state.condition, Condition::Unknown, "it waits for its first look");
    assert!(record.state.run.is_some(), "the run is still the first one");
    assert_eq!((record.state.runs, record.state.attempts.made), (1, 0));
    let asked = story.sim().counts().requests;

    story.sim().no_more_trouble();
    story.pass(healed_by).await;
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1);
    assert!((2..=40).contains(&asked), "{asked} requests in six minutes to a server that asked to wait");
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
}

#[tokio::test]
async fn looks_wait_as_long_as_they_are_told() {
    looks_wait(Some("90"), Duration::minutes(2) + Duration::minutes(5)).await;
}

#[tokio::test]
async fn looks_wait_longer_and_longer_when_they_are_not_told() {
    looks_wait(None, Duration::minutes(5) + Duration::minutes(5)).await;
}

#[tokio::test]
async fn a_throttled_action_is_the_same_attempt_until_it_is_done() {
    let story = two_tenants().await;
    let it = key(TENANT, 0);
    for retry_after in [Some("600"), None] {
        let planned = Planned { times: Some(1), ..throttled(retry_after, Some("/assign")) };
        story.sim().trouble(Planned { only: Some("POST /v1.0/deviceAppManagement".into()), ..planned });
    }
    story.apply(&[assigned(TENANT, 0)]).await;
    story.pass(Duration::minutes(9)).await;
    let attempts = story.record(&it).await.state.attempts;
    assert_eq!((attempts.made, attempts.open), (1, true));
    assert_eq!(story.happened(&it, EventKind::RemediationApplied).await, 0, "it waits for ten minutes");
    story.pass(Duration::minutes(30)).await;
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationApplied).await, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 0);
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1);
    assert_eq!(story.sim().writes().len(), 1);
}
