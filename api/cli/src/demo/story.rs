//! What is broken, and what shall become of it under the demo's policy.
//!
//! Single applications break on each plane in each of the four ways. And twice one mistake hits many: somebody deletes a
//! group on Jamf Pro that twenty applications go to, which is one cause and one message; and a script deletes the
//! deployments of most of a Configuration Manager site, which stops at the cap on automatic attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use trueup_model::{Criticality, DriftKind, IntentKey, PlaneKind, Ring};
use trueup_runner::policy::Policy;
use trueup_simulators::jamf::{self, JamfMischief};
use trueup_simulators::{
    ConfigMgrMischief, Mischief, app_id, baseline_id, ci_id, collection_id, group_id, old_app_id, old_ci_id,
};

use super::fleet::{self, App};
use crate::dev::{PLANES, Simulators};
use crate::failure::{Exit, Failure};

/// Deployments that the script deletes.
const LAB_BROKEN: usize = 30;

/// Drift by plane and kind, as intents.
pub(crate) type Counted = BTreeMap<PlaneKind, BTreeMap<DriftKind, usize>>;

#[derive(Debug)]
pub(crate) struct Story {
    /// Assignments removed; mended without asking.
    pub(crate) missing: Vec<App>,
    /// Moved back to the version before; mended without asking.
    pub(crate) version: Vec<App>,
    /// Reach one more group; somebody must look.
    pub(crate) scope: Vec<App>,
    /// Devices stop to comply; somebody must look.
    pub(crate) compliance: Vec<App>,
    /// Removed in a production ring; somebody must look.
    pub(crate) production: Vec<App>,
    /// Every remedy is accepted, and nothing comes of it; escalated after three attempts.
    pub(crate) stubborn: Vec<App>,
    /// Lose the group that they share; somebody must look, once for all.
    pub(crate) staffs: Vec<App>,
    /// The lab site's; as many as the cap allows are mended, then somebody must look.
    pub(crate) lab: Vec<App>,
}

/// How many of each, in the order of the fields.
fn counts(plane: PlaneKind) -> [usize; 6] {
    match plane {
        PlaneKind::Intune => [12, 8, 6, 6, 6, 3],
        PlaneKind::Jamf => [5, 4, 4, 3, 3, 1],
        PlaneKind::ConfigMgr => [4, 3, 3, 3, 2, 1],
        PlaneKind::Ansible => [0; 6],
    }
}

impl Story {
    /// Picks for each kind of trouble the first that fit and are not taken yet; the same ones every time.
    pub(crate) fn new() -> Self {
        let all = fleet::all_apps();
        let (staffs, rest): (Vec<App>, Vec<App>) = all.into_iter().partition(|app| app.is_staffs());
        let (lab, rest): (Vec<App>, Vec<App>) = rest.into_iter().partition(|app| app.is_lab_site());
        let mut taken: BTreeSet<App> = BTreeSet::new();
        let mut pick = |of: usize, fits: &dyn Fn(App) -> bool| -> Vec<App> {
            let of_plane = |plane| {
                let fit = rest.iter().copied().filter(|app| app.plane == plane && fits(*app));
                let picked: Vec<App> =
                    fit.filter(|app| !taken.contains(app)).take(counts(plane)[of]).collect();
                taken.extend(&picked);
                picked
            };
            PLANES.into_iter().flat_map(of_plane).collect()
        };
        let at_once = |app: App| app.is_mended_soon() && app.criticality() == Criticality::Critical;
        Self {
            stubborn: pick(5, &at_once),
            missing: pick(0, &App::is_mended_soon),
            version: pick(1, &|app| app.is_mended_soon() && app.has_older()),
            scope: pick(2, &App::is_plain),
            compliance: pick(3, &|app| app.is_plain() && app.has_compliance()),
            production: pick(4, &|app| app.is_plain() && app.ring() == Ring::Global),
            staffs,
            lab: lab.into_iter().take(LAB_BROKEN).collect(),
        }
    }

