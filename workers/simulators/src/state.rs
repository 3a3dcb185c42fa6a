//! What a tenant holds: applications with assignments, devices, and what devices report. In memory, indexed, changed in
//! place.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use serde_json::Value;
use trueup_model::{Duration, Time};

use crate::checkin::Visit;
use crate::mischief::List;
use crate::seed::{Seed, app_id, app_name, detected_id, device_id, group_id, old_app_id};

/// Whom an assignment reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Group(String),
    Exclusion(String),
    AllUsers,
    AllDevices,
    /// A kind of target that Graph has and its published schema does not; as it is served.
    Other(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// `required` …, as the CSDL spells it.
    pub(crate) intent: String,
    pub(crate) reach: Reach,
    pub(crate) settings: Value,
}

impl Assignment {
    pub(crate) fn required(group: String) -> Self {
        Self { intent: "required".into(), reach: Reach::Group(group), settings: Value::Null }
    }
}

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) product: usize,
    pub(crate) version: String,
    pub(crate) assignments: Vec<Assignment>,
    /// `assign` is accepted, and this long after it things are as before.
    pub(crate) stuck: Option<Duration>,
    pub(crate) revert: Option<(Time, Vec<Assignment>)>,
}

/// What devices call an application, whatever its version.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) apps: Vec<usize>,
    pub(crate) detected: Vec<usize>,
}

/// `detectedApp`: one version of one product.
#[derive(Debug)]
pub(crate) struct Detected {
    pub(crate) id: String,
    pub(crate) product: usize,
    pub(crate) version: String,
    pub(crate) devices: BTreeSet<u32>,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) interval: Duration,
    /// Check-ins are at `phase + k * interval`.
    pub(crate) phase: Time,
    /// A check-in outside the schedule.
    pub(crate) extra_sync: Option<Time>,
    /// As the CSDL spells it.
    pub(crate) compliance: &'static str,
    /// Its clock, and what it reports of it, is ahead by this much.
    pub(crate) ahead: Duration,
    /// Checks in, and stays as it is.
    pub(crate) stubborn: bool,
    /// Does not hear `syncDevice` before its next check-in.
    pub(crate) deaf: bool,
    /// Product to detected application.
    pub(crate) carries: HashMap<usize, usize>,
    pub(crate) groups: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tenant: String,
    pub(crate) apps: Vec<App>,
    pub(crate) app_at: HashMap<String, usize>,
    pub(crate) products: Vec<Product>,
    pub(crate) product_at: HashMap<String, usize>,
    pub(crate) detected: Vec<Detected>,
    pub(crate) detected_at: HashMap<String, usize>,
    pub(crate) devices: Vec<Device>,
    pub(crate) device_at: HashMap<String, usize>,
    pub(crate) members: HashMap<String, Vec<u32>>,
    /// Check-ins at which something will change.
    pub(crate) visits: BinaryHeap<std::cmp::Reverse<(Time, u32, Visit)>>,
    /// Applications that will be as they were before.
    pub(crate) reverts: BTreeSet<usize>,
    /// Groups that were deleted. Assignments to them stay; new ones are refused.
    pub(crate) deleted_groups: BTreeSet<String>,
    /// How many of the first entries a list still shows.
    pub(crate) shown: BTreeMap<List, usize>,
}

