//! One queue in one partition: its jobs, and the four places a job can be in.
//!
//! # Guarantees
//! A job has exactly one place, because its place is one value and [`QueueState::put`] is the only function that
//! changes it (E4). An id that is there is not added again (E8).

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::{JobId, Time};

use crate::store::{Incarnation, JobState};

use super::MAX_JOBS;

/// Where a job is, with its key in that place's order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Ready(i64),
    Scheduled(Time, u64),
    InFlight(Incarnation),
    Dead(u64),
}

/// Where to put a job.
#[derive(Debug, Clone)]
pub(super) enum To {
    Front,
    Back,
    At(Time),
    Worker(Incarnation),
    DeadLetters,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) payload: Vec<u8>,
    pub(super) attempts: u32,
    pub(super) rescued: u32,
    pub(super) reason: Option<String>,
    pub(super) traceparent: Option<String>,
    /// On the lease clock: when it was enqueued, or when its delay ended.
    pub(super) ready_since: Time,
    /// On the lease clock.
    pub(super) enqueued: Time,
    /// When it died, on the event clock.
    pub(super) died: Option<Time>,
    place: Place,
}

impl Stored {
    pub(super) fn state(&self) -> JobState {
        match self.place {
            Place::Ready(_) => JobState::Ready,
            Place::Scheduled(..) => JobState::Scheduled,
            Place::InFlight(_) => JobState::InFlight,
            Place::Dead(_) => JobState::Dead,
        }
    }
    /// When it is due, if it is scheduled; when it died, if it is dead.
    pub(super) fn at(&self) -> Option<Time> {
        match self.place {
            Place::Scheduled(at, _) => Some(at),
            Place::Dead(_) => self.died,
            Place::Ready(_) | Place::InFlight(_) => None,
        }
    }
    pub(super) fn held_by(&self) -> Option<&Incarnation> {
        match &self.place {
            Place::InFlight(who) => Some(who),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) paused: bool,
    jobs: BTreeMap<JobId, Stored>,
    ready: BTreeMap<i64, JobId>,
    scheduled: BTreeMap<(Time, u64), JobId>,
    in_flight: BTreeSet<(Incarnation, JobId)>,
    dead: BTreeMap<u64, JobId>,
    /// Counts moves, so that what comes later in time comes later in order.
    moves: u64,
    /// Something was made ready since [`QueueState::take_woke`] was last asked.
    woke: bool,
}

impl QueueState {
    /// Adds a job unless its id is there already.
    pub(super) fn add(
        &mut self,
        id: &JobId,
        payload: Vec<u8>,
        traceparent: Option<String>,
        at: Option<Time>,
        lease_now: Time,
    ) -> bool {
        if self.jobs.contains_key(id) {
            return false;
        }
        let place = self.enter(id, at.map_or(To::Back, To::At));
        let job = Stored {
            payload,
            attempts: 0,
            rescued: 0,
            reason: None,
            traceparent,
            ready_since: lease_now,
            enqueued: lease_now,
            died: None,
            place,
        };
        self.jobs.insert(id.clone(), job);
        true
    }

    /// Moves a job. The only way it gets from one place to another.
    pub(super) fn put(&mut self, id: &JobId, to: To) {
        let Some(old) = self.jobs.get(id).map(|j| j.place.clone()) else { return };
        self.exit(id, &old);
        let place = self.enter(id, to);
        if let Some(job) = self.jobs.get_mut(id) {
            job.place = place;
        }
    }

    /// Removes every trace of a job.
    pub(super) fn forget(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.remove(id) {
            self.exit(id, &job.place);
        }
    }

    fn exit(&mut self, id: &JobId, place: &Place) {
        match place {
            Place::Ready(n) => drop(self.ready.remove(n)),
            Place::Scheduled(at, n) => drop(self.scheduled.remove(&(*at, *n))),
            Place::InFlight(who) => drop(self.in_flight.remove(&(who.clone(), id.clone()))),
            Place::Dead(n) => drop(self.dead.remove(n)),
        }
    }

    fn enter(&mut self, id: &JobId, to: To) -> Place {
        self.moves += 1;
        match to {
            To::Front | To::Back => {
                let n = match to {
                    To::Front => self.ready.first_key_value().map_or(0, |(n, _)| n - 1),
                    _ => self.ready.last_key_value().map_or(0, |(n, _)| n + 1),
                };
                self.ready.insert(n, id.clone());
                self.woke = true;
                Place::Ready(n)
            }
            To::At(at) => {
                self.scheduled.insert((at, self.moves), id.clone());
                Place::Scheduled(at, self.moves)
            }
            To::Worker(who) => {
                self.in_flight.insert((who.clone(), id.clone()));
                Place::InFlight(who)
            }
            To::DeadLetters => {
                self.dead.insert(self.moves, id.clone());
                Place::Dead(self.moves)
            }
        }
    }

    /// Makes delayed jobs ready whose time has come, in the order of their times, at most 256.
    pub(super) fn promote(&mut self, now: Time, lease_now: Time) {
        for _ in 0..MAX_JOBS {
            let Some((&(at, _), id)) = self.scheduled.first_key_value() else { return };
            if at > now {
                return;
            }
            let id = id.clone();
            if let Some(job) = self.jobs.get_mut(&id) {
                job.ready_since = lease_now;
            }
            self.put(&id, To::Back);
        }
    }

    pub(super) fn first_ready(&self) -> Option<JobId> {
        self.ready.first_key_value().map(|(_, id)| id.clone())
    }
    pub(super) fn next_due(&self) -> Option<Time> {
        self.scheduled.first_key_value().map(|((at, _), _)| *at)
    }
    /// The fence (E3).
    pub(super) fn is_held_by(&self, id: &JobId, who: &Incarnation) -> bool {
        self.jobs.get(id).and_then(Stored::held_by) == Some(who)
    }
    pub(super) fn held_by(&self, who: &Incarnation) -> Vec<JobId> {
        self.in_flight.iter().filter(|(w, _)| w == who).map(|(_, id)| id.clone()).collect()
    }
    pub(super) fn get(&self, id: &JobId) -> Option<&Stored> {
        self.jobs.get(id)
    }
    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Stored> {
        self.jobs.get_mut(id)
    }

    pub(super) fn count(&self, state: JobState) -> usize {
        match state {
            JobState::Ready => self.ready.len(),
            JobState::Scheduled => self.scheduled.len(),
            JobState::InFlight => self.in_flight.len(),
            JobState::Dead => self.dead.len(),
        }
    }

    /// In the order of the place: front first, due first, oldest death first.
    pub(super) fn ids(&self, state: JobState) -> Box<dyn Iterator<Item = &JobId> + '_> {
        match state {
            JobState::Ready => Box::new(self.ready.values()),
            JobState::Scheduled => Box::new(self.scheduled.values()),
            JobState::InFlight => Box::new(self.in_flight.iter().map(|(_, id)| id)),
            JobState::Dead => Box::new(self.dead.values()),
        }
    }

    pub(super) fn oldest_ready(&self) -> Option<Time> {
        self.ready.values().filter_map(|id| self.jobs.get(id)).map(|j| j.ready_since).min()
    }

    /// Whether something was made ready since the last time this was asked.
    pub(super) fn take_woke(&mut self) -> bool {
        std::mem::take(&mut self.woke)
    }
}
