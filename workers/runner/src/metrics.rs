//! What a fleet process counts.
//!
//! # Guarantees
//! - What a commit says happened is counted once it was accepted, and only by the process whose commit it was: a job that
//!   ran three times counts once. (Should Redis lose its answer to a commit, that one is not counted: at most once.)
//! - Tenants and channels in labels are bounded; an intent's id is in none.
//! - What alerts are made of begins at zero for every connection, before anything happens: Prometheus cannot see the
//!   increase of a counter that is born with its first event.

use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use trueup_boot::metrics::Latency;
use trueup_engine::Leased;
use trueup_model::commit::Committed;
use trueup_model::label::Bounded;
use trueup_model::{Criticality, DriftKind, Outcome, PlaneKind, Time};

mod told;

use told::{At, CONDITIONS, Told, criticality};

/// Seconds of a job's execution, its commit included.
const JOB: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1200.0];
/// Seconds of a run, waits for a throttled plane included.
const RUN: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// Seconds from detection to resolution: a minute to a week.
const REMEDY: [f64; 13] = [
    60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 43_200.0, 86_400.0, 259_200.0,
    604_800.0,
];

/// The instruments.
#[derive(Debug)]
pub(crate) struct Metrics {
    tenants: Mutex<Bounded>,
    channels: Mutex<Bounded>,
    detected: Counter<u64>,
    detected_by_criticality: Counter<u64>,
    resolved: Counter<u64>,
    time_to_remediation: Latency,
    remediations: Counter<u64>,
    successes: Counter<u64>,
    failures: Counter<u64>,
    escalations: Counter<u64>,
    security: Counter<u64>,
    trips: Counter<u64>,
    notifications: Counter<u64>,
    abandoned: Counter<u64>,
    cycles: Counter<u64>,
    cycle_duration: Latency,
    jobs: Counter<u64>,
    job_duration: Latency,
}

/// What to count of an outcome, should it be accepted.
#[derive(Debug)]
pub(crate) struct Pending {
    told: Vec<Told>,
    outcome: &'static str,
}

