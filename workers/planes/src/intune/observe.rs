//! Looking: assignments, versions and compliance of many applications with few calls.
//!
//! # Expected flow
//! Assignments and the list of detected applications are read at the same time, each in one `$batch` if few things are
//! missing, else whole; then the devices behind each detected application. All of it is kept for a moment
//! (`snapshot`), so that thousands of checks share one read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::observed::{
    AssignmentSeen, Assignments, ComplianceSeen, MAX_LISTED, Observed, VersionSeen,
};
use trueup_model::target::IntuneTarget;
use trueup_model::{Duration, Fault, Target, Time};

use super::graph::{Graph, ItemFault};
use super::parse::{self, App, DetectedApp, Device, DeviceWire, Page, Standing};
use super::request::{self, APPS_PER_PAGE, MAX_BATCH, Request};
use super::snapshot::{Dataset, Dated, Loaded};
use crate::http::parse_json;

/// Graph's page size for `detectedApps`, as far as it is known; only weighs one way of reading against another.
const DETECTED_PER_PAGE: usize = 50;

/// The devices that report one `detectedApp`.
#[derive(Debug)]
pub(crate) struct DeviceSet(Vec<Device>);

#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) assignments: Dataset<Arc<[AssignmentSeen]>>,
    detected: Dataset<Arc<[DetectedApp]>>,
    pub(crate) devices: Dataset<Arc<DeviceSet>>,
}

type Wanted = HashMap<String, Option<Time>>;
type Answers<V> = HashMap<String, Result<Dated<V>, Fault>>;
/// What devices report about one application: the oldest read it rests on, versions, compliance.
type Report = (Time, Vec<VersionSeen>, ComplianceSeen);

impl Reads {
    pub(crate) fn new(reuse: Duration) -> Self {
        Self { assignments: Dataset::new(reuse), detected: Dataset::new(reuse), devices: Dataset::new(reuse) }
    }

