//! "Remediation Policies".

use trueup_model::{ApprovalKind, Duration, EventKind, Intent, Ring, Topic, Verdict};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong};

use super::given::*;

async fn verdicts(change: impl Fn(&mut Intent), wrong: Wrong, expected: Verdict) {
    let story = broken(change, wrong).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!(finding.decision.verdict, expected, "{wrong:?} on {plane}: {:#?}", finding.decision);
        let started = happened(&story, plane, EventKind::RemediationStarted).await;
        assert_eq!(started, usize::from(expected == Verdict::Automatic), "{wrong:?} on {plane}");
    }
}

#[tokio::test]
async fn automatic_for_low_risk_drift_in_lab_and_canary_of_what_is_not_privileged() {
    for ring in [Ring::Lab, Ring::Canary] {
        for wrong in [Wrong::MissingAssignment, Wrong::OtherVersion] {
            verdicts(in_ring(ring), wrong, Verdict::Automatic).await;
        }
    }
}

#[tokio::test]
async fn at_most_three_attempts_one_two_and_four_hours_apart_then_escalation() {
    let story = fleet(|_| {}).await;
    for plane in ENDPOINT_PLANES {
        // Devices that report, and never change: each attempt is accepted, and fails.
        story.go_wrong(plane, 0, Wrong::Stubborn);
        story.go_wrong(plane, 0, Wrong::OtherVersion);
    }
    look(&story).await;
    story.pass(Duration::hours(16)).await;
    for plane in ENDPOINT_PLANES {
        let it = key(plane, 0);
        let acted = story.minutes(&it, EventKind::RemediationApplied).await;
        assert_eq!(story.happened(&it, EventKind::RemediationStarted).await, 3, "{plane}");
        assert_eq!(story.happened(&it, EventKind::RemediationFailed).await, 3, "{plane}");
        let escalated = story.minutes(&it, EventKind::Escalated).await;
        assert_eq!(escalated.len(), 1, "{plane}");
        // One action an attempt; the last wait ends with people.
        let times = [acted[0], acted[acted.len() / 3], acted[2 * acted.len() / 3], escalated[0]];
        for (n, hours) in [1, 2, 4].into_iter().enumerate() {
            let waited = times[n + 1] - times[n];
            // Never earlier; later only until a device has reported, at most one of its intervals.
            assert!((hours * 60..hours * 60 + 31).contains(&waited), "wait {} on {plane}: {times:?}", n + 1);
        }
    }
}

#[tokio::test]
async fn review_for_scope_mismatches_even_in_the_lab() {
    verdicts(in_ring(Ring::Lab), Wrong::Scope, Verdict::Review).await;
}

#[tokio::test]
async fn review_in_production_rings() {
    for ring in [Ring::Pilot, Ring::Department, Ring::Global] {
        verdicts(in_ring(ring), Wrong::MissingAssignment, Verdict::Review).await;
    }
}

#[tokio::test]
async fn review_for_privileged_applications() {
    verdicts(|i| i.privileged = true, Wrong::MissingAssignment, Verdict::Review).await;
}

#[tokio::test]
async fn the_change_board_for_drift_that_persists_after_the_attempts() {
    let story = fleet(|_| {}).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, Wrong::Stubborn);
        story.go_wrong(plane, 0, Wrong::OtherVersion);
    }
    look(&story).await;
    story.pass(Duration::hours(17)).await;
    for plane in ENDPOINT_PLANES {
        let asked = story.open_approvals(&key(plane, 0)).await;
        assert!(asked.iter().any(|a| a.kind == ApprovalKind::Cab), "{plane}: {asked:#?}");
        let finding = finding(&story, plane).await;
        assert!(finding.persistent, "{plane}");
        let told = story.told(Topic::Escalated);
        assert!(told.iter().any(|g| g.plane == plane && g.members == 1), "{plane}: {told:#?}");
    }
}

/// Security incidents, changes of scope that cross a boundary, and violations are facts that a policy names.
async fn to_the_board(policy: &str, wrong: Wrong) {
    let policy = trueup_workflows::Policy::parse(&format!("{}\n{policy}", trueup_workflows::policy::DEFAULT))
        .unwrap_or_else(|e| panic!("{e}"));
    let rules = trueup_tests::fleet::world_story::rules(policy);
    let story = trueup_tests::fleet::world_story::Story::everywhere(rules).await;
    let all = ENDPOINT_PLANES.map(|plane| intent(plane, 0));
    story.apply(&all).await;
    story.pass(Duration::minutes(5)).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, wrong);
    }
    look(&story).await;
    for plane in ENDPOINT_PLANES {
        let finding = finding(&story, plane).await;
        assert_eq!(finding.decision.verdict, Verdict::Cab, "{plane}: {:#?}", finding.decision);
        assert_eq!(story.writes(plane), 0, "{plane}");
    }
}

#[tokio::test]
async fn the_change_board_for_security_incidents() {
    let incident = "[[incident]]\nname = \"breach\"\nticket = \"SEC-1\"\nsince = \"2026-11-01T00:00:00Z\"\n";
    to_the_board(incident, Wrong::MissingAssignment).await;
}

#[tokio::test]
async fn the_change_board_for_scopes_that_cross_a_boundary() {
    // The second application's group, by the id it has on each plane: only the global ring may reach it.
    let groups: Vec<String> = ENDPOINT_PLANES
        .iter()
        .map(|plane| match trueup_tests::fleet::sites::group(*plane, 1) {
            trueup_model::intent::Scope::Group(id) => format!("\"group:{id}\""),
            other => panic!("{other:?}"),
        })
        .collect();
    let boundary =
        format!("[[boundary]]\nname = \"wall\"\ngroups = [{}]\nrings = [\"global\"]\n", groups.join(", "));
    to_the_board(&boundary, Wrong::Scope).await;
}
