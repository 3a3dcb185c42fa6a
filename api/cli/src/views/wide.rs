//! The same tables with more columns, for `--output wide`.

use trueup_model::{Approval, Event, Finding, IntentRecord, Time};

use super::{approvals, events, findings, intents, wire};
use crate::table::{Cell, Table};

fn labels(record: &IntentRecord) -> Cell {
    let pairs: Vec<String> = record.intent.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",").into()
}

pub(crate) fn wide_intents(records: &[IntentRecord], now: Time) -> Table {
    intents(records, now)
        .with_column("MODE", records.iter().map(|r| wire(&r.intent.mode).into()))
        .with_column("GENERATION", records.iter().map(|r| r.generation.to_string().into()))
        .with_column("LABELS", records.iter().map(labels))
}

pub(crate) fn wide_findings(found: &[Finding], now: Time) -> Table {
    findings(found, now)
        .with_column("OPENED AT", found.iter().map(|f| f.opened_at.to_rfc3339().into()))
        .with_column("POLICY", found.iter().map(|f| f.decision.policy.as_str().into()))
}

pub(crate) fn wide_approvals(waiting: &[Approval], now: Time) -> Table {
    approvals(waiting, now).with_column("OPENED AT", waiting.iter().map(|a| a.opened_at.to_rfc3339().into()))
}

pub(crate) fn wide_events(told: &[Event], now: Time) -> Table {
    events(told, now)
        .with_column("AT", told.iter().map(|e| e.created_at.to_rfc3339().into()))
        .with_column("ID", told.iter().map(|e| e.event_id.as_str().into()))
        .with_column("JOB", told.iter().map(|e| e.causation_id.as_ref().map_or("", |j| j.as_str()).into()))
}
