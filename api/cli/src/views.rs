//! How each kind of thing looks in a table.

use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_model::{
    Approval, ApprovalKind, ApprovalState, Condition, Event, EventKind, Finding, IntentRecord, Severity,
    Time, Verdict,
};

mod queues;
mod runs;
mod wide;

pub(crate) use queues::{QUEUE_COLUMNS, by_tenant, jobs, queues, tone_of_state, workers};
pub(crate) use runs::{reconciliations, runs};
pub(crate) use wide::{wide_approvals, wide_events, wide_findings, wide_intents};

use crate::failure::{Exit, Failure};
use crate::table::{Cell, Table, Tone, cell};
use crate::text::{relative, span, words};

/// Reads items of a list as what they are.
pub(crate) fn read<T: DeserializeOwned>(items: &[Value]) -> Result<Vec<T>, Failure> {
    let read = |v: &Value| {
        T::deserialize(v).map_err(|e| {
            Failure::new(Exit::Failed, format!("the API's answer cannot be read: {e}"))
                .advise("use a `trueup` of the same version as the API, or --output json")
        })
    };
    items.iter().map(read).collect()
}

fn ago(at: Option<Time>, now: Time) -> Cell {
    at.map_or_else(|| "".into(), |at| relative(at, now).into())
}

/// The name of a value in its wire form.
pub(crate) fn wire<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn condition(c: Condition) -> Cell {
    let tone = match c {
        Condition::InSync => Tone::Good,
        Condition::Drifted => Tone::Bad,
        Condition::Stale | Condition::Unreachable => Tone::Warn,
        Condition::Unknown => Tone::Dim,
    };
    cell(c.as_str(), tone)
}

pub(crate) fn severity(s: Severity) -> Cell {
    let tone = match s {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium => Tone::Warn,
        Severity::Low => Tone::Plain,
    };
    cell(wire(&s), tone)
}

pub(crate) fn verdict(v: Verdict) -> Cell {
    let tone = match v {
        Verdict::Automatic => Tone::Good,
        Verdict::Review => Tone::Warn,
        Verdict::Cab => Tone::Bad,
        Verdict::ObserveOnly => Tone::Dim,
    };
    cell(v.as_str(), tone)
}

pub(crate) fn intents(records: &[IntentRecord], now: Time) -> Table {
    let mut table = Table::new(&[
        "INTENT",
        "PLANE",
        "RING",
        "CRITICALITY",
        "CONDITION",
        "FOR",
        "CHECKED",
        "NEXT",
        "ATTEMPTS",
    ]);
    for r in records {
        let (i, s) = (&r.intent, &r.state);
        let attempts = match (s.attempts.made, s.attempts.escalated) {
            (0, _) => "".into(),
            (n, true) => cell(format!("{n}, escalated"), Tone::Bad),
            (n, false) => cell(n.to_string(), Tone::Warn),
        };
        let next = if s.run.is_some() { cell("running", Tone::Good) } else { ago(s.due(), now) };
        table.row([
            i.key.to_string().into(),
            i.plane().as_str().into(),
            wire(&i.ring).into(),
            wire(&i.criticality).into(),
            condition(s.condition),
            s.since.map_or_else(|| "".into(), |t| span((now - t).num_milliseconds().unsigned_abs()).into()),
            ago(s.checked_at, now),
            next,
            attempts,
        ]);
    }
    table
}

pub(crate) fn findings(findings: &[Finding], now: Time) -> Table {
    let mut table = Table::new(&[
        "FINDING", "INTENT", "KIND", "SEVERITY", "STATE", "DECISION", "DEVICES", "OPENED", "SEEN", "NEXT",
    ]);
    for f in findings {
        table.row([
            f.id.as_str().into(),
            f.intent.to_string().into(),
            f.kind.as_str().into(),
            severity(f.severity),
            if f.open { cell("open", Tone::Bad) } else { cell("resolved", Tone::Good) },
            verdict(f.decision.verdict),
            f.affected_devices.to_string().into(),
            ago(Some(f.opened_at), now),
            ago(Some(f.last_seen_at), now),
            ago(f.next_at, now),
        ]);
    }
    table
}

pub(crate) fn approvals(approvals: &[Approval], now: Time) -> Table {
    let mut table =
        Table::new(&["APPROVAL", "KIND", "STATE", "INTENT", "DRIFT", "OPENED", "FINDING", "BECAUSE"]);
    for a in approvals {
        table.row([
            a.id.as_str().into(),
            match a.kind {
                ApprovalKind::Review => cell("review", Tone::Warn),
                ApprovalKind::Cab => cell("cab", Tone::Bad),
            },
            match a.state {
                ApprovalState::Open => "open".into(),
                ApprovalState::Withdrawn => cell("withdrawn", Tone::Dim),
            },
            a.intent.to_string().into(),
            a.drift.as_str().into(),
            ago(Some(a.opened_at), now),
            a.finding.as_str().into(),
            a.because.join("; ").into(),
        ]);
    }
    table
}

