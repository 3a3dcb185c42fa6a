//! The sample fleet: 600 intents of three tenants on four planes, every ring and criticality.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::{
    AnsibleTarget, ConfigMgrCompliance, ConfigMgrRemedy, ConfigMgrTarget, IntuneTarget, JamfCompliance,
    JamfTarget,
};
use trueup_model::{Criticality, Intent, IntentKey, Mode, PlaneKind, Ring, Status, Target};
use trueup_simulators::{
    app_id, app_name, approved_script, baseline_id, ci_id, collection_id, group_id, jamf, old_app_id,
    old_ci_id,
};

use crate::dev::{PLANES, TENANTS};

/// Whose the folder on this host is.
pub(crate) const HOST_TENANT: &str = "contoso";
/// Whose Configuration Manager site is one large lab: every application in the lab ring, and critical.
pub(crate) const LAB_TENANT: &str = "tailspin";
/// Whose last Jamf applications also go to the group [`staff`].
pub(crate) const STAFF_TENANT: &str = "contoso";
/// How many of them.
pub(crate) const STAFF_APPS: usize = 20;

/// Applications of a tenant on a plane.
pub(crate) const fn apps(plane: PlaneKind) -> usize {
    match plane {
        PlaneKind::Intune => 120,
        PlaneKind::Jamf => 40,
        PlaneKind::ConfigMgr => 40,
        PlaneKind::Ansible => 0,
    }
}

/// Applications that a simulated tenant must have on each plane: with groups that no intent names.
pub(crate) const SEEDED: usize = apps(PlaneKind::Intune);

/// The group on Jamf Pro that many applications share.
pub(crate) fn staff() -> u32 {
    jamf::group_id(SEEDED - 1)
}

/// One application of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct App {
    pub(crate) plane: PlaneKind,
    pub(crate) tenant: &'static str,
    pub(crate) n: usize,
}

impl App {
    pub(crate) fn key(self) -> IntentKey {
        IntentKey::new(self.tenant, format!("{}-{:03}", self.plane, self.n))
    }

    /// Of the site that is a lab.
    pub(crate) fn is_lab_site(self) -> bool {
        self.plane == PlaneKind::ConfigMgr && self.tenant == LAB_TENANT
    }

    /// Goes to the group that many share.
    pub(crate) fn is_staffs(self) -> bool {
        self.plane == PlaneKind::Jamf
            && self.tenant == STAFF_TENANT
            && self.n >= apps(self.plane) - STAFF_APPS
    }

    /// Rings and criticalities go round with the number, privileged ones are every tenth.
    pub(crate) fn ring(self) -> Ring {
        if self.is_lab_site() { Ring::Lab } else { Ring::ALL[self.n % Ring::ALL.len()] }
    }
    pub(crate) fn criticality(self) -> Criticality {
        if self.is_lab_site() {
            return Criticality::Critical;
        }
        // Jamf Pro gives one policy a call: a fleet that lives an hour in five seconds cannot read many of them often.
        if self.plane == PlaneKind::Jamf && self.n >= 20 {
            return Criticality::Low;
        }
        Criticality::ALL[(self.n / Ring::ALL.len()) % Criticality::ALL.len()]
    }
    fn privileged(self) -> bool {
        !self.is_lab_site() && !self.is_staffs() && self.n % 10 == 9
    }
    /// Four in every hundred only watch or propose.
    fn mode(self) -> Mode {
        match self.n % 50 {
            _ if self.is_lab_site() || self.is_staffs() => Mode::Enforce,
            48 => Mode::Observe,
            47 => Mode::Propose,
            _ => Mode::Enforce,
        }
    }

    /// Trueup may mend it, if its ring and criticality allow that.
    pub(crate) fn is_plain(self) -> bool {
        self.mode() == Mode::Enforce && !self.privileged()
    }

    /// Trueup mends it without asking, within an hour.
    pub(crate) fn is_mended_soon(self) -> bool {
        self.is_plain()
            && matches!(self.ring(), Ring::Lab | Ring::Canary)
            && matches!(self.criticality(), Criticality::Critical | Criticality::High)
    }

    /// There is a version before it, and whether it complies can be seen. Each of that is one more call to Jamf Pro.
    pub(crate) fn has_older(self) -> bool {
        self.plane != PlaneKind::Jamf || matches!(self.n % 10, 5 | 6)
    }
    pub(crate) fn has_compliance(self) -> bool {
        self.plane != PlaneKind::Jamf || matches!(self.n % 10, 2 | 3)
    }

    fn groups(self) -> BTreeSet<Scope> {
        let own = match self.plane {
            PlaneKind::Jamf => jamf::group_id(self.n).to_string(),
            PlaneKind::ConfigMgr => collection_id(self.n),
            PlaneKind::Intune | PlaneKind::Ansible => group_id(self.n),
        };
        let shared = self.is_staffs().then(|| staff().to_string());
        std::iter::once(own).chain(shared).map(Scope::Group).collect()
    }

