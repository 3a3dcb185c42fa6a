//! "Reconciliation Frequency": the table, row by row.

use trueup_model::{Criticality, Duration, EventKind, Verdict};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong};

use super::given::*;

const TABLE: [(Criticality, i64, i64); 4] = [
    // criticality, checked every (minutes), tolerated drift (hours)
    (Criticality::Critical, 15, 0),
    (Criticality::High, 30, 1),
    (Criticality::Standard, 60, 4),
    (Criticality::Low, 240, 24),
];

#[tokio::test]
async fn each_criticality_is_checked_as_often_as_the_table_says() {
    for (criticality, minutes, _) in TABLE {
        let story = fleet(|i| i.criticality = criticality).await;
        let before: Vec<u64> = runs(&story).await;
        story.pass(Duration::days(1)).await;
        for (n, plane) in ENDPOINT_PLANES.iter().enumerate() {
            let looks = runs(&story).await[n] - before[n];
            assert_eq!(looks as i64, 24 * 60 / minutes, "{criticality:?} on {plane}");
        }
    }
}

async fn runs(story: &trueup_tests::fleet::world_story::Story) -> Vec<u64> {
    let mut all = Vec::new();
    for plane in ENDPOINT_PLANES {
        all.push(story.record(&key(plane, 0)).await.state.runs);
    }
    all
}

#[tokio::test]
async fn low_risk_drift_is_remediated_when_its_tolerance_is_over_and_at_once_if_critical() {
    for (criticality, _, hours) in TABLE {
        let story = broken(|i| i.criticality = criticality, Wrong::MissingAssignment).await;
        for plane in ENDPOINT_PLANES {
            assert_eq!(finding(&story, plane).await.decision.verdict, Verdict::Automatic, "{plane}");
            let begun = happened(&story, plane, EventKind::RemediationStarted).await;
            assert_eq!(begun > 0, hours == 0, "{criticality:?} on {plane}");
        }
        let opened = story.minutes(&key(ENDPOINT_PLANES[0], 0), EventKind::DriftDetected).await[0];
        story.pass(Duration::hours(hours) + Duration::minutes(1)).await;
        for plane in ENDPOINT_PLANES {
            let begun = story.minutes(&key(plane, 0), EventKind::RemediationStarted).await;
            let waited = begun.first().map(|at| at - opened);
            assert!(
                waited.is_some_and(|m| (hours * 60..=hours * 60 + 1).contains(&m)),
                "{criticality:?} on {plane}: {begun:?}"
            );
        }
    }
}
