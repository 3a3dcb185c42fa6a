//! What a Jamf Pro holds: policies with scopes, groups, computers, and what computers report. In memory, changed in
//! place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use trueup_model::{Duration, Time};

use super::seed::{
    self, JamfSeed, MAX_POLICIES, app_name, building_id, bundle_id, computer_id, department_id,
    failing_group_id, group_id, old_policy_id, policy_id, remedy_group_id,
};

/// Lists of a scope and their items, in the order of [`Lists`].
pub(crate) const LISTS: [(&str, &str); 4] = [
    ("computers", "computer"),
    ("computer_groups", "computer_group"),
    ("buildings", "building"),
    ("departments", "department"),
];

pub(crate) type Lists = [BTreeSet<u32>; 4];
pub(crate) const GROUPS: usize = 1;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyScope {
    pub(crate) all_computers: bool,
    pub(crate) targets: Lists,
    pub(crate) exclusions: Lists,
    /// Directory groups to which the policy is limited; mirrored in `limitations`.
    pub(crate) limit_to: Vec<String>,
    pub(crate) limited_users: Vec<String>,
    pub(crate) excluded_users: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) app: usize,
    pub(crate) version: String,
    pub(crate) enabled: bool,
    pub(crate) self_service: bool,
    pub(crate) scope: PolicyScope,
    /// Of the management account; answered as asterisks.
    pub(crate) password: String,
}

/// How a policy was, as nodes of the cluster other than `node` still see it.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) node: u8,
    pub(crate) until: Time,
    pub(crate) policy: Policy,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// The application whose failing computers are its members; `None` for a static group.
    pub(crate) failing: Option<usize>,
    /// Of a static group.
    pub(crate) members: BTreeSet<u32>,
    /// The application whose compliance its members restore at check-in.
    pub(crate) remedies: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) bundle: String,
    pub(crate) policies: Vec<u32>,
    pub(crate) carriers: BTreeSet<u32>,
    pub(crate) failing: BTreeSet<u32>,
}

#[derive(Debug)]
pub(crate) struct Computer {
    pub(crate) name: String,
    pub(crate) interval: Duration,
    /// Check-ins are at `phase + k * interval`.
    pub(crate) phase: Time,
    /// A check-in outside the schedule.
    pub(crate) extra: Option<Time>,
    /// Checks in, and stays as it is.
    pub(crate) stubborn: bool,
    /// Has not checked in since.
    pub(crate) silent_since: Option<Time>,
    /// Its clock is years ahead.
    pub(crate) ahead: bool,
    pub(crate) building: u32,
    pub(crate) department: u32,
    /// Application to version.
    pub(crate) carries: BTreeMap<usize, String>,
}

/// What happens at a check-in: the policies of this application run.
pub(crate) type Visit = (Time, u32, usize);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tenant: String,
    pub(crate) apps: Vec<App>,
    pub(crate) policies: BTreeMap<u32, Policy>,
    pub(crate) before: BTreeMap<u32, Before>,
    pub(crate) groups: BTreeMap<u32, Group>,
    pub(crate) computers: BTreeMap<u32, Computer>,
    pub(crate) visits: BinaryHeap<Reverse<Visit>>,
}

impl State {
    pub(crate) fn new(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..Self::default() }
    }

    pub(crate) fn fill(&mut self, seed: &JamfSeed, now: Time) {
        let step = seed.checkin.max(Duration::seconds(1));
        for n in 0..seed.computers {
            // Spread over the interval by a multiplicative hash, all of them before now.
            let spread = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let offset = (spread % step.num_milliseconds().unsigned_abs()) as i64;
            let computer = Computer {
                name: format!("Mac-{n:05}"),
                interval: step,
                phase: now - Duration::milliseconds(offset),
                extra: None,
                stubborn: false,
                silent_since: None,
                ahead: false,
                building: building_id(n),
                department: department_id(n),
                carries: BTreeMap::new(),
            };
            self.computers.insert(computer_id(n), computer);
        }
        for n in 0..seed.policies.min(MAX_POLICIES) {
            self.add(seed, n);
        }
    }

    fn add(&mut self, seed: &JamfSeed, n: usize) {
        let app = self.apps.len();
        let (carriers, failing) = (BTreeSet::new(), BTreeSet::new());
        self.apps.push(App {
            name: app_name(n),
            bundle: bundle_id(n),
            policies: Vec::new(),
            carriers,
            failing,
        });
        let here = 0..seed.computers_per_policy.min(seed.computers);
        let members: BTreeSet<u32> =
            here.map(|k| computer_id((n * seed.computers_per_policy + k) % seed.computers)).collect();
        for computer in &members {
            self.carry(*computer, app, "1.0.0");
        }
        let mut targets = Lists::default();
        targets[GROUPS].insert(group_id(n));
        let some = |text: &str| if n.is_multiple_of(3) { vec![text.to_owned()] } else { Vec::new() };
        let scope = PolicyScope {
            targets,
            limit_to: some("Staff"),
            limited_users: some("ada"),
            excluded_users: some("guest"),
            ..PolicyScope::default()
        };
        let older = seed.older.then_some((old_policy_id(n), "0.9.0", PolicyScope::default()));
        for (id, version, scope) in older.into_iter().chain([(policy_id(n), "1.0.0", scope)]) {
            self.apps[app].policies.push(id);
            let policy = Policy {
                name: format!("Install {} {version}", app_name(n)),
                app,
                version: version.into(),
                enabled: true,
                self_service: false,
                scope,
                password: seed::password(&self.tenant),
            };
            self.policies.insert(id, policy);
        }
        let group = |name: &str, members, failing, remedies| Group {
            name: format!("{name} {n:05}"),
            failing,
            members,
            remedies,
        };
        self.groups.insert(group_id(n), group("Users of App", members, None, None));
        self.groups.insert(failing_group_id(n), group("Failing App", BTreeSet::new(), Some(app), None));
        self.groups.insert(remedy_group_id(n), group("Remedy App", BTreeSet::new(), None, Some(app)));
    }

    /// From now on the computer carries this version of the application.
    pub(crate) fn carry(&mut self, computer: u32, app: usize, version: &str) {
        if let Some(known) = self.computers.get_mut(&computer) {
            known.carries.insert(app, version.to_owned());
            self.apps[app].carriers.insert(computer);
        }
    }

    pub(crate) fn members(&self, group: &Group) -> BTreeSet<u32> {
        group.failing.map_or_else(|| group.members.clone(), |app| self.apps[app].failing.clone())
    }

    fn of_lists(&self, lists: &Lists) -> BTreeSet<u32> {
        let [computers, groups, buildings, departments] = lists;
        let mut all = computers.clone();
        for group in groups.iter().filter_map(|id| self.groups.get(id)) {
            all.extend(self.members(group));
        }
        if !buildings.is_empty() || !departments.is_empty() {
            let there = |c: &Computer| buildings.contains(&c.building) || departments.contains(&c.department);
            all.extend(self.computers.iter().filter(|(_, c)| there(c)).map(|(id, _)| *id));
        }
        all
    }

    /// Whom a scope reaches. Users and directory groups are taken to fit everybody.
    pub(crate) fn reached(&self, scope: &PolicyScope) -> BTreeSet<u32> {
        let mut all = if scope.all_computers {
            self.computers.keys().copied().collect()
        } else {
            self.of_lists(&scope.targets)
        };
        for excluded in self.of_lists(&scope.exclusions) {
            all.remove(&excluded);
        }
        all
    }
}
