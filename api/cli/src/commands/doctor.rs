//! `trueup doctor`: is everything well, and what to do if not.
//!
//! It asks the API alone. What may not be asked, or is not answered, is said and not guessed.

mod clocks;
mod credentials;
mod fleet;
mod planes;
mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Value, json};
use trueup_model::{SystemClock, clock::Clock as _};

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::count;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup doctor
  trueup doctor --output json | jq '.checks[] | select(.state != \"ok\")'
  trueup doctor --output name                 only the names of what is not well

Exit status:
  0  nothing is bad (there may be warnings)   3  the API does not answer, so nothing else is known
  5  something is bad";

/// Check API, Redis, clocks, workers, queues, planes, credentials and archive, and say what to do
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
    /// What could not be asked is not known to be bad.
    fn unknown(check: &str, e: Failure) -> Self {
        let advice = e.advice.unwrap_or_else(|| "see the server's log".into());
        Self::not(State::Warning, check, format!("not known: {}", e.what), advice)
    }
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let (checks, exit) = match examine(cx).await {
            Ok(checks) if checks.iter().any(|c| c.state == State::Bad) => (checks, Exit::Unwell),
            Ok(checks) => (checks, Exit::Done),
            Err(unanswered) => unanswered,
        };
        let bad = checks.iter().filter(|c| c.state == State::Bad).count();
        match cx.output {
            Output::Table => {
                cx.write(&table(&checks).render(cx.colour));
                cx.note(&if bad == 0 {
                    "nothing is bad".into()
                } else {
                    format!("{} bad", count(bad, "thing"))
                });
            }
            Output::Name => {
                cx.write_names(checks.iter().filter(|c| c.state != State::Ok).map(|c| c.check.as_str()));
            }
            Output::Json => cx.write_json(&json!({"well": bad == 0, "checks": checks})),
        }
        Ok(exit)
    }
}

/// `Err`: the API does not say how it is. What is known all the same, and the status that tells scripts.
async fn examine(cx: &Context) -> Result<Vec<Check>, (Vec<Check>, Exit)> {
    let health: Answer<store::Health> = match cx.client.get(&["v1", "health"], &[]).await {
        Ok(answer) => answer,
        Err(e) => return Err(unanswered(cx, e)),
    };
    let here = SystemClock.now();
    let mut checks = vec![store::api(&health.body, cx.client.base())];
    checks.extend(clocks::api(health.date, here));
    checks.extend(clocks::redis(health.body.store.skew_ms));
    checks.extend(store::redis(&health.body));
    checks.extend(store::archive(&health.body));
    match cx.client.get::<Value>(&["v1", "workers"], &[]).await {
        Ok(answer) => match views::read::<fleet::Worker>(&list(&answer.body)) {
            Ok(found) => {
                checks.push(fleet::workers(&found));
                checks.extend(fleet::versions(&found, &health.body.version));
                checks.extend(clocks::workers(&found, answer.now, answer.date));
            }
            Err(e) => checks.push(Check::unknown("workers", e)),
        },
        Err(e) => checks.push(Check::unknown("workers", e)),
    }
    match cx.client.get::<Value>(&["v1", "queues"], &[]).await.and_then(|a| views::read(&list(&a.body))) {
        Ok(depths) => checks.extend(fleet::queues(&depths)),
        Err(e) => checks.push(Check::unknown("queues", e)),
    }
    match cx.client.get::<Value>(&["v1", "planes"], &[]).await {
        Ok(answer) => match views::read(&list(&answer.body)) {
            Ok(views) => checks.extend(planes::connections(&views, answer.now)),
            Err(e) => checks.push(Check::unknown("connections", e)),
        },
        Err(e) => checks.push(Check::unknown("connections", e)),
    }
    match cx.client.get::<Value>(&["v1", "summary"], &[]).await {
        Ok(answer) => checks.extend(planes::reached(&answer.body)),
        Err(e) => checks.push(Check::unknown("planes", e)),
    }
    checks.extend(credentials::examine(cx, health.now).await);
    Ok(checks)
}

fn unanswered(cx: &Context, e: Failure) -> (Vec<Check>, Exit) {
    let api = || Check::ok("api", format!("something answers at {}", cx.client.base()));
    let advice = e.advice.unwrap_or_else(|| "see the server's log".into());
    match e.status {
        Some(401 | 403) => {
            (vec![api(), Check::not(State::Bad, "credentials", e.what, advice)], Exit::Unwell)
        }
        Some(503) => {
            let advice = "see whether the Redis of `trueup serve --redis-url` runs and can be reached; it goes on by itself then";
            (vec![api(), Check::not(State::Bad, "redis", e.what, advice)], Exit::Unreachable)
        }
        _ => (vec![Check::not(State::Bad, "api", e.what, advice)], Exit::Unreachable),
    }
}

fn list(body: &Value) -> Vec<Value> {
    body["items"].as_array().cloned().unwrap_or_default()
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["CHECK", "STATE", "FOUND", "DO"]);
    for c in checks {
        let state = match c.state {
            State::Ok => cell("ok", Tone::Good),
            State::Warning => cell("warning", Tone::Warn),
            State::Bad => cell("bad", Tone::Bad),
        };
        let advice = c.advice.as_deref().unwrap_or_default();
        table.row([c.check.as_str().into(), state, c.found.as_str().into(), advice.into()]);
    }
    table
}
