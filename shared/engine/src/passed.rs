//! What passes through the queues.
//!
//! It is counted in the processes and added up about once a second, so that neither enqueueing nor committing waits for it. It
//! is for people: a process that is killed takes its last second of counts with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trueup_model::commit::Committed;
use trueup_model::{Outcome, Queue};

use crate::store::{Ended, NewJob};

/// Length of one measurement, in seconds.
pub const BUCKET_S: u64 = 10;
/// Measurements kept, the current one included.
pub const BUCKETS: usize = 31;

/// Jobs that passed through a queue during one measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Passed {
    /// New in the queue.
    pub enqueued: u64,
    /// Finished.
    pub done: u64,
    /// Put back to wait, at no cost.
    pub deferred: u64,
    /// Put back after a fault that cost an attempt.
    pub retried: u64,
    /// To the dead letters.
    pub dead: u64,
}

impl Passed {
    pub(crate) const FIELDS: [&str; 5] = ["enqueued", "done", "deferred", "retried", "dead"];

    pub(crate) fn values(&self) -> [u64; 5] {
        [self.enqueued, self.done, self.deferred, self.retried, self.dead]
    }

    pub(crate) fn field(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "enqueued" => &mut self.enqueued,
            "done" => &mut self.done,
            "deferred" => &mut self.deferred,
            "retried" => &mut self.retried,
            "dead" => &mut self.dead,
            _ => return None,
        })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.enqueued += other.enqueued;
        self.done += other.done;
        self.deferred += other.deferred;
        self.retried += other.retried;
        self.dead += other.dead;
    }
}

/// What passed through the queues in the last five minutes, by queue: [`BUCKETS`] measurements of [`BUCKET_S`] seconds, the
/// oldest first; the last one is still being made. Queues through which nothing passed are absent.
pub type Flow = BTreeMap<Queue, Vec<Passed>>;

/// What passed per queue in one call.
pub(crate) type Tally = BTreeMap<Queue, Passed>;

/// Counts what was enqueued. A call that named several queues and found some ids taken is counted for the first.
pub(crate) fn tally_enqueued(jobs: &[NewJob], new: u64) -> Tally {
    let mut tally = Tally::new();
    let mut left = new;
    for job in jobs {
        let n = u64::from(left > 0);
        left -= n;
        tally.entry(job.queue).or_default().enqueued += n;
    }
    tally
}

/// Counts what was ended. What follows a job is taken to be new.
pub(crate) fn tally_ended(ended: &[Ended], answers: &[Committed]) -> Tally {
    let mut tally = Tally::new();
    for (end, _) in ended.iter().zip(answers).filter(|(_, a)| **a == Committed::Yes) {
        let of = tally.entry(end.queue).or_default();
        match &end.outcome {
            Outcome::Done(_) => of.done += 1,
            Outcome::Defer { .. } => of.deferred += 1,
            Outcome::Retry { .. } => of.retried += 1,
            Outcome::Dead { .. } => of.dead += 1,
        }
        if let Outcome::Done(commit) = &end.outcome {
            commit.next.iter().for_each(|n| tally.entry(n.queue).or_default().enqueued += 1);
        }
    }
    tally
}
