//! The three writes of an intent's state: a run begins, goes on, ends.
//!
//! # Guarantees
//! Whoever writes names the `rev` it saw, so two writers cannot both win. While a run holds an intent, the intent is
//! due at the run's deadline: a run that is lost is found by the same index that finds what is due. Every end leaves
//! the intent due at its next check or look; if it is not reconciled any more, at once and then never.

use trueup_model::{
    ActiveRun, Attempts, Condition, Criticality, Duration, IntentKey, IntentRecord, IntentState, RunId, Time,
    Write, run::Illegal,
};

/// The first time strictly after `now` in this intent's own rhythm: `k * interval + spread * interval` since the epoch.
/// It depends on nothing but the intent, so checks stay spread however a fleet was applied or restarted.
pub fn next_slot(key: &IntentKey, criticality: Criticality, now: Time) -> Time {
    let interval = criticality.interval().num_milliseconds().max(1);
    let offset = (key.spread() * interval as f64) as i64;
    let now_ms = now.timestamp_millis();
    let passed = (now_ms - offset).rem_euclid(interval);
    now + Duration::milliseconds(interval - passed)
}

/// A run takes hold of an intent.
pub fn begin(record: &IntentRecord, run: ActiveRun, now: Time, deadline: Duration) -> Result<Write, Illegal> {
    let mut state = record.state.clone().begin(run)?;
    state.next_check = Some(next_slot(&record.intent.key, record.intent.criticality, now));
    Ok(write(record, state, Some(now + deadline), false))
}

/// The run goes on with another job.
pub fn hold(record: &IntentRecord, state: IntentState, deadline: Duration) -> Write {
    let due = state.run.as_ref().map(|run| run.started_at + deadline);
    write(record, state, due, false)
}

/// The run ends; `look_at` is when somebody must look again before the next check.
pub fn close(
    record: &IntentRecord,
    state: IntentState,
    run: &RunId,
    look_at: Option<Time>,
    now: Time,
) -> Result<Write, Illegal> {
    let mut state = state.end(run, now)?;
    state.look_at = look_at;
    if state.next_check.is_some_and(|t| t <= now) {
        state.missed += 1;
    }
    let reconciled = record.intent.status.is_reconciled();
    // What is known of it is closed by a sweep, if there is anything.
    let due = if reconciled { state.due() } else { Some(now).filter(|_| !state.drifts.is_empty()) };
    Ok(write(record, state, due, true))
}

/// Not reconciled: no run, no known drift, no ladder, never due.
pub fn forget(record: &IntentRecord, now: Time) -> Write {
    let mut state = record.state.clone();
    let ends_run = state.run.take().is_some();
    state.now_is(Condition::Unknown, now);
    state.drifts.clear();
    state.ignored.clear();
    state.attempts = Attempts::default();
    state.look_at = None;
    write(record, state, None, ends_run)
}

/// As it is, but due at another time.
pub fn postpone(record: &IntentRecord, due: Option<Time>) -> Write {
    write(record, record.state.clone(), due, false)
}

fn write(record: &IntentRecord, state: IntentState, due: Option<Time>, ends_run: bool) -> Write {
    Write::State { intent: record.intent.key.clone(), rev: record.rev, state: Box::new(state), due, ends_run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::DateTime;

    #[test]
    fn slots_are_one_interval_apart_and_strictly_later() {
        let key = IntentKey::new("acme", "chrome");
        for criticality in Criticality::ALL {
            for minutes in 0..600 {
                let now = DateTime::UNIX_EPOCH + Duration::minutes(minutes);
                let slot = next_slot(&key, criticality, now);
                assert!(slot > now && slot <= now + criticality.interval());
                assert_eq!(next_slot(&key, criticality, slot), slot + criticality.interval());
                assert_eq!(next_slot(&key, criticality, slot - Duration::milliseconds(1)), slot);
            }
        }
    }

    #[test]
    fn slots_of_a_fleet_are_spread_over_the_interval() {
        let now = DateTime::UNIX_EPOCH;
        let mut per_minute = [0_u32; 61];
        for n in 0..6_000 {
            let slot = next_slot(&IntentKey::new("acme", format!("app-{n}")), Criticality::Standard, now);
            per_minute[usize::try_from((slot - now).num_minutes()).unwrap()] += 1;
        }
        assert!(per_minute[..60].iter().all(|n| (50..=160).contains(n)), "{per_minute:?}");
    }
}
