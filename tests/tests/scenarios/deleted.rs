//! An intent that goes away in the middle of its run: the run ends quietly, wherever it was.

use trueup_model::{Duration, EventKind, StepName};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn deleted_after_any_step_it_ends_and_others_go_on() {
    for step in [StepName::Sweep, StepName::Query, StepName::Compare, StepName::Emit] {
        let story = Story::begin().await;
        let (it, other) = (key(TENANT, 0), key(TENANT, 1));
        for n in [0, 1] {
            story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, n) });
        }
        // Alone first, so that the step is this one's.
        story.apply(&[assigned(TENANT, 0)]).await;
        story.work_through(step).await;
        story.delete(&it).await;
        story.apply(&[assigned(TENANT, 1)]).await;
        story.pass(Duration::hours(8)).await;

        let gone = story.store_has(&it).await;
        assert!(!gone, "{step}: still there");
        assert!(story.dead().await.is_empty(), "{step}: {:?}", story.dead().await);
        for kind in [EventKind::RemediationApplied, EventKind::Escalated] {
            assert_eq!(story.happened(&it, kind).await, 0, "{step}: {kind:?}");
        }
        assert!(story.open_approvals(&it).await.is_empty(), "{step}");
        let writes = story.sim().writes();
        assert_eq!(writes.len(), 1, "{step}: {writes:?}");
        assert!(writes[0].path.contains(&app_id(TENANT, 1)), "{step}: {writes:?}");
        assert_eq!(story.happened(&other, EventKind::RemediationVerified).await, 1, "{step}");
    }
}
