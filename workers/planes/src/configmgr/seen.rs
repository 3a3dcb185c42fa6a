//! From the site's rows to an observation. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trueup_model::intent::Scope;
use trueup_model::observed::{AssignmentSeen, Assignments, ComplianceSeen, MAX_LISTED, VersionSeen};
use trueup_model::target::ConfigMgrTarget;
use trueup_model::{Fault, Time};

use super::parse::{self, Deployment, Failing, Software, Summary};

/// Every deployment of the site, by what it deploys.
#[derive(Debug, Default)]
pub(crate) struct Deployments {
    by_ci: HashMap<u32, Vec<Deployment>>,
    /// Of applications that did not tell their CI.
    mute: Vec<Deployment>,
}

impl Deployments {
    /// Deployments to a collection that is gone reach nobody, and neither do disabled ones.
    pub(crate) fn new(rows: Vec<Deployment>, collections: &BTreeSet<String>) -> Self {
        let mut all = Self::default();
        for row in rows.into_iter().filter(|d| d.enabled() && collections.contains(&d.collection)) {
            match &row.cis {
                None => all.mute.push(row),
                Some(cis) => {
                    for ci in cis.clone() {
                        all.by_ci.entry(ci).or_default().push(row.clone());
                    }
                }
            }
        }
        all
    }

    /// What the target's application, and those it replaces, are deployed to. `direct`: who is in the target's device
    /// collection by a rule of its own.
    pub(crate) fn seen(&self, target: &ConfigMgrTarget, direct: &[u32]) -> Result<Assignments, Fault> {
        if let Some(mute) = self.mute.iter().find(|d| d.app_name.as_ref() == Some(&target.app_name)) {
            return Err(Fault::permanent(format!(
                "the deployment {} of '{}' came without AssignedCIs, so that it cannot be told which application it deploys",
                mute.id, target.app_name
            )));
        }
        let of = |ci: u32| self.of(ci, target.device_collection.as_deref(), direct).map_err(Fault::permanent);
        let mut replaced = Vec::new();
        for ci in &target.replaces {
            replaced.extend(of(*ci)?);
        }
        replaced.sort();
        Ok(Assignments { here: of(target.ci_id)?, replaced })
    }

    fn of(&self, ci: u32, devices: Option<&str>, direct: &[u32]) -> Result<Vec<AssignmentSeen>, String> {
        let mut seen = Vec::new();
        for deployment in self.by_ci.get(&ci).into_iter().flatten() {
            let install = deployment.install()?;
            let one = |scope| AssignmentSeen { app: ci.to_string(), scope, install, excluded: false };
            // The device collection is only the means by which single devices are reached.
            if Some(deployment.collection.as_str()) == devices {
                seen.extend(direct.iter().map(|id| one(Scope::Device(id.to_string()))));
            } else {
                seen.push(one(Scope::Group(deployment.collection.clone())));
            }
        }
        seen.sort();
        seen.dedup();
        Ok(seen)
    }
}

/// When each device last sent its inventory.
pub(crate) type Scans = HashMap<u32, Option<Time>>;

/// What inventory says about one product. A row's own time is when that row last changed, which for an inventory that
/// sends only differences may be long ago: what counts is when the device last sent any.
pub(crate) fn versions(rows: &[(u32, String, Option<Time>)], scans: &Scans) -> Vec<VersionSeen> {
    let mut by_version: BTreeMap<&str, BTreeMap<u32, Option<Time>>> = BTreeMap::new();
    for (device, version, changed) in rows {
        let scanned = scans.get(device).copied().flatten();
        by_version.entry(version).or_default().insert(*device, scanned.max(*changed));
    }
    let seen = |(version, devices): (&str, BTreeMap<u32, Option<Time>>)| VersionSeen {
        version: version.to_owned(),
        devices: count(devices.len()),
        reported: devices.values().copied().max().flatten(),
    };
    by_version.into_iter().map(seen).collect()
}

/// Rows of installed software by product; names are compared exactly, whatever the site's database does.
pub(crate) fn by_product(
    rows: Vec<Software>,
    now: Time,
) -> HashMap<String, Vec<(u32, String, Option<Time>)>> {
    let mut all: HashMap<String, Vec<_>> = HashMap::new();
    for row in rows {
        let at = parse::time(row.at.as_deref(), now);
        all.entry(row.product).or_default().push((row.device, row.version.unwrap_or_default(), at));
    }
    all
}

/// Who fails one deployed baseline, and by which rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailingSet {
    machines: BTreeSet<u32>,
    others: BTreeSet<u32>,
    rules: BTreeMap<String, u32>,
}

impl FailingSet {
    pub(crate) fn add(&mut self, row: Failing) {
        const MACHINE: u32 = 1;
        if row.kind == MACHINE {
            self.machines.insert(row.asset)
        } else {
            self.others.insert(row.asset)
        };
        let rule = crate::redact::one_line(row.rule.as_deref().unwrap_or("a rule without a name"), 120);
        *self.rules.entry(rule).or_default() += 1;
    }
}

