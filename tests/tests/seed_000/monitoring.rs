//! "Monitoring & Alerting": every metric and alert of the seed is in the rules that we ship. That they fire is seen with a
//! real Prometheus in `alerts.rs`.

const RULES: &str = include_str!("../../../deploy/prometheus/trueup.rules.yml");

fn has(line: &str) {
    assert!(RULES.lines().any(|l| l.trim().trim_start_matches("- ") == line), "no '{line}' in the rules");
}

#[test]
fn drift_detection_rate_remediation_success_time_to_remediation_and_persistent_drift_are_recorded() {
    for metric in [
        "tenant_plane_criticality:reconciliation_drift_detected:increase1h",
        "tenant_plane:reconciliation_success:ratio1h",
        "tenant_plane:trueup_time_to_remediation_seconds:mean1d",
        "tenant_plane_kind:trueup_drift_persistent:count",
    ] {
        has(&format!("record: {metric}"));
    }
}

#[test]
fn high_drift_rate_remediation_failure_persistent_drift_and_security_drift_raise_alerts() {
    for alert in ["HighDriftRate", "RemediationFailure", "PersistentDrift", "SecurityDrift"] {
        has(&format!("alert: {alert}"));
    }
}
