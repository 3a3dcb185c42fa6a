//! A plane made of maps.

use std::collections::{BTreeMap, VecDeque};

use trueup_model::{
    Action, Delivery, EffectKey, Fault, IntentKey, Observed, Receipt, Target, Time,
    intent::{Install, Scope},
    job::Check,
    observed::{AssignmentSeen, Assignments, ComplianceSeen, VersionSeen},
};

#[derive(Default)]
pub struct FakePlane {
    /// By application.
    pub assigned: BTreeMap<String, Vec<AssignmentSeen>>,
    pub versions: Option<Vec<VersionSeen>>,
    pub compliance: Option<ComplianceSeen>,
    /// Accepts every action and changes nothing.
    pub stuck: bool,
    pub observe_faults: BTreeMap<IntentKey, Fault>,
    /// The next answers to actions.
    pub act_faults: VecDeque<Fault>,
    /// The next answers to messages.
    pub deliver_faults: VecDeque<Fault>,
    /// How many targets each call asked for.
    pub asked: Vec<usize>,
    pub acts: Vec<(EffectKey, Action)>,
    pub deliveries: Vec<(EffectKey, Delivery)>,
}

pub fn group(id: &str) -> Scope {
    Scope::Group(id.into())
}

pub fn seen(app: &str, scope: Scope) -> AssignmentSeen {
    AssignmentSeen { app: app.into(), scope, install: Install::Required, excluded: false }
}

impl FakePlane {
    pub fn assign(&mut self, app: &str, scope: Scope) {
        self.assigned.entry(app.into()).or_default().push(seen(app, scope));
    }

    pub fn observe(&self, check: &Check, now: Time) -> Result<Observed, Fault> {
        if let Some(fault) = self.observe_faults.get(&check.intent) {
            return Err(fault.clone());
        }
        let Target::Intune(t) = &check.target else {
            let compliance = self.compliance.clone();
            return Ok(Observed { at: now, assignments: None, versions: None, compliance });
        };
        let of = |app: &String| self.assigned.get(app).cloned().unwrap_or_default();
        let (here, replaced) = (of(&t.app_id), t.replaces.iter().flat_map(of).collect());
        let assignments = Some(Assignments { here, replaced });
        let (versions, compliance) = (self.versions.clone(), self.compliance.clone());
        Ok(Observed { at: now, assignments, versions, compliance })
    }

    pub fn act(&mut self, _: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        if let Some(fault) = self.act_faults.pop_front() {
            return Err(fault);
        }
        self.acts.push((key.clone(), action.clone()));
        if self.stuck {
            return Ok(Receipt { note: "accepted".into(), changed: true });
        }
        match action {
            Action::Assign { app, install, include, exclude, remove } => {
                let list = self.assigned.entry(app.clone()).or_default();
                list.retain(|a| {
                    !include.contains(&a.scope) && !exclude.contains(&a.scope) && !remove.contains(&a.scope)
                });
                for (scopes, excluded) in [(include, false), (exclude, true)] {
                    list.extend(scopes.iter().map(|scope| AssignmentSeen {
                        app: app.clone(),
                        scope: scope.clone(),
                        install: *install,
                        excluded,
                    }));
                }
            }
            Action::Unassign { app, remove } => {
                self.assigned.entry(app.clone()).or_default().retain(|a| !remove.contains(&a.scope));
            }
            Action::Comply { .. } => {
                if let Some(c) = &mut self.compliance {
                    *c = ComplianceSeen {
                        devices: c.devices,
                        reported: c.reported,
                        ..ComplianceSeen::default()
                    };
                }
            }
        }
        Ok(Receipt { note: "done".into(), changed: true })
    }

    pub fn deliver(&mut self, delivery: &Delivery, key: &EffectKey) -> Result<Receipt, Fault> {
        if let Some(fault) = self.deliver_faults.pop_front() {
            return Err(fault);
        }
        self.deliveries.push((key.clone(), delivery.clone()));
        Ok(Receipt { note: "told".into(), changed: true })
    }
}
