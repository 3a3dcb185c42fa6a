//! Clocks: of this host, the API, Redis and the workers. Leases go by Redis's alone; due times, ages and windows do not.

use trueup_model::{Duration, Time};

use super::fleet::Worker;
use super::{Check, State};
use crate::text::span;

/// Clocks of hosts may differ by this much, in milliseconds: `Date` has no fractions and answers take time.
const SKEW_MS: i64 = 3_000;
/// Where answers are timed to the millisecond.
const REDIS_SKEW_MS: i64 = 1_000;
/// From here on decisions are wrong: windows open late, what is fresh looks stale.
const WRONG_MS: i64 = 60_000;
const ADVICE: &str = "synchronise the clocks of all hosts (NTP)";

fn state(apart: i64) -> State {
    if apart.abs() > WRONG_MS { State::Bad } else { State::Warning }
}

pub(super) fn api(server: Option<Time>, here: Time) -> Option<Check> {
    let apart = (here - server?).num_milliseconds();
    if apart.abs() <= SKEW_MS {
        return Some(Check::ok("clock", "this host and the API agree"));
    }
    let found = format!("this host and the API differ by {}", span(apart.unsigned_abs()));
    Some(Check::not(State::Warning, "clock", found, ADVICE))
}

/// Nothing where the store has no clock of its own.
pub(super) fn redis(skew_ms: Option<i64>) -> Option<Check> {
    let apart = skew_ms?;
    if apart.abs() <= REDIS_SKEW_MS {
        return Some(Check::ok("clock of redis", "the API and Redis agree"));
    }
    let side = if apart > 0 { "ahead of" } else { "behind" };
    let found = format!("the API is {} {side} Redis", span(apart.unsigned_abs()));
    Some(Check::not(state(apart), "clock of redis", found, ADVICE))
}

/// `now`: by the clock that the API decides by, when it answered; `date`: by its host's. Nothing where those differ: in a demo
/// whose clock runs faster, half a second on the way is minutes.
pub(super) fn workers(workers: &[Worker], now: Time, date: Option<Time>) -> Vec<Check> {
    let mut checks = Vec::new();
    if date.is_some_and(|date| (now - date).num_milliseconds().abs() > SKEW_MS) {
        return checks;
    }
    let mut agree = 0;
    for worker in workers.iter().filter(|w| !w.late) {
        let Some(clock) = worker.report.as_ref().and_then(|r| r.clock) else { continue };
        let said = now - Duration::milliseconds(i64::try_from(worker.last_beat_ms).unwrap_or(i64::MAX / 2));
        let apart = (clock - said).num_milliseconds();
        if apart.abs() <= SKEW_MS {
            agree += 1;
            continue;
        }
        let side = if apart > 0 { "ahead of" } else { "behind" };
        let found = format!("{} is {} {side} the API", worker.name(), span(apart.unsigned_abs()));
        checks.push(Check::not(state(apart), "clock of worker", found, ADVICE));
    }
    if checks.is_empty() && agree > 0 {
        checks.push(Check::ok("clock of workers", "the workers and the API agree"));
    }
    checks
}
