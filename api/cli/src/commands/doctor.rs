//! `trueup doctor`: is everything well, and what to do if not.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trueup_engine::QueueDepth;
use trueup_model::{SystemClock, Time, clock::Clock as _};

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::{count, span};
use crate::views::{self, Worker};

const EXAMPLES: &str = "\
Examples:
  trueup doctor
  trueup doctor --output json | jq '.checks[] | select(.state != \"ok\")'

Exit status 5 if something is bad, 0 if there are only warnings.";

/// A ready job older than this means that a queue is stuck, in milliseconds.
const STUCK_MS: u64 = 60_000;
/// Host clocks may differ by this much, in milliseconds: `Date` has no fractions and the answer takes time.
const SKEW_MS: i64 = 3_000;

/// Check API, Redis, workers, queues, planes and clocks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    found: String,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, found: found.into(), advice: None }
    }
    fn not(state: State, check: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check: check.into(), state, found: found.into(), advice: Some(advice.into()) }
    }
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let checks = examine(cx).await;
        let bad = checks.iter().filter(|c| c.state == State::Bad).count();
        match cx.output {
            Output::Json => cx.write_json(&json!({"well": bad == 0, "checks": checks})),
            Output::Name => cx.write_names(checks.iter().filter(|c| c.state != State::Ok).map(|c| c.check.as_str())),
            Output::Table => {
                cx.write(&table(&checks).render(cx.colour));
                cx.note(&if bad == 0 { "nothing is bad".into() } else { format!("{} bad", count(bad, "thing")) });
            }
        }
        // Without the API nothing else can be known: the status says so to scripts.
        let silent = checks.first().is_some_and(|c| c.state == State::Bad);
        Ok(if silent { Exit::Unreachable } else if bad > 0 { Exit::Unwell } else { Exit::Done })
    }
}

async fn examine(cx: &Context) -> Vec<Check> {
    let health: Answer<Health> = match cx.client.get(&["v1", "health"], &[]).await {
        Ok(answer) => answer,
        Err(e) => return vec![Check::not(State::Bad, "api", e.what, e.advice.unwrap_or_else(|| "see the server's log".into()))],
    };
    let mut checks = vec![api(&health.body, cx.client.base())];
    checks.extend(clock(health.date, SystemClock.now()));
    checks.extend(store(&health.body));
    match cx.client.get::<Value>(&["v1", "workers"], &[]).await.and_then(|a| views::read(&list(&a.body))) {
        Ok(found) => checks.push(workers(&found)),
        Err(e) => checks.push(unknown("workers", e)),
    }
    match cx.client.get::<Value>(&["v1", "queues"], &[]).await.and_then(|a| views::read(&list(&a.body))) {
        Ok(depths) => checks.extend(queues(&depths)),
        Err(e) => checks.push(unknown("queues", e)),
    }
    match cx.client.get::<Value>(&["v1", "summary"], &[]).await {
        Ok(answer) => checks.extend(planes(&answer.body)),
        Err(e) => checks.push(unknown("planes", e)),
    }
    checks
}

fn list(body: &Value) -> Vec<Value> {
    body["items"].as_array().cloned().unwrap_or_default()
}

fn unknown(check: &str, e: Failure) -> Check {
    Check::not(State::Warning, check, e.what, e.advice.unwrap_or_else(|| "see the server's log".into()))
}

#[derive(Debug, Default, Deserialize)]
struct Health {
    version: String,
    partitions: u16,
    store: trueup_engine::Preflight,
}

fn api(health: &Health, url: &str) -> Check {
    let mine = env!("CARGO_PKG_VERSION");
    if health.version == mine {
        return Check::ok("api", format!("version {mine} answers at {url}"));
    }
    let found = format!("version {} answers at {url}, this program is {mine}", health.version);
    Check::not(State::Warning, "api", found, "use the same version on both sides")
}

fn clock(server: Option<Time>, here: Time) -> Option<Check> {
    let apart = (here - server?).num_milliseconds();
    if apart.abs() <= SKEW_MS {
        return Some(Check::ok("clock", "this host and the API agree"));
    }
    let found = format!("this host and the API differ by {}", span(apart.unsigned_abs()));
    Some(Check::not(State::Warning, "clock", found, "synchronise the clocks of all hosts (NTP)"))
}

fn store(health: &Health) -> Vec<Check> {
    // Each says what was found; what to do.
    let what = |text: &String, state| {
        let (found, advice) = text.split_once("; ").unwrap_or((text, "see the log of the API at its start"));
        Check::not(state, "redis", found, advice)
    };
    let store = &health.store;
    let mut checks: Vec<Check> = store.refused.iter().map(|r| what(r, State::Bad)).collect();
    checks.extend(store.warnings.iter().map(|w| what(w, State::Warning)));
    if checks.is_empty() {
        let partitions = count(usize::from(health.partitions), "partition");
        checks.push(Check::ok("redis", format!("{} is safe to use, {partitions}", store.server)));
    }
    checks
}

