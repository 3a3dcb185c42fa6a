//! "Overview", "Reconciliation Process", "Reconciliation Loop Implementation".

use trueup_model::{Condition, DriftKind, Duration, EventKind, Severity, Status, Verdict};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong};

use super::given::*;

#[tokio::test]
async fn loops_are_periodic_processes_that_detect_drift_between_desired_and_actual_state() {
    let story = fleet(|_| {}).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, Wrong::MissingAssignment);
    }
    // Nobody asks: the schedule finds it.
    story.pass(Duration::minutes(20)).await;
    for plane in ENDPOINT_PLANES {
        assert_eq!(happened(&story, plane, EventKind::DriftDetected).await, 1, "{plane}");
    }
}

#[tokio::test]
async fn enforcement_is_continuous_rather_than_assuming_that_deployments_remain_compliant() {
    let story = fleet(|_| {}).await;
    for time in 1..=3 {
        for plane in ENDPOINT_PLANES {
            story.go_wrong(plane, 0, Wrong::MissingAssignment);
        }
        story.pass(Duration::hours(2)).await;
        for plane in ENDPOINT_PLANES {
            assert_eq!(happened(&story, plane, EventKind::DriftResolved).await, time, "{plane}");
            assert_eq!(finding(&story, plane).await.recurrences as usize, time - 1, "{plane}");
        }
    }
}

#[tokio::test]
async fn the_query_reads_assignments_versions_compliance_and_scope() {
    let story = fleet(|_| {}).await;
    for plane in ENDPOINT_PLANES {
        let seen = story.observe_one(&intent(plane, 0)).await.unwrap_or_else(|e| panic!("{plane}: {e}"));
        let assignments = seen.assignments.expect("application assignments").here;
        assert_eq!(assignments.len(), 1, "{plane}: {assignments:?}");
        let meant = intent(plane, 0).desired.assignment.expect("there is one").include;
        assert!(meant.contains(&assignments[0].scope), "assignment scope of {plane}: {assignments:?}");
        let versions = seen.versions.expect("package versions deployed");
        assert_eq!((versions.len(), versions[0].version.as_str()), (1, "1.0.0"), "{plane}: {versions:?}");
        let compliance = seen.compliance.expect("device compliance status");
        assert!(compliance.devices >= 3 && compliance.noncompliant == 0, "{plane}: {compliance:?}");
    }
}

#[tokio::test]
async fn events_carry_correlation_kind_severity_what_is_affected_and_a_timestamp() {
    let story = broken(|_| {}, Wrong::OtherVersion).await;
    for plane in ENDPOINT_PLANES {
        let events = story.events_of(&key(plane, 0)).await;
        let drift = events.iter().find(|e| e.event_type == EventKind::DriftDetected).expect("emitted");
        let decided = events.iter().find(|e| e.event_type == EventKind::PolicyDecided).expect("decided");
        assert_eq!(drift.correlation_id, decided.correlation_id, "correlation id linkage on {plane}");
        assert_eq!(drift.event_data["drift_type"], "version_mismatch");
        assert_eq!(drift.event_data["severity"], "medium");
        assert_eq!(drift.event_data["affected_devices"], 2, "{plane}");
        assert!(drift.created_at > story.began(), "{plane}");
    }
    let story = broken(|_| {}, Wrong::Scope).await;
    for plane in ENDPOINT_PLANES {
        let delta = finding(&story, plane).await.delta;
        assert!(
            delta.iter().any(|d| d.observed.starts_with("group:")),
            "affected scopes of {plane}: {delta:?}"
        );
    }
}

#[tokio::test]
async fn remediation_is_triggered_within_policy_automatic_for_low_risk_review_for_high_risk() {
    for (wrong, verdict, started) in [
        (Wrong::MissingAssignment, Verdict::Automatic, 1),
        (Wrong::OtherVersion, Verdict::Automatic, 1),
        (Wrong::Scope, Verdict::Review, 0),
    ] {
        let story = broken(|_| {}, wrong).await;
        for plane in ENDPOINT_PLANES {
            assert_eq!(finding(&story, plane).await.decision.verdict, verdict, "{wrong:?} on {plane}");
            let begun = happened(&story, plane, EventKind::RemediationStarted).await;
            assert_eq!(begun, started, "{wrong:?} on {plane}");
        }
    }
}

#[tokio::test]
async fn only_pending_in_progress_and_completed_intents_are_reconciled() {
    for (status, reconciled) in [
        (Status::Pending, true),
        (Status::InProgress, true),
        (Status::Completed, true),
        (Status::Paused, false),
        (Status::Retired, false),
    ] {
        let story = fleet(|_| {}).await;
        let all = ENDPOINT_PLANES.map(|plane| changed(plane, |i| i.status = status));
        story.apply(&all).await;
        for plane in ENDPOINT_PLANES {
            story.go_wrong(plane, 0, Wrong::MissingAssignment);
        }
        story.pass(Duration::hours(1)).await;
        for plane in ENDPOINT_PLANES {
            let found = happened(&story, plane, EventKind::DriftDetected).await;
            assert_eq!(found > 0, reconciled, "{status:?} on {plane}");
        }
    }
}

#[tokio::test]
async fn no_drift_no_event_no_remediation() {
    let story = fleet(|_| {}).await;
    story.pass(Duration::days(1)).await;
    for plane in ENDPOINT_PLANES {
        assert_eq!(story.condition(&key(plane, 0)).await, Condition::InSync, "{plane}");
        assert_eq!(happened(&story, plane, EventKind::DriftDetected).await, 0, "{plane}");
        assert_eq!(story.writes(plane), 0, "{plane} was written to");
    }
}

#[tokio::test]
async fn several_mismatches_of_one_intent_are_found_side_by_side() {
    let story = fleet(|_| {}).await;
    for plane in ENDPOINT_PLANES {
        story.go_wrong(plane, 0, Wrong::Scope);
        story.go_wrong(plane, 0, Wrong::OtherVersion);
        story.go_wrong(plane, 0, Wrong::Compliance);
    }
    look(&story).await;
    for plane in ENDPOINT_PLANES {
        let all = story.findings().await;
        let mut seen: Vec<(DriftKind, Severity)> =
            all.iter().filter(|f| f.intent == key(plane, 0)).map(|f| (f.kind, f.severity)).collect();
        seen.sort();
        let expected = [
            (DriftKind::VersionMismatch, Severity::Medium),
            (DriftKind::ScopeMismatch, Severity::High),
            (DriftKind::ComplianceDrift, Severity::Medium),
        ];
        assert_eq!(seen, expected, "{plane}");
    }
}
