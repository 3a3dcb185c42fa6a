//! One partition: its queues, workers, intents and events; and what happens to jobs in it.
//!
//! # Guarantees
//! Each method is one atomic operation of the store, as one script is in Redis: it runs under the store's lock and
//! either refuses before its first write or carries out everything.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::{Duration, Event, IntentKey, JobId, Partition, Queue, Time};

use crate::store::{Beat, Incarnation, LeasedJob, Leases, NewJob};

use super::blast::Switches;
use super::intents::Kept;
use super::outbox::Outbox;
use super::queue::{QueueState, To};
use super::{DEAD_AFTER, MAX_JOBS};
use crate::MAX_RESCUES;

/// What the two clocks show during one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Times leases, heartbeats and ages.
    pub(super) lease: Time,
    /// Times what has a meaning to the user: the engine's own events.
    pub(super) event: Time,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: Partition,
    pub(super) queues: BTreeMap<Queue, QueueState>,
    /// With their last heartbeat on the lease clock.
    pub(super) workers: BTreeMap<Incarnation, Time>,
    /// Declared dead and not told yet.
    tombstones: BTreeSet<Incarnation>,
    pub(super) intents: BTreeMap<IntentKey, Kept>,
    /// Index over `Kept::due`.
    pub(super) due: BTreeSet<(Time, IntentKey)>,
    pub(super) events: Vec<Event>,
    pub(super) outbox: Outbox,
    /// Only in partition 0.
    pub(super) switches: Switches,
}

impl Part {
    pub(super) fn new(id: Partition) -> Self {
        Self {
            id,
            queues: Queue::all().into_iter().map(|q| (q, QueueState::default())).collect(),
            workers: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            intents: BTreeMap::new(),
            due: BTreeSet::new(),
            events: Vec::new(),
            outbox: Outbox::default(),
            switches: Switches::new(),
        }
    }

    pub(super) fn queue(&mut self, queue: Queue) -> &mut QueueState {
        self.queues.entry(queue).or_default()
    }

    pub(super) fn take_woke(&mut self) -> bool {
        self.queues.values_mut().fold(false, |woke, q| q.take_woke() | woke)
    }

    pub(super) fn enqueue(&mut self, jobs: &[NewJob], at: Now) -> u64 {
        let mut new = 0;
        for job in jobs {
            let queue = self.queue(job.queue);
            new +=
                u64::from(queue.add(&job.id, job.payload.clone(), job.traceparent.clone(), job.at, at.lease));
        }
        new
    }

    /// A worker that leases is known from then on, beat or not: what it holds must be found when it dies. One that was
    /// declared dead gets nothing, and its next beat still tells it so.
    pub(super) fn lease(
        &mut self,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
        at: Now,
    ) -> Leases {
        let mut leases = Leases::default();
        if self.tombstones.contains(who) {
            return leases;
        }
        self.workers.entry(who.clone()).or_insert(at.lease);
        for &(queue, n) in wanted {
            let state = self.queue(queue);
            if state.paused {
                continue;
            }
            state.promote(now, at.lease);
            for _ in 0..n.min(MAX_JOBS) {
                let Some(id) = state.first_ready() else { break };
                state.put(&id, To::Worker(who.clone()));
                if let Some(job) = state.get(&id) {
                    leases.jobs.push(LeasedJob {
                        id,
                        queue,
                        payload: job.payload.clone(),
                        attempts: job.attempts,
                        rescued: job.rescued,
                        traceparent: job.traceparent.clone(),
                    });
                }
            }
            let next = state.next_due();
            leases.more |= state.first_ready().is_some() || next.is_some_and(|due| due <= now);
            leases.next_due = [leases.next_due, next].into_iter().flatten().min();
        }
        leases
    }

    /// To the front, in the order in which they are given; what the worker does not hold is passed over.
    pub(super) fn give_back(&mut self, who: &Incarnation, jobs: &[(JobId, Queue)]) {
        for (id, queue) in jobs.iter().rev() {
            let state = self.queue(*queue);
            if state.is_held_by(id, who) {
                state.put(id, To::Front);
            }
        }
    }

    pub(super) fn beat(&mut self, who: &Incarnation, at: Now) -> Beat {
        if self.tombstones.remove(who) {
            return Beat { declared_dead: true, ..Beat::default() };
        }
        let before = self.workers.insert(who.clone(), at.lease);
        let mut beat = Beat::default();
        // Who was silent itself cannot tell who else is dead, and waits for its next beat.
        if before.is_none_or(|last| at.lease - last <= dead_after()) {
            let silent = |last: &Time| at.lease - *last > dead_after();
            let gone: Vec<_> =
                self.workers.iter().filter(|(_, last)| silent(last)).map(|(w, _)| w.clone()).collect();
            let mut left = MAX_JOBS;
            for dead in gone.into_iter().take(16) {
                self.rescue(dead, &mut left, &mut beat, at);
            }
        }
        beat
    }

    /// Takes back the jobs of a dead worker, at most `left`.
    fn rescue(&mut self, dead: Incarnation, left: &mut usize, beat: &mut Beat, at: Now) {
        let held = self.held_by(&dead);
        for (id, queue) in held.iter().take(*left) {
            let state = self.queue(*queue);
            let rescued = state.get_mut(id).map_or(0, |job| {
                job.rescued += 1;
                job.rescued
            });
            if rescued >= MAX_RESCUES {
                let because = format!("its worker died {MAX_RESCUES} times while running it");
                self.bury(*queue, id, &because, at);
                beat.worn_out += 1;
            } else {
                state.put(id, To::Front);
                beat.rescued += 1;
            }
        }
        *left = left.saturating_sub(held.len());
        if *left > 0 {
            self.workers.remove(&dead);
            self.tombstones.insert(dead);
        }
    }

    pub(super) fn leave(&mut self, who: &Incarnation) {
        let held = self.held_by(who);
        self.give_back(who, &held);
        self.workers.remove(who);
        self.tombstones.remove(who);
    }

    pub(super) fn held_by(&self, who: &Incarnation) -> Vec<(JobId, Queue)> {
        let held = |(queue, state): (&Queue, &QueueState)| {
            let queue = *queue;
            state.held_by(who).into_iter().map(move |id| (id, queue)).collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(held).collect()
    }
}

fn dead_after() -> Duration {
    Duration::from_std(DEAD_AFTER).unwrap_or(Duration::MAX)
}
