//! The ladder as a story: attempts at 0, 1 h, 3 h; escalation at 7 h; and what does not count as an attempt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod world;

use serde_json::json;
use trueup_model::{
    Action, ApprovalKind, ApprovalState, Attempts, Condition, Duration, EventKind, Fault, IntentKey, Time,
    Topic, observed::VersionSeen,
};
use world::plane::group;
use world::{HERE, OLDER, World, intent, t0};

fn key() -> IntentKey {
    IntentKey::new("acme", "chrome")
}

fn hours(h: i64) -> Time {
    t0() + Duration::hours(h)
}

fn open(world: &World, kind: ApprovalKind) -> usize {
    let open = |a: &&trueup_model::Approval| a.kind == kind && a.state == ApprovalState::Open;
    world.approvals_of(&key()).iter().filter(open).count()
}

#[tokio::test]
async fn three_attempts_then_people() {
    let world = World::new();
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    world.run_until(hours(30)).await;

    assert_eq!(world.minutes(EventKind::DriftDetected), [0]);
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 60, 180]);
    assert_eq!(world.minutes(EventKind::RemediationApplied), [0, 60, 180]);
    assert_eq!(world.minutes(EventKind::RemediationFailed), [5, 65, 185], "each look is a new observation");
    assert_eq!(world.minutes(EventKind::Escalated), [420]);
    let escalated = world.events().into_iter().find(|e| e.event_type == EventKind::Escalated).unwrap();
    assert_eq!(escalated.event_data["waits_s"], json!([3600, 7200, 14400]));
    assert_eq!(escalated.event_data["attempts"], 3);
    assert_eq!(world.acts().len(), 3, "nothing automatic after the escalation");
    let keys: Vec<_> = world.plane.lock().unwrap().acts.iter().map(|(k, _)| k.clone()).collect();
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "each attempt is another effect");
    let told = world.notices().into_iter().filter(|n| n.topic == Topic::Escalated).collect::<Vec<_>>();
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("after 3 attempts"), "{}", told[0].text);
    assert!(world.findings_of(&key())[0].persistent);
    assert_eq!(open(&world, ApprovalKind::Cab), 1);
    let state = world.record(&key()).state;
    assert!(state.attempts.escalated && state.run.is_none());
    let finding = &world.findings_of(&key())[0];
    assert_eq!((finding.open, finding.attempts, finding.facts.len()), (true, 3, 1));
    assert_eq!(finding.decision.verdict.as_str(), "cab");

    // Somebody mends it by hand: resolved, the question is withdrawn, and the counter starts anew.
    world.plane.lock().unwrap().assign(HERE, group("g1"));
    world.run_for(Duration::hours(1)).await;
    assert_eq!(world.minutes(EventKind::DriftResolved).len(), 1);
    assert_eq!(world.minutes(EventKind::RemediationVerified).len(), 0, "no attempt of ours did it");
    assert_eq!(open(&world, ApprovalKind::Cab), 0);
    let state = world.record(&key()).state;
    assert_eq!((state.attempts, state.condition), (Attempts::default(), Condition::InSync));
    world.plane.lock().unwrap().assigned.clear();
    world.plane.lock().unwrap().stuck = false;
    world.run_for(Duration::hours(1)).await;
    assert_eq!(world.minutes(EventKind::RemediationVerified).len(), 1);
    assert_eq!(world.findings_of(&key())[0].recurrences, 1);
}

#[tokio::test]
async fn a_changed_intent_starts_the_ladder_anew() {
    let world = World::new();
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    world.run_until(hours(8)).await;
    assert_eq!(world.acts().len(), 3);
    world.apply(intent("chrome", json!({"desired": {"assignment": {"include": [{"group": "g2"}]}}})));
    world.run_for(Duration::minutes(2)).await;
    assert_eq!(world.acts().len(), 4);
    let state = world.record(&key()).state;
    assert_eq!((state.attempts.made, state.attempts.escalated, state.attempts.generation), (1, false, 2));
    assert_eq!(open(&world, ApprovalKind::Cab), 0, "the question was about another drift");
    assert_eq!(world.minutes(EventKind::DriftChanged).len(), 1);
}

