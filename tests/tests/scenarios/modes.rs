//! Modes: what was not enforced is never written, whatever policy would allow.

use trueup_model::{Condition, Duration, EventKind, Intent, Mode, Verdict};
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_story::Story;

#[tokio::test]
async fn observe_and_propose_never_write() {
    let story = Story::begin().await;
    let modes = [(0, Mode::Observe), (1, Mode::Propose)];
    for (n, _) in modes {
        story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, n) });
    }
    let intents: Vec<Intent> = modes.map(|(n, mode)| Intent { mode, ..assigned(TENANT, n) }).into();
    story.apply(&intents).await;
    story.pass(Duration::days(1)).await;
    for (n, expected, questions) in [(0, Verdict::ObserveOnly, 0), (1, Verdict::Review, 1)] {
        let it = key(TENANT, n);
        assert_eq!(story.condition(&it).await, Condition::Drifted);
        assert_eq!(story.finding(&it).await.decision.verdict, expected);
        assert_eq!(story.open_approvals(&it).await.len(), questions);
        assert_eq!(story.happened(&it, EventKind::DriftDetected).await, 1);
        assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 0);
        assert_eq!(story.record(&it).await.state.attempts.made, 0);
    }
    assert!(story.sim().writes().is_empty(), "{:?}", story.sim().writes());

    // The same drift, enforced, is mended: it was the mode that held it back.
    story.apply(&intents.map_mode(Mode::Enforce)).await;
    story.pass(Duration::minutes(10)).await;
    for n in [0, 1] {
        assert_eq!(story.condition(&key(TENANT, n)).await, Condition::InSync);
    }
    assert_eq!(story.sim().writes().len(), 2);
}

#[tokio::test]
async fn an_intent_that_stops_being_enforced_between_decision_and_action_is_not_acted_on() {
    let story = Story::begin().await;
    let it = key(TENANT, 0);
    story.do_mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) });
    story.apply(&[assigned(TENANT, 0)]).await;
    story.work_through(trueup_model::StepName::Emit).await;
    assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 1);
    story.apply(&[Intent { mode: Mode::Observe, ..assigned(TENANT, 0) }]).await;
    story.pass(Duration::hours(9)).await;
    assert!(story.sim().writes().is_empty(), "{:?}", story.sim().writes());
    assert_eq!(story.happened(&it, EventKind::RemediationApplied).await, 0);
    assert_eq!(story.happened(&it, EventKind::Escalated).await, 0);
}

trait MapMode {
    fn map_mode(&self, mode: Mode) -> Vec<Intent>;
}

impl MapMode for Vec<Intent> {
    fn map_mode(&self, mode: Mode) -> Vec<Intent> {
        self.iter().map(|i| Intent { mode, ..i.clone() }).collect()
    }
}