impl State {
    pub(crate) fn new(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..Self::default() }
    }

    pub(crate) fn add_app(&mut self, id: String, name: &str, version: &str) -> usize {
        let product = match self.product_at.get(name) {
            Some(at) => *at,
            None => {
                self.products.push(Product { name: name.to_owned(), apps: Vec::new(), detected: Vec::new() });
                self.product_at.insert(name.to_owned(), self.products.len() - 1);
                self.products.len() - 1
            }
        };
        let at = self.apps.len();
        self.products[product].apps.push(at);
        self.app_at.insert(id.clone(), at);
        let version = version.to_owned();
        self.apps.push(App { id, product, version, assignments: Vec::new(), stuck: None, revert: None });
        at
    }

    pub(crate) fn add_device(&mut self, id: String, interval: Duration, phase: Time) -> u32 {
        let at = self.devices.len();
        self.device_at.insert(id.clone(), at);
        self.devices.push(Device {
            id,
            interval: interval.max(Duration::seconds(1)),
            phase,
            extra_sync: None,
            compliance: "compliant",
            ahead: Duration::zero(),
            stubborn: false,
            deaf: false,
            carries: HashMap::new(),
            groups: BTreeSet::new(),
        });
        at as u32
    }

    pub(crate) fn join(&mut self, device: u32, group: &str) {
        if self.devices[device as usize].groups.insert(group.to_owned()) {
            self.members.entry(group.to_owned()).or_default().push(device);
        }
    }

    /// From now on the device reports this version of the product, or none.
    pub(crate) fn carry(&mut self, device: u32, product: usize, version: Option<&str>) {
        if let Some(old) = self.devices[device as usize].carries.remove(&product) {
            self.detected[old].devices.remove(&device);
        }
        if let Some(version) = version {
            let at = self.detected_of(product, version);
            self.detected[at].devices.insert(device);
            self.devices[device as usize].carries.insert(product, at);
        }
    }

    fn detected_of(&mut self, product: usize, version: &str) -> usize {
        let known = self.products[product].detected.iter().find(|at| self.detected[**at].version == version);
        if let Some(at) = known {
            return *at;
        }
        let id = detected_id(&self.tenant, &self.products[product].name, version);
        let at = self.detected.len();
        self.detected_at.insert(id.clone(), at);
        self.products[product].detected.push(at);
        self.detected.push(Detected { id, product, version: version.to_owned(), devices: BTreeSet::new() });
        at
    }

    /// How many of the first entries a list shows.
    pub(crate) fn shown(&self, list: List) -> usize {
        self.shown.get(&list).copied().unwrap_or(usize::MAX)
    }

    /// Devices that report any version of the product, in order.
    pub(crate) fn carriers(&self, product: usize) -> BTreeSet<u32> {
        let of = |at: &usize| self.detected[*at].devices.iter().copied();
        self.products[product].detected.iter().flat_map(of).collect()
    }

    /// Whom these assignments reach, exclusions aside.
    pub(crate) fn reached(&self, assignments: &[Assignment]) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for assignment in assignments {
            match &assignment.reach {
                Reach::Group(group) => all.extend(self.members.get(group).into_iter().flatten().copied()),
                Reach::Exclusion(_) | Reach::Other(_) => {}
                Reach::AllUsers | Reach::AllDevices => all.extend(0..self.devices.len() as u32),
            }
        }
        all
    }

    pub(crate) fn fill(&mut self, seed: &Seed, now: Time) {
        let tenant = self.tenant.clone();
        let step = seed.checkin.max(Duration::seconds(1)).num_milliseconds();
        let first = self.devices.len() as u32;
        for n in 0..seed.devices {
            // Spread over the interval by a multiplicative hash, all of them before now.
            let spread = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let phase = now - Duration::milliseconds((spread % step.unsigned_abs()) as i64);
            self.add_device(device_id(&tenant, n), seed.checkin, phase);
        }
        for n in 0..seed.apps {
            let (name, group) = (app_name(n), group_id(n));
            if seed.older {
                self.add_app(old_app_id(&tenant, n), &name, "0.9.0");
            }
            let app = self.add_app(app_id(&tenant, n), &name, "1.0.0");
            self.apps[app].assignments.push(Assignment::required(group.clone()));
            let product = self.apps[app].product;
            for k in 0..seed.devices_per_app.min(seed.devices) {
                let device = first + ((n * seed.devices_per_app + k) % seed.devices) as u32;
                self.join(device, &group);
                self.carry(device, product, Some("1.0.0"));
            }
        }
    }
}
