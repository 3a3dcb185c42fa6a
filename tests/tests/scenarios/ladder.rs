//! An application that accepts every assignment and forgets it: three attempts, 1 h, 2 h and 4 h, then people.

use trueup_model::{ApprovalKind, Condition, Duration, EventKind, Topic, Verdict};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

async fn stubborn() -> Story {
    let story = Story::begin().await;
    let app = app_id(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app.clone() });
    story.do_mischief(&Mischief::Stick { app, after_seconds: 60 });
    story.apply(&[assigned(TENANT, 0)]).await;
    story
}

#[tokio::test]
async fn three_attempts_then_the_board_at_seven_hours_and_nothing_after_it() {
    let story = stubborn().await;
    let it = key(TENANT, 0);
    story.pass(Duration::hours(7) - Duration::minutes(1)).await;
    assert_eq!(story.minutes(&it, EventKind::RemediationStarted).await, [0, 60, 180]);
    assert_eq!(story.minutes(&it, EventKind::RemediationFailed).await, [5, 65, 185]);
    assert_eq!(story.happened(&it, EventKind::Escalated).await, 0);
    assert!(story.open_approvals(&it).await.is_empty());

    story.pass(Duration::minutes(1)).await;
    assert_eq!(story.minutes(&it, EventKind::Escalated).await, [420]);
    let approvals = story.open_approvals(&it).await;
    assert_eq!(approvals.len(), 1, "{approvals:#?}");
    assert_eq!(approvals[0].kind, ApprovalKind::Cab);
    assert_eq!(approvals[0].plan.actions.len(), 1, "what was tried");
    assert_eq!(story.finding(&it).await.decision.verdict, Verdict::Cab);
    story.pass(Duration::minutes(2)).await;
    let told = story.told(Topic::Escalated);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].examples[0].text.contains("after 3 attempts"), "{told:#?}");

    // Two days of looking on: drifted, known, and left to people.
    story.pass(Duration::days(2)).await;
    assert_eq!(story.condition(&it).await, Condition::Drifted);
    assert_eq!(story.sim().writes().len(), 3);
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 3);
    assert_eq!(story.happened(&it, EventKind::Escalated).await, 1);
    assert_eq!(story.open_approvals(&it).await, approvals, "asked once");
    assert!(story.record(&it).await.state.runs > 190, "it is looked at all the time");
}

#[tokio::test]
async fn when_people_mend_it_the_question_is_withdrawn_and_the_ladder_begins_anew() {
    let story = stubborn().await;
    let (it, app) = (key(TENANT, 0), app_id(TENANT, 0));
    story.pass(Duration::hours(8)).await;
    assert_eq!(story.open_approvals(&it).await.len(), 1);

    story.do_mischief(&Mischief::Unstick { app: app.clone() });
    let group = trueup_simulators::group_id(0);
    story.do_mischief(&Mischief::AddGroup { app: app.clone(), group });
    story.pass(Duration::minutes(15)).await;
    assert_eq!(story.condition(&it).await, Condition::InSync);
    assert!(story.open_approvals(&it).await.is_empty());
    assert_eq!(story.happened(&it, EventKind::ApprovalWithdrawn).await, 1);

    story.do_mischief(&Mischief::RemoveAssignments { app });
    story.pass(Duration::minutes(25)).await;
    assert_eq!(story.condition(&it).await, Condition::InSync, "the first attempt of a new ladder");
    assert_eq!(story.finding(&it).await.recurrences, 1);
    assert_eq!(story.happened(&it, EventKind::RemediationVerified).await, 1);
}

#[tokio::test]
async fn mended_by_the_second_attempt_is_never_escalated() {
    let story = stubborn().await;
    let it = key(TENANT, 0);
    story.pass(Duration::minutes(30)).await;
    story.do_mischief(&Mischief::Unstick { app: app_id(TENANT, 0) });
    story.pass(Duration::hours(12)).await;
    assert_eq!(story.minutes(&it, EventKind::RemediationStarted).await, [0, 60]);
    assert_eq!(story.minutes(&it, EventKind::RemediationVerified).await, [65]);
    assert_eq!(story.happened(&it, EventKind::Escalated).await, 0);
    assert!(story.told(Topic::Escalated).is_empty());
}
