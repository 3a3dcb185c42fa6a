//! Looking: assignments, versions and compliance of many applications with few calls.
//!
//! # Expected flow
//! Assignments and the list of detected applications are read at the same time (`loads`), then the devices behind each
//! detected application (`devices`). Each is read singly or whole, whichever costs fewer calls, and kept for a while
//! (`snapshot`), so that thousands of checks share one read: what a look costs depends on the number of applications and
//! devices, not on the number of intents.
//!
//! # Guarantees
//! An observation is dated by the oldest of the reads that it is made of. A check that demands answers newer than an
//! action gets only such, in each of its parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::observed::{
    AssignmentSeen, Assignments, ComplianceSeen, MAX_LISTED, Observed, VersionSeen,
};
use trueup_model::target::IntuneTarget;
use trueup_model::{Duration, Fault, Target, Time};

use super::devices::{Devices, Group, Wanted};
use super::graph::Graph;
use super::loads;
use super::parse::{DetectedApp, Device, Standing};
use super::snapshot::{Dataset, Dated};

#[derive(Debug)]
pub(crate) struct Reads {
    assignments: Dataset<Arc<[AssignmentSeen]>>,
    detected: Dataset<Arc<[DetectedApp]>>,
    devices: Devices,
}

type Wants = HashMap<String, Option<Time>>;
type Answers<V> = HashMap<String, Result<Dated<V>, Fault>>;
/// What devices report about one application: the oldest read it rests on, versions, compliance.
type Report = (Time, Vec<VersionSeen>, ComplianceSeen);

impl Reads {
    pub(crate) fn new(reuse: Duration) -> Self {
        Self { assignments: Dataset::new(reuse), detected: Dataset::new(reuse), devices: Devices::new(reuse) }
    }

    /// An action of ours changes the application's assignments, or changed them already.
    pub(crate) fn assigned(&self, app: &str) {
        self.assignments.forget(&app.to_ascii_lowercase());
    }

    /// An action of ours may change which devices report the application, or how they are.
    pub(crate) fn touched(&self, app_name: &str) {
        self.devices.touch(app_name);
    }

    pub(crate) async fn observe(&self, graph: &Graph, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let (mut apps, mut names) = (Wants::new(), Wants::new());
        for check in checks {
            if let Target::Intune(target) = &check.target {
                for id in std::iter::once(&target.app_id).chain(&target.replaces) {
                    want(&mut apps, id.to_ascii_lowercase(), check.newer_than);
                }
                want(&mut names, target.app_name.clone(), check.newer_than);
            }
        }
        let now = || graph.http.clock().now();
        let (assigned, detected) = tokio::join!(
            self.assignments.get(&apps, now, |keys, all| loads::assignments(graph, keys, all)),
            self.detected.get(&names, now, |keys, all| loads::detected(graph, keys, all)),
        );
        let mut sets = Vec::new();
        for (name, answer) in &detected {
            for app in answer.iter().filter_map(|(_, apps)| apps.as_ref()).flat_map(|apps| apps.iter()) {
                if app.devices > 0 {
                    let newer_than = names.get(name).copied().flatten();
                    let (id, name, count) = (app.id.clone(), name.clone(), app.devices);
                    sets.push(Wanted { id, name, count, newer_than });
                }
            }
        }
        let devices = self.devices.get(graph, sets).await;
        let mut reports: HashMap<&str, Result<Report, Fault>> = HashMap::with_capacity(names.len());
        let mut answer = |check: &'_ Check| match &check.target {
            Target::Intune(target) => {
                let name = names.get_key_value(&target.app_name).map_or("", |(name, _)| name.as_str());
                let report = reports.entry(name).or_insert_with(|| report(name, &detected, &devices));
                observed(target, &assigned, report.clone())
            }
            other => Err(Fault::bug(format!("a target of {} was sent to intune", other.plane()))),
        };
        checks.iter().map(&mut answer).collect()
    }
}

fn want(wanted: &mut Wants, key: String, newer_than: Option<Time>) {
    let at_least = wanted.entry(key).or_default();
    *at_least = (*at_least).max(newer_than);
}

