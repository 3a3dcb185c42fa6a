//! The event stream of a partition, and the events that the engine itself writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trueup_model::event::LOOP;
use trueup_model::{CorrelationId, Event, EventId, EventKind, IntentKey, JobId, Partition, Queue, Time};

use crate::store::{By, EventFilter};

use super::part::Part;

impl Part {
    /// Gives the event its place in the stream: 1, 2, 3, …
    pub(super) fn append(&mut self, mut event: Event) {
        event.seq = self.events.len() as u64 + 1;
        self.events.push(event);
    }

    pub(super) fn append_about_intent(&mut self, kind: EventKind, key: &IntentKey, by: &By, about: Value) {
        let mut event = self.event(kind, &by.actor, by.correlation_id.clone(), by.now, about);
        event.tenant = key.tenant.clone();
        event.intent = key.id.clone();
        self.append(event);
    }

    pub(super) fn append_job_dead(&mut self, queue: Queue, job: &JobId, because: &str, now: Time) {
        let about = json!({"job": job, "queue": queue.to_string(), "reason": because});
        let correlation = CorrelationId::derive(&[job.as_str()]);
        let mut event = self.event(EventKind::JobDead, LOOP, correlation, now, about);
        event.causation_id = Some(job.clone());
        self.append(event);
    }

    /// Named by its place in the stream, which no other event has.
    fn event(
        &self,
        kind: EventKind,
        actor: &str,
        correlation_id: CorrelationId,
        created_at: Time,
        event_data: Value,
    ) -> Event {
        let place = (self.events.len() + 1).to_string();
        Event {
            event_id: EventId::derive(&["engine", kind.as_str(), &self.id.to_string(), &place]),
            seq: 0,
            schema: 1,
            event_type: kind,
            tenant: String::new(),
            intent: String::new(),
            correlation_id,
            causation_id: None,
            trace_id: None,
            actor: actor.to_owned(),
            created_at,
            event_data,
        }
    }
}

pub(super) fn after(
    parts: &[Part],
    filter: &EventFilter,
    after: &BTreeMap<u16, u64>,
    limit: usize,
) -> Vec<(Partition, Event)> {
    let unseen = |part: &Part, e: &Event| e.seq > after.get(&part.id.0).copied().unwrap_or(0);
    let of = |part| matching(part, filter).filter(move |e| unseen(part, e)).map(|e| (part.id, e.clone()));
    parts.iter().flat_map(of).take(limit).collect()
}

pub(super) fn newest(parts: &[Part], filter: &EventFilter, limit: usize) -> Vec<(Partition, Event)> {
    // The newest of each partition are enough to find the newest of all.
    let of = |part| matching(part, filter).rev().take(limit).map(|e| (part.id, e.clone()));
    let mut events: Vec<(Partition, Event)> = parts.iter().flat_map(of).collect();
    events.sort_by_key(|(p, e)| (e.created_at, *p, e.seq));
    let extra = events.len().saturating_sub(limit);
    events.split_off(extra)
}

fn matching<'a>(part: &'a Part, filter: &'a EventFilter) -> impl DoubleEndedIterator<Item = &'a Event> {
    part.events.iter().filter(|e| filter.admits(e))
}
