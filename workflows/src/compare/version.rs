//! Version mismatch: another version than the one that was meant is rolled out, or runs (seed 000, "Drift Types" 2).
//!
//! Two kinds of evidence: an application that the target replaces still reaches a scope (fresh whenever asked), and
//! versions that devices report (as fresh as their check-ins).

use trueup_model::{Delta, DriftKind, Observed, Target, Time, intent::Desired};

use super::{Freshness, Judgement, drift, reaches, scope_text};

/// Path of an assignment that an older application still has: this and the application's id.
pub const REPLACES: &str = "target.replaces.";

pub fn judge(desired: &Desired, observed: &Observed, target: &Target, fresh: &Freshness) -> Judgement {
    let replaces = target.app().is_some_and(|app| !app.replaces.is_empty());
    let older = replaces && desired.assignment.is_some();
    if !older && desired.version.is_none() {
        return Judgement::NotAsked;
    }
    let mut delta = Vec::new();
    let mut why_not = None;
    let mut at = observed.at;
    if older {
        match still_older(desired, observed, fresh) {
            Ok(found) => delta.extend(found),
            Err(why) => why_not = Some(why),
        }
    }
    let mut devices = 0;
    if let Some(version) = &desired.version {
        match reported(version, observed, fresh) {
            Ok(Reported { wrong, .. }) if wrong.is_empty() => {}
            Ok(Reported { wrong, oldest, count }) => {
                delta.extend(wrong);
                devices = count;
                at = at.min(oldest);
            }
            Err(why) => why_not = why_not.or(Some(why)),
        }
    }
    match why_not {
        _ if !delta.is_empty() => {
            let mut drift = drift(DriftKind::VersionMismatch, delta, at);
            drift.affected_devices = devices;
            Judgement::Drifted(drift)
        }
        Some(Why::Stale(why)) => Judgement::Stale(why),
        Some(Why::Unknown(why)) => Judgement::Unknown(why),
        None => Judgement::InSync,
    }
}

enum Why {
    Stale(String),
    Unknown(String),
}

fn still_older(desired: &Desired, observed: &Observed, fresh: &Freshness) -> Result<Vec<Delta>, Why> {
    let Some(seen) = &observed.assignments else {
        return Err(Why::Unknown("the plane did not tell assignments".into()));
    };
    fresh.of_answer(observed.at).map_err(Why::Stale)?;
    let meant = desired.assignment.iter().flat_map(|a| &a.include);
    let found = meant.flat_map(|scope| {
        let carriers = seen.replaced.iter().filter(|a| reaches(std::slice::from_ref(*a), scope));
        carriers.map(|a| Delta {
            path: format!("{REPLACES}{}", a.app),
            desired: "absent".into(),
            observed: scope_text(scope),
        })
    });
    Ok(found.collect())
}

struct Reported {
    wrong: Vec<Delta>,
    /// When the evidence for them was reported, at the earliest.
    oldest: Time,
    count: u32,
}

/// Devices on another version, as far as their reports are fresh. An error if nothing wrong is known for certain and
/// nothing right is either.
fn reported(version: &str, observed: &Observed, fresh: &Freshness) -> Result<Reported, Why> {
    let Some(seen) = &observed.versions else {
        return Err(Why::Unknown("the plane did not tell versions".into()));
    };
    let mut out = Reported { wrong: Vec::new(), oldest: observed.at, count: 0 };
    let (mut stale_wrong, mut stale_right, mut right) = (None, None, false);
    for group in seen.iter().filter(|g| g.devices > 0) {
        let is_right = group.version == version;
        match (fresh.of_report(group.reported, observed.at), is_right) {
            (Ok(_), true) => right = true,
            (Err(why), true) => stale_right = stale_right.max(Some(why)),
            (Err(why), false) => stale_wrong = stale_wrong.max(Some(why)),
            (Ok(at), false) => {
                let (desired, observed) = (version.to_owned(), group.version.clone());
                out.wrong.push(Delta { path: "version".into(), desired, observed });
                out.oldest = out.oldest.min(at);
                out.count = out.count.saturating_add(group.devices);
            }
        }
    }
    match stale_wrong.or(stale_right.filter(|_| !right)) {
        _ if !out.wrong.is_empty() => Ok(out),
        Some(why) => Err(Why::Stale(why)),
        None if right => Ok(out),
        None => Err(Why::Unknown("no device has reported the application".into())),
    }
}
