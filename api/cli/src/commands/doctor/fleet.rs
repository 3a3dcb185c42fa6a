//! Workers and queues.

use serde::Deserialize;
use trueup_engine::QueueDepth;
use trueup_model::Time;

use super::{Check, State};
use crate::text::{count, span};

/// A ready job older than this means that a queue is stuck, in milliseconds.
const STUCK_MS: u64 = 60_000;

#[derive(Debug, Deserialize)]
pub(super) struct Worker {
    pub(super) incarnation: String,
    pub(super) last_beat_ms: u64,
    pub(super) late: bool,
    #[serde(default)]
    pub(super) report: Option<Report>,
}

/// What it says of itself.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) host: String,
    #[serde(default)]
    pub(super) clock: Option<Time>,
}

impl Worker {
    /// With its host, if it said where it is.
    pub(super) fn name(&self) -> String {
        match self.report.as_ref().map(|r| r.host.as_str()).filter(|h| !h.is_empty()) {
            Some(host) => format!("{} on {host}", self.incarnation),
            None => self.incarnation.clone(),
        }
    }
}

pub(super) fn workers(workers: &[Worker]) -> Check {
    let late: Vec<String> = workers
        .iter()
        .filter(|w| w.late)
        .map(|w| format!("{} ({} ago)", w.name(), span(w.last_beat_ms)))
        .collect();
    let all = count(workers.len(), "worker");
    if workers.is_empty() {
        let advice = "start one with `trueup work`";
        Check::not(State::Bad, "workers", "none is running: nothing is checked", advice)
    } else if late.len() == workers.len() {
        let found = format!("none gives a sign of life: {}", late.join(", "));
        Check::not(State::Bad, "workers", found, "see the workers' logs; start one with `trueup work`")
    } else if late.is_empty() {
        Check::ok("workers", format!("{all} alive"))
    } else {
        let found = format!("{} of {all} without a heartbeat: {}", late.len(), late.join(", "));
        Check::not(State::Warning, "workers", found, "others take over their jobs; see why they stopped")
    }
}

/// Workers of another version than the API's.
pub(super) fn versions(workers: &[Worker], api: &str) -> Option<Check> {
    let version = |w: &Worker| w.report.as_ref().map(|r| r.version.clone()).filter(|v| !v.is_empty());
    let other = |w: &&Worker| !w.late && version(w).is_some_and(|v| v != api);
    let others: Vec<String> = workers
        .iter()
        .filter(other)
        .map(|w| format!("{} ({})", w.name(), version(w).unwrap_or_default()))
        .collect();
    (!others.is_empty()).then(|| {
        let found = format!("of another version than the API ({api}): {}", others.join(", "));
        Check::not(
            State::Warning,
            "versions",
            found,
            "finish the upgrade: restart them with the version of the API",
        )
    })
}

pub(super) fn queues(depths: &[QueueDepth]) -> Vec<Check> {
    let mut checks = Vec::new();
    for d in depths {
        let (name, queue) = (format!("queue {}", d.queue), &d.queue);
        if d.paused {
            let found = format!("paused, {} waiting", count(d.ready as usize, "job"));
            let advice = format!("resume it with `trueup queue resume {queue}`");
            checks.push(Check::not(State::Warning, &name, found, advice));
        } else if let Some(ms) = d.oldest_ms.filter(|ms| *ms > STUCK_MS) {
            let found = format!("{} ready, the oldest for {}", d.ready, span(ms));
            let advice = "see that a worker serves this queue (`trueup worker ls`), then whether its plane is away \
                          (`trueup planes`); else start more workers";
            checks.push(Check::not(State::Bad, &name, found, advice));
        }
        if d.dead > 0 {
            let advice = format!(
                "see why: `trueup queue show {queue} --state dead`; then `trueup queue retry {queue} --all`"
            );
            checks.push(Check::not(State::Bad, &name, count(d.dead as usize, "dead letter"), advice));
        }
    }
    if checks.is_empty() {
        let waiting: u64 = depths.iter().map(|d| d.ready).sum();
        let found = format!("none stuck, paused or with dead letters; {waiting} ready");
        checks.push(Check::ok("queues", found));
    }
    checks
}
