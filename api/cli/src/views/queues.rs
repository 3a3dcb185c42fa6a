//! Queues, jobs and workers in tables.

use std::collections::BTreeMap;

use serde_json::Value;
use trueup_engine::{JobState, JobView};
use trueup_model::{Queue, Time};
use trueup_server::queues::{QueueView, TenantSample};
use trueup_server::workers::{Worker, WorkerState};

use super::wire;
use crate::table::{Cell, Table, Tone, cell};
use crate::text::{count, relative, span};

/// Jobs a second, short: `12.5`, and nothing for nothing.
fn rate(per_second: f64) -> String {
    match per_second {
        r if r <= 0.0 => String::new(),
        r if r < 10.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// What is shown of a queue, here and live.
pub(crate) const QUEUE_COLUMNS: [&str; 10] =
    ["QUEUE", "READY", "SCHEDULED", "IN FLIGHT", "OLDEST", "IN/S", "OUT/S", "RETRIES/S", "DEAD", "STATE"];

pub(crate) fn queues(queues: &[QueueView]) -> Table {
    let mut table = Table::new(&QUEUE_COLUMNS);
    for q in queues {
        let (d, flow) = (&q.depth, &q.per_second);
        table.row([
            d.queue.as_str().into(),
            d.ready.to_string().into(),
            d.scheduled.to_string().into(),
            d.in_flight.to_string().into(),
            d.oldest_ms.map_or_else(|| "".into(), |ms| span(ms).into()),
            rate(flow.enqueued).into(),
            rate(flow.done).into(),
            cell(rate(flow.retried), if flow.retried > 0.0 { Tone::Warn } else { Tone::Plain }),
            cell(d.dead.to_string(), if d.dead > 0 { Tone::Bad } else { Tone::Plain }),
            if d.paused { cell("paused", Tone::Warn) } else { cell("running", Tone::Good) },
        ]);
    }
    table
}

pub(crate) fn by_tenant(sample: &TenantSample) -> Table {
    let mut table = Table::new(&["TENANT", "JOBS SAMPLED"]);
    let mut rows: Vec<_> = sample.jobs.iter().collect();
    rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    rows.into_iter().for_each(|(tenant, n)| table.row([tenant.as_str().into(), n.to_string().into()]));
    table
}

pub(crate) fn tone_of_state(state: JobState) -> Tone {
    match state {
        JobState::Dead => Tone::Bad,
        JobState::InFlight => Tone::Good,
        JobState::Ready | JobState::Scheduled => Tone::Plain,
    }
}

pub(crate) fn jobs(jobs: &[JobView], now: Time) -> Table {
    let mut table = Table::new(&[
        "JOB", "STATE", "AT", "AGE", "ATTEMPTS", "RESCUED", "BYTES", "HELD BY", "ABOUT", "REASON",
    ]);
    for j in jobs {
        table.row([
            j.id.as_str().into(),
            cell(wire(&j.state), tone_of_state(j.state)),
            j.at.map_or_else(String::new, |at| relative(at, now)).into(),
            j.age_ms.map_or_else(String::new, span).into(),
            j.attempts.to_string().into(),
            j.rescued.to_string().into(),
            j.payload_bytes.to_string().into(),
            j.held_by.as_ref().map(|w| w.0.clone()).unwrap_or_default().into(),
            about(&j.payload).into(),
            j.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

/// What a job's payload is about, as far as it says.
fn about(payload: &Value) -> String {
    if let Some(intent) = payload.get("intent").and_then(Value::as_str) {
        return intent.to_owned();
    }
    let many = |field: &str| payload.get(field).and_then(Value::as_array).map(Vec::len);
    many("checks").or(many("seen")).or(many("only")).map(|n| count(n, "intent")).unwrap_or_default()
}

pub(crate) fn workers(workers: &[Worker]) -> Table {
    let mut table = Table::new(&["WORKER", "STATE", "LAST BEAT", "LEASES", "VERSION", "HOST", "QUEUES"]);
    for w in workers {
        let report = w.report.clone().unwrap_or_default();
        let host =
            if report.host.is_empty() { String::new() } else { format!("{} ({})", report.host, report.pid) };
        table.row([
            w.incarnation.as_str().into(),
            state(w.state),
            format!("{} ago", span(w.last_beat_ms)).into(),
            w.leases.map_or_else(String::new, |n| n.to_string()).into(),
            report.version.as_str().into(),
            host.into(),
            served(&report.queues).into(),
        ]);
    }
    table
}

/// The queues that it leases from.
fn served(queues: &BTreeMap<String, usize>) -> String {
    let all = Queue::all();
    if !queues.is_empty() && all.iter().all(|q| queues.contains_key(&q.to_string())) {
        return "all".into();
    }
    queues.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn state(state: WorkerState) -> Cell {
    match state {
        WorkerState::Working => cell("working", Tone::Good),
        WorkerState::Draining => cell("draining", Tone::Warn),
        WorkerState::Late => cell("late", Tone::Bad),
    }
}
