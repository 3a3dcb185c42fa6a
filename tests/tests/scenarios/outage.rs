//! A plane that does not answer: known as such, no drift, and nothing to be done about it twice.

use std::sync::Arc;

use trueup_model::{Attempts, Condition, Duration, EventKind, Fault, Intent, PlaneKind};
use trueup_simulators::{Mischief, Trouble, app_id};
use trueup_tests::fleet::table::{self, Table, group, member};
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

const EACH: usize = 60;

/// Two planes of one tenant, on which something drifts every minute. Jamf may be out for half an hour. Gives what became of
/// the other plane: every event with its minute.
async fn two_planes(out: bool) -> (Story, Vec<Vec<(EventKind, i64)>>) {
    let mut story = Story::begin().await;
    let (jamf, intune) = (Arc::new(Table::on(&story.clock)), Arc::new(Table::on(&story.clock)));
    story.plug(TENANT, PlaneKind::Jamf, jamf.clone());
    story.plug(TENANT, PlaneKind::Intune, intune.clone());
    let fleet = |plane| (0..EACH).map(|n| member(TENANT, plane, n, &group("all"))).collect::<Vec<Intent>>();
    let (on_jamf, on_intune) = (fleet(PlaneKind::Jamf), fleet(PlaneKind::Intune));
    jamf.carries_out(&on_jamf);
    intune.carries_out(&on_intune);
    story.apply(&on_jamf).await;
    story.apply(&on_intune).await;
    for minute in 0..EACH {
        if out && minute == 10 {
            jamf.lock().trouble = Some(Fault::transient("503: out of order"));
        }
        if minute == 40 {
            jamf.lock().trouble = None;
        }
        for (table, fleet) in [(&jamf, &on_jamf), (&intune, &on_intune)] {
            let app = fleet[minute].target.app().expect("an application").id;
            table.lock().assigned.remove(&app);
        }
        story.pass(Duration::minutes(1)).await;
    }
    story.pass(Duration::minutes(40)).await;
    let mut theirs = Vec::new();
    for n in 0..EACH {
        let events = story.events_of(&table::key(TENANT, PlaneKind::Intune, n)).await;
        let began = events[0].created_at;
        theirs.push(events.iter().map(|e| (e.event_type, (e.created_at - began).num_minutes())).collect());
    }
    (story, theirs)
}

#[tokio::test]
async fn an_outage_of_one_plane_delays_no_other_uses_up_no_attempt_and_is_caught_up_with() {
    let (story, disturbed) = two_planes(true).await;
    let (_, undisturbed) = two_planes(false).await;
    assert_eq!(disturbed, undisturbed, "to the minute");
    for n in 0..EACH {
        let it = table::key(TENANT, PlaneKind::Jamf, n);
        let state = story.record(&it).await.state;
        assert_eq!((state.condition, state.attempts), (Condition::InSync, Attempts::default()), "{it}");
        assert_eq!(
            story.happened(&it, EventKind::RemediationStarted).await,
            1,
            "{it}: the first attempt did it"
        );
        assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1, "{it}");
        assert_eq!(story.happened(&it, EventKind::RemediationRefused).await, 0, "{it}");
    }
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
}
