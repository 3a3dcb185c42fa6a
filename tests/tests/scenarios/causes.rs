//! A group is deleted under 400 assignments: one cause, one group of 400, one message.

use std::sync::Arc;

use trueup_model::cause::groups;
use trueup_model::{Condition, DriftKind, Duration, EventKind, PlaneKind, Topic};
use trueup_tests::fleet::table::{Table, group, key, member};
use trueup_tests::fleet::world_graph::TENANT;
use trueup_tests::fleet::world_story::Story;

const INTENTS: usize = 400;
const JAMF: PlaneKind = PlaneKind::Jamf;

#[tokio::test]
async fn a_deleted_group_is_one_cause_with_400_members_and_one_message() {
    let mut story = Story::begin().await;
    let table = Arc::new(Table::on(&story.clock));
    story.plug(TENANT, JAMF, table.clone());
    let everyone = group("everyone");
    let fleet: Vec<_> = (0..INTENTS).map(|n| member(TENANT, JAMF, n, &everyone)).collect();
    let alone = member(TENANT, JAMF, INTENTS, &group("elsewhere"));
    table.carries_out(&fleet);
    table.carries_out(std::slice::from_ref(&alone));
    story.apply(&fleet).await;
    story.apply(std::slice::from_ref(&alone)).await;
    story.pass(Duration::minutes(1)).await;

    table.lock().gone.insert(everyone);
    table.lock().assigned.remove(&(INTENTS + 1).to_string());
    let keys: Vec<_> = (0..=INTENTS).map(|n| key(TENANT, JAMF, n)).collect();
    for some in keys.chunks(256) {
        story.ask_for_checks(some).await;
    }
    story.pass(Duration::minutes(5)).await;
    let shown = groups(&story.findings().await);
    let members = |g: &trueup_model::cause::CauseGroup| (g.cause.clone(), g.members, g.kind, g.persistent);
    let expected = ("group:everyone".to_owned(), 400, DriftKind::MissingAssignment, 0);
    assert_eq!(shown.iter().map(members).collect::<Vec<_>>(), [expected], "the other one is mended");
    assert_eq!(story.all_events(EventKind::RemediationRefused).await.len(), INTENTS, "each was tried");

    // Seven hours later, in vain.
    story.pass(Duration::hours(7) + Duration::minutes(5)).await;
    assert_eq!(story.all_events(EventKind::Escalated).await.len(), INTENTS);
    let shown = groups(&story.findings().await);
    assert_eq!((shown.len(), shown[0].members, shown[0].persistent), (1, 400, 400));
    let told = story.told(Topic::Escalated);
    assert_eq!(
        told.iter().map(|g| (g.cause.as_str(), g.members)).collect::<Vec<_>>(),
        [("group:everyone", 400)]
    );
    let deliveries = story.deliveries.lock().expect("a lock").clone();
    assert_eq!(deliveries.len(), 1, "one message");

    // The group is back, and somebody asks for a look: nothing is left of it.
    table.lock().gone.clear();
    story.pass(Duration::minutes(16)).await;
    assert_eq!(groups(&story.findings().await), []);
    assert_eq!(story.condition(&keys[0]).await, Condition::InSync);
    assert!(story.findings().await.iter().all(|f| !f.persistent));
}
