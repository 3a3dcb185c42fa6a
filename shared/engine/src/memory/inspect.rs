//! What people see of the queues, and what they can do to them.

use serde_json::{Value, json};
use trueup_model::{EventKind, JobId, Queue, Time};

use crate::store::{Admin, By, JobState, JobView, QueueDepth};

use super::MAX_JOBS;
use super::part::{Now, Part};
use super::queue::{QueueState, Stored, To};

/// Bound on the payload of a [`JobView`], in bytes.
const SHOWN: usize = 64 * 1024;

/// In the order of the chain.
pub(super) fn depths(parts: &[Part], lease_now: Time) -> Vec<QueueDepth> {
    Queue::all().into_iter().rev().map(|queue| depth(parts, queue, lease_now)).collect()
}

fn depth(parts: &[Part], queue: Queue, lease_now: Time) -> QueueDepth {
    let states: Vec<&QueueState> = parts.iter().filter_map(|p| p.queues.get(&queue)).collect();
    let count = |state| states.iter().map(|q| q.count(state) as u64).sum();
    let oldest = states.iter().filter_map(|q| q.oldest_ready()).min();
    QueueDepth {
        queue: queue.to_string(),
        ready: count(JobState::Ready),
        scheduled: count(JobState::Scheduled),
        in_flight: count(JobState::InFlight),
        dead: count(JobState::Dead),
        oldest_ms: oldest.map(|t| u64::try_from((lease_now - t).num_milliseconds()).unwrap_or_default()),
        paused: states.iter().any(|q| q.paused),
    }
}

pub(super) fn jobs(parts: &[Part], queue: Queue, state: JobState, limit: usize) -> Vec<JobView> {
    let of = |part: &Part| part.jobs(queue, state).take(limit).collect::<Vec<_>>();
    parts.iter().flat_map(of).take(limit).collect()
}

impl Part {
    fn jobs(&self, queue: Queue, state: JobState) -> impl Iterator<Item = JobView> {
        let ids = self.queues.get(&queue).into_iter().flat_map(move |q| q.ids(state));
        ids.filter_map(move |id| self.job_in(queue, id))
    }

    pub(super) fn job(&self, id: &JobId) -> Option<JobView> {
        self.queues.keys().find_map(|queue| self.job_in(*queue, id))
    }

    fn job_in(&self, queue: Queue, id: &JobId) -> Option<JobView> {
        let job: &Stored = self.queues.get(&queue)?.get(id)?;
        Some(JobView {
            id: id.clone(),
            queue: queue.to_string(),
            partition: self.id,
            state: job.state(),
            attempts: job.attempts,
            rescued: job.rescued,
            reason: job.reason.clone(),
            traceparent: job.traceparent.clone(),
            payload: shown(&job.payload),
            payload_bytes: job.payload.len(),
            held_by: job.held_by().cloned(),
        })
    }

    /// Returns how many jobs changed, 1 or 0 for pause and resume; leaves an audit event if anything did.
    pub(super) fn admin(&mut self, queue: Queue, what: &Admin, by: &By, at: Now) -> u64 {
        let state = self.queue(queue);
        let (kind, job, count) = match what {
            Admin::Pause => {
                (EventKind::QueuePaused, None, usize::from(!std::mem::replace(&mut state.paused, true)))
            }
            Admin::Resume => (EventKind::QueueResumed, None, usize::from(std::mem::take(&mut state.paused))),
            Admin::Retry(job) => {
                let dead = chosen(state, job.as_ref());
                dead.iter().for_each(|id| revive(state, id, at.lease));
                (EventKind::JobRetried, job.as_ref(), dead.len())
            }
            Admin::Discard(job) => {
                let dead = chosen(state, job.as_ref());
                dead.iter().for_each(|id| state.forget(id));
                (EventKind::JobDiscarded, job.as_ref(), dead.len())
            }
        };
        if count > 0 {
            let mut about = json!({"queue": queue.to_string(), "count": count});
            if let Some(job) = job {
                about["job"] = json!(job);
            }
            self.append_about_queue(kind, by, about);
        }
        count as u64
    }
}

/// The named one if it is dead, else the oldest dead ones.
fn chosen(state: &QueueState, job: Option<&JobId>) -> Vec<JobId> {
    let dead = state.ids(JobState::Dead);
    dead.filter(|id| job.is_none_or(|job| job == *id)).take(MAX_JOBS).cloned().collect()
}

/// A clean slate: nothing that was counted against the job counts any more.
fn revive(state: &mut QueueState, id: &JobId, lease_now: Time) {
    if let Some(job) = state.get_mut(id) {
        (job.attempts, job.rescued, job.reason, job.ready_since) = (0, 0, None, lease_now);
    }
    state.put(id, To::Back);
}

/// As JSON if it is JSON and not too long, else as text in which bytes that are no UTF-8 are written as `\xff`.
fn shown(payload: &[u8]) -> Value {
    let head = payload.get(..SHOWN).unwrap_or(payload);
    if head.len() == payload.len()
        && let Ok(json) = serde_json::from_slice(payload)
    {
        return json;
    }
    let mut text = String::new();
    for chunk in head.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    text.truncate(text.floor_char_boundary(SHOWN));
    Value::String(text)
}
