//! The blast-radius switch: what both stores need to know of caps, and what they keep of a trip.
//!
//! # Guarantees
//! - A member has one answer, however often it asks: a place that was granted stays granted, also after a trip; the one
//!   that tripped the switch is always told that it was the one. A place is remembered for its window, and an hour at least.
//! - Time never goes backwards: a caller whose clock is behind counts, and is counted, at the time of the newest place
//!   taken, so that skewed clocks can only hold back earlier, never let more through.
//! - A tripped switch stays tripped until it is rearmed, whatever the caps become.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use trueup_model::{Caps, Event, EventId, EventKind, PlaneKind, Reserved, Time, Trip};

use crate::store::By;

/// A place is remembered at least this long, so that a job that is tried again does not take another.
const AT_LEAST: TimeDelta = TimeDelta::hours(1);
/// Length of the window of `Caps::per_minute`.
pub(crate) const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Longest name of a member, in bytes.
pub(crate) const MAX_MEMBER: usize = 512;

/// One cap: how many places in its window, and how people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) places: u32,
    pub(crate) text: String,
}

/// The caps as they apply to a tenant with that many intents on the plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) window: TimeDelta,
    /// How long a place is remembered.
    pub(crate) kept: TimeDelta,
    pub(crate) in_window: Option<Limit>,
    pub(crate) in_minute: Option<Limit>,
}

impl Limits {
    pub(crate) fn of(caps: &Caps, intents: u64) -> Self {
        let window = TimeDelta::seconds(i64::from(caps.window_s));
        let in_window = caps.within_window(intents).map(|places| {
            let what = match caps.percent {
                Some(percent) if caps.actions != Some(places) => {
                    let share = format!("{percent} % of {}", counted(intents, "intent"));
                    if places == caps.at_least {
                        format!("{share}, at least {},", grouped(places.into()))
                    } else {
                        format!("{share} ({})", grouped(places.into()))
                    }
                }
                _ => counted(places.into(), "attempt"),
            };
            Limit { places, text: format!("{what} in {}", span(caps.window_s)) }
        });
        let in_minute = caps.per_minute.map(|places| Limit {
            places,
            text: format!("{} in a minute", counted(places.into(), "attempt")),
        });
        Self { window, kept: window.max(AT_LEAST), in_window, in_minute }
    }
}

fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `1,234,567`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn span(seconds: u32) -> String {
    match seconds {
        s if s % 3600 == 0 && s > 3600 => format!("{} h", s / 3600),
        s if s % 60 == 0 && s > 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// A trip as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tripped {
    pub(crate) at: Time,
    pub(crate) cap: String,
    /// Whose asking tripped it.
    pub(crate) member: String,
}

impl Tripped {
    pub(crate) fn shown(&self, tenant: &str, plane: PlaneKind) -> Trip {
        Trip { tenant: tenant.to_owned(), plane, at: self.at, cap: self.cap.clone() }
    }
    pub(crate) fn answer(&self, tenant: &str, plane: PlaneKind, member: &str) -> Reserved {
        Reserved::Held { trip: self.shown(tenant, plane), first: self.member == member }
    }
}

/// The audit event of a rearming.
pub(crate) fn rearmed(tenant: &str, plane: PlaneKind, tripped: Option<&Tripped>, by: &By) -> Event {
    let kind = EventKind::BlastRadiusRearmed;
    let at = by.now.timestamp_millis().to_string();
    let id = EventId::derive(&[kind.as_str(), tenant, plane.as_str(), by.correlation_id.as_str(), &at]);
    let data = serde_json::json!({
        "plane": plane,
        "cap": tripped.map(|t| &t.cap),
        "tripped_at": tripped.map(|t| t.at),
    });
    by.event(id, kind, tenant, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_told_as_people_say_them() {
        let none = Caps { window_s: 3600, ..Caps::default() };
        let actions = |n| Caps { actions: Some(n), ..none.clone() };
        let percent = |p, at_least| Caps { percent: Some(p), at_least, ..none.clone() };
        let table = [
            (none.clone(), 9, None),
            (actions(100), 9, Some((100, "100 attempts in 60 min"))),
            (actions(1), 9, Some((1, "1 attempt in 60 min"))),
            (Caps { window_s: 86_400, ..actions(12_345) }, 9, Some((12_345, "12,345 attempts in 24 h"))),
            (Caps { window_s: 90, ..actions(5) }, 9, Some((5, "5 attempts in 90 s"))),
            (percent(10.0, 5), 1_234, Some((123, "10 % of 1,234 intents (123) in 60 min"))),
            (percent(2.5, 5), 1_000_000, Some((25_000, "2.5 % of 1,000,000 intents (25,000) in 60 min"))),
            (percent(10.0, 5), 12, Some((5, "10 % of 12 intents, at least 5, in 60 min"))),
            (Caps { percent: Some(10.0), ..actions(100) }, 1_234, Some((100, "100 attempts in 60 min"))),
            (
                Caps { percent: Some(10.0), ..actions(200) },
                1_234,
                Some((123, "10 % of 1,234 intents (123) in 60 min")),
            ),
        ];
        for (caps, intents, expected) in table {
            let expected = expected.map(|(places, text)| Limit { places, text: text.to_owned() });
            assert_eq!(Limits::of(&caps, intents).in_window, expected, "{caps:?} of {intents}");
        }
        let minute = Limits::of(&Caps { per_minute: Some(30), ..Caps::default() }, 0);
        assert_eq!(minute.in_minute, Some(Limit { places: 30, text: "30 attempts in a minute".into() }));
        assert_eq!((minute.in_window, minute.kept), (None, AT_LEAST));
    }
}
