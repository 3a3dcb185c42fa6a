//! What a commit tells the metrics: pure, from its events and writes.
//!
//! # Guarantees
//! Words that become labels are those of our own enums; anything else is `unknown`. No id of an intent, a run or a finding
//! comes through.

use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_model::{
    Commit, Condition, Criticality, DriftKind, Event, EventKind, Job, PlaneKind, Severity, Time, Write,
};

/// One thing to be counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Detected {
        at: At,
        kind: Word,
        severity: Word,
        criticality: Word,
        security: bool,
    },
    /// Seconds since it was detected.
    Resolved {
        at: At,
        after_s: Option<f64>,
    },
    Remediation {
        at: At,
        outcome: Word,
    },
    Escalated {
        at: At,
    },
    /// Scope mismatch, a crossed boundary or an incident, whether or not anybody is told of it.
    Security {
        at: At,
        kind: Word,
    },
    BlastTrip {
        at: At,
    },
    Notification {
        channel: String,
        outcome: Word,
    },
    RunAbandoned {
        tenant: String,
    },
    /// Seconds from its start, where the job knows it.
    RunEnded {
        tenant: String,
        condition: Word,
        after_s: Option<f64>,
    },
}

/// One of a handful.
pub(crate) type Word = &'static str;

/// Where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) tenant: String,
    pub(crate) plane: Word,
}

const UNKNOWN: Word = "unknown";

pub(crate) fn told(job: &Job, commit: &Commit) -> Vec<Told> {
    let mut all = Vec::new();
    for event in &commit.events {
        let of_event = of_event(event);
        if let Some(Told::Detected { at, kind, security: true, .. }) = &of_event {
            all.push(Told::Security { at: at.clone(), kind });
        }
        all.extend(of_event);
    }
    for write in &commit.writes {
        if let Write::State { intent, state, ends_run: true, .. } = write {
            let began = began(job, &commit.events);
            let after_s = began.zip(state.checked_at).and_then(|(from, to)| seconds(from, to));
            let condition = state.condition.as_str();
            all.push(Told::RunEnded { tenant: intent.tenant.clone(), condition, after_s });
        }
    }
    all
}

fn of_event(event: &Event) -> Option<Told> {
    use EventKind as K;
    let data = &event.event_data;
    let at = || At { tenant: event.tenant.clone(), plane: word(&data["plane"], PlaneKind::as_str) };
    let remediation = |outcome| Told::Remediation { at: at(), outcome };
    let notification = |outcome| {
        let channel = data["channel"].as_str().unwrap_or(UNKNOWN).to_owned();
        Told::Notification { channel, outcome }
    };
    Some(match event.event_type {
        K::DriftDetected => {
            let kind = word(&data["drift_type"], DriftKind::as_str);
            let severity = word(&data["severity"], severity);
            let criticality = word(&data["criticality"], criticality);
            let security = data["security"] == Value::Bool(true);
            Told::Detected { at: at(), kind, severity, criticality, security }
        }
        K::PolicyDecided if data["became_security"] == Value::Bool(true) => {
            Told::Security { at: at(), kind: word(&data["drift_type"], DriftKind::as_str) }
        }
        K::DriftResolved => {
            let after_s = time(&data["opened_at"]).and_then(|from| seconds(from, event.created_at));
            Told::Resolved { at: at(), after_s }
        }
        K::RemediationStarted => remediation("started"),
        K::RemediationApplied => remediation("applied"),
        K::RemediationRefused => remediation("refused"),
        K::RemediationFailed => remediation("failed"),
        K::RemediationVerified => remediation("verified"),
        K::Escalated => Told::Escalated { at: at() },
        K::BlastRadiusTripped => Told::BlastTrip { at: at() },
        K::NotificationSent => notification("sent"),
        K::NotificationFailed => notification("failed"),
        K::RunAbandoned => Told::RunAbandoned { tenant: event.tenant.clone() },
        _ => return None,
    })
}

/// When the run began that this commit ends.
fn began(job: &Job, events: &[Event]) -> Option<Time> {
    match job {
        Job::Compare(compare) => Some(compare.swept.from),
        Job::Emit(emit) => Some(emit.passed[0].from),
        _ => events.iter().find_map(|e| time(&e.event_data["run_started_at"])),
    }
}

fn time(value: &Value) -> Option<Time> {
    serde_json::from_value(value.clone()).ok()
}

/// Not where a clock went backwards.
fn seconds(from: Time, to: Time) -> Option<f64> {
    (to - from).to_std().ok().map(|d| d.as_secs_f64())
}

fn word<T: DeserializeOwned>(value: &Value, as_str: impl Fn(T) -> Word) -> Word {
    serde_json::from_value(value.clone()).map_or(UNKNOWN, as_str)
}

pub(crate) fn severity(severity: Severity) -> Word {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

pub(crate) fn criticality(criticality: Criticality) -> Word {
    match criticality {
        Criticality::Critical => "critical",
        Criticality::High => "high",
        Criticality::Standard => "standard",
        Criticality::Low => "low",
    }
}

/// Every condition a run can end in.
pub(crate) const CONDITIONS: [Condition; 5] =
    [Condition::Unknown, Condition::InSync, Condition::Drifted, Condition::Stale, Condition::Unreachable];

#[cfg(test)]
mod tests;
