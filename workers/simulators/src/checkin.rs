//! Devices that check in, computed when somebody looks.
//!
//! # Expected flow
//! An `assign` or a `syncDevice` puts visits on the calendar: this device, at its next check-in, takes what is meant for
//! it. Every request first lets the visits happen whose time has come.
//!
//! # Guarantees
//! Between its check-ins a device's report does not change, except by mischief, which reports at once.

use std::cmp::{Ordering, Reverse};

use trueup_model::{Duration, Time};

use crate::state::{Assignment, Reach, State};

/// What happens at a check-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Visit {
    /// Takes what is assigned of one product.
    Product(usize),
    /// Takes all it carries, and complies again.
    Sync,
}

impl State {
    /// When the device last reported.
    pub(crate) fn last_sync(&self, device: usize, now: Time) -> Time {
        let device = &self.devices[device];
        let step = device.interval.num_milliseconds();
        let rounds = (now - device.phase).num_milliseconds().div_euclid(step);
        let regular = device.phase + Duration::milliseconds(rounds * step);
        device.extra_sync.map_or(regular, |extra| extra.max(regular)).min(now)
    }

    fn next_checkin(&self, device: usize, after: Time) -> Time {
        let device = &self.devices[device];
        let step = device.interval.num_milliseconds();
        let rounds = (after - device.phase).num_milliseconds().div_euclid(step) + 1;
        device.phase + Duration::milliseconds(rounds * step)
    }

    /// Lets happen what is due.
    pub(crate) fn settle(&mut self, now: Time) {
        let due: Vec<usize> = self
            .reverts
            .iter()
            .copied()
            .filter(|app| self.apps[*app].revert.as_ref().is_some_and(|(at, _)| *at <= now))
            .collect();
        for app in due {
            self.reverts.remove(&app);
            if let Some((_, before)) = self.apps[app].revert.take() {
                self.apps[app].assignments = before;
            }
        }
        while let Some(Reverse((at, device, visit))) = self.visits.peek().copied() {
            if at > now {
                return;
            }
            self.visits.pop();
            self.visit(at, device, visit);
        }
    }

    fn visit(&mut self, at: Time, device: u32, visit: Visit) {
        match visit {
            Visit::Product(product) => self.take(device, product),
            Visit::Sync => {
                let known = &mut self.devices[device as usize];
                known.extra_sync = known.extra_sync.max(Some(at));
                if !known.stubborn {
                    known.compliance = "compliant";
                }
                let mut products: Vec<usize> = known.carries.keys().copied().collect();
                products.sort_unstable();
                for product in products {
                    self.take(device, product);
                }
            }
        }
    }

    /// The newest version that is required of the device; none if it is to be uninstalled; else what it has.
    fn take(&mut self, device: u32, product: usize) {
        let known = &self.devices[device as usize];
        if known.stubborn {
            return;
        }
        let mut required: Option<&str> = None;
        let mut uninstall = false;
        for app in self.products[product].apps.iter().map(|at| &self.apps[*at]) {
            if app.stuck.is_some() {
                continue;
            }
            let reaches = |a: &&Assignment| match &a.reach {
                Reach::Group(group) => known.groups.contains(group),
                Reach::AllUsers | Reach::AllDevices => true,
                Reach::Exclusion(_) | Reach::Other(_) => false,
            };
            let shut_out =
                |a: &Assignment| matches!(&a.reach, Reach::Exclusion(g) if known.groups.contains(g));
            if app.assignments.iter().any(shut_out) {
                continue;
            }
            for assignment in app.assignments.iter().filter(reaches) {
                match assignment.intent.as_str() {
                    "required" if required.is_none_or(|r| newer(&app.version, r)) => {
                        required = Some(&app.version)
                    }
                    "uninstall" => uninstall = true,
                    _ => {}
                }
            }
        }
        let required = required.map(str::to_owned);
        match required {
            Some(version) => self.carry(device, product, Some(&version)),
            None if uninstall => self.carry(device, product, None),
            None => {}
        }
    }

