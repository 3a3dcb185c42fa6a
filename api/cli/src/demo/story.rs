//! What is broken, and what shall become of it under the demo's policy.

use std::path::Path;

use trueup_model::{Criticality, IntentKey, Mode, Ring};
use trueup_simulators::{Mischief, app_id, group_id, old_app_id};

use super::fleet;
use crate::dev::{Dev, TENANTS};
use crate::failure::{Exit, Failure};

/// Every list names intents by tenant and number.
#[derive(Debug)]
pub(crate) struct Story {
    /// Assignments removed; mended without asking.
    pub(crate) missing: Vec<(&'static str, usize)>,
    /// Moved back to the version before; mended without asking.
    pub(crate) version: Vec<(&'static str, usize)>,
    /// Reach one more group; somebody must look.
    pub(crate) scope: Vec<(&'static str, usize)>,
    /// Devices stop to comply; somebody must look.
    pub(crate) compliance: Vec<(&'static str, usize)>,
    /// Removed in a production ring; somebody must look.
    pub(crate) production: Vec<(&'static str, usize)>,
    /// Accept every remedy and forget it; escalated after three attempts.
    pub(crate) stubborn: Vec<(&'static str, usize)>,
}

impl Story {
    /// Picks from each kind of intent the first that are not taken yet; the same ones every time.
    pub(crate) fn new() -> Self {
        let mut taken = std::collections::BTreeSet::new();
        let mut pick = |count: usize, fits: &dyn Fn(usize) -> bool| {
            let mut picked = Vec::new();
            for n in 0..150 {
                for tenant in TENANTS {
                    if picked.len() < count && fits(n) && taken.insert((tenant, n)) {
                        picked.push((tenant, n));
                    }
                }
            }
            picked
        };
        let plain = |n: usize| fleet::mode(n) == Mode::Enforce && !fleet::privileged(n);
        let at_once = |n: usize| {
            plain(n)
                && matches!(fleet::ring(n), Ring::Lab | Ring::Canary)
                && fleet::criticality(n) == Criticality::Critical
        };
        let soon = |n: usize| {
            plain(n)
                && matches!(fleet::ring(n), Ring::Lab | Ring::Canary)
                && matches!(fleet::criticality(n), Criticality::Critical | Criticality::High)
        };
        Self {
            stubborn: pick(3, &at_once),
            missing: pick(20, &soon),
            version: pick(12, &soon),
            scope: pick(10, &plain),
            compliance: pick(10, &plain),
            production: pick(10, &|n| plain(n) && fleet::ring(n) == Ring::Global),
        }
    }

    /// Mended by Trueup alone.
    pub(crate) fn mended(&self) -> Vec<IntentKey> {
        self.missing
            .iter()
            .chain(&self.version)
            .map(|(t, n)| fleet::key(t, *n))
            .chain([fleet::host()])
            .collect()
    }
    /// Wait for people.
    pub(crate) fn waiting(&self) -> Vec<IntentKey> {
        self.scope
            .iter()
            .chain(&self.compliance)
            .chain(&self.production)
            .map(|(t, n)| fleet::key(t, *n))
            .collect()
    }
    pub(crate) fn escalated(&self) -> Vec<IntentKey> {
        self.stubborn.iter().map(|(t, n)| fleet::key(t, *n)).collect()
    }

    /// Breaks it all, behind Trueup's back.
    pub(crate) fn happen(&self, dev: &Dev, dir: &Path) -> Result<(), Failure> {
        let act = |tenant: &str, what: Mischief| {
            dev.simulator.tenant(tenant).mischief(&what).map_err(|e| {
                Failure::new(Exit::Failed, format!("the simulator refused to break something: {e}"))
            })
        };
        for (tenant, n) in self.missing.iter().chain(&self.production) {
            act(tenant, Mischief::RemoveAssignments { app: app_id(tenant, *n) })?;
        }
        for (tenant, n) in &self.version {
            act(tenant, Mischief::MoveAssignments { from: app_id(tenant, *n), to: old_app_id(tenant, *n) })?;
        }
        for (tenant, n) in &self.scope {
            act(tenant, Mischief::AddGroup { app: app_id(tenant, *n), group: group_id(100_000 + n) })?;
        }
        for (tenant, n) in &self.compliance {
            act(tenant, Mischief::BreakCompliance { app: app_id(tenant, *n), devices: 2 })?;
            act(tenant, Mischief::Stubborn { app: app_id(tenant, *n), devices: 2 })?;
        }
        for (tenant, n) in &self.stubborn {
            act(tenant, Mischief::RemoveAssignments { app: app_id(tenant, *n) })?;
            act(tenant, Mischief::Stick { app: app_id(tenant, *n), after_seconds: 60 })?;
        }
        let folder = dir.join("folder");
        std::fs::remove_file(folder.join("banner.txt"))
            .and_then(|()| std::fs::write(folder.join("conf.d/backdoor.conf"), "listen = 0.0.0.0:1\n"))
            .and_then(|()| std::fs::write(folder.join("access.list"), "allow 0.0.0.0/0\n"))
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot break the folder: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_finds_its_intents() {
        let story = Story::new();
        let sizes = [
            &story.missing,
            &story.version,
            &story.scope,
            &story.compliance,
            &story.production,
            &story.stubborn,
        ]
        .map(Vec::len);
        assert_eq!(sizes, [20, 12, 10, 10, 10, 3]);
    }
}