    /// Mended by Trueup alone.
    pub(crate) fn mended(&self) -> Vec<IntentKey> {
        self.missing.iter().chain(&self.version).map(|app| app.key()).chain([fleet::host()]).collect()
    }
    /// Wait for people.
    pub(crate) fn waiting(&self) -> Vec<IntentKey> {
        let apps = self.scope.iter().chain(&self.compliance).chain(&self.production).chain(&self.staffs);
        apps.map(|app| app.key()).collect()
    }
    pub(crate) fn escalated(&self) -> Vec<IntentKey> {
        self.stubborn.iter().map(|app| app.key()).collect()
    }

    /// The most automatic attempts on the lab site within a window, by the demo's policy.
    pub(crate) fn lab_cap(&self) -> usize {
        let policy = Policy::parse(&super::policy_text()).unwrap_or_default();
        let first = self.lab.first().map(|app| app.key());
        let caps =
            fleet::intents().iter().find(|i| Some(&i.key) == first.as_ref()).and_then(|i| policy.caps(i));
        let cap = caps.and_then(|caps| caps.within_window(fleet::apps(PlaneKind::ConfigMgr) as u64));
        cap.map_or(self.lab.len(), |cap| cap as usize)
    }

    /// The drift that must be found, and nothing else.
    pub(crate) fn expected(&self) -> Counted {
        let mut all = Counted::new();
        let mut add = |apps: &[App], kind: DriftKind| {
            for app in apps {
                *all.entry(app.plane).or_default().entry(kind).or_default() += 1;
            }
        };
        for apps in [&self.missing, &self.production, &self.lab] {
            add(apps, DriftKind::MissingAssignment);
        }
        add(&self.version, DriftKind::VersionMismatch);
        for app in &self.stubborn {
            add(&[*app], stubborn_kind(app.plane));
        }
        add(&self.scope, DriftKind::ScopeMismatch);
        add(&self.staffs, DriftKind::ScopeMismatch);
        add(&self.compliance, DriftKind::ComplianceDrift);
        // The folder.
        all.entry(PlaneKind::Ansible).or_default().insert(DriftKind::ComplianceDrift, 1);
        all
    }

    /// What is there before anybody means anything: the group that many share has its applications.
    pub(crate) fn prepare(&self, simulators: &Simulators) -> Result<(), Failure> {
        for app in &self.staffs {
            let add = JamfMischief::AddGroup { policy: jamf::policy_id(app.n), group: fleet::staff() };
            simulators.jamf.tenant(app.tenant).mischief(&add).map_err(refused)?;
        }
        Ok(())
    }

    /// Breaks it all, behind Trueup's back.
    pub(crate) fn happen(&self, simulators: &Simulators, dir: &Path) -> Result<(), Failure> {
        for (apps, wrong) in [
            (&self.missing, Wrong::Missing),
            (&self.production, Wrong::Missing),
            (&self.lab, Wrong::Missing),
            (&self.version, Wrong::Version),
            (&self.scope, Wrong::Scope),
            (&self.compliance, Wrong::Compliance),
            (&self.stubborn, Wrong::Stubborn),
        ] {
            for app in apps {
                go_wrong(simulators, *app, wrong).map_err(refused)?;
            }
        }
        let delete = JamfMischief::DeleteGroup { group: fleet::staff() };
        simulators.jamf.tenant(fleet::STAFF_TENANT).mischief(&delete).map_err(refused)?;
        let folder = dir.join("folder");
        std::fs::remove_file(folder.join("banner.txt"))
            .and_then(|()| std::fs::write(folder.join("conf.d/backdoor.conf"), "listen = 0.0.0.0:1\n"))
            .and_then(|()| std::fs::write(folder.join("access.list"), "allow 0.0.0.0/0\n"))
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot break the folder: {e}")))
    }
}

fn refused(why: String) -> Failure {
    Failure::new(Exit::Failed, format!("a simulator refused to break something: {why}"))
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Missing,
    Version,
    Scope,
    Compliance,
    Stubborn,
}

/// What a stubborn application is found with.
fn stubborn_kind(plane: PlaneKind) -> DriftKind {
    match plane {
        PlaneKind::Jamf | PlaneKind::ConfigMgr => DriftKind::VersionMismatch,
        PlaneKind::Intune | PlaneKind::Ansible => DriftKind::MissingAssignment,
    }
}

