//! Caps: how much may be remediated automatically at once (the blast radius).

use serde::Serialize;
use trueup_model::{Caps, Duration, Intent};

use super::conditions::Conditions;
use super::read::Section;
use super::schedule::seconds;

/// Caps are kept per tenant and plane, so they can be told apart by nothing else.
const FOR: &[&str] = &["tenants", "planes"];

/// Caps on automatic attempts of one tenant on one plane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Cap {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Within `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actions: Option<u32>,
    /// Of the tenant's intents on the plane, within `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) percent: Option<f64>,
    /// `percent` never means fewer.
    pub(super) at_least: u32,
    #[serde(serialize_with = "seconds")]
    pub(super) window: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_minute: Option<u32>,
    pub(super) conditions: Conditions,
}

impl Cap {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = section.has("name").then(|| super::names::read(section, "cap"));
        section.expect(&["name"]);
        let cap = Self {
            name,
            actions: section.number("actions"),
            percent: section.percent("percent"),
            at_least: section.number("at_least").unwrap_or(1),
            window: section
                .duration("window", Duration::minutes(1), Duration::days(7))
                .unwrap_or(Duration::hours(1)),
            per_minute: section.number("per_minute"),
            conditions: Conditions::read(section, FOR),
        };
        if cap.actions.is_none() && cap.percent.is_none() && cap.per_minute.is_none() {
            section.lacks("actions", "it caps nothing; give at least one of actions, percent, per_minute");
        }
        Some(cap)
    }
}

/// The strictest of each field, over all that match: the fewest attempts within the longest window.
pub(super) fn of(caps: &[Cap], intent: &Intent) -> Option<Caps> {
    let mut matching = caps.iter().filter(|c| c.conditions.intent(intent));
    let start = Caps { at_least: u32::MAX, ..Caps::default() };
    let first = matching.next()?;
    let all = std::iter::once(first).chain(matching).fold(start, |all, cap| Caps {
        actions: least(all.actions, cap.actions),
        percent: match (all.percent, cap.percent) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        // Only where it says something: a cap without a percentage is no say in it.
        at_least: if cap.percent.is_some() { all.at_least.min(cap.at_least) } else { all.at_least },
        window_s: match (cap.actions, cap.percent) {
            (None, None) => all.window_s,
            _ => all.window_s.max(u32::try_from(cap.window.num_seconds()).unwrap_or(u32::MAX)),
        },
        per_minute: least(all.per_minute, cap.per_minute),
    });
    let at_least = if all.percent.is_some() { all.at_least } else { 0 };
    Some(Caps { at_least, window_s: all.window_s.max(60), ..all })
}

fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
