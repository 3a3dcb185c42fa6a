use std::collections::BTreeSet;

use trueup_boot::metrics::Meters;
use trueup_model::label::{MAX_VALUES, OTHER};

use super::*;

fn at(tenant: &str) -> At {
    At { tenant: tenant.into(), plane: "intune" }
}

/// Values of a label in the text.
fn values<'a>(text: &'a str, label: &str) -> BTreeSet<&'a str> {
    let marks = [format!("{{{label}=\""), format!(",{label}=\"")];
    let after = |line: &'a str| marks.iter().find_map(|m| line.split_once(m.as_str())).map(|(_, rest)| rest);
    text.lines().filter_map(after).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn tenants_and_channels_are_bounded_whoever_names_them() {
    let meters = Meters::apart();
    let metrics = Metrics::new(&meters.meter());
    for n in 0..MAX_VALUES + 300 {
        let at = at(&format!("tenant-{n}"));
        metrics.count(
            &Told::Detected {
                at: at.clone(),
                kind: "scope_mismatch",
                severity: "high",
                criticality: "critical",
                security: true,
            },
            "",
        );
        metrics.count(&Told::Resolved { at: at.clone(), after_s: Some(1.0) }, "");
        metrics.count(
            &Told::RunEnded { tenant: at.tenant.clone(), condition: "drifted", after_s: Some(1.0) },
            "",
        );
        metrics.count(&Told::Notification { channel: format!("channel-{n}"), outcome: "sent" }, "");
    }
    let text = meters.text();
    for label in ["tenant", "channel"] {
        let found = values(&text, label);
        assert_eq!(found.len(), MAX_VALUES + 1, "{label}");
        assert!(found.contains(OTHER), "{label}");
    }
    assert!(text.contains("trueup_drift_resolved_total{plane=\"intune\",tenant=\"other\"} 300\n"));
    assert!(
        !text.contains("otel_metric_overflow"),
        "the bound on tenants keeps each instrument within its series"
    );
}

#[test]
fn what_alerts_are_made_of_begins_at_zero() {
    let meters = Meters::apart();
    Metrics::new(&meters.meter()).expect("contoso", PlaneKind::Jamf);
    let text = meters.text();
    for series in [
        r#"reconciliation_drift_detected_total{criticality="critical",plane="jamf",tenant="contoso"} 0"#,
        r#"reconciliation_success_total{plane="jamf",tenant="contoso"} 0"#,
        r#"reconciliation_failures_total{plane="jamf",tenant="contoso"} 0"#,
        r#"trueup_security_drift_total{kind="scope_mismatch",plane="jamf",tenant="contoso"} 0"#,
        r#"trueup_escalations_total{plane="jamf",tenant="contoso"} 0"#,
        r#"trueup_blast_radius_trips_total{plane="jamf",tenant="contoso"} 0"#,
    ] {
        assert!(text.contains(&format!("{series}\n")), "{series} is not in\n{text}");
    }
}

#[test]
fn an_attempt_has_succeeded_or_failed_only_when_that_is_known() {
    let meters = Meters::apart();
    let metrics = Metrics::new(&meters.meter());
    metrics.expect("contoso", PlaneKind::Intune);
    for outcome in
        ["started", "applied", "failed", "started", "refused", "started", "applied", "applied", "verified"]
    {
        metrics.count(&Told::Remediation { at: at("contoso"), outcome }, "");
    }
    let text = meters.text();
    for (name, n) in [("success", 1), ("failures", 2)] {
        let series = format!("reconciliation_{name}_total{{plane=\"intune\",tenant=\"contoso\"}} {n}\n");
        assert!(text.contains(&series), "{series}{text}");
    }
    assert!(
        text.contains(
            "trueup_remediations_total{outcome=\"applied\",plane=\"intune\",tenant=\"contoso\"} 3\n"
        )
    );
}
