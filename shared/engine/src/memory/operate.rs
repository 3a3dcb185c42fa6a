//! What an operator does to queues, jobs and workers; and what flows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;

use async_trait::async_trait;
use trueup_model::{JobId, Partition, Queue, Time};

use crate::operate::{
    Act, Drain, JobFilter, Looked, MAX_ACTED, MAX_LOOKED, MAX_REPORT, Operations, Place, WorkerReport,
    act_event, by_partition, drain_event, queue_event,
};
use crate::passed::{BUCKET_S, BUCKETS, Flow, Passed, Tally};
use crate::store::{Admin, By, Incarnation, JobState};

use super::part::{Now, Part};
use super::queue::{QueueState, To};
use super::{MAX_JOBS, MemoryStore, Result, at_most};

/// What workers said of themselves, and whether they were asked to leave.
pub(super) type Reports = BTreeMap<Incarnation, (WorkerReport, bool)>;

/// Measurements by their number, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Measured(VecDeque<(u64, Tally)>);

impl Measured {
    fn add(&mut self, number: u64, tally: Tally) {
        if self.0.back().is_none_or(|(n, _)| *n != number) {
            self.0.push_back((number, Tally::new()));
        }
        let extra = self.0.len().saturating_sub(BUCKETS);
        self.0.drain(..extra);
        let Some((_, current)) = self.0.back_mut() else { return };
        for (queue, passed) in tally {
            current.entry(queue).or_default().add(&passed);
        }
    }

    fn flow(&self, current: u64) -> Flow {
        let first = (current + 1).saturating_sub(BUCKETS as u64);
        let mut flow = Flow::new();
        for (number, tally) in self.0.iter().filter(|(n, _)| (first..=current).contains(n)) {
            for (queue, passed) in tally {
                let of = flow.entry(*queue).or_insert_with(|| vec![Passed::default(); BUCKETS]);
                if let Some(slot) = usize::try_from(number - first).ok().and_then(|n| of.get_mut(n)) {
                    *slot = *passed;
                }
            }
        }
        flow
    }
}

impl MemoryStore {
    fn measurement(&self) -> u64 {
        u64::try_from(self.now().lease.timestamp()).unwrap_or_default() / BUCKET_S
    }

    /// In partition 0, where what it says of itself is kept.
    fn beats(&self, who: &Incarnation) -> Result<bool> {
        self.on(Partition(0), |part| part.workers.contains_key(who))
    }

    pub(super) fn count(&self, tally: Tally) {
        let number = self.measurement();
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).add(number, tally);
    }
}

impl Part {
    /// Returns how many jobs changed, 1 or 0 for pause and resume; leaves an audit event if anything did.
    pub(super) fn admin(&mut self, queue: Queue, what: &Admin, by: &By, at: Now) -> u64 {
        let p = self.id;
        let state = self.queue(queue);
        let (act, job) = match what {
            Admin::Pause | Admin::Resume => {
                let pause = *what == Admin::Pause;
                let changed = std::mem::replace(&mut state.paused, pause) != pause;
                if changed {
                    let mut event = queue_event(p, queue, pause, by);
                    event.event_data["count"] = 1.into();
                    self.append(event);
                }
                return u64::from(changed);
            }
            Admin::Retry(job) => (Act::Retry, job),
            Admin::Discard(job) => (Act::Discard, job),
        };
        let dead = state.ids(JobState::Dead).filter(|id| job.as_ref().is_none_or(|job| job == *id));
        let dead: Vec<JobId> = dead.take(MAX_JOBS).cloned().collect();
        self.act(queue, JobState::Dead, &dead, act, by, "", at)
    }

    #[expect(clippy::too_many_arguments, reason = "one act: where, what, on which, by whom and why")]
    fn act(
        &mut self,
        queue: Queue,
        from: JobState,
        jobs: &[JobId],
        act: Act,
        by: &By,
        why: &str,
        at: Now,
    ) -> u64 {
        let state = self.queue(queue);
        let mut count = 0u64;
        let order: Vec<&JobId> =
            if act == Act::Front { jobs.iter().rev().collect() } else { jobs.iter().collect() };
        for id in order {
            if state.get(id).is_none_or(|job| job.state() != from) {
                continue;
            }
            count += 1;
            match act {
                Act::Discard => state.forget(id),
                Act::Retry => make_ready(state, id, from, To::Back, at),
                Act::Front => make_ready(state, id, from, To::Front, at),
            }
        }
        if count > 0 {
            let mut event = act_event(queue, act, jobs, by, why);
            event.event_data["count"] = count.into();
            self.append(event);
        }
        count
    }
}

