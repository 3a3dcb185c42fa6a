//! Writes events of one job, in the shape of seed 000.

use serde_json::{Map, Value};
use trueup_model::{
    CorrelationId, Event, EventId, EventKind, Intent, IntentKey, IntentRecord, event::LOOP, job::Cx,
    run::ActiveRun,
};

/// Version of the event's shape.
const SCHEMA: u8 = 1;

/// Events of one job about one intent. Ids are derived from the job and the position, so a job that runs twice writes
/// the same events.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    cx: &'a Cx,
    intent: &'a Intent,
    correlation_id: CorrelationId,
    /// What the ids are derived from.
    source: String,
    list: Vec<Event>,
}

impl<'a> Events<'a> {
    pub(crate) fn of(cx: &'a Cx, intent: &'a Intent, run: &ActiveRun) -> Self {
        let (correlation_id, source) = (run.correlation_id.clone(), cx.job.to_string());
        Self { cx, intent, correlation_id, source, list: Vec::new() }
    }

    /// Of a job that may be a tick, whose id never changes: named by the revision of the intent that they are about.
    pub(crate) fn at(cx: &'a Cx, record: &'a IntentRecord, correlation_id: CorrelationId) -> Self {
        let source = format!("{}@{}", record.intent.key, record.rev);
        Self { cx, intent: &record.intent, correlation_id, source, list: Vec::new() }
    }

    pub(crate) fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }

    /// Appends an event; the intent's id, plane and criticality are added to its data.
    pub(crate) fn push(&mut self, kind: EventKind, mut data: Value) {
        let id = EventId::derive(&[&self.source, &self.list.len().to_string()]);
        if let Value::Object(data) = &mut data {
            data.insert("plane".into(), self.intent.plane().as_str().into());
            data.insert("criticality".into(), serde_json::json!(self.intent.criticality));
        }
        self.list.push(event(self.cx, id, kind, &self.intent.key, self.correlation_id.clone(), data));
    }

    pub(crate) fn done(self) -> Vec<Event> {
        self.list
    }
}

/// A run that reached its deadline. Named by the run: the job that notices it may be a tick, whose id never changes.
/// `not_made`: the attempt that it began and never came to.
pub(crate) fn run_abandoned(cx: &Cx, intent: &IntentKey, run: &ActiveRun, not_made: Option<u8>) -> Event {
    let id = EventId::derive(&[run.id.as_str(), "abandoned"]);
    let mut data = serde_json::json!({
        "run": run.id, "trigger": run.trigger, "started_at": run.started_at,
        "because": "it did not end before its deadline; a new run begins",
    });
    if let Some(attempt) = not_made {
        data["attempt_not_made"] = attempt.into();
    }
    event(cx, id, EventKind::RunAbandoned, intent, run.correlation_id.clone(), data)
}

/// What concerns a tenant rather than one intent. At most one per job.
pub(crate) fn of_tenant(
    cx: &Cx,
    kind: EventKind,
    tenant: &str,
    correlation_id: CorrelationId,
    data: Value,
) -> Event {
    let id = EventId::derive(&[cx.job.as_str(), tenant, kind.as_str()]);
    let mut event = event(cx, id, kind, &IntentKey::new(tenant, ""), correlation_id, data);
    if let Value::Object(data) = &mut event.event_data {
        data.remove("deployment_intent_id");
    }
    event
}

fn event(
    cx: &Cx,
    event_id: EventId,
    event_type: EventKind,
    intent: &IntentKey,
    correlation_id: CorrelationId,
    data: Value,
) -> Event {
    let mut event_data = Map::new();
    event_data.insert("deployment_intent_id".into(), Value::String(intent.id.clone()));
    if let Value::Object(more) = data {
        event_data.extend(more);
    }
    Event {
        event_id,
        seq: 0,
        schema: SCHEMA,
        event_type,
        tenant: intent.tenant.clone(),
        intent: intent.id.clone(),
        correlation_id,
        causation_id: Some(cx.job.clone()),
        trace_id: cx.trace.trace_id().map(str::to_owned),
        actor: LOOP.to_owned(),
        created_at: cx.now,
        event_data: Value::Object(event_data),
    }
}
