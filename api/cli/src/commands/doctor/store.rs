//! The API, the Redis behind it, and the archive of events.

use serde::Deserialize;
use trueup_engine::Preflight;

use super::{Check, State};
use crate::text::count;

/// Events of one partition that an archive may be behind: what it copies in a minute at full load.
const BEHIND: u64 = 50_000;
/// Events in Redis beyond which a fleet without an archive should think of one.
const MANY: u64 = 1_000_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Health {
    pub(super) version: String,
    pub(super) partitions: u16,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) store: Preflight,
    /// What could not be asked, and why.
    #[serde(default)]
    pub(super) missing: Vec<String>,
}

/// What is not known is null.
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Preflight, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

pub(super) fn api(health: &Health, url: &str) -> Check {
    let mine = env!("CARGO_PKG_VERSION");
    if health.version == mine {
        return Check::ok("api", format!("version {mine} answers at {url}"));
    }
    let found = format!("version {} answers at {url}, this program is {mine}", health.version);
    Check::not(State::Warning, "api", found, "use the same version on both sides")
}

pub(super) fn redis(health: &Health) -> Vec<Check> {
    // Each says what was found; what to do.
    let what = |text: &String, state| {
        let (found, advice) = text.split_once("; ").unwrap_or((text, "see the log of the API at its start"));
        Check::not(state, "redis", found, advice)
    };
    let store = &health.store;
    let missing = health.missing.iter().find(|m| m.starts_with("store: "));
    let mut checks: Vec<Check> = store.refused.iter().map(|r| what(r, State::Bad)).collect();
    checks.extend(store.warnings.iter().map(|w| what(w, State::Warning)));
    checks.extend(missing.map(|m| {
        let advice = "see whether it runs and can be reached from the host of the API";
        Check::not(State::Bad, "redis", m.trim_start_matches("store: "), advice)
    }));
    if checks.is_empty() {
        let partitions = count(usize::from(health.partitions), "partition");
        checks.push(Check::ok("redis", format!("{} is safe to use, {partitions}", store.server)));
    }
    checks
}

/// Nothing where the store keeps no history.
pub(super) fn archive(health: &Health) -> Option<Check> {
    let events = health.store.events?;
    Some(match health.store.archive_behind {
        Some(behind) if behind > BEHIND => {
            let found =
                format!("{behind} events of one partition are not archived yet, {events} are in Redis");
            let advice = "see the logs of the workers with `archive` in their configuration: space and permissions of \
                          the folder, and that one of them runs";
            Check::not(State::Bad, "archive", found, advice)
        }
        Some(_) => Check::ok("archive", format!("up to date, {events} events in Redis")),
        None if events > MANY => {
            let found = format!("{events} events are in Redis, and no archive takes them out");
            Check::not(State::Warning, "archive", found, "set `archive` in the configuration of a worker")
        }
        None => Check::ok("archive", format!("none; {events} events in Redis")),
    })
}
