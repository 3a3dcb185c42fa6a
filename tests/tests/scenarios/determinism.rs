//! The determinism contract: same input, same ids, same order, same bytes.

use trueup_model::{Duration, Intent, Job, StepName};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned};
use trueup_tests::fleet::world_story::{Story, bytes_of};

fn fleet() -> Vec<Intent> {
    let of = |tenant: &'static str| (0..10).map(move |n| assigned(tenant, n));
    of(TENANT).chain(of(OTHER)).collect()
}

#[tokio::test]
async fn two_sweeps_of_the_same_due_list_give_identical_bytes() {
    let story = Story::begin().await;
    story.apply(&fleet()).await;
    let tick = story.lease_one().await.expect("a tick");
    let job = Job::decode(&tick.payload).expect("a job");
    assert_eq!(job.step(), StepName::Sweep);
    let first = bytes_of(&story.execute(&tick, &job).await);
    let second = bytes_of(&story.execute(&tick, &job).await);
    assert!(first.len() > 1_000 && first == second, "two sweeps of one list differ");
}

/// The bytes of all jobs, and all events, of the first minutes of a fleet.
async fn course_of(intents: Vec<Intent>) -> (Vec<u8>, Vec<String>) {
    let story = Story::begin().await;
    for n in [1, 4, 7] {
        story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, n) });
    }
    for chunk in intents.chunks(3) {
        story.apply(chunk).await;
    }
    let mut bytes = Vec::new();
    let tick = story.lease_one().await.expect("a tick");
    let job = Job::decode(&tick.payload).expect("a job");
    bytes.extend(bytes_of(&story.execute(&tick, &job).await));
    let held = [(tick.id.clone(), tick.queue)];
    story.give_back(&held).await;
    story.pass(Duration::minutes(20)).await;
    let mut events = Vec::new();
    for intent in fleet() {
        for event in story.events_of(&intent.key).await {
            events.push(format!(
                "{} {:?} {} {}",
                event.event_id, event.event_type, event.intent, event.event_data
            ));
        }
    }
    (bytes, events)
}

#[tokio::test]
async fn in_whatever_order_a_fleet_was_applied_it_takes_the_same_course() {
    let forwards = course_of(fleet()).await;
    let backwards = course_of(fleet().into_iter().rev().collect()).await;
    assert!(forwards.0 == backwards.0, "the worklists differ");
    let told = |events: &[String]| events.iter().filter(|e| !e.contains("IntentApplied")).cloned().collect();
    let (forwards, backwards): (Vec<String>, Vec<String>) = (told(&forwards.1), told(&backwards.1));
    assert!(forwards.len() > 10, "{forwards:#?}");
    assert_eq!(forwards, backwards);
}

#[tokio::test]
async fn worklists_are_sorted_and_never_mix_tenants() {
    let story = Story::begin().await;
    story.apply(&fleet().into_iter().rev().collect::<Vec<_>>()).await;
    story.work_through(StepName::Sweep).await;
    let mut tenants = Vec::new();
    while let Some(leased) = story.lease_one().await {
        let Job::Query(query) = Job::decode(&leased.payload).expect("a job") else { panic!("{leased:?}") };
        assert!(query.checks.iter().all(|c| c.intent.tenant == query.tenant));
        assert!(query.checks.is_sorted_by_key(|c| (c.target.clone(), c.intent.clone())));
        assert_eq!(query.checks.len(), 10);
        tenants.push(query.tenant);
    }
    assert_eq!(tenants, [TENANT, OTHER]);
}
