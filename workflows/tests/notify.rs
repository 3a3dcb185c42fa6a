//! What people are told: collected into digests, delivered for hours, never forgotten in silence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::{Value, json};
use trueup_model::{
    Duration, EventKind, Fault, IntentKey, Job, Notice, Route, Severity, Topic,
    job::{self, collect_id},
};
use trueup_workflows::Rules;
use world::plane::group;
use world::{HERE, World, intent, people, t0};

fn topics(world: &World) -> Vec<Topic> {
    world.notices().iter().map(|n| n.topic).collect()
}

fn event(world: &World, kind: EventKind) -> Vec<Value> {
    world.events().into_iter().filter(|e| e.event_type == kind).map(|e| e.event_data).collect()
}

/// A scope mismatch: security, and somebody has to review it.
fn exposed(world: &World, n: usize) {
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    let two = json!({"assignment": {"include": [{"group": "g1"}, {"group": "g2"}]}});
    for n in 0..n {
        world.apply(intent(&format!("chrome-{n:04}"), json!({"desired": two, "ring": "global"})));
    }
}

#[tokio::test]
async fn what_drifted_for_one_reason_is_one_message_with_one_group() {
    let world = World::new();
    exposed(&world, 60);
    world.run_until(t0() + Duration::minutes(5)).await;
    assert_eq!(world.notices().len(), 120, "a security drift and a review each");
    let deliveries = world.deliveries();
    assert_eq!(deliveries.len(), 1, "one digest");
    let delivery = &deliveries[0];
    assert_eq!((delivery.channel.as_str(), delivery.tenant.as_str()), ("people", "acme"));
    let groups: Vec<_> = delivery.groups.iter().map(|g| (g.topic, g.members, g.examples.len())).collect();
    assert_eq!(groups, [(Topic::SecurityDrift, 60, 5), (Topic::ApprovalWanted, 60, 5)]);
    assert_eq!(event(&world, EventKind::NotificationSent).len(), 1);
    assert!(world.store.lock().unwrap().outbox.is_empty());

    let findings: Vec<_> =
        (0..60).flat_map(|n| world.findings_of(&IntentKey::new("acme", format!("chrome-{n:04}")))).collect();
    let causes = trueup_model::cause::groups(&findings);
    assert_eq!(causes.iter().map(|g| g.members).collect::<Vec<_>>(), [60]);
    assert_eq!(causes[0].cause, delivery.groups[0].cause, "shown and told under the same name");
}

#[tokio::test]
async fn a_notice_says_what_where_since_when_why_and_what_to_do() {
    let world = World::new();
    exposed(&world, 1);
    world.run_until(t0()).await;
    let notices = world.notices();
    assert_eq!(topics(&world), [Topic::SecurityDrift, Topic::ApprovalWanted]);
    for Notice { subject, text, .. } in &notices {
        let finding = notices[0].finding.as_str();
        for part in [
            "scope_mismatch",
            "intune acme/chrome-0000 (Chrome)",
            "2026-01-01 00:00:00Z",
            "assignment.include: meant group:g2",
            "production-ring:",
            &format!("trueup explain {finding}"),
        ] {
            assert!(format!("{subject}\n{text}").contains(part), "{part}:\n{subject}\n{text}");
        }
    }
    assert!(notices[1].text.contains("trueup get approvals --kind review"));
    assert!(notices[1].text.contains("What would be done:"));
    // Looked at again, it is not told again.
    world.run_until(t0() + Duration::hours(2)).await;
    assert_eq!((world.notices().len(), world.deliveries().len()), (2, 1));
}

/// An outbox that nobody reads would only fill.
#[tokio::test]
async fn what_no_route_wants_is_not_written() {
    let only = |topics: &[Topic], tenants: &[&str], min_severity| Route {
        topics: topics.to_vec(),
        tenants: tenants.iter().map(|t| (*t).to_owned()).collect(),
        min_severity,
        ..people()
    };
    let table = [
        (vec![], vec![]),
        (vec![only(&[Topic::Escalated], &[], Severity::Low)], vec![]),
        (vec![only(&[Topic::SecurityDrift], &["other"], Severity::Low)], vec![]),
        (vec![only(&[Topic::SecurityDrift], &["acme"], Severity::Critical)], vec![]),
        (vec![only(&[Topic::SecurityDrift], &["acme"], Severity::High)], vec![Topic::SecurityDrift]),
        (vec![people(), people()], vec![Topic::SecurityDrift, Topic::ApprovalWanted]),
    ];
    for (routes, expected) in table {
        let world = World::under(Rules { routes: routes.clone(), ..Rules::default() });
        exposed(&world, 1);
        world.run_until(t0()).await;
        assert_eq!(topics(&world), expected, "{routes:?}");
    }
}

