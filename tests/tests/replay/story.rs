//! The story that is told twice.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::{Criticality, DriftKind, Duration, Event, EventKind, Mode, PlaneKind, Ring};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong, intent, key};
use trueup_tests::fleet::world_graph::TENANT;
use trueup_tests::fleet::world_story::{Story, rules};
use trueup_workflows::Policy;
use trueup_workflows::policy::recorded;

use super::{CASE, What};

/// Intents on each plane, one per application.
const EACH: usize = 10;
/// The first intents drift at 10:00, the others at 13:00.
const SECOND_WAVE: Duration = Duration::hours(3);
const REST: Duration = Duration::minutes(150);

fn all() -> impl Iterator<Item = (PlaneKind, usize, usize)> {
    let planes = ENDPOINT_PLANES.into_iter().enumerate();
    planes.flat_map(|(p, plane)| (0..EACH).map(move |n| (plane, n, p * EACH + n)))
}

/// What goes wrong with number `i`.
fn wrongs(i: usize) -> Vec<Wrong> {
    let one = [
        Wrong::MissingAssignment,
        Wrong::Scope,
        Wrong::OtherVersion,
        Wrong::Compliance,
        Wrong::OlderAssigned,
        Wrong::MissingAssignment,
        Wrong::OtherVersion,
    ][i % 7];
    // Two things at once, on some.
    match (i % 4, one) {
        (0, Wrong::Scope) => vec![one, Wrong::OtherVersion],
        (0, Wrong::MissingAssignment | Wrong::OtherVersion) => vec![one, Wrong::Compliance],
        _ => vec![one],
    }
}

/// Lives the story under a policy; gives all events.
pub(crate) async fn lived(policy: Policy) -> Vec<Event> {
    let story = Story::everywhere(rules(policy)).await;
    let mut intents = Vec::new();
    for (plane, n, i) in all() {
        let mut it = intent(plane, TENANT, n);
        it.ring = Ring::ALL[[0, 1, 0, 1, 2, 1, 3, 0, 4, 0][n]];
        it.criticality = Criticality::ALL[(i / 2) % 4];
        it.privileged = i % 9 == 5;
        it.mode = [Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Propose, Mode::Enforce, Mode::Observe]
            [i % 11 % 6];
        if i % 3 == 0 {
            it.labels.insert("team".into(), "finance".into());
        }
        intents.push(it);
    }
    story.apply(&intents).await;
    story.work().await;
    for wave in 0..2 {
        for (plane, n, i) in all().filter(|(_, n, _)| n % 2 == wave) {
            wrongs(i).into_iter().for_each(|wrong| story.go_wrong(plane, n, wrong));
        }
        // All at one moment, whoever else was repaired before.
        story.ask_for_checks(&all().map(|(plane, n, _)| key(TENANT, plane, n)).collect::<Vec<_>>()).await;
        story.pass(if wave == 0 { SECOND_WAVE } else { REST }).await;
    }
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
    story.every_event().await
}

pub(crate) fn decisions(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|e| e.event_type == EventKind::PolicyDecided).cloned().collect()
}

/// Asserts that there is some of everything.
pub(crate) fn assert_diverse(firsts: &BTreeMap<What, Event>) {
    let cases: Vec<recorded::Case> =
        firsts.values().map(|e| recorded::Case::read(&e.event_data[CASE]).unwrap()).collect();
    assert!(cases.len() >= 30, "{}", cases.len());
    let some = |of: &dyn Fn(&recorded::Case) -> String| cases.iter().map(of).collect::<BTreeSet<_>>().len();
    assert_eq!(some(&|c| format!("{:?}", c.intent.plane())), 3);
    assert_eq!(some(&|c| format!("{:?}", c.drift.kind)), DriftKind::ALL.len());
    assert_eq!(some(&|c| format!("{:?}", c.intent.ring)), Ring::ALL.len());
    assert_eq!(some(&|c| format!("{:?}", c.intent.criticality)), Criticality::ALL.len());
    assert_eq!(some(&|c| format!("{:?}", c.intent.mode)), 3);
    assert_eq!(some(&|c| format!("{:?}", c.intent.privileged)), 2);
}