impl Pending {
    pub(crate) fn of(leased: &Leased, outcome: &Outcome) -> Self {
        let word = match outcome {
            Outcome::Done(_) => "done",
            Outcome::Defer { .. } => "deferred",
            Outcome::Retry { .. } => "retried",
            Outcome::Dead { .. } => "dead",
        };
        let told = match outcome {
            Outcome::Done(commit) => told::told(&leased.job, commit),
            _ => Vec::new(),
        };
        Self { told, outcome: word }
    }
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter =
            |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
        let histogram = |name, what, buckets: &[f64]| Latency::new(meter, name, what, buckets);
        Self {
            tenants: Mutex::default(),
            channels: Mutex::default(),
            detected: counter("trueup.drift.detected", "Drift found that was not there at the look before."),
            detected_by_criticality: counter(
                "reconciliation.drift.detected",
                "Drift found, by what the application is worth; begins at zero for every connection.",
            ),
            resolved: counter("trueup.drift.resolved", "Drift that a later look found gone."),
            time_to_remediation: histogram(
                "trueup.time_to_remediation",
                "From the look that found a drift to the look that found it gone.",
                &REMEDY,
            ),
            remediations: counter(
                "trueup.remediations",
                "Steps of remediation: attempts, actions, and how they ended.",
            ),
            successes: counter("reconciliation.success", "Remediation attempts verified by a later look."),
            failures: counter(
                "reconciliation.failures",
                "Remediation attempts that the plane refused, or that a later look found without effect.",
            ),
            escalations: counter("trueup.escalations", "Intents handed to people after the last attempt."),
            security: counter("trueup.security.drift", "Scope mismatches and violated policies found."),
            trips: counter(
                "trueup.blast_radius.trips",
                "Times that remediation was stopped for going beyond a cap.",
            ),
            notifications: counter("trueup.notifications", "Messages to channels."),
            abandoned: counter("trueup.runs.abandoned", "Runs that did not end before their deadline."),
            cycles: counter("reconciliation.cycles", "Runs that ended, by what they found."),
            cycle_duration: histogram("reconciliation.duration", "A run from its start to its end.", &RUN),
            jobs: counter("trueup.jobs", "Executions of jobs, by how they ended."),
            job_duration: histogram(
                "trueup.job.duration",
                "One execution of a job, its commit included.",
                &JOB,
            ),
        }
    }

    /// A connection is there: whatever alerts are made of begins at zero.
    pub(crate) fn expect(&self, tenant: &str, plane: PlaneKind) {
        let at = self.at(&At { tenant: tenant.to_owned(), plane: plane.as_str() });
        for c in Criticality::ALL {
            self.detected_by_criticality.add(0, &with(&at, [("criticality", criticality(c))]));
        }
        for kind in DriftKind::ALL {
            self.security.add(0, &with(&at, [("kind", kind.as_str())]));
        }
        for counter in [&self.successes, &self.failures, &self.escalations, &self.trips] {
            counter.add(0, &at);
        }
        let tenant = [self.tenant(tenant)];
        self.abandoned.add(0, &tenant);
        for condition in CONDITIONS {
            self.cycles.add(0, &with(&tenant, [("condition", condition.as_str())]));
        }
    }

    /// An execution has been committed, or not.
    pub(crate) fn committed(
        &self,
        leased: &Leased,
        pending: &Pending,
        answer: Committed,
        (from, to): (Time, Time),
        traceparent: &str,
    ) {
        let outcome = match answer {
            Committed::Yes => pending.outcome,
            Committed::LeaseLost => "lease_lost",
            Committed::Conflict => "conflict",
            Committed::Malformed => "malformed",
        };
        let queue = KeyValue::new("queue", leased.queue.to_string());
        self.jobs.add(1, &[queue.clone(), KeyValue::new("outcome", outcome)]);
        if let Ok(took) = (to - from).to_std() {
            self.job_duration.record(took.as_secs_f64(), &[queue], Some(traceparent));
        }
        if answer == Committed::Yes {
            pending.told.iter().for_each(|told| self.count(told, traceparent));
        }
    }

    fn count(&self, told: &Told, traceparent: &str) {
        match told {
            Told::Detected { at, kind, severity, criticality, security } => {
                let at = self.at(at);
                self.detected_by_criticality.add(1, &with(&at, [("criticality", *criticality)]));
                let security = if *security { "true" } else { "false" };
                let labels = [
                    ("kind", *kind),
                    ("severity", severity),
                    ("criticality", criticality),
                    ("security", security),
                ];
                self.detected.add(1, &with(&at, labels));
            }
            Told::Resolved { at, after_s } => {
                let at = self.at(at);
                self.resolved.add(1, &at);
                after_s.iter().for_each(|s| self.time_to_remediation.record(*s, &at, Some(traceparent)));
            }
            Told::Remediation { at, outcome } => {
                let at = self.at(at);
                self.remediations.add(1, &with(&at, [("outcome", *outcome)]));
                match *outcome {
                    "verified" => self.successes.add(1, &at),
                    "failed" | "refused" => self.failures.add(1, &at),
                    _ => {}
                }
            }
            Told::Escalated { at } => self.escalations.add(1, &self.at(at)),
            Told::Security { at, kind } => self.security.add(1, &with(&self.at(at), [("kind", *kind)])),
            Told::BlastTrip { at } => self.trips.add(1, &self.at(at)),
            Told::Notification { channel, outcome } => {
                let channel = bounded(&self.channels, "channel", channel);
                self.notifications.add(1, &[channel, KeyValue::new("outcome", *outcome)]);
            }
            Told::RunAbandoned { tenant } => self.abandoned.add(1, &[self.tenant(tenant)]),
            Told::RunEnded { tenant, condition, after_s } => {
                let labels = [self.tenant(tenant), KeyValue::new("condition", *condition)];
                self.cycles.add(1, &labels);
                after_s.iter().for_each(|s| self.cycle_duration.record(*s, &labels[1..], Some(traceparent)));
            }
        }
    }

    fn tenant(&self, tenant: &str) -> KeyValue {
        bounded(&self.tenants, "tenant", tenant)
    }

    fn at(&self, at: &At) -> [KeyValue; 2] {
        [self.tenant(&at.tenant), KeyValue::new("plane", at.plane)]
    }
}

fn bounded(known: &Mutex<Bounded>, name: &'static str, value: &str) -> KeyValue {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    KeyValue::new(name, known.admit(value).to_owned())
}

fn with<const N: usize>(at: &[KeyValue], more: [(&'static str, &'static str); N]) -> Vec<KeyValue> {
    at.iter().cloned().chain(more.map(|(k, v)| KeyValue::new(k, v))).collect()
}

#[cfg(test)]
mod tests;
