//! How often a job is tried, and what becomes of it when that was in vain. One table, pure.
//!
//! # Decides
//! Waiting for a plane costs no try. What may pass by itself is tried a few times, what is ours three times, what nobody
//! but people can change once. A message to people is worth hours. The tick is tried for ever: without it nothing would be
//! found any more; so is the collection of notices: without it people would not be told any more.
//! # Guarantees
//! `remediate` and `notify` know their last try ([`is_last`]) and turn it into a fact, so that an attempt that could not
//! be made counts on the ladder, and a message that could not be sent is told of. Any other job goes to the dead letters,
//! and its runs are begun anew after their deadline.

use trueup_model::{Duration, Fault, Job, Outcome, StepName, Time, job};

/// The shortest wait after a fault; it doubles.
const FIRST_WAIT: Duration = Duration::seconds(5);
/// What a plane says about waiting is believed between a second and an hour, so that no answer can make a job spin or
/// sleep for good.
const BELIEVED: (Duration, Duration) = (Duration::seconds(1), Duration::hours(1));

/// How many tries a job has when they end like this.
pub fn tries(step: StepName, fault: &Fault) -> u32 {
    match (fault, step) {
        (Fault::Throttled { .. } | Fault::Away { .. }, _) => u32::MAX,
        (Fault::Transient { .. }, StepName::Notify) => 20,
        (Fault::Transient { .. }, _) => 8,
        (Fault::Bug { .. }, _) => 3,
        (Fault::Permanent { .. }, _) => 1,
    }
}

/// Whether this try, which ended like this, was the last one.
pub(crate) fn is_last(step: StepName, fault: &Fault, attempt: u32) -> bool {
    attempt >= tries(step, fault)
}

/// The longest wait between two tries.
fn longest_wait(step: StepName) -> Duration {
    match step {
        StepName::Notify => Duration::minutes(10),
        _ => Duration::seconds(320),
    }
}

/// What becomes of a job whose gathering ended in a fault. `attempt` counts from 1.
pub fn after(job: &Job, fault: &Fault, attempt: u32, now: Time) -> Outcome {
    let because = fault.to_string();
    if let Fault::Throttled { until, .. } | Fault::Away { until, .. } = fault {
        let at = (*until).clamp(now + BELIEVED.0, now + BELIEVED.1);
        return Outcome::Defer { at, because: Some(because) };
    }
    let step = job.step();
    let is_endless = matches!(
        job,
        Job::Sweep(job::Sweep { only: None, .. }) | Job::Notify(job::Notify { deliver: None, .. })
    );
    if is_last(step, fault, attempt) && !is_endless {
        return Outcome::Dead { because };
    }
    let doubled = FIRST_WAIT * 2_i32.pow(attempt.saturating_sub(1).min(10));
    Outcome::Retry { at: now + doubled.min(longest_wait(step)), because }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::{DateTime, Delivery, Partition};

    fn waits(job: &Job, fault: &Fault) -> (Vec<i64>, Option<String>) {
        let mut waits = Vec::new();
        for attempt in 1..100 {
            match after(job, fault, attempt, DateTime::UNIX_EPOCH) {
                Outcome::Retry { at, .. } | Outcome::Defer { at, .. } => waits.push(at.timestamp()),
                Outcome::Dead { because } => return (waits, Some(because)),
                Outcome::Done(commit) => panic!("{commit:?}"),
            }
        }
        (waits, None)
    }

    #[test]
    fn each_kind_of_fault_has_its_tries_and_waits() {
        let sweep = |only| Job::Sweep(job::Sweep { partition: Partition(0), only, correlation_id: None });
        let (tick, request) = (sweep(None), sweep(Some(vec![])));
        let collect = Job::Notify(job::Notify { deliver: None, kept: None });
        let (channel, tenant) = ("people".to_owned(), "acme".to_owned());
        let delivery = Delivery { channel, tenant, at: DateTime::UNIX_EPOCH, groups: vec![] };
        let notify = Job::Notify(job::Notify { deliver: Some(delivery), kept: None });
        let short: &[i64] = &[5, 10, 20, 40, 80, 160, 320];
        assert_eq!(waits(&request, &Fault::transient("502")), (short.to_vec(), Some("502".into())));
        assert_eq!(waits(&request, &Fault::bug("x")), (vec![5, 10], Some("bug: x".into())));
        assert_eq!(waits(&request, &Fault::permanent("403")), (vec![], Some("403".into())));

        let (told, dead) = waits(&notify, &Fault::transient("502"));
        assert_eq!((told.len(), dead), (19, Some("502".into())));
        assert_eq!(told.iter().sum::<i64>(), 635 + 12 * 600, "hours, not minutes");

        for fault in [Fault::transient("502"), Fault::bug("x"), Fault::permanent("403")] {
            let (times, dead) = waits(&tick, &fault);
            assert_eq!((times.len(), times[98], dead), (99, 320, None), "a tick never ends");
            let (times, dead) = waits(&collect, &fault);
            assert_eq!((times.len(), times[98], dead), (99, 600, None), "nor does collecting");
        }
    }

    #[test]
    fn waiting_costs_no_try_and_is_believed_within_bounds() {
        let job = Job::Notify(job::Notify { deliver: None, kept: None });
        for (asked, believed) in [(-5, 1), (90, 90), (90_000, 3_600)] {
            let until = DateTime::UNIX_EPOCH + Duration::seconds(asked);
            let fault = Fault::Throttled { until, what: "429".into() };
            let Outcome::Defer { at, because } = after(&job, &fault, 50, DateTime::UNIX_EPOCH) else {
                panic!("not deferred")
            };
            assert_eq!(at.timestamp(), believed);
            assert!(because.is_some_and(|b| b.contains("429")));
        }
    }
}
