//! The sample fleet: 600 intents, three tenants, every ring and criticality.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::{AnsibleTarget, IntuneTarget};
use trueup_model::{Criticality, Intent, IntentKey, Mode, Ring, Status, Target};
use trueup_simulators::{app_id, app_name, group_id, old_app_id};

use crate::dev::TENANTS;

/// Whose the folder on this host is.
pub(crate) const HOST_TENANT: &str = "contoso";

/// The intent about the folder.
pub(crate) fn host() -> IntentKey {
    IntentKey::new(HOST_TENANT, "demo-folder")
}

/// The intent about application `n` of a tenant.
pub(crate) fn key(tenant: &str, n: usize) -> IntentKey {
    IntentKey::new(tenant, format!("app-{n:05}"))
}

/// Rings and criticalities go round with the number, privileged ones are every tenth.
pub(crate) fn ring(n: usize) -> Ring {
    Ring::ALL[n % Ring::ALL.len()]
}
pub(crate) fn criticality(n: usize) -> Criticality {
    Criticality::ALL[(n / Ring::ALL.len()) % Criticality::ALL.len()]
}
pub(crate) fn privileged(n: usize) -> bool {
    n % 10 == 9
}
/// Four in every hundred only watch or propose.
pub(crate) fn mode(n: usize) -> Mode {
    match n % 50 {
        48 => Mode::Observe,
        47 => Mode::Propose,
        _ => Mode::Enforce,
    }
}

/// 200 a tenant; in one of them the folder takes the last application's place.
pub(crate) fn intents(apps: usize) -> Vec<Intent> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        let count = if tenant == HOST_TENANT { apps - 1 } else { apps };
        all.extend((0..count).map(|n| application(tenant, n)));
    }
    all.push(folder());
    all
}

fn application(tenant: &str, n: usize) -> Intent {
    Intent {
        key: key(tenant, n),
        workspace: None,
        target: Target::Intune(IntuneTarget {
            app_id: app_id(tenant, n),
            app_name: app_name(n),
            replaces: vec![old_app_id(tenant, n)],
        }),
        desired: Desired {
            assignment: Some(Assignment {
                install: Install::Required,
                include: BTreeSet::from([Scope::Group(group_id(n))]),
                exclude: BTreeSet::new(),
                exclusive: true,
            }),
            version: Some("1.0.0".into()),
            compliant: true,
        },
        criticality: criticality(n),
        ring: ring(n),
        privileged: privileged(n),
        mode: mode(n),
        status: Status::Completed,
        labels: BTreeMap::from([("source".into(), "demo".into())]),
        windows: Vec::new(),
    }
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
        criticality: Criticality::Critical,
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
    fn six_hundred_intents_with_every_ring_and_criticality() {
        let all = intents(200);
        assert_eq!(all.len(), 600);
        assert_eq!(all.iter().map(|i| i.ring).collect::<BTreeSet<_>>().len(), Ring::ALL.len());
        assert_eq!(all.iter().map(|i| i.criticality).collect::<BTreeSet<_>>().len(), Criticality::ALL.len());
        assert_eq!(all.iter().map(|i| &i.key).collect::<BTreeSet<_>>().len(), 600);
    }
}