/// `None`: the site has no counts for it, or it reaches nobody, so that nothing can be told.
pub(crate) fn compliance(failing: &FailingSet, summary: &Summary, now: Time) -> Option<ComplianceSeen> {
    let number = |n: Option<i64>| u32::try_from(n.unwrap_or(0).max(0)).unwrap_or(u32::MAX);
    let targeted = number(summary.number_targeted);
    if targeted == 0 {
        return None;
    }
    let noncompliant = count(failing.machines.len() + failing.others.len());
    let rule = |(rule, n): (&String, &u32)| format!("{rule}: {n} failing");
    Some(ComplianceSeen {
        devices: targeted.max(noncompliant),
        noncompliant,
        unknown: number(summary.number_unknown).saturating_add(number(summary.number_errors)),
        failing: failing.machines.iter().take(MAX_LISTED).map(ToString::to_string).collect(),
        details: failing.rules.iter().take(MAX_LISTED).map(rule).collect(),
        reported: parse::time(summary.summarization_time.as_deref(), now),
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trueup_model::intent::Install;

    fn rows(wire: serde_json::Value) -> Vec<Deployment> {
        serde_json::from_value(wire).unwrap()
    }

    fn target() -> ConfigMgrTarget {
        serde_json::from_value(
            json!({"ci_id": 7, "app_name": "App", "replaces": [6], "device_collection": "DEV00001"}),
        )
        .unwrap()
    }

    fn d(id: u32, cis: serde_json::Value, collection: &str, enabled: bool) -> serde_json::Value {
        json!({"AssignmentID": id, "ApplicationName": "App", "AssignedCIs": cis, "TargetCollectionID": collection,
            "DesiredConfigType": 1, "OfferTypeID": 0, "Enabled": enabled})
    }

    #[test]
    fn who_is_reached() {
        let known: BTreeSet<String> = ["A", "B", "DEV00001"].map(String::from).into();
        let all = rows(json!([
            d(1, json!([7]), "A", true),
            d(2, json!([7]), "B", false),
            d(3, json!([7]), "GONE0001", true),
            d(4, json!([7]), "DEV00001", true),
            d(5, json!([6]), "B", true),
            d(6, json!([8]), "A", true),
        ]));
        let seen = Deployments::new(all, &known).seen(&target(), &[21, 20]).unwrap();
        let here: Vec<_> = seen.here.iter().map(|a| (a.scope.clone(), a.install)).collect();
        let device = |id: &str| Scope::Device(id.into());
        let required = |scope| (scope, Install::Required);
        assert_eq!(
            here,
            [required(Scope::Group("A".into())), required(device("20")), required(device("21"))],
            "not the disabled one, not the one whose collection is gone, not the device collection itself"
        );
        assert_eq!(seen.replaced.len(), 1);
        assert_eq!(
            (seen.replaced[0].app.as_str(), &seen.replaced[0].scope),
            ("6", &Scope::Group("B".into()))
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        let known: BTreeSet<String> = ["A".to_owned()].into();
        let mute = Deployments::new(rows(json!([d(1, json!(null), "A", true)])), &known);
        assert!(mute.seen(&target(), &[]).unwrap_err().to_string().contains("AssignedCIs"));
        let mut strange = d(1, json!([7]), "A", true);
        strange["OfferTypeID"] = json!(1);
        let strange = Deployments::new(rows(json!([strange])), &known);
        assert!(strange.seen(&target(), &[]).unwrap_err().to_string().contains("OfferTypeID 1"));
    }

    #[test]
    fn compliance_counts_devices_not_rows() {
        let now: Time = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut set = FailingSet::default();
        for asset in 0..60 {
            for rule in ["Disk", "Firewall"] {
                set.add(Failing { asset, kind: u32::from(asset > 0), baseline: 1, rule: Some(rule.into()) });
            }
        }
        let summary = |targeted: i64| {
            serde_json::from_value::<Summary>(
                json!({"AssignmentID": 1, "FeatureType": 6, "NumberTargeted": targeted,
                "NumberUnknown": 3, "NumberErrors": 2, "SummarizationTime": "2030-01-01T00:00:00Z"}),
            )
            .unwrap()
        };
        let seen = compliance(&set, &summary(100), now).unwrap();
        assert_eq!(
            (seen.devices, seen.noncompliant, seen.unknown, seen.failing.len()),
            (100, 60, 5, MAX_LISTED)
        );
        assert_eq!(seen.details, ["Disk: 60 failing", "Firewall: 60 failing"]);
        assert_eq!(seen.reported, None, "a time of the future tells nothing");
        assert!(!seen.failing.contains(&"0".to_owned()), "a user is no device");
        assert!(compliance(&set, &summary(0), now).is_none(), "nobody is targeted: nothing can be told");
    }
}
