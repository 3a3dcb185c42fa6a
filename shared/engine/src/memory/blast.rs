//! The blast-radius switches, kept in partition 0.

use std::collections::BTreeMap;

use trueup_model::{PlaneKind, Reserved, Time, Trip};

use crate::blast::{self, Limits, MINUTE, Tripped};
use crate::store::By;

use super::part::Part;

/// One switch: who has taken a place when, and how it tripped.
#[derive(Debug, Default)]
pub(super) struct Switch {
    places: BTreeMap<String, Time>,
    tripped: Option<Tripped>,
}

pub(super) type Switches = BTreeMap<(String, PlaneKind), Switch>;

impl Switch {
    fn reserve(
        &mut self,
        tenant: &str,
        plane: PlaneKind,
        limits: &Limits,
        member: &str,
        now: Time,
    ) -> Reserved {
        if self.places.contains_key(member) {
            return Reserved::Granted;
        }
        if let Some(tripped) = &self.tripped {
            return tripped.answer(tenant, plane, member);
        }
        let at = self.places.values().copied().max().map_or(now, |newest| newest.max(now));
        for (limit, window) in [(&limits.in_window, limits.window), (&limits.in_minute, MINUTE)] {
            let taken = self.places.values().filter(|t| **t > at - window).count();
            if let Some(limit) = limit.as_ref().filter(|l| taken >= l.places as usize) {
                let tripped = Tripped { at: now, cap: limit.text.clone(), member: member.to_owned() };
                let answer = tripped.answer(tenant, plane, member);
                self.tripped = Some(tripped);
                return answer;
            }
        }
        if limits.in_window.is_some() || limits.in_minute.is_some() {
            self.places.retain(|_, t| *t >= at - limits.kept);
            self.places.insert(member.to_owned(), at);
        }
        Reserved::Granted
    }
}

impl Part {
    pub(super) fn reserve(
        &mut self,
        tenant: &str,
        plane: PlaneKind,
        limits: &Limits,
        member: &str,
        now: Time,
    ) -> Reserved {
        let switch = self.switches.entry((tenant.to_owned(), plane)).or_default();
        switch.reserve(tenant, plane, limits, member, now)
    }

    pub(super) fn rearm(&mut self, tenant: &str, plane: PlaneKind, by: &By) -> bool {
        let key = (tenant.to_owned(), plane);
        let Some(tripped) = self.switches.get_mut(&key).and_then(|s| s.tripped.take()) else { return false };
        self.switches.remove(&key);
        self.append(blast::rearmed(tenant, plane, Some(&tripped), by));
        true
    }

    pub(super) fn trips(&self) -> Vec<Trip> {
        let shown = |((tenant, plane), switch): (&(String, PlaneKind), &Switch)| {
            switch.tripped.as_ref().map(|t| t.shown(tenant, *plane))
        };
        self.switches.iter().filter_map(shown).collect()
    }
}
