//! Compliance drift: devices that do not comply (seed 000, "Drift Types" 4); for Ansible, a check run that would change
//! something.

use trueup_model::{Delta, DriftKind, Observed, Target, intent::Desired, observed::MAX_LISTED};

use super::{Freshness, Judgement, drift};

pub fn judge(desired: &Desired, observed: &Observed, _target: &Target, fresh: &Freshness) -> Judgement {
    if !desired.compliant {
        return Judgement::NotAsked;
    }
    let Some(seen) = &observed.compliance else {
        return Judgement::Unknown("the plane did not tell compliance".into());
    };
    if seen.devices == 0 && seen.noncompliant == 0 {
        return Judgement::Unknown("no device has reported".into());
    }
    let at = match fresh.of_report(seen.reported, observed.at) {
        Ok(at) => at,
        Err(why) => return Judgement::Stale(why),
    };
    if seen.noncompliant == 0 && seen.unknown > 0 {
        let (unknown, all) = (seen.unknown, seen.devices);
        return Judgement::Unknown(format!("{unknown} of {all} devices could not be judged"));
    }
    if seen.noncompliant == 0 {
        return Judgement::InSync;
    }
    // What differs, where the plane tells; else which devices.
    let (path, lines) = match (seen.details.is_empty(), seen.failing.is_empty()) {
        (false, _) => ("compliance.details", seen.details.clone()),
        (true, false) => ("compliance.devices", seen.failing.clone()),
        (true, true) => ("compliance", vec!["not compliant".to_owned()]),
    };
    let delta = lines.into_iter().take(MAX_LISTED).map(|observed| Delta {
        path: path.into(),
        desired: "compliant".into(),
        observed,
    });
    let mut drift = drift(DriftKind::ComplianceDrift, delta.collect(), at);
    drift.affected_devices = seen.noncompliant;
    drift.devices = seen.failing.iter().take(MAX_LISTED).cloned().collect();
    drift.devices.sort();
    Judgement::Drifted(drift)
}
