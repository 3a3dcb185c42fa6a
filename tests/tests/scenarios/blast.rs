//! A wrong group change makes every intent drift at once: as many attempts as the cap allows, and people are told once.

use std::sync::Arc;

use trueup_model::{ApprovalKind, ApprovalState, Duration, EventKind, PlaneKind, Topic};
use trueup_simulators::WaitStyle;
use trueup_tests::fleet::table::{Table, group, key, member};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, seed};
use trueup_tests::fleet::world_story::{Story, rules};
use trueup_tests::world::capped;

/// 5,000 end the same way, two minutes later: the store in memory counts all intents whenever a place is asked for.
const INTENTS: usize = 1_000;
const CAP: usize = 100;
const INTUNE: PlaneKind = PlaneKind::Intune;

async fn open_reviews(story: &Story) -> usize {
    let (mut open, mut cursor) = (0, None::<String>);
    loop {
        let store: &dyn trueup_engine::Store = &*story.store;
        let page = store.list_approvals(cursor.as_deref(), 1_000).await.expect("approvals");
        let review =
            |a: &&trueup_model::Approval| (a.kind, a.state) == (ApprovalKind::Review, ApprovalState::Open);
        open += page.items.iter().filter(review).count();
        cursor = page.next;
        if cursor.is_none() {
            return open;
        }
    }
}

#[tokio::test]
async fn a_wrong_group_change_ends_at_the_cap_however_many_intents_drift() {
    let policy = capped(&format!("actions = {CAP}\nwindow = \"1h\""));
    let mut story = Story::under(rules(policy), seed(), WaitStyle::Whole).await;
    let (table, other) = (Arc::new(Table::on(&story.clock)), Arc::new(Table::on(&story.clock)));
    story.plug(TENANT, INTUNE, table.clone());
    story.plug(OTHER, INTUNE, other.clone());
    let fleet: Vec<_> = (0..INTENTS).map(|n| member(TENANT, INTUNE, n, &group("everyone"))).collect();
    let others: Vec<_> = (0..5).map(|n| member(OTHER, INTUNE, n, &group("everyone"))).collect();
    table.carries_out(&fleet);
    other.carries_out(&others);
    story.apply(&fleet).await;
    story.apply(&others).await;
    story.pass(Duration::minutes(16)).await;
    assert!(story.findings().await.is_empty(), "everything is as it was meant");

    table.lock().assigned.clear();
    other.lock().assigned.clear();
    // Every intent is looked at once or twice.
    story.pass(Duration::minutes(25)).await;
    assert_eq!(table.lock().writes.len(), CAP);
    let started = story.all_events(EventKind::RemediationStarted).await;
    assert_eq!(started.iter().filter(|e| e.tenant == TENANT).count(), CAP);
    let tripped = story.all_events(EventKind::BlastRadiusTripped).await;
    assert_eq!(tripped.len(), 1, "{tripped:#?}");
    assert!(story.all_events(EventKind::Escalated).await.is_empty());
    assert_eq!(story.findings().await.iter().filter(|f| f.open).count(), INTENTS - CAP);
    assert_eq!(open_reviews(&story).await, INTENTS - CAP);
    assert_eq!(other.lock().writes.len(), 5, "another tenant is not concerned");
    let told = story.told(Topic::BlastRadius);
    assert_eq!(told.iter().map(|g| g.members).sum::<u32>(), 1);
    assert!(story.told(Topic::ApprovalWanted).is_empty(), "not 900 questions beside the one answer");
    let text = &told[0].examples[0].text;
    for part in ["100 attempts in 60 min", TENANT, "trueup blast rearm contoso intune"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }

    // Somebody decides that it is to be remediated: the next hundred, and told again.
    story.rearm(TENANT, INTUNE).await;
    story.pass(Duration::minutes(16)).await;
    assert_eq!(table.lock().writes.len(), 2 * CAP);
    assert_eq!(story.all_events(EventKind::BlastRadiusTripped).await.len(), 2);
    assert_eq!(open_reviews(&story).await, INTENTS - 2 * CAP);
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
    assert_eq!(story.record(&key(TENANT, INTUNE, 0)).await.generation, 1);
}