    pub(crate) async fn observe(&self, graph: &Graph, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let (mut apps, mut names) = (Wanted::new(), Wanted::new());
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
            self.assignments.get(&apps, now, |keys, known| load_assignments(graph, keys, known)),
            self.detected.get(&names, now, |keys, known| load_detected(graph, keys, known)),
        );
        let mut sets = Wanted::new();
        for (name, answer) in &detected {
            for app in answer.iter().filter_map(|(_, apps)| apps.as_ref()).flat_map(|apps| apps.iter()) {
                if app.devices > 0 {
                    want(&mut sets, app.id.clone(), names.get(name).copied().flatten());
                }
            }
        }
        let devices = self.devices.get(&sets, now, |keys, _| load_devices(graph, keys)).await;
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

fn want(wanted: &mut Wanted, key: String, newer_than: Option<Time>) {
    let at_least = wanted.entry(key).or_default();
    *at_least = (*at_least).max(newer_than);
}

/// One `$batch`, or everything? `known`: how many there were the last time everything was read.
fn in_batches(missing: usize, known: Option<usize>, per_page: usize) -> bool {
    missing <= MAX_BATCH || known.is_some_and(|n| n.div_ceil(per_page) > missing)
}

async fn load_assignments(
    graph: &Graph,
    keys: Vec<String>,
    known: Option<usize>,
) -> Result<Loaded<Arc<[AssignmentSeen]>>, Fault> {
    let mut loaded = Loaded { whole: false, values: HashMap::new(), faults: HashMap::new() };
    let mut singly = keys;
    if !in_batches(singly.len(), known, APPS_PER_PAGE) {
        let apps: Vec<App> = graph.list(&request::apps_with_assignments()).await?;
        loaded.whole = true;
        singly.clear();
        for app in apps {
            let id = app.id.to_ascii_lowercase();
            if app.more_assignments.is_some() {
                singly.push(id);
                continue;
            }
            put_assignments(&mut loaded, id, &app.assignments);
        }
    }
    let items: Vec<Request> = singly.iter().map(|id| request::assignments_of(id)).collect();
    for (id, answer) in singly.into_iter().zip(lists(graph, &items).await) {
        match answer {
            Ok(list) => put_assignments(&mut loaded, id, &list),
            Err(ItemFault::Absent(_)) => {
                loaded.values.insert(id, None);
            }
            Err(ItemFault::Other(fault)) => {
                loaded.faults.insert(id, fault);
            }
        }
    }
    Ok(loaded)
}

fn put_assignments(loaded: &mut Loaded<Arc<[AssignmentSeen]>>, id: String, wire: &[serde_json::Value]) {
    match parse::assignments(&id, wire) {
        Ok(seen) => {
            loaded.values.insert(id, Some(seen.into()));
        }
        Err(why) => {
            loaded
                .faults
                .insert(id.clone(), Fault::permanent(format!("assignments of mobileApp {id}: {why}")));
        }
    }
}

async fn load_detected(
    graph: &Graph,
    keys: Vec<String>,
    known: Option<usize>,
) -> Result<Loaded<Arc<[DetectedApp]>>, Fault> {
    let mut by_name: HashMap<String, Vec<DetectedApp>> = HashMap::new();
    let mut faults = HashMap::new();
    let whole = !in_batches(keys.len(), known, DETECTED_PER_PAGE);
    if whole {
        for app in graph.list::<DetectedApp>(&request::detected_apps()).await? {
            if let Some(name) = app.name.clone() {
                by_name.entry(name).or_default().push(app);
            }
        }
    } else {
        let items: Vec<Request> = keys.iter().map(|name| request::detected_apps_named(name)).collect();
        for (name, answer) in keys.into_iter().zip(lists::<DetectedApp>(graph, &items).await) {
            match answer {
                Ok(apps) => {
                    let apps = apps.into_iter().filter(|a| a.name.as_deref() == Some(&name)).collect();
                    by_name.insert(name, apps);
                }
                Err(fault) => {
                    faults.insert(name, fault.into_fault());
                }
            }
        }
    }
    let values = by_name.into_iter().map(|(name, apps)| (name, Some(apps.into()))).collect();
    Ok(Loaded { whole, values, faults })
}

async fn load_devices(graph: &Graph, keys: Vec<String>) -> Result<Loaded<Arc<DeviceSet>>, Fault> {
    let items: Vec<Request> = keys.iter().map(|id| request::devices_of(id)).collect();
    let answers = lists::<DeviceWire>(graph, &items).await;
    let now = graph.http.clock().now();
    let mut loaded = Loaded { whole: false, values: HashMap::new(), faults: HashMap::new() };
    for (id, answer) in keys.into_iter().zip(answers) {
        match answer {
            Ok(devices) => {
                let set = DeviceSet(devices.into_iter().map(|d| d.read(now)).collect());
                loaded.values.insert(id, Some(Arc::new(set)));
            }
            // No device reports it any more since the list was read.
            Err(ItemFault::Absent(_)) => {
                loaded.values.insert(id, None);
            }
            Err(ItemFault::Other(fault)) => {
                loaded.faults.insert(id, fault);
            }
        }
    }
    Ok(loaded)
}

/// Several lists in batches, with the pages that follow.
async fn lists<T: serde::de::DeserializeOwned>(
    graph: &Graph,
    items: &[Request],
) -> Vec<Result<Vec<T>, ItemFault>> {
    let mut all = Vec::with_capacity(items.len());
    for (item, answer) in items.iter().zip(graph.batch(items, None).await) {
        all.push(match answer {
            Err(fault) => Err(fault),
            Ok(response) => {
                let body = response.body.to_string();
                match parse_json::<Page<T>>(item.template, response.status, body.as_bytes()) {
                    Ok(page) => graph.rest(item, page).await.map_err(ItemFault::Other),
                    Err(fault) => Err(ItemFault::Other(fault)),
                }
            }
        });
    }
    all
}

fn report(
    name: &str,
    detected: &Answers<Arc<[DetectedApp]>>,
    devices: &Answers<Arc<DeviceSet>>,
) -> Result<Report, Fault> {
    let lost = || Fault::bug(format!("'{name}' was not looked up"));
    let (mut at, apps) = detected.get(name).cloned().ok_or_else(lost)??;
    let mut sets: Vec<(&DetectedApp, Option<Arc<DeviceSet>>)> = Vec::new();
    let apps = apps.unwrap_or_default();
    for app in apps.iter().filter(|a| a.devices > 0) {
        let (read_at, set) = devices.get(&app.id).cloned().ok_or_else(lost)??;
        at = at.min(read_at);
        sets.push((app, set));
    }
    let mut versions: BTreeMap<&str, HashMap<&str, &Device>> = BTreeMap::new();
    let mut all: HashMap<&str, &Device> = HashMap::new();
    for (app, set) in &sets {
        let reporting = versions.entry(app.version.as_deref().unwrap_or_default()).or_default();
        for device in set.iter().flat_map(|s| &s.0) {
            reporting.insert(&device.id, device);
            all.insert(&device.id, device);
        }
    }
    let seen = |(version, reporting): (&str, HashMap<&str, &Device>)| VersionSeen {
        version: version.to_owned(),
        devices: count(reporting.len()),
        reported: reporting.values().filter_map(|d| d.last_sync).max(),
    };
    let versions = versions.into_iter().filter(|(_, r)| !r.is_empty()).map(seen).collect();
    Ok((at, versions, compliance(&all)))
}

fn compliance(all: &HashMap<&str, &Device>) -> ComplianceSeen {
    let of = |standing: Standing| all.values().filter(move |d| d.standing == standing);
    let mut failing: Vec<String> = of(Standing::Failing).map(|d| d.id.to_string()).collect();
    failing.sort();
    let noncompliant = count(failing.len());
    failing.truncate(MAX_LISTED);
    let newest_failing = of(Standing::Failing).filter_map(|d| d.last_sync).max();
    let newest = all.values().filter_map(|d| d.last_sync).max();
    ComplianceSeen {
        devices: count(all.len()),
        noncompliant,
        unknown: count(of(Standing::Unknown).count()),
        failing,
        details: Vec::new(),
        reported: if noncompliant > 0 { newest_failing } else { newest },
    }
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
    fn few_are_read_in_a_batch_many_at_once() {
        for (missing, known, batch) in [
            (1, None, true),
            (20, None, true),
            (21, None, false),
            (21, Some(2000), false),
            (21, Some(2101), true),
            (500, Some(2000), false),
        ] {
            assert_eq!(in_batches(missing, known, 100), batch, "{missing} of {known:?}");
        }
    }

    #[test]
    fn compliance_counts_all_and_lists_some() {
        let day = |d: i64| Some(Time::UNIX_EPOCH + Duration::days(d));
        let device =
            |n: usize, standing, last_sync| Device { id: format!("{n:03}").into(), standing, last_sync };
        let mut devices: Vec<Device> =
            (0..60).map(|n| device(n, Standing::Failing, day(n as i64 + 1))).collect();
        devices.push(device(100, Standing::Fine, day(900)));
        devices.push(device(101, Standing::Unknown, None));
        let all = devices.iter().map(|d| (&*d.id, d)).collect();
        let seen = compliance(&all);
        assert_eq!(
            (seen.devices, seen.noncompliant, seen.unknown, seen.failing.len()),
            (62, 60, 1, MAX_LISTED)
        );
        assert!(seen.failing.is_sorted());
        assert_eq!(seen.reported, day(60), "the newest of those that fail");
        let fine = compliance(&devices[60..].iter().map(|d| (&*d.id, d)).collect());
        assert_eq!((fine.noncompliant, fine.reported), (0, day(900)));
    }
}
