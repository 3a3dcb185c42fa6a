//! Devices that poll for policy and report inventory, computed when somebody looks.
//!
//! # Expected flow
//! What changes (a deployment, a membership) puts visits on the calendar: each device concerned acts at its next policy
//! poll, and tells at its next hardware inventory. Every request first lets happen what is due.
//!
//! # Guarantees
//! Between its inventories a device's report does not change, except by mischief, which reports at once. An inventory
//! sends only what changed: the time of an unchanged row stays as it was.

use std::cmp::Reverse;

use trueup_model::{Duration, Time};

use super::state::{INSTALL, REQUIRED, State, UNINSTALL};
use crate::checkin::newer;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Visit {
    /// The collection is evaluated: the device's membership follows its rule.
    Evaluate(String),
    /// Takes what is deployed to it.
    Policy,
    /// Tells what it has.
    Inventory,
    /// A remedy runs: it complies again.
    Comply,
}

fn next(phase: Time, step: Duration, after: Time) -> Time {
    let step = step.num_milliseconds();
    let rounds = (after - phase).num_milliseconds().div_euclid(step) + 1;
    phase + Duration::milliseconds(rounds * step)
}

impl State {
    /// When the device's last hardware inventory was, by its own clock.
    pub(crate) fn last_scan(&self, device: usize, now: Time) -> Time {
        let device = &self.devices[device];
        let regular = next(device.phase, device.inventory, now) - device.inventory;
        let at = device.extra.map_or(regular, |extra| extra.max(regular)).min(now);
        if device.ahead { at + Duration::days(365) } else { at }
    }

    pub(crate) fn settle(&mut self, now: Time) {
        while let Some(Reverse((at, ..))) = self.visits.peek()
            && *at <= now
        {
            if let Some(Reverse((at, device, visit))) = self.visits.pop() {
                self.visit(at, device, visit);
            }
        }
    }

    fn visit(&mut self, at: Time, device: usize, visit: Visit) {
        match visit {
            Visit::Evaluate(id) => {
                let resource = self.devices[device].resource;
                if let Some(collection) = self.collections.get_mut(&id) {
                    if collection.rules.contains_key(&resource) {
                        collection.members.insert(device);
                    } else {
                        collection.members.remove(&device);
                    }
                    self.poll_later(device, at);
                }
            }
            Visit::Policy => {
                if self.take(device) {
                    let known = &self.devices[device];
                    let told = next(known.phase, known.inventory, at);
                    self.visits.push(Reverse((told, device, Visit::Inventory)));
                }
            }
            Visit::Inventory => self.report(device, at),
            Visit::Comply => {
                if !self.devices[device].stubborn {
                    self.baselines.values_mut().for_each(|b| {
                        b.failing.remove(&device);
                    });
                }
            }
        }
    }

    /// The device says what it has.
    pub(crate) fn report(&mut self, device: usize, at: Time) {
        let known = &mut self.devices[device];
        let (has, reported) = (&known.has, &mut known.reported);
        reported.retain(|name, _| has.contains_key(name));
        for (name, version) in has {
            match reported.get(name) {
                Some((told, _)) if told == version => {}
                _ => {
                    reported.insert(name.clone(), (version.clone(), at));
                }
            }
        }
    }

    fn poll_later(&mut self, device: usize, now: Time) {
        let known = &self.devices[device];
        self.visits.push(Reverse((next(known.phase, known.policy, now), device, Visit::Policy)));
    }

    /// Something about this collection changed.
    pub(crate) fn policy_changed(&mut self, collection: &str, now: Time) {
        let members = self.collections.get(collection).map(|c| c.members.clone());
        for device in members.into_iter().flatten() {
            self.poll_later(device, now);
        }
    }

    /// The newest version that is required of the device; none if it is to be uninstalled; else what it has.
    fn take(&mut self, device: usize) -> bool {
        if self.devices[device].stubborn {
            return false;
        }
        let mut required: Vec<(String, String)> = Vec::new();
        let mut uninstall: Vec<String> = Vec::new();
        for deployment in self.deployments.values().filter(|d| d.enabled() && d.is("OfferTypeID", REQUIRED)) {
            let member =
                self.collections.get(&deployment.collection).is_some_and(|c| c.members.contains(&device));
            let (true, Some(app)) = (member, self.apps.get(&deployment.ci)) else { continue };
            if deployment.is("DesiredConfigType", INSTALL) {
                required.push((app.name.clone(), app.version.clone()));
            } else if deployment.is("DesiredConfigType", UNINSTALL) {
                uninstall.push(app.name.clone());
            }
        }
        let has = &mut self.devices[device].has;
        let before = has.clone();
        for name in uninstall {
            has.remove(&name);
        }
        let mut done: Vec<&str> = Vec::new();
        for (name, version) in &required {
            let better =
                has.get(name).is_none_or(|known| !done.contains(&name.as_str()) || newer(version, known));
            if better {
                has.insert(name.clone(), version.clone());
            }
            done.push(name);
        }
        *has != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_name;
    use crate::configmgr::seed::{ConfigMgrSeed, ci_id, collection_id, old_ci_id};

    fn t(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
    }

    #[test]
    fn devices_act_at_a_poll_and_tell_at_an_inventory() {
        let mut s = State::default();
        let seed =
            ConfigMgrSeed { apps: 1, devices: 1, devices_per_app: 1, older: true, ..Default::default() };
        s.fill(&seed, t(0));
        s.devices[0].phase = t(0);
        s.deployments.clear();
        s.devices[0].has.insert(app_name(0), "0.9.0".into());
        s.report(0, t(0));
        s.deploy(old_ci_id(0), &collection_id(0), t(1));
        s.deploy(ci_id(0), &collection_id(0), t(1));
        s.policy_changed(&collection_id(0), t(1));
        let told = |s: &State| s.devices[0].reported[&app_name(0)].clone();
        for (minute, has, reported, row) in [
            (59, "0.9.0", "0.9.0", 0),
            (60, "1.0.0", "0.9.0", 0),
            (239, "1.0.0", "0.9.0", 0),
            (240, "1.0.0", "1.0.0", 240),
            (600, "1.0.0", "1.0.0", 240),
        ] {
            s.settle(t(minute));
            assert_eq!(s.devices[0].has[&app_name(0)], has, "minute {minute}");
            assert_eq!(told(&s), (reported.to_owned(), t(row)), "minute {minute}");
        }
        assert_eq!(s.last_scan(0, t(600)), t(480), "it was there all the same");
    }
}
