//! What an operator (or fate) does behind Trueup's back. Each takes effect, and is reported, at once.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::{Duration, Time};

use super::state::State;

/// `ci` is a `CI_ID`; `devices` how many of those the application reaches, from the first on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConfigMgrMischief {
    /// Drift: missing assignment.
    DeleteDeployments { ci: u32 },
    /// Drift: missing assignment, though the deployment is still listed.
    DisableDeployments { ci: u32 },
    /// Drift: scope mismatch.
    Deploy { ci: u32, collection: String },
    /// Drift: version mismatch. Deployments move to another application, and the devices report that one's version.
    MoveDeployments { from: u32, to: u32 },
    /// Drift: version mismatch, on devices only.
    ChangeVersion { ci: u32, version: String, devices: u32 },
    /// Drift: compliance.
    BreakCompliance { baseline: u32, devices: u32 },
    /// Devices poll and report, and stay as they are, from now on.
    Stubborn { ci: u32, devices: u32 },
    /// The devices' clocks are a year ahead.
    Ahead { ci: u32, devices: u32 },
    /// The collection goes, what is deployed to it stays.
    DeleteCollection { collection: String },
    /// The inventory classes answer with no rows, or with all of them again.
    EmptyInventory { on: bool },
    /// A second deployment of an application to a collection is refused.
    OneDeploymentOnly { on: bool },
    /// A new deployment is in no list for this long.
    VisibleAfter { seconds: u32 },
}

impl State {
    pub(crate) fn mischief(&mut self, what: &ConfigMgrMischief, now: Time) -> Result<(), String> {
        use ConfigMgrMischief as M;
        match what {
            M::DeleteDeployments { ci } => {
                self.known(*ci)?;
                self.deployments.retain(|_, d| d.ci != *ci);
            }
            M::DisableDeployments { ci } => {
                self.known(*ci)?;
                for deployment in self.deployments.values_mut().filter(|d| d.ci == *ci) {
                    deployment.body.insert("Enabled".into(), false.into());
                }
            }
            M::Deploy { ci, collection } => {
                self.known(*ci)?;
                self.deploy(*ci, collection, now);
            }
            M::MoveDeployments { from, to } => {
                self.known(*from)?;
                let app = self.known(*to)?;
                for deployment in self.deployments.values_mut().filter(|d| d.ci == *from) {
                    deployment.ci = *to;
                    deployment.body.insert("AssignedCIs".into(), Value::from(vec![*to]));
                }
                for device in self.users(*to) {
                    self.devices[device].has.insert(app.0.clone(), app.1.clone());
                    self.tell(device, now);
                }
            }
            M::ChangeVersion { ci, version, devices } => {
                let (name, _) = self.known(*ci)?;
                for device in self.some(*ci, *devices) {
                    self.devices[device].has.insert(name.clone(), version.clone());
                    self.tell(device, now);
                }
            }
            M::BreakCompliance { baseline, devices } => {
                let known =
                    self.baselines.get_mut(baseline).ok_or_else(|| format!("no baseline {baseline}"))?;
                let members = self.collections.get(&known.collection).map(|c| c.members.clone());
                known.failing.extend(members.into_iter().flatten().take(*devices as usize));
            }
            M::Stubborn { ci, devices } => {
                self.known(*ci)?;
                for device in self.some(*ci, *devices) {
                    self.devices[device].stubborn = true;
                }
            }
            M::Ahead { ci, devices } => {
                self.known(*ci)?;
                for device in self.some(*ci, *devices) {
                    self.devices[device].ahead = true;
                }
            }
            M::DeleteCollection { collection } => {
                self.collections.remove(collection).ok_or_else(|| format!("no collection '{collection}'"))?;
            }
            M::EmptyInventory { on } => self.no_inventory = *on,
            M::OneDeploymentOnly { on } => self.one_deployment_only = *on,
            M::VisibleAfter { seconds } => self.visible_after = Duration::seconds(i64::from(*seconds)),
        }
        Ok(())
    }

    /// Name and version.
    fn known(&self, ci: u32) -> Result<(String, String), String> {
        let app = self.apps.get(&ci).ok_or_else(|| format!("no application with CI_ID {ci}"))?;
        Ok((app.name.clone(), app.version.clone()))
    }

    fn some(&self, ci: u32, count: u32) -> Vec<usize> {
        self.users(ci).into_iter().take(count as usize).collect()
    }

    fn tell(&mut self, device: usize, now: Time) {
        self.devices[device].extra = Some(now);
        self.report(device, now);
    }
}
