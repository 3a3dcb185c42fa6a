//! Somebody removes an assignment in the lab; it is put back, and believed only when it has been seen.

use trueup_model::{Condition, Duration, EventKind, Verdict};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn a_missing_assignment_in_the_lab_is_mended_and_verified() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.apply(&[assigned(TENANT, 0), assigned(TENANT, 1)]).await;
    story.work().await;
    assert_eq!(story.condition(&it).await, Condition::InSync);
    assert_eq!(story.happened(&it, EventKind::DriftDetected).await, 0);

    // An answer serves other checks for half a minute; after that it is asked anew.
    story.pass(Duration::minutes(1)).await;
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    story.ask_for_check(&it).await;
    story.work().await;

    // Accepted is not mended: the attempt is open until a newer look.
    let record = story.record(&it).await;
    assert_eq!((record.state.condition, record.state.attempts.made), (Condition::Drifted, 1));
    assert!(record.state.attempts.open);
    assert_eq!(story.finding(&it).await.decision.verdict, Verdict::Automatic);
    let writes = story.sim().writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(writes[0].path.contains(&app_id(TENANT, 0)) && writes[0].path.ends_with("/assign"), "{writes:?}");
    assert!(writes[0].key.is_some(), "an effect carries its key");

    story.pass(Duration::minutes(4)).await;
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 0);
    story.pass(Duration::minutes(1)).await;
    assert_eq!(story.minutes(&it, EventKind::RemediationVerified).await, [6]);
    assert_eq!(story.minutes(&it, EventKind::DriftResolved).await, [6]);
    let finding = story.finding(&it).await;
    assert!(!finding.open && finding.facts.len() == 2, "{finding:#?}");
    let record = story.record(&it).await;
    assert_eq!((record.state.condition, record.state.attempts.made), (Condition::InSync, 0));

    // And then nothing more, for a day, with checks every quarter of an hour.
    story.pass(Duration::days(1)).await;
    assert_eq!(story.sim().writes().len(), 1);
    assert!(story.record(&it).await.state.runs >= 96);
    assert_eq!(story.record(&key(TENANT, 1)).await.state.attempts.made, 0);
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
}

#[tokio::test]
async fn one_who_has_no_assignment_from_the_beginning_is_given_one_and_others_keep_theirs() {
    let story = Story::begin().await;
    let (app, it) = (app_id(TENANT, 2), key(TENANT, 2));
    // Somebody else's group is on it, and this intent does not claim it for itself alone.
    story.do_mischief(&Mischief::RemoveAssignments { app: app.clone() });
    let stranger = "99999999-0000-4000-8000-000000000001";
    story.do_mischief(&Mischief::AddGroup { app, group: stranger.into() });
    let mut intent = assigned(TENANT, 2);
    intent.desired.assignment.as_mut().expect("there is one").exclusive = false;
    story.apply(&[intent]).await;
    story.pass(Duration::minutes(10)).await;
    assert_eq!(story.condition(&it).await, Condition::InSync);

    // The stranger is still there: for an intent that wants to be alone, that is a mismatch of scope.
    story.apply(&[assigned(TENANT, 2)]).await;
    story.pass(Duration::minutes(1)).await;
    let mut open = story.open_approvals(&it).await;
    assert_eq!(open.len(), 1, "{open:#?}");
    let asked = open.remove(0);
    assert!(serde_json::to_string(&asked.plan).expect("JSON").contains(stranger), "{asked:#?}");
}