fn report(
    name: &str,
    detected: &Answers<Arc<[DetectedApp]>>,
    devices: &HashMap<String, Result<Group, Fault>>,
) -> Result<Report, Fault> {
    let lost = || Fault::bug(format!("'{name}' was not looked up"));
    let (mut at, apps) = detected.get(name).cloned().ok_or_else(lost)??;
    let apps = apps.unwrap_or_default();
    let mut versions: BTreeMap<&str, Vec<&Device>> = BTreeMap::new();
    for app in apps.iter().filter(|a| a.devices > 0) {
        let (read_at, group) = devices.get(&app.id).ok_or_else(lost)?.as_ref().map_err(Fault::clone)?;
        at = at.min(*read_at);
        versions.entry(app.version.as_deref().unwrap_or_default()).or_default().extend(group);
    }
    let all = each_once(versions.values().flatten().copied().collect(), apps.len());
    let seen = |(version, reporting): (&str, Vec<&Device>)| {
        let reporting = each_once(reporting, apps.len());
        let reported = reporting.iter().filter_map(|d| d.last_sync).max();
        VersionSeen { version: version.to_owned(), devices: count(reporting.len()), reported }
    };
    let versions = versions.into_iter().filter(|(_, r)| !r.is_empty()).map(seen).collect();
    Ok((at, versions, compliance(&all)))
}

/// Devices of several groups, in each of which every device is once and in order.
fn each_once(mut devices: Vec<&Device>, groups: usize) -> Vec<&Device> {
    if groups > 1 {
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        devices.dedup_by(|a, b| a.id == b.id);
    }
    devices
}

/// Of devices in the order of their ids.
fn compliance(all: &[&Device]) -> ComplianceSeen {
    let mut seen = ComplianceSeen { devices: count(all.len()), ..ComplianceSeen::default() };
    let (mut newest, mut newest_failing) = (None, None);
    for device in all {
        newest = device.last_sync.max(newest);
        match device.standing {
            Standing::Fine => {}
            Standing::Unknown => seen.unknown = seen.unknown.saturating_add(1),
            Standing::Failing => {
                newest_failing = device.last_sync.max(newest_failing);
                seen.noncompliant = seen.noncompliant.saturating_add(1);
                if seen.failing.len() < MAX_LISTED {
                    seen.failing.push(device.id.to_string());
                }
            }
        }
    }
    seen.reported = if seen.noncompliant > 0 { newest_failing } else { newest };
    seen
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn observed(
    target: &IntuneTarget,
    assigned: &Answers<Arc<[AssignmentSeen]>>,
    report: Result<Report, Fault>,
) -> Result<Observed, Fault> {
    let find = |id: &String| {
        let lost = || Fault::bug(format!("mobileApp {id} was not looked up"));
        assigned.get(&id.to_ascii_lowercase()).cloned().ok_or_else(lost)?
    };
    // The target's own spelling of an id is what it is compared with.
    let named = |id: &String, seen: &[AssignmentSeen]| -> Vec<AssignmentSeen> {
        seen.iter().map(|s| AssignmentSeen { app: id.clone(), ..s.clone() }).collect()
    };
    let (mut at, here) = find(&target.app_id)?;
    let here = here.ok_or_else(|| {
        let id = &target.app_id;
        Fault::permanent(format!(
            "there is no mobileApp {id}: create it in Intune or correct target.app_id of the intent"
        ))
    })?;
    let mut replaced = Vec::new();
    for id in &target.replaces {
        let (read_at, seen) = find(id)?;
        at = at.min(read_at);
        // An old application that is gone carries no assignment.
        replaced.extend(named(id, &seen.unwrap_or_default()));
    }
    replaced.sort();
    let (reported_at, versions, compliance) = report?;
    Ok(Observed {
        at: at.min(reported_at),
        assignments: Some(Assignments { here: named(&target.app_id, &here), replaced }),
        versions: Some(versions),
        compliance: Some(compliance),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compliance_counts_all_and_lists_some() {
        let day = |d: i64| Some(Time::UNIX_EPOCH + Duration::days(d));
        let device =
            |n: usize, standing, last_sync| Device { id: format!("{n:03}").into(), standing, last_sync };
        let mut devices: Vec<Device> =
            (0..60).map(|n| device(n, Standing::Failing, day(n as i64 + 1))).collect();
        devices.push(device(100, Standing::Fine, day(900)));
        devices.push(device(101, Standing::Unknown, None));
        let all: Vec<_> = devices.iter().collect();
        let seen = compliance(&all);
        assert_eq!(
            (seen.devices, seen.noncompliant, seen.unknown, seen.failing.len()),
            (62, 60, 1, MAX_LISTED)
        );
        assert!(seen.failing.is_sorted());
        assert_eq!(seen.reported, day(60), "the newest of those that fail");
        let fine = compliance(&all[60..]);
        assert_eq!((fine.noncompliant, fine.reported), (0, day(900)));
    }
}