#[tokio::test]
async fn a_device_that_has_not_checked_in_uses_up_no_attempt() {
    let world = World::new();
    let old =
        |reported| Some(vec![VersionSeen { version: "1".into(), devices: 7, reported: Some(reported) }]);
    {
        let mut plane = world.plane.lock().unwrap();
        plane.assign(HERE, group("g1"));
        plane.versions = old(t0() - Duration::minutes(10));
    }
    let desired = json!({"assignment": {"include": [{"group": "g1"}]}, "version": "2"});
    world.apply(intent("chrome", json!({"desired": desired})));
    world.run_until(t0() + Duration::minutes(200)).await;
    // The rung is over since minute 60, but nobody has reported: stale, not failed, and looked at again.
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0]);
    assert_eq!(world.minutes(EventKind::RemediationFailed), Vec::<i64>::new());
    let state = world.record(&key()).state;
    assert_eq!((state.condition, state.attempts.made, state.attempts.open), (Condition::Stale, 1, true));
    assert!(world.findings_of(&key())[0].open, "what cannot be judged stays as it is");

    // It checks in, and still has the old version: now the attempt has failed, and the next one is due.
    world.plane.lock().unwrap().versions = old(t0() + Duration::minutes(199));
    world.run_until(t0() + Duration::minutes(220)).await;
    assert_eq!(world.minutes(EventKind::RemediationFailed).len(), 1);
    assert_eq!(world.record(&key()).state.attempts.made, 2);

    // It checks in with the right one: verified, resolved, counter reset.
    world.plane.lock().unwrap().versions =
        Some(vec![VersionSeen { version: "2".into(), devices: 7, reported: Some(hours(4)) }]);
    world.run_until(hours(5)).await;
    assert_eq!(world.minutes(EventKind::RemediationVerified).len(), 1);
    assert_eq!(world.minutes(EventKind::DriftResolved).len(), 1);
    assert_eq!(world.record(&key()).state.attempts, Attempts::default());
}

#[tokio::test]
async fn an_older_application_is_moved_away_in_two_actions_and_verified() {
    let world = World::new();
    world.plane.lock().unwrap().assign(OLDER, group("g1"));
    world.apply(intent("chrome", json!({})));
    world.run_until(t0() + Duration::minutes(6)).await;
    let acts = world.acts();
    assert!(matches!(&acts[0], Action::Assign { app, .. } if app == HERE), "first it is given");
    assert!(
        matches!(&acts[1], Action::Unassign { app, .. } if app == OLDER),
        "then the old one is taken away"
    );
    assert_eq!(acts.len(), 2);
    assert_eq!(world.minutes(EventKind::RemediationVerified), [5]);
    let detected = world.events().into_iter().find(|e| e.event_type == EventKind::DriftDetected).unwrap();
    assert_eq!(detected.event_data["deployment_intent_id"], "chrome");
    assert_eq!(detected.event_data["drift_type"], "version_mismatch");
    assert_eq!(detected.event_data["severity"], "medium");
    assert_eq!(detected.event_data["affected_devices"], 0);
    assert_eq!(detected.event_data["remediation_triggered"], true);
    assert_eq!(detected.actor, "system:reconciliation_loop");
    let correlation: std::collections::BTreeSet<_> =
        world.events().into_iter().filter(|e| e.created_at == t0()).map(|e| e.correlation_id).collect();
    assert_eq!(correlation.len(), 1, "one run, one correlation id");
}

#[tokio::test]
async fn waiting_for_the_plane_uses_up_no_attempt_but_a_refusal_does() {
    let world = World::new();
    {
        let mut plane = world.plane.lock().unwrap();
        let until = t0() + Duration::minutes(3);
        plane.act_faults.push_back(Fault::Throttled { until, what: "429".into() });
        plane.act_faults.push_back(Fault::transient("502"));
        plane.act_faults.push_back(Fault::permanent("403: the app may not write assignments"));
    }
    world.apply(intent("chrome", json!({})));
    world.run_until(t0() + Duration::minutes(30)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0]);
    assert_eq!(world.minutes(EventKind::RemediationRefused), [3]);
    let state = world.record(&key()).state;
    assert_eq!((state.attempts.made, state.attempts.open), (1, false));
    world.run_until(hours(2)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 63], "an hour after it was refused");
    assert_eq!(world.minutes(EventKind::RemediationVerified).len(), 1);
    assert_eq!(world.minutes(EventKind::RemediationFailed).len(), 0);
}

