//! Whatever arrives while a run is active is kept, and looked at as soon as the run has ended.

use std::collections::BTreeSet;

use trueup_model::intent::Scope;
use trueup_model::{Condition, Duration, EventKind, StepName};
use trueup_simulators::{Mischief, app_id, group_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

/// A sweep looks for what is due at least this often.
const TICK: Duration = Duration::seconds(60);

#[tokio::test]
async fn an_intent_changed_during_its_run_is_checked_again_at_once() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.apply(&[assigned(TENANT, 0)]).await;
    // It was seen as it was meant, but before anybody compares, something else is meant.
    story.work_through(StepName::Query).await;
    assert!(story.record(&it).await.state.run.is_some());
    let mut changed = assigned(TENANT, 0);
    changed.desired.assignment.as_mut().expect("there is one").include =
        BTreeSet::from([Scope::Group(group_id(7))]);
    story.apply(&[changed]).await;
    assert_eq!(story.record(&it).await.state.runs, 1, "no second run beside the first");

    // The run ends; what was meant now is due at that very moment, and the next tick finds it.
    story.pass(TICK).await;
    let record = story.record(&it).await;
    assert_eq!(record.state.runs, 2, "not at the next check, in a quarter of an hour");
    assert_eq!(record.state.condition, Condition::Drifted);
    assert_eq!(record.generation, 2);
    // It is the new meaning that was acted upon, and the old one never was.
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1);
    assert_eq!(story.sim().writes().len(), 1);
}

#[tokio::test]
async fn requests_during_a_run_are_one_look_after_it() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.apply(&[assigned(TENANT, 0)]).await;
    story.work_through(StepName::Query).await;
    // Somebody has the answer in hands; five requests come meanwhile, about something that happened after it.
    let held = story.lease_one().await.expect("a comparison");
    story.clock.advance(Duration::seconds(40));
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    for _ in 0..5 {
        story.ask_for_check(&it).await;
    }
    story.work().await;
    assert_eq!(story.record(&it).await.state.runs, 1, "no second run beside the first");
    story.give_back(&[(held.id, held.queue)]).await;
    story.pass(TICK).await;
    assert_eq!(story.record(&it).await.state.runs, 2, "five requests, one look");
    assert_eq!(story.happened(&it, EventKind::DriftDetected).await, 1, "and none was dropped");
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1);
}

#[tokio::test]
async fn a_plan_made_for_what_was_meant_before_is_not_carried_out() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    story.apply(&[assigned(TENANT, 0)]).await;
    story.work_through(StepName::Emit).await;
    // The plan waits in its queue. Now nothing is meant about the assignment any more.
    let mut changed = assigned(TENANT, 0);
    changed.desired.assignment = None;
    changed.desired.version = Some("1.0.0".into());
    story.apply(&[changed]).await;
    story.pass(Duration::minutes(20)).await;
    assert!(story.sim().writes().is_empty(), "{:?}", story.sim().writes());
    assert_eq!(story.condition(&it).await, Condition::InSync);
    assert!(!story.finding(&it).await.open);
}