    /// Replaces an application's assignments, as `assign` does.
    pub(crate) fn assign(&mut self, app: usize, assignments: Vec<Assignment>, now: Time) {
        let known = &mut self.apps[app];
        let before = std::mem::replace(&mut known.assignments, assignments);
        if let Some(after) = known.stuck {
            known.revert = Some((now + after, known.revert.take().map_or(before, |(_, first)| first)));
            self.reverts.insert(app);
            return;
        }
        let product = known.product;
        let mut devices = self.reached(&before);
        devices.extend(self.reached(&self.apps[app].assignments));
        for device in devices {
            let at = self.next_checkin(device as usize, now);
            self.visits.push(Reverse((at, device, Visit::Product(product))));
        }
    }

    /// `syncDevice`.
    pub(crate) fn ask_to_sync(&mut self, device: usize, now: Time, delay: Duration) {
        let regular = self.next_checkin(device, now);
        let at = if self.devices[device].deaf { regular } else { regular.min(now + delay) };
        self.visits.push(Reverse((at, device as u32, Visit::Sync)));
    }
}

/// Compares versions number by number.
pub(crate) fn newer(a: &str, b: &str) -> bool {
    let parts = |v: &str| v.split('.').map(|p| p.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    parts(a).cmp(&parts(b)) == Ordering::Greater
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn t(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
    }

    fn state() -> State {
        let mut s = State::new("t");
        let seed = Seed { apps: 1, devices: 2, devices_per_app: 2, older: true, ..Seed::default() };
        s.fill(&seed, t(0));
        s.devices[0].phase = t(0);
        s.devices[1].phase = t(10);
        s
    }

    fn versions(s: &State) -> Vec<(String, usize)> {
        let mut v: Vec<_> = s
            .detected
            .iter()
            .filter(|d| !d.devices.is_empty())
            .map(|d| (d.version.clone(), d.devices.len()))
            .collect();
        v.sort();
        v
    }

    #[test]
    fn reports_change_only_at_check_ins() {
        let mut s = state();
        s.apps[1].version = "2.0.0".into();
        let wanted = s.apps[1].assignments.clone();
        s.assign(1, wanted, t(1));
        for (minute, expected) in [
            (5, vec![("1.0.0", 2)]),
            (10, vec![("1.0.0", 1), ("2.0.0", 1)]),
            (29, vec![("1.0.0", 1), ("2.0.0", 1)]),
            (30, vec![("2.0.0", 2)]),
        ] {
            s.settle(t(minute));
            let expected: Vec<_> = expected.into_iter().map(|(v, n)| (v.to_owned(), n)).collect();
            assert_eq!(versions(&s), expected, "minute {minute}");
        }
        assert_eq!((s.last_sync(0, t(35)), s.last_sync(1, t(35))), (t(30), t(10)));
    }

    #[test]
    fn a_sync_makes_a_device_comply_unless_it_is_stubborn_or_deaf() {
        let mut s = state();
        s.devices[0].compliance = "noncompliant";
        s.devices[1].compliance = "noncompliant";
        s.devices[1].stubborn = true;
        for d in 0..2 {
            s.ask_to_sync(d, t(1), Duration::minutes(1));
        }
        s.settle(t(2));
        assert_eq!((s.devices[0].compliance, s.devices[1].compliance), ("compliant", "noncompliant"));
        assert_eq!(s.last_sync(1, t(3)), t(2), "it checked in all the same");
        s.devices[0].deaf = true;
        s.devices[0].compliance = "noncompliant";
        s.ask_to_sync(0, t(3), Duration::minutes(1));
        s.settle(t(29));
        assert_eq!(s.devices[0].compliance, "noncompliant");
        s.settle(t(30));
        assert_eq!(s.devices[0].compliance, "compliant");
    }

    #[test]
    fn a_stuck_app_falls_back() {
        let mut s = state();
        s.apps[1].stuck = Some(Duration::minutes(5));
        s.apps[1].assignments.clear();
        s.assign(1, vec![Assignment::required("g".into())], t(0));
        s.settle(t(4));
        assert_eq!(s.apps[1].assignments.len(), 1);
        s.settle(t(5));
        assert_eq!(s.apps[1].assignments.len(), 0);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(newer("1.10.0", "1.9.9") && !newer("1.0", "1.0") && newer("1.0.1", "1.0"));
    }
}