pub(crate) fn tone_of(kind: EventKind) -> Tone {
    use EventKind as K;
    match kind {
        K::DriftResolved | K::RemediationVerified => Tone::Good,
        K::DriftDetected | K::DriftChanged | K::ApprovalOpened | K::RunAbandoned | K::RemediationStarted => {
            Tone::Warn
        }
        K::RemediationRefused | K::RemediationFailed | K::Escalated | K::JobDead => Tone::Bad,
        _ => Tone::Plain,
    }
}

pub(crate) fn events(events: &[Event], now: Time) -> Table {
    let mut table = Table::new(&["WHEN", "EVENT", "INTENT", "ACTOR", "CORRELATION", "DETAILS"]);
    for e in events {
        let intent =
            if e.intent.is_empty() { e.tenant.clone() } else { format!("{}/{}", e.tenant, e.intent) };
        table.row([
            ago(Some(e.created_at), now),
            cell(e.event_type.as_str(), tone_of(e.event_type)),
            intent.into(),
            e.actor.as_str().into(),
            e.correlation_id.as_str().into(),
            details(&e.event_data).into(),
        ]);
    }
    table
}

/// The plain values of an event's data in one line; the intent is in a column of its own.
pub(crate) fn details(data: &Value) -> String {
    const MOST: usize = 160;
    const LEAST: usize = 32;
    let shown =
        data.as_object().into_iter().flatten().filter(|(k, _)| *k != "deployment_intent_id").filter_map(
            |(k, v)| {
                let value = match v {
                    Value::String(text) => text.clone(),
                    Value::Number(_) | Value::Bool(_) => v.to_string(),
                    Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_string) => {
                        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
                    }
                    _ => return None,
                };
                Some(format!("{k}={value}"))
            },
        );
    let mut line = String::new();
    for part in shown {
        let room = MOST.saturating_sub(line.chars().count());
        if part.chars().count() < room {
            line += if line.is_empty() { "" } else { " " };
            line += &part;
            continue;
        }
        // A long value is cut; of a short one nothing is better than a half.
        if room >= LEAST {
            line += if line.is_empty() { "" } else { " " };
            line.extend(part.chars().take(room));
            line.push('…');
        } else {
            line += " …";
        }
        break;
    }
    line
}

/// One intent in full.
pub(crate) fn intent(r: &IntentRecord, because: Option<&str>, now: Time) -> Table {
    let (i, s) = (&r.intent, &r.state);
    let mut table = Table::new(&["FIELD", "VALUE"]);
    let mut row = |field: &str, value: Cell| table.row([field.into(), value]);
    let at = |t: Option<Time>| {
        t.map_or_else(String::new, |t| format!("{} ({})", t.to_rfc3339(), relative(t, now)))
    };
    row("intent", i.key.to_string().into());
    row("plane", i.plane().as_str().into());
    row(
        "ring, criticality, mode",
        format!("{}, {}, {}", wire(&i.ring), wire(&i.criticality), wire(&i.mode)).into(),
    );
    row("status", wire(&i.status).into());
    row("privileged", if i.privileged { "yes".into() } else { "no".into() });
    row("generation", r.generation.to_string().into());
    row("target", wire(&i.target).into());
    row("desired", wire(&i.desired).into());
    row("condition", condition(s.condition));
    row("because", because.unwrap_or_default().into());
    row("since", at(s.since).into());
    row("checked", at(s.checked_at).into());
    row("next look", at(s.due()).into());
    let run = s
        .run
        .as_ref()
        .map(|run| format!("{} ({}), begun {}", run.id, wire(&run.trigger), relative(run.started_at, now)));
    row("run", run.unwrap_or_else(|| format!("none ({} so far)", s.runs)).into());
    let a = &s.attempts;
    let marks = [(a.open, "the last is not judged yet"), (a.escalated, "escalated")];
    let marks: Vec<&str> = marks.into_iter().filter(|(on, _)| *on).map(|(_, text)| text).collect();
    row(
        "attempts",
        if marks.is_empty() { a.made.to_string() } else { format!("{} ({})", a.made, marks.join(", ")) }
            .into(),
    );
    let drifts: Vec<String> = s.drifts.keys().map(|k| words(k.as_str())).collect();
    row("open drift", drifts.join(", ").into());
    let labels: Vec<String> = i.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    row("labels", labels.join(", ").into());
    table
}