fn workers(workers: &[Worker]) -> Check {
    let late: Vec<String> =
        workers.iter().filter(|w| w.late).map(|w| format!("{} ({} ago)", w.incarnation, span(w.last_beat_ms))).collect();
    let all = count(workers.len(), "worker");
    if workers.is_empty() {
        Check::not(State::Bad, "workers", "none is running: nothing is checked", "start one with `trueup work`")
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

fn queues(depths: &[QueueDepth]) -> Vec<Check> {
    let mut checks = Vec::new();
    for d in depths {
        let (name, queue) = (format!("queue {}", d.queue), &d.queue);
        if d.paused {
            let found = format!("paused, {} waiting", count(d.ready as usize, "job"));
            checks.push(Check::not(State::Warning, &name, found, format!("resume it with `trueup queue resume {queue}`")));
        } else if let Some(ms) = d.oldest_ms.filter(|ms| *ms > STUCK_MS) {
            let found = format!("{} ready, the oldest for {}", d.ready, span(ms));
            let advice = "more workers, or see in their logs what they wait for; `trueup work --help`";
            checks.push(Check::not(State::Bad, &name, found, advice));
        }
        if d.dead > 0 {
            let advice = format!("see why: `trueup queue show {queue} --state dead`; then `trueup queue retry {queue} --all`");
            checks.push(Check::not(State::Bad, &name, count(d.dead as usize, "dead letter"), advice));
        }
    }
    if checks.is_empty() {
        let waiting: u64 = depths.iter().map(|d| d.ready).sum();
        checks.push(Check::ok("queues", format!("none stuck, paused or with dead letters; {waiting} ready")));
    }
    checks
}

/// The API never talks to a plane; that a plane does not answer shows in the intents that could not be observed.
fn planes(summary: &Value) -> Vec<Check> {
    let planes = summary.pointer("/intents/by_plane").and_then(Value::as_object).into_iter().flatten();
    planes
        .map(|(plane, by)| {
            let of = |condition: &str| by[condition].as_u64().unwrap_or_default() as usize;
            let all: usize = by.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum::<u64>() as usize;
            let (name, unreachable) = (format!("plane {plane}"), of("unreachable"));
            if unreachable == 0 {
                return Check::ok(&name, format!("{}, none unreachable", count(all, "intent")));
            }
            let state = if unreachable == all { State::Bad } else { State::Warning };
            let advice = "see the last answers: `trueup get events --type CONDITION_CHANGED`, and the workers' logs";
            Check::not(state, &name, format!("{unreachable} of {} unreachable", count(all, "intent")), advice)
        })
        .collect()
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["CHECK", "STATE", "FOUND", "DO"]);
    for c in checks {
        let state = match c.state {
            State::Ok => cell("ok", Tone::Good),
            State::Warning => cell("warning", Tone::Warn),
            State::Bad => cell("bad", Tone::Bad),
        };
        table.row([c.check.as_str().into(), state, c.found.as_str().into(), c.advice.as_deref().unwrap_or_default().into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_found_and_advised() {
        let depth = |ready, oldest_ms, dead, paused| QueueDepth {
            queue: "emit".into(), ready, oldest_ms, dead, paused, ..QueueDepth::default()
        };
        let worker = |late| Worker { incarnation: "w".into(), last_beat_ms: 9_000, late };
        let at = trueup_model::DateTime::UNIX_EPOCH;
        let summary = json!({"intents": {"by_plane": {"intune": {"unreachable": 2}, "ansible": {"in_sync": 1, "unreachable": 1}}}});
        let table = [
            (queues(&[depth(0, None, 0, false)]), vec![State::Ok]),
            (queues(&[depth(9, Some(59_000), 0, false)]), vec![State::Ok]),
            (queues(&[depth(9, Some(61_000), 0, false)]), vec![State::Bad]),
            (queues(&[depth(9, Some(61_000), 3, true)]), vec![State::Warning, State::Bad]),
            (vec![workers(&[])], vec![State::Bad]),
            (vec![workers(&[worker(true)])], vec![State::Bad]),
            (vec![workers(&[worker(true), worker(false)])], vec![State::Warning]),
            (vec![workers(&[worker(false)])], vec![State::Ok]),
            (clock(Some(at), at + trueup_model::Duration::seconds(2)).into_iter().collect(), vec![State::Ok]),
            (clock(Some(at), at + trueup_model::Duration::seconds(-9)).into_iter().collect(), vec![State::Warning]),
            (planes(&summary), vec![State::Warning, State::Bad]),
        ];
        for (checks, expected) in table {
            assert_eq!(checks.iter().map(|c| c.state).collect::<Vec<_>>(), expected, "{checks:?}");
            assert!(checks.iter().all(|c| c.state == State::Ok || c.advice.is_some()), "{checks:?}");
        }
    }
}