fn make_ready(state: &mut QueueState, id: &JobId, from: JobState, to: To, at: Now) {
    if let Some(job) = state.get_mut(id) {
        if from == JobState::Dead {
            // A clean slate: nothing that was counted against the job counts any more.
            (job.attempts, job.rescued, job.reason) = (0, 0, None);
        }
        job.ready_since = at.lease;
    }
    state.put(id, to);
}

#[async_trait]
impl Operations for MemoryStore {
    async fn look(
        &self,
        queue: Queue,
        filter: &JobFilter,
        cursor: Option<&str>,
        wanted: usize,
        taking: bool,
    ) -> Result<Looked> {
        let (mut place, mut looked, now) = (Place::read(cursor), Looked::default(), self.now());
        let parts = self.parts();
        while let Some(part) = parts.get(usize::from(place.partition)) {
            let mut ids: Vec<&JobId> =
                part.queues.get(&queue).into_iter().flat_map(|q| q.ids(filter.state)).collect();
            if matches!(filter.state, JobState::Ready | JobState::Scheduled) {
                ids.reverse();
            }
            for id in ids.into_iter().skip(place.passed) {
                if looked.jobs.len() >= wanted || looked.scanned >= MAX_LOOKED as u64 {
                    looked.next = Some(place.text());
                    return Ok(looked);
                }
                looked.scanned += 1;
                place.passed += 1;
                let Some(mut view) = part.job_in(queue, id, now) else { continue };
                let payload = part.queues.get(&queue).and_then(|q| q.get(id)).map(|j| j.payload.as_slice());
                if filter.admits(&view, payload.unwrap_or_default(), now.event) {
                    view.payload = serde_json::Value::Null;
                    place.passed -= usize::from(taking);
                    looked.jobs.push(view);
                }
            }
            place = Place { partition: place.partition + 1, passed: 0 };
        }
        Ok(looked)
    }

    async fn act(
        &self,
        queue: Queue,
        from: JobState,
        jobs: &[(Partition, JobId)],
        act: Act,
        by: &By,
        why: &str,
    ) -> Result<u64> {
        at_most(MAX_ACTED, jobs.len(), "jobs")?;
        if !act.applies_to(from) {
            return Ok(0);
        }
        by_partition(jobs, self.partitions)
            .into_iter()
            .map(|(p, ids)| self.on(p, |part| part.act(queue, from, &ids, act, by, why, self.now())))
            .sum()
    }

    async fn newest_death(&self, queue: Queue) -> Result<Option<Time>> {
        let parts = self.parts();
        let of = |part: &Part| {
            let state = part.queues.get(&queue)?;
            state.ids(JobState::Dead).filter_map(|id| state.get(id)?.at()).max()
        };
        Ok(parts.iter().filter_map(of).max())
    }

    async fn whereabouts(&self, jobs: &[JobId]) -> Result<Vec<Option<(Partition, Queue)>>> {
        at_most(64, jobs.len(), "jobs")?;
        let parts = self.parts();
        let place = |id| parts.iter().find_map(|part| Some((part.id, part.queue_of(id)?)));
        Ok(jobs.iter().map(place).collect())
    }

    async fn flow(&self) -> Result<Flow> {
        let current = self.measurement();
        Ok(self.measured.lock().unwrap_or_else(PoisonError::into_inner).flow(current))
    }

    async fn report(&self, who: &Incarnation, report: &WorkerReport) -> Result<bool> {
        let bytes = serde_json::to_vec(report).map_or(0, |text| text.len());
        at_most(MAX_REPORT, bytes, "bytes in a report")?;
        if !self.beats(who)? {
            return Ok(false);
        }
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = reports.entry(who.clone()).or_default();
        kept.0 = report.clone();
        Ok(kept.1)
    }

    async fn reports(&self) -> Result<Reports> {
        let alive = self.on(Partition(0), |part| part.workers.clone())?;
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // Who died without leaving was declared dead.
        reports.retain(|who, _| alive.contains_key(who));
        Ok(reports.clone())
    }

    async fn forget(&self, who: &Incarnation) -> Result<()> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
        Ok(())
    }

    async fn drain(&self, who: &Incarnation, by: &By) -> Result<Drain> {
        if !self.beats(who)? {
            return Ok(Drain::Unknown);
        }
        match self.reports.lock().unwrap_or_else(PoisonError::into_inner).get_mut(who) {
            None => return Ok(Drain::Unknown),
            Some((_, true)) => return Ok(Drain::AskedBefore),
            Some((_, asked)) => *asked = true,
        }
        self.on(Partition(0), |part| part.append(drain_event(who, by)))?;
        Ok(Drain::Asked)
    }
}
