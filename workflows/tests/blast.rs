//! The blast radius: no remediation runs away. Beyond the cap everything is manual, and people are told once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{
    ApprovalKind, ApprovalState, Condition, Duration, EventKind, IntentKey, PlaneKind, Severity, Topic,
    Verdict,
};
use trueup_workflows::{Policy, Rules, policy};
use world::plane::group;
use world::{HERE, World, intent, people, t0};

fn capped(cap: &str) -> Rules {
    let text = format!("{}\n[[cap]]\nname = \"test\"\n{cap}\n", uncapped());
    Rules { policy: Policy::parse(&text).unwrap(), routes: vec![people()], ..Rules::default() }
}

/// One rule: everything is remediated.
fn uncapped() -> &'static str {
    "[[rule]]\nname = \"all\"\nsay = \"automatic\"\nbecause = \"a test\"\n"
}

fn key(n: usize) -> IntentKey {
    IntentKey::new("acme", format!("app-{n:04}"))
}

/// As many intents, none of them assigned, on a plane that accepts and does nothing.
fn fleet(rules: Rules, intents: usize) -> World {
    let world = World::under(rules);
    world.plane.lock().unwrap().stuck = true;
    for n in 0..intents {
        world.apply(intent(&key(n).id, json!({})));
    }
    world
}

fn count(world: &World, kind: EventKind) -> usize {
    world.events().iter().filter(|e| e.event_type == kind).count()
}

fn open_reviews(world: &World, intents: usize) -> usize {
    let open = (0..intents).flat_map(|n| world.approvals_of(&key(n)));
    open.filter(|a| (a.kind, a.state) == (ApprovalKind::Review, ApprovalState::Open)).count()
}

#[tokio::test]
async fn beyond_the_cap_everything_is_a_review_and_people_are_told_once() {
    const N: usize = 50;
    let world = fleet(capped("actions = 8\nwindow = \"1h\""), N);
    world.run_until(t0() + Duration::minutes(2)).await;
    assert_eq!((world.acts().len(), count(&world, EventKind::RemediationStarted)), (8, 8));
    assert_eq!(count(&world, EventKind::BlastRadiusTripped), 1);
    assert_eq!(count(&world, EventKind::Escalated), 0, "the trip is the escalation");
    assert_eq!(open_reviews(&world, N), N - 8);
    let topics: Vec<_> = world.notices().iter().map(|n| n.topic).collect();
    assert_eq!(topics, [Topic::BlastRadius], "not one for each of those that wait");
    assert_eq!(world.deliveries().len(), 1);
    let tripped = world.events().into_iter().find(|e| e.event_type == EventKind::BlastRadiusTripped).unwrap();
    assert_eq!(tripped.event_data["rearm"], "trueup blast rearm acme intune");
    let notice = &world.notices()[0];
    assert_eq!(notice.severity, Severity::Critical);
    for part in
        ["8 per window", "tenant acme", "intune", "trueup blast rearm acme intune", "waits for a review"]
    {
        assert!(notice.text.contains(part), "{part}:\n{}", notice.text);
    }
    let held = (0..N).flat_map(|n| world.findings_of(&key(n))).find(|f| f.attempts == 0).unwrap();
    assert_eq!(held.decision.verdict, Verdict::Review);
    assert!(held.decision.reasons.iter().any(|r| r.rule == "blast_radius"), "{:?}", held.decision);

    // An hour of looking on: the eight climb no further either, and nobody is told again.
    let (events, approvals) =
        (count(&world, EventKind::PolicyDecided), count(&world, EventKind::ApprovalOpened));
    world.run_until(t0() + Duration::minutes(59)).await;
    assert_eq!(world.acts().len(), 8);
    assert_eq!(count(&world, EventKind::PolicyDecided), events, "the same decision is not said again");
    assert_eq!(count(&world, EventKind::ApprovalOpened), approvals);
    assert_eq!((count(&world, EventKind::BlastRadiusTripped), world.notices().len()), (1, 1));

    // Rearmed, the next look decides afresh: the next eight, and the switch trips again.
    assert!(world.switch.lock().unwrap().rearm("acme", PlaneKind::Intune));
    world.run_until(t0() + Duration::minutes(80)).await;
    assert_eq!(world.acts().len(), 16);
    assert_eq!(count(&world, EventKind::BlastRadiusTripped), 2);
    assert_eq!(world.notices().iter().filter(|n| n.topic == Topic::BlastRadius).count(), 2);
    assert!(count(&world, EventKind::ApprovalWithdrawn) > 0, "what is remediated is no question any more");
}

#[tokio::test]
async fn each_attempt_of_the_ladder_takes_a_place() {
    let world = fleet(capped("actions = 2\nwindow = \"12h\""), 1);
    world.run_until(t0() + Duration::hours(12)).await;
    // The first two attempts; the third is one too many: neither made nor counted, so nothing is escalated.
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 60]);
    assert_eq!(world.minutes(EventKind::BlastRadiusTripped), [180]);
    assert_eq!(world.minutes(EventKind::Escalated), Vec::<i64>::new());
    assert_eq!(world.record(&key(0)).state.attempts.made, 2);
    assert_eq!(open_reviews(&world, 1), 1);
    assert!(world.switch.lock().unwrap().rearm("acme", PlaneKind::Intune));
    world.run_for(Duration::hours(5)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted).len(), 3);
    assert_eq!(world.minutes(EventKind::Escalated).len(), 1, "then the ladder goes on to its end");
}

