//! What a site holds. In memory, changed in place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde_json::{Map, Value, json};
use trueup_model::{Duration, Time};

use super::cycle::Visit;
use super::seed::{
    ConfigMgrSeed, baseline_id, ci_id, collection_id, device_collection_id, old_ci_id, resource_id,
};
use crate::app_name;

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) version: String,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) resource: u32,
    pub(crate) name: String,
    pub(crate) policy: Duration,
    pub(crate) inventory: Duration,
    /// Policy polls and inventories are at `phase + k * interval`.
    pub(crate) phase: Time,
    /// An inventory outside the schedule.
    pub(crate) extra: Option<Time>,
    /// Polls, reports, and stays as it is.
    pub(crate) stubborn: bool,
    /// Its clock is a year ahead.
    pub(crate) ahead: bool,
    /// What it has, by product name.
    pub(crate) has: BTreeMap<String, String>,
    /// What its last inventory said, and when that row last changed: an inventory sends only what is new.
    pub(crate) reported: BTreeMap<String, (String, Time)>,
}

#[derive(Debug, Default)]
pub(crate) struct Collection {
    pub(crate) name: String,
    /// Direct membership rules, by ResourceID, with their names.
    pub(crate) rules: BTreeMap<u32, String>,
    /// Who is in it, by place: a rule counts only after the collection was evaluated.
    pub(crate) members: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) ci: u32,
    pub(crate) collection: String,
    pub(crate) visible_at: Time,
    /// As it was created.
    pub(crate) body: Map<String, Value>,
}

impl Deployment {
    pub(crate) fn is(&self, field: &str, value: i64) -> bool {
        self.body.get(field).and_then(Value::as_i64) == Some(value)
    }
    pub(crate) fn enabled(&self) -> bool {
        self.body.get("Enabled") != Some(&Value::Bool(false))
    }
}

#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) collection: String,
    pub(crate) failing: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) apps: BTreeMap<u32, App>,
    pub(crate) devices: Vec<Device>,
    pub(crate) collections: BTreeMap<String, Collection>,
    pub(crate) deployments: BTreeMap<u32, Deployment>,
    pub(crate) baselines: BTreeMap<u32, Baseline>,
    /// What will happen: when, to which device (by place).
    pub(crate) visits: BinaryHeap<Reverse<(Time, usize, Visit)>>,
    pub(crate) next_assignment: u32,
    pub(crate) next_operation: u32,
    /// Inventory classes are empty.
    pub(crate) no_inventory: bool,
    /// A second deployment of an application to a collection is refused.
    pub(crate) one_deployment_only: bool,
    /// Seconds until a new deployment is in any list.
    pub(crate) visible_after: Duration,
}

pub(crate) const REQUIRED: i64 = 0;
pub(crate) const INSTALL: i64 = 1;
pub(crate) const UNINSTALL: i64 = 2;

impl State {
    pub(crate) fn fill(&mut self, seed: &ConfigMgrSeed, now: Time) {
        for n in 0..seed.devices {
            // Spread over the interval by a multiplicative hash, all of them before now.
            let spread = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let step = seed.policy.num_milliseconds().max(1).unsigned_abs();
            self.devices.push(Device {
                resource: resource_id(n),
                name: format!("DEVICE-{n:05}"),
                policy: seed.policy.max(Duration::seconds(1)),
                inventory: seed.inventory.max(Duration::seconds(1)),
                phase: now - Duration::milliseconds((spread % step) as i64),
                extra: None,
                stubborn: false,
                ahead: false,
                has: BTreeMap::new(),
                reported: BTreeMap::new(),
            });
        }
        for n in 0..seed.apps {
            let name = app_name(n);
            if seed.older {
                self.apps.insert(old_ci_id(n), App { name: name.clone(), version: "0.9.0".into() });
            }
            self.apps.insert(ci_id(n), App { name: name.clone(), version: "1.0.0".into() });
            let mut collection = Collection { name: format!("Users of {name}"), ..Collection::default() };
            for k in 0..seed.devices_per_app.min(seed.devices) {
                let at = (n * seed.devices_per_app + k) % seed.devices;
                collection.members.insert(at);
                let long_ago = now - Duration::days(30);
                self.devices[at].has.insert(name.clone(), "1.0.0".into());
                self.devices[at].reported.insert(name.clone(), ("1.0.0".into(), long_ago));
            }
            self.collections.insert(collection_id(n), collection);
            let devices = Collection { name: format!("Single devices with {name}"), ..Collection::default() };
            self.collections.insert(device_collection_id(n), devices);
            let baseline = Baseline { collection: collection_id(n), failing: BTreeSet::new() };
            self.baselines.insert(baseline_id(n), baseline);
            self.deploy(ci_id(n), &collection_id(n), now - Duration::days(30));
        }
    }

    /// As a person deploys it in the console: `Required`.
    pub(crate) fn deploy(&mut self, ci: u32, collection: &str, now: Time) -> u32 {
        let name = self.apps.get(&ci).map(|a| a.name.clone()).unwrap_or_default();
        let body = json!({
            "AssignmentName": format!("{name}_{collection}_Install"), "AssignedCIs": [ci], "AssignmentAction": 2,
            "AssignmentType": 2, "DesiredConfigType": INSTALL, "OfferTypeID": REQUIRED, "Enabled": true,
            "TargetCollectionID": collection, "StartTime": now, "EnforcementDeadline": now, "Priority": 1,
        });
        let body = body.as_object().cloned().unwrap_or_default();
        self.add(Deployment { ci, collection: collection.to_owned(), visible_at: now, body })
    }

    pub(crate) fn add(&mut self, deployment: Deployment) -> u32 {
        self.next_assignment += 1;
        let id = 16_777_216 + self.next_assignment;
        self.deployments.insert(id, deployment);
        id
    }

    /// The device of a ResourceID, by place.
    pub(crate) fn device_at(&self, resource: u32) -> Option<usize> {
        self.devices.binary_search_by_key(&resource, |d| d.resource).ok()
    }

    /// Devices that an application reaches through any deployment; else those that report it.
    pub(crate) fn users(&self, ci: u32) -> BTreeSet<usize> {
        let of = self.deployments.values().filter(|d| d.ci == ci);
        let reached: BTreeSet<usize> = of
            .filter_map(|d| self.collections.get(&d.collection))
            .flat_map(|c| c.members.iter().copied())
            .collect();
        if !reached.is_empty() {
            return reached;
        }
        let Some(app) = self.apps.get(&ci) else { return reached };
        let has = |(at, d): (usize, &Device)| d.reported.contains_key(&app.name).then_some(at);
        self.devices.iter().enumerate().filter_map(has).collect()
    }
}