#[tokio::test]
async fn two_channels_are_told_apart_and_only_what_they_want() {
    let board = Route { channel: "board".into(), topics: vec![Topic::ApprovalWanted], ..people() };
    let world = World::under(Rules { routes: vec![board, people()], ..Rules::default() });
    exposed(&world, 2);
    world.run_until(t0() + Duration::minutes(2)).await;
    let mut told: Vec<_> = world
        .deliveries()
        .into_iter()
        .map(|d| (d.channel, d.groups.iter().map(|g| g.topic).collect::<Vec<_>>()))
        .collect();
    told.sort();
    let both = vec![Topic::SecurityDrift, Topic::ApprovalWanted];
    assert_eq!(told, [("board".to_owned(), vec![Topic::ApprovalWanted]), ("people".to_owned(), both)]);
}

/// It drifts over a quarter of an hour, as checks are spread: told within two minutes, then every five.
#[tokio::test]
async fn what_comes_bit_by_bit_is_told_in_digests() {
    let world = World::new();
    for n in 0..100 {
        let app = format!("11111111-1111-4111-8111-{n:012}");
        world.plane.lock().unwrap().assign(&app, group("g1"));
        let target = json!({"app_id": app, "app_name": "Chrome"});
        world.apply(intent(&format!("app-{n:04}"), json!({"ring": "global", "target": target})));
    }
    world.run_until(t0() + Duration::hours(1)).await;
    world.plane.lock().unwrap().assigned.clear();
    world.run_until(t0() + Duration::hours(2)).await;
    let told: Vec<_> = world.deliveries().iter().map(|d| (d.at - t0()).num_minutes()).collect();
    assert!((60..=62).contains(&told[0]), "{told:?}");
    assert!(told.windows(2).all(|w| w[1] - w[0] >= 5), "{told:?}");
    assert!((3..=5).contains(&told.len()), "{told:?}");
    let members: u32 = world.deliveries().iter().flat_map(|d| &d.groups).map(|g| g.members).sum();
    assert_eq!(members, 100);
}

/// The tick asks, and one job collects: however many ticks find something, there is one (E8).
#[tokio::test]
async fn only_the_tick_of_the_first_partition_has_the_outboxes_collected() {
    let world = World::new();
    exposed(&world, 1);
    world.run_until(t0()).await;
    assert_eq!(world.store.lock().unwrap().outbox.len(), 2);
    for (partition, only, collects) in [(0, None, true), (1, None, false), (0, Some(vec![]), false)] {
        let partition = trueup_model::Partition(partition);
        let tick = Job::Sweep(job::Sweep { partition, only, correlation_id: None });
        let trueup_model::Outcome::Done(commit) = world.execute(&job::tick_id(partition), &tick).await else {
            panic!("not done")
        };
        let found = commit.next.iter().filter(|n| n.id == collect_id()).count();
        assert_eq!(found, usize::from(collects), "{partition:?}");
    }
    let collect = Job::Notify(job::Notify { deliver: None, kept: None });
    let once = world.execute(&collect_id(), &collect).await;
    assert_eq!(once, world.execute(&collect_id(), &collect).await, "same notices, same deliveries, same ids");
}

#[tokio::test]
async fn a_message_is_tried_for_two_hours_then_it_is_told_of_and_kept() {
    let world = World::new();
    world.plane.lock().unwrap().deliver_faults = (0..21).map(|_| Fault::transient("502")).collect();
    exposed(&world, 1);
    world.run_until(t0() + Duration::hours(3)).await;
    let failed = event(&world, EventKind::NotificationFailed);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["answer"], json!({"because": "502", "tries": 20}));
    assert_eq!(failed[0]["channel"], "people");
    // Found by the tick of minute 1, collected in minute 2, twenty tries in 7835 s, and ten minutes later the last one.
    assert_eq!(world.minutes(EventKind::NotificationFailed), [132]);
    assert_eq!(world.store.lock().unwrap().dead, ["502"]);
    assert!(world.plane.lock().unwrap().deliver_faults.is_empty(), "tried once more after it was told of");
    assert_eq!((world.deliveries().len(), event(&world, EventKind::NotificationSent).len()), (0, 0));
}

