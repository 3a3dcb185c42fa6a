//! What an operator (or fate) does behind Trueup's back. Each takes effect, and is reported, at once.

use serde::{Deserialize, Serialize};
use trueup_model::Time;

use super::state::{GROUPS, PolicyScope, State};

/// `computers`: how many of those that carry the policy's application, from the first on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum JamfMischief {
    /// Drift: missing assignment.
    RemoveScope {
        policy: u32,
    },
    /// Drift: missing assignment. The scope stays.
    Disable {
        policy: u32,
    },
    /// Drift: scope mismatch (one more group).
    AddGroup {
        policy: u32,
        group: u32,
    },
    /// Drift: scope mismatch (one more excluded group).
    ExcludeGroup {
        policy: u32,
        group: u32,
    },
    /// Drift: scope mismatch, the widest.
    AllComputers {
        policy: u32,
    },
    /// Drift: scope mismatch. Offered instead of installed.
    SelfService {
        policy: u32,
    },
    /// Drift: version mismatch. The scope moves to another policy of the same application, and its computers report that
    /// one's version.
    MoveScope {
        from: u32,
        to: u32,
    },
    /// Drift: version mismatch, on computers only.
    ChangeVersion {
        policy: u32,
        version: String,
        computers: u32,
    },
    /// Drift: compliance. They join the failing group.
    BreakCompliance {
        policy: u32,
        computers: u32,
    },
    /// Computers check in and stay as they are, from now on.
    Stubborn {
        policy: u32,
        computers: u32,
    },
    /// Computers do not check in any more.
    Silence {
        policy: u32,
        computers: u32,
    },
    /// Computers report times that are years ahead.
    ClockAhead {
        policy: u32,
        computers: u32,
    },
    DeletePolicy {
        policy: u32,
    },
    /// Also vanishes from every scope.
    DeleteGroup {
        group: u32,
    },
    /// Also vanishes from every group and scope.
    DeleteComputer {
        computer: u32,
    },
}

impl State {
    pub(crate) fn mischief(&mut self, what: &JamfMischief, now: Time) -> Result<(), String> {
        match what {
            JamfMischief::RemoveScope { policy } => {
                let scope = &mut self.policy(*policy)?.scope;
                *scope = PolicyScope {
                    limit_to: std::mem::take(&mut scope.limit_to),
                    limited_users: std::mem::take(&mut scope.limited_users),
                    excluded_users: std::mem::take(&mut scope.excluded_users),
                    ..PolicyScope::default()
                };
            }
            JamfMischief::Disable { policy } => self.policy(*policy)?.enabled = false,
            JamfMischief::AddGroup { policy, group } => {
                self.known_group(*group)?;
                self.policy(*policy)?.scope.targets[GROUPS].insert(*group);
            }
            JamfMischief::ExcludeGroup { policy, group } => {
                self.known_group(*group)?;
                self.policy(*policy)?.scope.exclusions[GROUPS].insert(*group);
            }
            JamfMischief::AllComputers { policy } => self.policy(*policy)?.scope.all_computers = true,
            JamfMischief::SelfService { policy } => self.policy(*policy)?.self_service = true,
            JamfMischief::MoveScope { from, to } => {
                self.policy(*to)?;
                let moved = std::mem::take(&mut self.policy(*from)?.scope);
                let policy = self.policy(*to)?;
                policy.scope = moved;
                let (app, version, scope) = (policy.app, policy.version.clone(), policy.scope.clone());
                for computer in self.reached(&scope) {
                    self.carry(computer, app, &version);
                    self.reports(computer, now);
                }
            }
            JamfMischief::ChangeVersion { policy, version, computers } => {
                let app = self.policy(*policy)?.app;
                for computer in self.some(*policy, *computers)? {
                    self.carry(computer, app, version);
                    self.reports(computer, now);
                }
            }
            JamfMischief::BreakCompliance { policy, computers } => {
                let app = self.policy(*policy)?.app;
                for computer in self.some(*policy, *computers)? {
                    self.apps[app].failing.insert(computer);
                    self.reports(computer, now);
                }
            }
            JamfMischief::Stubborn { policy, computers } => {
                for computer in self.some(*policy, *computers)? {
                    self.computers.entry(computer).and_modify(|c| c.stubborn = true);
                }
            }
            JamfMischief::Silence { policy, computers } => {
                for computer in self.some(*policy, *computers)? {
                    self.computers.entry(computer).and_modify(|c| c.silent_since = Some(now));
                }
            }
            JamfMischief::ClockAhead { policy, computers } => {
                for computer in self.some(*policy, *computers)? {
                    self.computers.entry(computer).and_modify(|c| c.ahead = true);
                }
            }
            JamfMischief::DeletePolicy { policy } => {
                self.policy(*policy)?;
                self.policies.remove(policy);
            }
            JamfMischief::DeleteGroup { group } => {
                self.known_group(*group)?;
                self.groups.remove(group);
                for scope in self.policies.values_mut().map(|p| &mut p.scope) {
                    scope.targets[GROUPS].remove(group);
                    scope.exclusions[GROUPS].remove(group);
                }
            }
            JamfMischief::DeleteComputer { computer } => self.delete(*computer),
        }
        Ok(())
    }

    fn policy(&mut self, id: u32) -> Result<&mut super::state::Policy, String> {
        self.policies.get_mut(&id).ok_or_else(|| format!("no policy {id}"))
    }

    fn known_group(&self, id: u32) -> Result<(), String> {
        if self.groups.contains_key(&id) { Ok(()) } else { Err(format!("no computer group {id}")) }
    }

    fn reports(&mut self, computer: u32, now: Time) {
        self.computers.entry(computer).and_modify(|c| c.extra = Some(now));
    }

    /// The first computers that carry the policy's application.
    fn some(&mut self, policy: u32, count: u32) -> Result<Vec<u32>, String> {
        let app = self.policy(policy)?.app;
        Ok(self.apps[app].carriers.iter().copied().take(count as usize).collect())
    }

    fn delete(&mut self, computer: u32) {
        self.computers.remove(&computer);
        for app in &mut self.apps {
            app.carriers.remove(&computer);
            app.failing.remove(&computer);
        }
        for group in self.groups.values_mut() {
            group.members.remove(&computer);
        }
        for scope in self.policies.values_mut().map(|p| &mut p.scope) {
            scope.targets[0].remove(&computer);
            scope.exclusions[0].remove(&computer);
        }
    }
}