/// Only an attempt that would begin asks; looks, waits and reviews take no place.
#[tokio::test]
async fn what_is_no_attempt_takes_no_place() {
    let world = fleet(capped("actions = 100\nwindow = \"1h\""), 3);
    world.apply(intent(&key(1).id, json!({"mode": "propose"})));
    world.apply(intent(&key(2).id, json!({"criticality": "low"})));
    world.run_until(t0() + Duration::minutes(50)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0]);
    assert!(world.record(&key(0)).state.runs > 2, "it was looked at in between");
    assert_eq!(world.switch.lock().unwrap().asked, 1);
    let none = fleet(Rules { policy: Policy::parse(uncapped()).unwrap(), ..Rules::default() }, 3);
    none.run_until(t0() + Duration::minutes(50)).await;
    let switch = none.switch.lock().unwrap();
    assert_eq!((none.acts().len(), switch.asked, switch.trips), (3, 3, 0), "without caps only a trip holds");
}

/// Who takes the caps out of the policy has not looked at what tripped the switch.
#[tokio::test]
async fn a_tripped_switch_holds_without_caps() {
    let mut world = fleet(capped("actions = 1\nwindow = \"1h\""), 3);
    world.run_until(t0() + Duration::minutes(2)).await;
    assert_eq!((world.acts().len(), world.switch.lock().unwrap().trips), (1, 1));
    let rules = Rules { policy: Policy::parse(uncapped()).unwrap(), ..Rules::default() };
    world.chain = trueup_workflows::Chain::new(rules);
    world.run_until(t0() + Duration::hours(2)).await;
    assert_eq!(world.acts().len(), 1, "until it is rearmed");
    assert!(world.switch.lock().unwrap().rearm("acme", PlaneKind::Intune));
    world.run_until(t0() + Duration::hours(3)).await;
    assert!(world.acts().len() >= 3);
}

/// The worker that tripped the switch dies before it commits: the one that runs the job again tells it, once.
#[tokio::test]
async fn the_trip_is_told_once_whoever_dies() {
    let world = fleet(capped("actions = 1\nwindow = \"1h\""), 2);
    loop {
        let ready = world.store.lock().unwrap().ready(t0()).unwrap();
        let (id, queue, job) = ready;
        if job.step().as_str() == "emit" {
            // Executed, and never committed.
            let first = world.execute(&id, &job).await;
            assert_eq!(first, world.execute(&id, &job).await);
        }
        world.work(&id, queue, &job).await;
        if world.minutes(EventKind::BlastRadiusTripped).len() == 1 {
            break;
        }
    }
    world.run_until(t0() + Duration::minutes(40)).await;
    assert_eq!((world.acts().len(), count(&world, EventKind::BlastRadiusTripped)), (1, 1));
    assert_eq!(world.notices().len(), 1);
}

#[tokio::test]
async fn an_ignored_difference_is_no_drift_and_is_listed() {
    let rules = format!(
        "{}\n[[ignore]]\nname = \"hands-off\"\npaths = [\"assignment.*\"]\nbecause = \"b\"\n",
        uncapped()
    );
    let under = |text: &str| Rules { policy: Policy::parse(text).unwrap(), ..Rules::default() };
    // It drifted and was acted upon in vain; then the rule comes.
    let mut world = fleet(under(uncapped()), 1);
    world.run_until(t0() + Duration::minutes(2)).await;
    assert!(world.findings_of(&key(0))[0].open);
    world.chain = trueup_workflows::Chain::new(under(&rules));
    world.run_until(t0() + Duration::minutes(30)).await;
    let state = world.record(&key(0)).state;
    assert_eq!((state.condition, state.attempts.made), (Condition::InSync, 0));
    let ignored: Vec<_> = state.ignored.iter().map(|i| (i.rule.as_str(), i.path.as_str())).collect();
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert!(ignored[0].0.contains("hands-off") && ignored[0].1.starts_with("assignment."), "{ignored:?}");
    assert!(!world.findings_of(&key(0))[0].open);
    let resolved = world.events().into_iter().find(|e| e.event_type == EventKind::DriftResolved).unwrap();
    assert!(resolved.event_data["ignored_by"].to_string().contains("hands-off"), "{resolved:?}");
    assert_eq!(count(&world, EventKind::RemediationVerified), 0, "what is ignored was not mended");

    // Nobody answers: what is known of it stays.
    let fault = trueup_model::Fault::transient("502");
    world.plane.lock().unwrap().observe_faults.insert(key(0), fault);
    world.run_for(Duration::minutes(20)).await;
    let state = world.record(&key(0)).state;
    assert_eq!((state.condition, state.ignored.len()), (Condition::Unreachable, 1));
    world.plane.lock().unwrap().observe_faults.clear();
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.run_for(Duration::minutes(20)).await;
    assert_eq!(world.record(&key(0)).state.ignored, []);
}

/// What was decided can be decided again from its event.
#[tokio::test]
async fn a_recorded_case_decides_as_it_did() {
    let world = fleet(capped("actions = 1\nwindow = \"1h\""), 3);
    world.apply(intent(&key(2).id, json!({"ring": "global", "criticality": "high"})));
    world.run_until(t0() + Duration::hours(5)).await;
    let events = world.events();
    let decided: Vec<_> = events.iter().filter(|e| e.event_type == EventKind::PolicyDecided).collect();
    assert!(decided.len() >= 4, "{}", decided.len());
    for event in decided {
        let case = policy::recorded::Case::read(&event.event_data["case"]).unwrap();
        let again = world.chain.rules.policy.decide(&case.live());
        let mut expected: trueup_model::Decision =
            serde_json::from_value(event.event_data["decision"].clone()).unwrap();
        // When the ladder allows the next attempt is no affair of policy's.
        expected.not_before = again.decision.not_before;
        assert_eq!(again.decision, expected);
        assert!(event.event_data.to_string().len() < 4_000, "{}", event.event_data);
    }
}
