//! A fleet on three planes, and how a case asks about it.

use trueup_model::{Condition, Duration, EventKind, Finding, Intent, IntentKey, PlaneKind, Ring};
use trueup_tests::fleet::sites::{self, ENDPOINT_PLANES, Wrong};
use trueup_tests::fleet::world_graph::TENANT;
use trueup_tests::fleet::world_story::{Story, rules};
use trueup_workflows::Policy;

/// Application `n` on a plane: lab, critical, enforced.
pub(crate) fn intent(plane: PlaneKind, n: usize) -> Intent {
    sites::intent(plane, TENANT, n)
}

pub(crate) fn key(plane: PlaneKind, n: usize) -> IntentKey {
    sites::key(TENANT, plane, n)
}

/// One intent on each plane, changed as the case wants it, looked at once and found in sync.
pub(crate) async fn fleet(change: impl Fn(&mut Intent)) -> Story {
    let story = Story::everywhere(rules(Policy::default())).await;
    let all: Vec<Intent> = ENDPOINT_PLANES.map(|plane| changed(plane, &change)).into();
    story.apply(&all).await;
    story.work().await;
    for plane in ENDPOINT_PLANES {
        assert_eq!(story.condition(&key(plane, 0)).await, Condition::InSync, "{plane} at first");
    }
    // What was read serves other checks for some minutes; after that it is read anew.
    story.pass(Duration::minutes(5)).await;
    story
}

pub(crate) fn changed(plane: PlaneKind, change: impl Fn(&mut Intent)) -> Intent {
    let mut intent = intent(plane, 0);
    change(&mut intent);
    intent
}

pub(crate) fn in_ring(ring: Ring) -> impl Fn(&mut Intent) {
    move |intent| intent.ring = ring
}

/// Lets something go wrong with application 0 on every plane, and everything look at it.
pub(crate) async fn broken(change: impl Fn(&mut Intent), wrong: Wrong) -> Story {
    let story = fleet(change).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, wrong);
    }
    look(&story).await;
    story
}

pub(crate) async fn look(story: &Story) {
    for plane in ENDPOINT_PLANES {
        story.ask_for_check(&key(plane, 0)).await;
    }
    story.work().await;
}

/// The only finding of application 0 on a plane.
pub(crate) async fn finding(story: &Story, plane: PlaneKind) -> Finding {
    story.finding(&key(plane, 0)).await
}

pub(crate) async fn happened(story: &Story, plane: PlaneKind, kind: EventKind) -> usize {
    story.happened(&key(plane, 0), kind).await
}