/// A plane that fails in ways which pass by themselves, but never does: each attempt is tried for ten minutes, then counts
/// as refused, and people are told in the end.
#[tokio::test]
async fn a_remedy_that_used_up_its_tries_is_a_refused_attempt() {
    let world = World::new();
    world.plane.lock().unwrap().act_faults = (0..1_000).map(|_| Fault::transient("502")).collect();
    world.apply(intent("chrome", json!({})));
    world.run_until(hours(8)).await;
    // 635 s of tries each, then an hour, two, four.
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 70, 201]);
    assert_eq!(world.minutes(EventKind::RemediationRefused), [10, 81, 211]);
    assert_eq!(world.minutes(EventKind::RunAbandoned), Vec::<i64>::new());
    assert_eq!(world.minutes(EventKind::Escalated), [451]);
    let refused = world.events().into_iter().find(|e| e.event_type == EventKind::RemediationRefused).unwrap();
    assert_eq!(refused.event_data["because"], "given up after 8 tries: 502");
    assert_eq!(open(&world, ApprovalKind::Cab), 1);
    assert_eq!(world.store.lock().unwrap().dead, Vec::<String>::new());
}

/// Being asked to wait for longer than a run may take is no attempt, however often it happens.
#[tokio::test]
async fn waiting_for_longer_than_a_run_may_take_uses_up_no_attempt() {
    let world = World::new();
    let until = |minutes| t0() + Duration::minutes(minutes);
    let asked = [50, 100, 150, 200].map(|m| Fault::Throttled { until: until(m), what: "429".into() });
    world.plane.lock().unwrap().act_faults = asked.into();
    world.apply(intent("chrome", json!({})));
    world.run_until(hours(5)).await;
    assert_eq!(world.minutes(EventKind::RemediationRefused), Vec::<i64>::new());
    assert_eq!(world.minutes(EventKind::Escalated), Vec::<i64>::new());
    assert_eq!((world.minutes(EventKind::RemediationVerified).len(), world.acts().len()), (1, 1));
    assert_eq!(world.record(&key()).state.attempts, Attempts::default());
}

/// Its run was given up and another one has begun: a job that comes late touches neither the plane nor the new run.
#[tokio::test]
async fn a_late_job_of_a_lost_run_does_nothing() {
    for step in ["compare", "emit", "remediate"] {
        let world = World::new();
        world.apply(intent("chrome", json!({})));
        let find = |world: &World| {
            let store = world.store.lock().unwrap();
            store
                .jobs
                .iter()
                .find(|(_, (_, j, _))| j.step().as_str() == step)
                .map(|(id, j)| (id.clone(), j.1.clone()))
        };
        while find(&world).is_none() {
            assert!(world.work_one().await);
        }
        let (id, job) = find(&world).unwrap();
        world.store.lock().unwrap().jobs.remove(&id);
        world.clock.advance(Duration::minutes(60));
        assert!(world.work_one().await);
        assert_eq!(world.minutes(EventKind::RunAbandoned), [60], "another run holds it now");
        let outcome = world.execute(&id, &job).await;
        assert_eq!(outcome, trueup_model::Outcome::Done(trueup_model::Commit::default()), "{step}");
        assert_eq!(world.acts(), []);
    }
}

#[tokio::test]
async fn a_plan_is_not_carried_out_once_the_intent_may_not_be_touched() {
    for change in [json!({"status": "PAUSED"}), json!({"mode": "observe"}), json!({"mode": "propose"})] {
        let world = World::new();
        world.apply(intent("chrome", json!({})));
        while world.store.lock().unwrap().jobs.values().all(|(_, job, _)| job.step().as_str() != "remediate")
        {
            assert!(world.work_one().await);
        }
        world.apply(intent("chrome", change.clone()));
        world.run_until(hours(3)).await;
        assert_eq!(world.acts(), [], "{change}");
        assert!(world.record(&key()).state.run.is_none());
    }
}

