//! "Drift Types": severity, detection and remediation of each, carried through to the verified end.

use trueup_model::{Duration, EventKind, Finding, PlaneKind, Severity, Verdict};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong};
use trueup_tests::fleet::world_story::Story;

use super::given::*;

async fn mended_unasked(story: &Story, plane: PlaneKind) -> Finding {
    let finding = finding(story, plane).await;
    assert!(!finding.open, "still there on {plane}: {finding:#?}");
    let verified = happened(story, plane, EventKind::RemediationVerified).await;
    assert_eq!(verified, 1, "{plane}: {:#?}", story.events_of(&key(plane, 0)).await);
    assert!(story.writes(plane) > 0, "{plane} was not written to");
    assert!(story.dead().await.is_empty(), "{:?}", story.dead().await);
    finding
}

#[tokio::test]
async fn missing_assignment_is_high_and_mended_by_creating_the_assignment() {
    let story = broken(|_| {}, Wrong::MissingAssignment).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!(
            (finding.kind.as_str(), finding.severity),
            ("missing_assignment", Severity::High),
            "{plane}"
        );
    }
    story.pass(Duration::hours(2)).await;
    for plane in ENDPOINT_PLANES {
        mended_unasked(&story, plane).await;
    }
}

#[tokio::test]
async fn version_mismatch_is_medium_and_mended_by_assigning_the_right_version() {
    let story = broken(|_| {}, Wrong::OlderAssigned).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!(
            (finding.kind.as_str(), finding.severity),
            ("version_mismatch", Severity::Medium),
            "{plane}"
        );
    }
    story.pass(Duration::hours(3)).await;
    for plane in ENDPOINT_PLANES {
        mended_unasked(&story, plane).await;
    }
}

#[tokio::test]
async fn scope_mismatch_is_high_and_its_change_is_for_people_to_decide() {
    let story = broken(|_| {}, Wrong::Scope).await;
    story.pass(Duration::hours(2)).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!((finding.kind.as_str(), finding.severity), ("scope_mismatch", Severity::High), "{plane}");
        assert_eq!(finding.decision.verdict, Verdict::Review, "{plane}");
        let asked = story.open_approvals(&key(plane, 0)).await;
        assert_eq!(asked.len(), 1, "{plane}: {asked:#?}");
        assert_eq!(asked[0].plan.actions.len(), 1, "{plane}: what would be done is part of the question");
        assert_eq!(story.writes(plane), 0, "{plane} was written to");
    }
}

#[tokio::test]
async fn compliance_drift_is_medium_and_its_remedy_is_the_compliance_script() {
    // The shipped policy wants a person to start scripts; one that does not shows that the remedy works.
    let story = Story::everywhere(trueup_tests::fleet::world_story::rules(scripts_run_unasked())).await;
    let all = ENDPOINT_PLANES.map(|plane| intent(plane, 0));
    story.apply(&all).await;
    story.pass(Duration::minutes(5)).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, Wrong::Compliance);
    }
    look(&story).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!(
            (finding.kind.as_str(), finding.severity),
            ("compliance_drift", Severity::Medium),
            "{plane}"
        );
        assert_eq!(finding.affected_devices, 2, "{plane}");
    }
    story.pass(Duration::hours(3)).await;
    for plane in ENDPOINT_PLANES {
        mended_unasked(&story, plane).await;
    }
}

fn scripts_run_unasked() -> trueup_workflows::Policy {
    let rule = "[[rule]]\nname = \"scripts\"\nsay = \"automatic\"\nkinds = [\"compliance_drift\"]\nbecause = \"this fleet's owner wants it\"\n";
    trueup_workflows::Policy::parse(&format!("{}\n{rule}", trueup_workflows::policy::DEFAULT))
        .unwrap_or_else(|e| panic!("{e}"))
}
