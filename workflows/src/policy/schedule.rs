//! A recurring span of time: cron, duration, zone.
//!
//! # Guarantees
//! Starts follow the clocks of the zone: a start in the hour that spring leaves out moves to the end of that hour; one in
//! the hour that autumn repeats is at its first pass (a pattern like `*/5` runs through both). The duration is time as it
//! passes, so on such a night a span ends an hour earlier or later by the clock on the wall.

use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::Serialize;
use trueup_model::{DateTime, Duration, Time};

use super::read::{Section, shown};

/// Longest span.
pub(super) const MAX_SPAN: Duration = Duration::days(366);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Schedule {
    /// Five fields.
    pub(super) cron: String,
    #[serde(serialize_with = "seconds")]
    pub(super) duration: Duration,
    /// IANA name.
    #[serde(serialize_with = "name")]
    pub(super) zone: Tz,
    #[serde(skip)]
    pattern: Cron,
}

pub(super) fn seconds<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_i64(d.num_seconds())
}

fn name<S: serde::Serializer>(zone: &Tz, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(zone.name())
}

/// From which a pattern must have an occurrence within [`TRIED`]: any fixed time does, and reading has no clock.
const REFERENCE: Time = DateTime::from_timestamp(1_704_067_200, 0).expect("2024-01-01T00:00:00Z");
/// Leap days are at most eight years apart; one on a given weekday, at most 40.
const TRIED: Duration = Duration::days(41 * 366);

/// From 1900 to 4899: far from the edges of every calendar involved.
const KNOWN: std::ops::Range<i64> = -2_208_988_800..92_460_000_000;

impl Schedule {
    /// Takes `cron`, `duration` and `zone`; nothing if one of them is wrong.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let (text, at) = section.needed("cron");
        let pattern = (!text.is_empty()).then(|| parse(&text)).and_then(|parsed| {
            parsed.map_err(|why| section.flaw(at.clone(), "cron", &format!("'{text}': {why}"))).ok()
        });
        if !section.has("duration") {
            section.lacks("duration", "is missing");
        }
        let duration = section.duration("duration", Duration::minutes(1), MAX_SPAN);
        let (named, zone_at) = section.needed("zone");
        let zone = if named.is_empty() { None } else { named.parse::<Tz>().ok() };
        if zone.is_none() && !named.is_empty() {
            let why = format!(
                "unknown time zone '{named}' (a name of the IANA database, like Europe/Berlin or UTC)"
            );
            section.flaw(zone_at, "zone", &why);
        }
        let cron = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let schedule = Self { cron, duration: duration?, zone: zone?, pattern: pattern? };
        if schedule.next(REFERENCE).is_none_or(|t| t - REFERENCE > TRIED) {
            section.flaw(at, "cron", &format!("'{text}' never comes"));
            return None;
        }
        Some(schedule)
    }

    /// Whether it goes on for ever once it has begun: each occurrence begins before the one before it has ended.
    pub(super) fn never_ends(&self) -> bool {
        let Some(mut end) = self.next(REFERENCE) else { return false };
        let horizon = end + MAX_SPAN * 2;
        while let Some(later) = self.until(end) {
            if later >= horizon {
                return true;
            }
            end = later;
        }
        false
    }

    /// The end of the span that `t` is in.
    pub(super) fn until(&self, t: Time) -> Option<Time> {
        // The latest start has the latest end: all spans are equally long.
        let start = self.pattern.find_previous_occurrence(&self.local(t)?, true).ok()?;
        let end = start.to_utc().checked_add_signed(self.duration)?;
        (end > t).then_some(end)
    }

    /// The first start after `t`.
    pub(super) fn next(&self, t: Time) -> Option<Time> {
        let next = self.pattern.find_next_occurrence(&self.local(t)?, false).ok()?;
        Some(next.to_utc())
    }

    /// By the clocks of the zone, without fractions of a second, which no start has. None: far from any time that is
    /// meant, at the edge of the calendar.
    fn local(&self, t: Time) -> Option<DateTime<Tz>> {
        let known = KNOWN.contains(&t.timestamp());
        known
            .then(|| DateTime::from_timestamp(t.timestamp(), 0))
            .flatten()
            .map(|t| t.with_timezone(&self.zone))
    }

    /// `0 22 * * 1-5 for 8h (Europe/Berlin)`
    pub(super) fn words(&self) -> String {
        format!("{} for {} ({})", self.cron, shown(self.duration), self.zone.name())
    }
}

fn parse(text: &str) -> Result<Cron, String> {
    if text.split_whitespace().count() != 5 {
        return Err("expected five fields: minute, hour, day of month, month, day of week".into());
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        // Both, where both are given, as in every cron: `0 2 13 * 5` is each 13th and each Friday.
        .dom_and_dow(false)
        .build();
    parser.parse(text).map_err(|e| e.to_string())
}