    fn target(self) -> Target {
        let Self { plane, tenant, n } = self;
        match plane {
            PlaneKind::Jamf => Target::Jamf(JamfTarget {
                policy_id: jamf::policy_id(n),
                app_name: jamf::app_name(n),
                bundle_id: Some(jamf::bundle_id(n)),
                replaces: self.has_older().then(|| jamf::old_policy_id(n)).into_iter().collect(),
                compliance: self.has_compliance().then(|| JamfCompliance {
                    failing_group: jamf::failing_group_id(n),
                    remedy_group: jamf::remedy_group_id(n),
                }),
            }),
            PlaneKind::ConfigMgr => Target::ConfigMgr(ConfigMgrTarget {
                ci_id: ci_id(n),
                app_name: app_name(n),
                product_name: None,
                replaces: vec![old_ci_id(n)],
                device_collection: None,
                compliance: Some(ConfigMgrCompliance {
                    baseline_assignment: baseline_id(n),
                    remedy: ConfigMgrRemedy::Script(approved_script()),
                }),
            }),
            PlaneKind::Intune | PlaneKind::Ansible => Target::Intune(IntuneTarget {
                app_id: app_id(tenant, n),
                app_name: app_name(n),
                replaces: vec![old_app_id(tenant, n)],
            }),
        }
    }

    fn intent(self) -> Intent {
        Intent {
            key: self.key(),
            workspace: None,
            target: self.target(),
            desired: Desired {
                assignment: Some(Assignment {
                    install: Install::Required,
                    include: self.groups(),
                    exclude: BTreeSet::new(),
                    exclusive: true,
                }),
                version: Some("1.0.0".into()),
                compliant: self.has_compliance(),
            },
            criticality: self.criticality(),
            ring: self.ring(),
            privileged: self.privileged(),
            mode: self.mode(),
            status: Status::Completed,
            labels: BTreeMap::from([("source".into(), "demo".into())]),
            windows: Vec::new(),
        }
    }
}

/// In order of number, so that what is picked from it is spread over tenants.
pub(crate) fn all_apps() -> Vec<App> {
    let mut all = Vec::new();
    for plane in PLANES {
        for n in 0..apps(plane) {
            all.extend(TENANTS.map(|tenant| App { plane, tenant, n }));
        }
    }
    // The folder takes the place of the last.
    all.retain(|app| !(app.plane == PlaneKind::Intune && app.tenant == HOST_TENANT && app.n == SEEDED - 1));
    all
}

/// A manifest for each simulated plane, for whoever has nothing to apply yet: the first application of the first tenant.
pub(crate) fn samples() -> Vec<Intent> {
    let first = |plane| App { plane, tenant: TENANTS[0], n: 0 };
    PLANES.map(|plane| first(plane).intent()).into()
}

/// The intent about the folder.
pub(crate) fn host() -> IntentKey {
    IntentKey::new(HOST_TENANT, "demo-folder")
}

pub(crate) fn intents() -> Vec<Intent> {
    all_apps().into_iter().map(App::intent).chain([folder()]).collect()
}

fn folder() -> Intent {
    Intent {
        key: host(),
        workspace: None,
        target: Target::Ansible(AnsibleTarget {
            playbook: "site.yml".into(),
            inventory: "inventory.yml".into(),
            limit: None,
        }),
        desired: Desired { assignment: None, version: None, compliant: true },
        // A playbook takes real seconds, each of them many minutes of shown time: the report of a more critical intent would
        // be stale before it is there.
        criticality: Criticality::Low,
        ring: Ring::Lab,
        privileged: false,
        mode: Mode::Enforce,
        status: Status::Completed,
        labels: BTreeMap::from([("source".into(), "demo".into())]),
        windows: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_can_be_applied_as_they_are_written() {
        for sample in samples() {
            let text = serde_json::to_string_pretty(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Intent>(&text).unwrap(), sample);
        }
    }

    #[test]
    fn six_hundred_intents_with_every_plane_ring_and_criticality() {
        let all = intents();
        assert_eq!(all.len(), 600);
        assert_eq!(all.iter().map(Intent::plane).collect::<BTreeSet<_>>().len(), PlaneKind::ALL.len());
        assert_eq!(all.iter().map(|i| i.ring).collect::<BTreeSet<_>>().len(), Ring::ALL.len());
        assert_eq!(all.iter().map(|i| i.criticality).collect::<BTreeSet<_>>().len(), Criticality::ALL.len());
        assert_eq!(all.iter().map(|i| &i.key).collect::<BTreeSet<_>>().len(), 600);
    }
}