fn go_wrong(simulators: &Simulators, app: App, wrong: Wrong) -> Result<(), String> {
    let App { plane, tenant, n } = app;
    match plane {
        PlaneKind::Jamf => {
            let site = simulators.jamf.tenant(tenant);
            on_jamf(n, wrong).iter().try_for_each(|what| site.mischief(what))
        }
        PlaneKind::ConfigMgr => {
            let site = simulators.configmgr.tenant(tenant);
            on_configmgr(n, wrong).iter().try_for_each(|what| site.mischief(what))
        }
        PlaneKind::Intune | PlaneKind::Ansible => {
            let site = simulators.graph.tenant(tenant);
            on_intune(tenant, n, wrong).iter().try_for_each(|what| site.mischief(what))
        }
    }
}

fn on_intune(tenant: &str, n: usize, wrong: Wrong) -> Vec<Mischief> {
    let app = app_id(tenant, n);
    match wrong {
        Wrong::Missing => vec![Mischief::RemoveAssignments { app }],
        Wrong::Version => vec![Mischief::MoveAssignments { from: app, to: old_app_id(tenant, n) }],
        Wrong::Scope => vec![Mischief::AddGroup { app, group: group_id(100_000 + n) }],
        // Else their next check-in would mend them.
        Wrong::Compliance => vec![
            Mischief::BreakCompliance { app: app.clone(), devices: 2 },
            Mischief::Stubborn { app, devices: 2 },
        ],
        Wrong::Stubborn => {
            vec![Mischief::RemoveAssignments { app: app.clone() }, Mischief::Stick { app, after_seconds: 60 }]
        }
    }
}

fn on_jamf(n: usize, wrong: Wrong) -> Vec<JamfMischief> {
    let policy = jamf::policy_id(n);
    match wrong {
        Wrong::Missing => vec![JamfMischief::RemoveScope { policy }],
        Wrong::Version => vec![JamfMischief::MoveScope { from: policy, to: jamf::old_policy_id(n) }],
        Wrong::Scope => vec![JamfMischief::AddGroup { policy, group: jamf::group_id(n + 1) }],
        Wrong::Compliance => vec![JamfMischief::BreakCompliance { policy, computers: 2 }],
        Wrong::Stubborn => vec![
            JamfMischief::Stubborn { policy, computers: 2 },
            JamfMischief::ChangeVersion { policy, version: "0.8.0".into(), computers: 2 },
        ],
    }
}

fn on_configmgr(n: usize, wrong: Wrong) -> Vec<ConfigMgrMischief> {
    let ci = ci_id(n);
    match wrong {
        Wrong::Missing => vec![ConfigMgrMischief::DeleteDeployments { ci }],
        Wrong::Version => vec![ConfigMgrMischief::MoveDeployments { from: ci, to: old_ci_id(n) }],
        Wrong::Scope => vec![ConfigMgrMischief::Deploy { ci, collection: collection_id(n + 1) }],
        Wrong::Compliance => {
            vec![ConfigMgrMischief::BreakCompliance { baseline: baseline_id(n), devices: 2 }]
        }
        Wrong::Stubborn => vec![
            ConfigMgrMischief::Stubborn { ci, devices: 2 },
            ConfigMgrMischief::ChangeVersion { ci, version: "0.8.0".into(), devices: 2 },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_finds_its_intents_on_every_plane() {
        let story = Story::new();
        for plane in PLANES {
            let found = [
                &story.missing,
                &story.version,
                &story.scope,
                &story.compliance,
                &story.production,
                &story.stubborn,
            ]
            .map(|apps| apps.iter().filter(|app| app.plane == plane).count());
            assert_eq!(found, counts(plane), "{plane}");
        }
        assert_eq!((story.staffs.len(), story.lab.len()), (fleet::STAFF_APPS, LAB_BROKEN));
    }

    #[test]
    fn one_tenant_and_plane_exceeds_its_cap_and_no_other_does() {
        let story = Story::new();
        assert!(story.lab_cap() < story.lab.len(), "{}", story.lab_cap());
        let mut attempts: BTreeMap<(PlaneKind, &str), usize> = BTreeMap::new();
        for app in story.missing.iter().chain(&story.version).chain(&story.stubborn) {
            assert!(!app.is_lab_site());
            *attempts.entry((app.plane, app.tenant)).or_default() += 1;
        }
        assert!(attempts.values().all(|n| *n < 20), "{attempts:?}");
    }
}
