//! What people see of the queues.

use serde_json::Value;
use trueup_model::{JobId, Queue, Time};

use crate::store::{JobState, JobView, QueueDepth};

use super::part::{Now, Part};
use super::queue::{QueueState, Stored};

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
        oldest_ms: oldest.map(|t| milliseconds(t, lease_now)),
        paused: states.iter().any(|q| q.paused),
    }
}

fn milliseconds(since: Time, now: Time) -> u64 {
    u64::try_from((now - since).num_milliseconds()).unwrap_or_default()
}

pub(super) fn jobs(parts: &[Part], queue: Queue, state: JobState, limit: usize, now: Now) -> Vec<JobView> {
    let of = |part: &Part| part.jobs(queue, state, now).take(limit).collect::<Vec<_>>();
    parts.iter().flat_map(of).take(limit).collect()
}

impl Part {
    fn jobs(&self, queue: Queue, state: JobState, now: Now) -> impl Iterator<Item = JobView> {
        let ids = self.queues.get(&queue).into_iter().flat_map(move |q| q.ids(state));
        ids.filter_map(move |id| self.job_in(queue, id, now))
    }

    pub(super) fn job(&self, id: &JobId, now: Now) -> Option<JobView> {
        self.job_in(self.queue_of(id)?, id, now)
    }

    pub(super) fn queue_of(&self, id: &JobId) -> Option<Queue> {
        self.queues.iter().find(|(_, state)| state.get(id).is_some()).map(|(queue, _)| *queue)
    }

    pub(super) fn job_in(&self, queue: Queue, id: &JobId, now: Now) -> Option<JobView> {
        let job: &Stored = self.queues.get(&queue)?.get(id)?;
        Some(JobView {
            id: id.clone(),
            queue: queue.to_string(),
            partition: self.id,
            state: job.state(),
            attempts: job.attempts,
            rescued: job.rescued,
            reason: job.reason.clone(),
            at: job.at(),
            age_ms: Some(milliseconds(job.enqueued, now.lease)),
            traceparent: job.traceparent.clone(),
            payload: shown(&job.payload),
            payload_bytes: job.payload.len(),
            held_by: job.held_by().cloned(),
        })
    }
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
