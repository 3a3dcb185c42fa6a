//! Computers that check in, computed when somebody looks.
//!
//! # Expected flow
//! A changed scope or a changed group puts visits on the calendar: at its next check-in this computer runs the policies
//! of that application, and reports what it then carries. Every request first lets the visits happen that are due.
//!
//! # Guarantees
//! Between its check-ins a computer's report does not change, except by mischief, which reports at once. As on the real
//! one, a computer that leaves a scope keeps what it has.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use trueup_model::{Duration, Time};

use super::state::{Computer, GROUPS, Policy, PolicyScope, State};

impl Computer {
    /// When it checked in last, by the server's clock or, if the computer's runs ahead, by its own.
    pub(crate) fn last_report(&self, now: Time) -> Time {
        let until = self.silent_since.map_or(now, |since| since.min(now));
        let step = self.interval.num_milliseconds();
        let rounds = (until - self.phase).num_milliseconds().div_euclid(step);
        let regular = self.phase + Duration::milliseconds(rounds * step);
        let last = self.extra.map_or(regular, |extra| extra.max(regular)).min(now);
        if self.ahead { last + Duration::days(3 * 365) } else { last }
    }

    fn next_checkin(&self, after: Time) -> Time {
        let step = self.interval.num_milliseconds();
        let rounds = (after - self.phase).num_milliseconds().div_euclid(step) + 1;
        self.phase + Duration::milliseconds(rounds * step)
    }
}

impl State {
    /// Lets happen what is due.
    pub(crate) fn settle(&mut self, now: Time) {
        self.before.retain(|_, before| before.until > now);
        while let Some(Reverse((at, computer, app))) = self.visits.peek().copied() {
            if at > now {
                return;
            }
            self.visits.pop();
            self.visit(computer, app);
        }
    }

    fn visit(&mut self, id: u32, app: usize) {
        let Some(computer) = self.computers.get(&id) else { return };
        if computer.stubborn || computer.silent_since.is_some() {
            return;
        }
        let reaches = |policy: &&Policy| {
            policy.enabled && !policy.self_service && self.reached(&policy.scope).contains(&id)
        };
        let policies = self.apps[app].policies.iter().filter_map(|p| self.policies.get(p));
        let newest = policies.filter(reaches).map(|p| p.version.clone()).max_by(|a, b| compare(a, b));
        if let Some(version) = newest {
            self.carry(id, app, &version);
        }
        let remedied = |g: &super::state::Group| g.remedies == Some(app) && g.members.contains(&id);
        if self.groups.values().any(remedied) {
            self.apps[app].failing.remove(&id);
        }
    }

    fn expect(&mut self, computers: &BTreeSet<u32>, app: usize, now: Time) {
        for id in computers {
            if let Some(computer) = self.computers.get(id) {
                self.visits.push(Reverse((computer.next_checkin(now), *id, app)));
            }
        }
    }

    /// A policy was changed: whom it reached and whom it reaches will notice.
    pub(crate) fn rescoped(&mut self, policy: u32, before: &PolicyScope, now: Time) {
        let Some(known) = self.policies.get(&policy) else { return };
        let mut computers = self.reached(before);
        computers.extend(self.reached(&known.scope));
        let app = known.app;
        self.expect(&computers, app, now);
    }

    /// These computers joined or left a group.
    pub(crate) fn regrouped(&mut self, group: u32, computers: &BTreeSet<u32>, now: Time) {
        let names = |p: &&Policy| {
            p.scope.targets[GROUPS].contains(&group) || p.scope.exclusions[GROUPS].contains(&group)
        };
        let mut apps: BTreeSet<usize> = self.policies.values().filter(names).map(|p| p.app).collect();
        apps.extend(self.groups.get(&group).and_then(|g| g.remedies));
        for app in apps {
            self.expect(computers, app, now);
        }
    }
}

/// Versions, number by number.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |v: &str| v.split('.').map(|p| p.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jamf::seed::{JamfSeed, computer_id, old_policy_id, policy_id, remedy_group_id};

    fn t(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
    }

    fn state() -> State {
        let mut s = State::new("t");
        let seed = JamfSeed {
            policies: 1,
            computers: 2,
            computers_per_policy: 2,
            older: true,
            ..JamfSeed::default()
        };
        s.fill(&seed, t(0));
        s.computers.get_mut(&computer_id(0)).unwrap().phase = t(0);
        s.computers.get_mut(&computer_id(1)).unwrap().phase = t(10);
        s
    }

    fn versions(s: &State) -> Vec<&str> {
        s.computers.values().map(|c| c.carries[&0].as_str()).collect()
    }

    #[test]
    fn reports_change_only_at_check_ins() {
        let mut s = state();
        let scope = std::mem::take(&mut s.policies.get_mut(&policy_id(0)).unwrap().scope);
        s.policies.get_mut(&old_policy_id(0)).unwrap().scope = scope.clone();
        s.rescoped(old_policy_id(0), &PolicyScope::default(), t(1));
        for (minute, expected) in [
            (9, ["1.0.0", "1.0.0"]),
            (10, ["1.0.0", "0.9.0"]),
            (14, ["1.0.0", "0.9.0"]),
            (15, ["0.9.0", "0.9.0"]),
        ] {
            s.settle(t(minute));
            assert_eq!(versions(&s), expected, "{minute}");
        }
        let last = |s: &State, n, minute| s.computers[&computer_id(n)].last_report(t(minute));
        assert_eq!((last(&s, 0, 29), last(&s, 1, 29)), (t(15), t(25)));
    }

    #[test]
    fn who_leaves_a_scope_keeps_what_it_has() {
        let mut s = state();
        let before = std::mem::take(&mut s.policies.get_mut(&policy_id(0)).unwrap().scope);
        s.rescoped(policy_id(0), &before, t(1));
        s.settle(t(60));
        assert_eq!(versions(&s), ["1.0.0", "1.0.0"]);
    }

    #[test]
    fn the_remedy_group_mends_at_the_next_check_in() {
        let mut s = state();
        s.apps[0].failing.insert(computer_id(0));
        let joined = BTreeSet::from([computer_id(0)]);
        s.groups.get_mut(&remedy_group_id(0)).unwrap().members = joined.clone();
        s.regrouped(remedy_group_id(0), &joined, t(1));
        s.settle(t(14));
        assert_eq!(s.apps[0].failing.len(), 1);
        s.settle(t(15));
        assert_eq!(s.apps[0].failing.len(), 0);
    }
}
