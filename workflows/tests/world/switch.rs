//! The blast-radius switch, as the engine promises it.

use std::collections::BTreeMap;

use trueup_model::{Caps, Duration, EffectKey, PlaneKind, Reserved, Time, Trip};

#[derive(Default)]
pub struct FakeSwitch {
    /// Since it was rearmed.
    answers: BTreeMap<EffectKey, Reserved>,
    taken: Vec<(String, PlaneKind, Time)>,
    tripped: BTreeMap<(String, PlaneKind), Trip>,
    /// How often a place was asked for, was given, and how often it tripped.
    pub asked: usize,
    pub granted: usize,
    pub trips: usize,
}

impl FakeSwitch {
    pub fn reserve(
        &mut self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        intents: u64,
        key: &EffectKey,
        now: Time,
    ) -> Reserved {
        self.asked += 1;
        if let Some(answer) = self.answers.get(key) {
            return answer.clone();
        }
        let place = (tenant.to_owned(), plane);
        if let Some(trip) = self.tripped.get(&place) {
            return Reserved::Held { trip: trip.clone(), first: false };
        }
        let within = |span: Duration| {
            let mine =
                self.taken.iter().filter(|(t, p, at)| (t, *p) == (&place.0, plane) && now - *at < span);
            u32::try_from(mine.count()).unwrap()
        };
        let window = Duration::seconds(i64::from(caps.window_s));
        let over = [
            (caps.within_window(intents), within(window), "window"),
            (caps.per_minute, within(Duration::minutes(1)), "minute"),
        ];
        let cap = over
            .into_iter()
            .find_map(|(cap, n, of)| cap.filter(|c| n >= *c).map(|c| format!("{c} per {of}")));
        let answer = match cap {
            None => {
                self.taken.push((tenant.to_owned(), plane, now));
                self.granted += 1;
                Reserved::Granted
            }
            Some(cap) => {
                let trip = Trip { tenant: tenant.to_owned(), plane, at: now, cap };
                self.tripped.insert(place, trip.clone());
                self.trips += 1;
                Reserved::Held { trip, first: true }
            }
        };
        self.answers.insert(key.clone(), answer.clone());
        answer
    }

    /// Whether it had tripped.
    pub fn rearm(&mut self, tenant: &str, plane: PlaneKind) -> bool {
        let tripped = self.tripped.remove(&(tenant.to_owned(), plane)).is_some();
        self.taken.retain(|(t, p, _)| (t.as_str(), *p) != (tenant, plane));
        self.answers.retain(|_, answer| *answer == Reserved::Granted);
        tripped
    }
}