#[tokio::test]
async fn a_channel_that_refuses_for_good_is_told_of_at_once_and_tried_once_more_under_the_same_key() {
    let world = World::new();
    world.plane.lock().unwrap().deliver_faults = [Fault::permanent("404: the webhook is gone")].into();
    exposed(&world, 1);
    world.run_until(t0() + Duration::minutes(2)).await;
    assert_eq!(
        event(&world, EventKind::NotificationFailed)[0]["answer"]["because"],
        "404: the webhook is gone"
    );
    let key = {
        let store = world.store.lock().unwrap();
        let kept = store.jobs.values().find_map(|(_, job, _)| match job {
            Job::Notify(job::Notify { kept, .. }) => kept.clone(),
            _ => None,
        });
        kept.unwrap()
    };
    world.run_until(t0() + Duration::hours(1)).await;
    let sent: Vec<_> = world.plane.lock().unwrap().deliveries.iter().map(|(k, _)| k.clone()).collect();
    assert_eq!(sent, [key], "the receiver can tell that it is the same message");
    assert_eq!(world.minutes(EventKind::NotificationSent), [12]);
    assert_eq!(world.store.lock().unwrap().dead, Vec::<String>::new());
}

/// Waiting for a channel that asks to wait uses up no try.
#[tokio::test]
async fn a_channel_that_asks_to_wait_is_waited_for() {
    let world = World::new();
    let wait = |n: i64| Fault::Throttled { until: t0() + Duration::minutes(2 + n), what: "429".into() };
    world.plane.lock().unwrap().deliver_faults = (0..100).map(wait).collect();
    exposed(&world, 1);
    world.run_until(t0() + Duration::hours(3)).await;
    assert_eq!(world.minutes(EventKind::NotificationSent), [101]);
    assert_eq!(event(&world, EventKind::NotificationFailed).len(), 0);
}

/// More deliveries than one commit takes: collected in parts, one right after the other, the oldest first.
#[tokio::test]
async fn more_deliveries_than_a_commit_takes_are_made_in_parts() {
    const TENANTS: usize = 700;
    let world = World::new();
    exposed(&world, 1);
    world.run_until(t0()).await;
    {
        let mut store = world.store.lock().unwrap();
        let one = store.outbox[0].clone();
        store.outbox = (0..TENANTS)
            .map(|n| Notice {
                id: trueup_model::NoticeId::derive(&[&n.to_string()]),
                intent: IntentKey::new(format!("tenant-{n:04}"), "chrome"),
                ..one.clone()
            })
            .collect();
    }
    world.run_until(t0() + Duration::minutes(2)).await;
    let told: std::collections::BTreeSet<_> = world.deliveries().into_iter().map(|d| d.tenant).collect();
    assert_eq!((told.len(), world.deliveries().len()), (TENANTS, TENANTS), "each once");
    let store = world.store.lock().unwrap();
    assert_eq!((store.outbox.len(), store.dead.clone()), (0, vec![]));
}

#[tokio::test]
async fn stopped_remediation_is_told_first_and_by_name() {
    let world = World::new();
    exposed(&world, 1);
    world.run_until(t0()).await;
    {
        let mut store = world.store.lock().unwrap();
        let one = store.outbox[0].clone();
        let notice = |n: usize, topic, cause: String| Notice {
            id: trueup_model::NoticeId::derive(&[&n.to_string()]),
            topic,
            causes: vec![cause],
            ..one.clone()
        };
        let many = (0..60).map(|n| notice(n, Topic::SecurityDrift, format!("cause-{:02}", n / 2)));
        store.outbox = many.chain([notice(60, Topic::BlastRadius, "zzz".into())]).collect();
    }
    world.run_until(t0() + Duration::minutes(2)).await;
    let delivery = &world.deliveries()[0];
    let groups: Vec<_> = delivery.groups.iter().map(|g| (g.topic, g.members)).collect();
    assert_eq!((groups.len(), groups[0]), (20, (Topic::BlastRadius, 1)), "{groups:?}");
    assert_eq!(delivery.groups[19].cause, "several");
    assert_eq!(groups.iter().map(|(_, n)| n).sum::<u32>(), 61, "nothing is left out");
}