impl World {
    /// Works until a job of this step is ready, and takes it out of the queue, as a paused queue would keep it.
    async fn keep_back(&self, step: &str) {
        let take = || {
            let mut store = self.store.lock().unwrap();
            let found = store.jobs.iter().find(|(_, (_, job, _))| job.step().as_str() == step);
            let id = found.map(|(id, _)| id.clone());
            id.and_then(|id| store.jobs.remove(&id)).is_some()
        };
        while !take() {
            assert!(self.work_one().await, "{step} does not come");
        }
    }
}

/// The queue of actions is paused for longer than a run may take, again and again: nothing was tried, so nothing has
/// failed, and people are not told that three attempts did not help.
#[tokio::test]
async fn an_attempt_that_never_came_to_act_does_not_count() {
    let world = World::new();
    world.apply(intent("chrome", json!({})));
    for hour in 1..6 {
        world.keep_back("remediate").await;
        let attempts = world.record(&key()).state.attempts;
        assert_eq!((attempts.made, attempts.open, attempts.acted, attempts.last_at), (1, true, false, None));
        world.clock.advance(Duration::hours(1));
        assert!(world.work_one().await);
        let abandoned =
            world.events().into_iter().rfind(|e| e.event_type == EventKind::RunAbandoned).unwrap();
        assert_eq!(
            (abandoned.created_at, &abandoned.event_data["attempt_not_made"]),
            (hours(hour), &json!(1))
        );
        assert_eq!(world.record(&key()).state.attempts, Attempts::default());
    }
    world.run_for(Duration::minutes(10)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 60, 120, 180, 240, 300]);
    assert_eq!(world.minutes(EventKind::RemediationVerified), [305]);
    assert_eq!(world.minutes(EventKind::RemediationFailed), Vec::<i64>::new());
    assert_eq!((world.minutes(EventKind::Escalated).len(), world.acts().len()), (0, 1));
}

/// The third attempt is lost before it acts: it is made as soon as that is known, not after another rung.
#[tokio::test]
async fn an_attempt_taken_back_leaves_the_ladder_where_it_stood() {
    let world = World::new();
    world.plane.lock().unwrap().stuck = true;
    world.apply(intent("chrome", json!({})));
    world.run_until(t0() + Duration::minutes(179)).await;
    world.clock.advance(Duration::minutes(1));
    world.keep_back("remediate").await;
    let attempts = world.record(&key()).state.attempts;
    assert_eq!((attempts.made, attempts.last_at), (3, Some(hours(1))));
    world.clock.advance(Duration::hours(1));
    world.run_until(hours(12)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 60, 180, 240]);
    assert_eq!(world.minutes(EventKind::RemediationFailed), [5, 65, 245]);
    assert_eq!(world.minutes(EventKind::Escalated), [480], "three attempts were made");
    assert_eq!(world.acts().len(), 3);
}

/// An attempt that was withdrawn before it acted has not failed, and counts for nothing when actions are allowed again.
#[tokio::test]
async fn an_attempt_that_was_withdrawn_has_not_failed() {
    let world = World::new();
    world.apply(intent("chrome", json!({})));
    while world.store.lock().unwrap().jobs.values().all(|(_, job, _)| job.step().as_str() != "remediate") {
        assert!(world.work_one().await);
    }
    world.apply(intent("chrome", json!({"mode": "observe"})));
    world.run_for(Duration::minutes(10)).await;
    assert_eq!(world.record(&key()).state.attempts, Attempts::default());
    world.apply(intent("chrome", json!({})));
    world.request(&[key()], "again");
    world.run_for(Duration::minutes(10)).await;
    assert_eq!(world.minutes(EventKind::RemediationStarted), [0, 10]);
    assert_eq!(world.minutes(EventKind::RemediationFailed), Vec::<i64>::new());
    assert_eq!(world.minutes(EventKind::RemediationVerified), [15]);
}
