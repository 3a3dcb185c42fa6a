//! `trueup check`: look at one intent now.

use std::time::Duration;

use trueup_client::Method;
use serde_json::Value;
use trueup_model::{Condition, EventKind, IntentKey, IntentRecord};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup check acme/firefox-lab               ask for a look, return at once
  trueup check acme/firefox-lab --wait        wait for the answer; exit status 5 unless it is in sync
  trueup check acme/firefox-lab --wait --timeout 300";

/// How often the record is read while waiting.
const POLL: Duration = Duration::from_millis(250);

/// Look at one intent now instead of at its next check
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// TENANT/ID
    intent: IntentKey,
    /// Wait until it was looked at, and show what was found
    #[arg(long)]
    wait: bool,
    /// Longest wait, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400), requires = "wait")]
    timeout: u64,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let key = &self.intent;
        let before = record(cx, key).await?.body.state.runs;
        let path = ["v1", "intents", &key.tenant, &key.id, "checks"];
        let asked: Answer<Value> = cx.client.ask(Method::POST, &path, &[], Body::None).await?;
        if !self.wait {
            match cx.output {
                Output::Json => cx.write_json(&asked.body),
                Output::Name => cx.write_names(asked.body["correlation_id"].as_str()),
                Output::Table => {
                    let id = asked.body["correlation_id"].as_str().unwrap_or_default();
                    cx.write(&format!("{key} will be looked at now\n"));
                    cx.note(&format!("follow it with `trueup get events --correlation-id {id} --watch`"));
                }
            }
            return Ok(Exit::Done);
        }
        let waiting = wait(cx, key, before);
        let Ok(found) = tokio::time::timeout(Duration::from_secs(self.timeout), waiting).await else {
            let what = format!("{key} was not looked at within {} s", self.timeout);
            let mut failure = Failure::new(Exit::Failed, what).advise("see whether workers run: `trueup doctor`");
            failure.correlation_id = asked.body["correlation_id"].as_str().map(str::to_owned);
            return Err(failure);
        };
        let Answer { body: record, now, .. } = found?;
        match cx.output {
            Output::Json => cx.write_json(&serde_json::to_value(&record).unwrap_or_default()),
            Output::Name => cx.write_names([key.to_string().as_str()]),
            Output::Table => {
                cx.write(&views::intents(std::slice::from_ref(&record), now).render(cx.colour));
                if let Some(why) = because(cx, key, record.state.condition).await {
                    cx.note(&format!("{}: {why}", record.state.condition.as_str()));
                }
                if record.state.condition == Condition::Drifted {
                    cx.note(&format!("see why with `trueup explain {key}`"));
                }
            }
        }
        Ok(if record.state.condition == Condition::InSync { Exit::Done } else { Exit::Unwell })
    }
}

/// Why an intent came into the condition in which it is, if an event still says so.
pub(crate) async fn because(cx: &Context, key: &IntentKey, condition: Condition) -> Option<String> {
    let query = [
        ("intent", key.to_string()),
        ("type", EventKind::ConditionChanged.as_str().to_owned()),
        ("last", "1".to_owned()),
    ];
    let answer: Answer<Value> = cx.client.get(&["v1", "events"], &query).await.ok()?;
    let data = &answer.body["items"].as_array()?.last()?["event_data"];
    let because: Vec<&str> = data["because"].as_array()?.iter().filter_map(Value::as_str).collect();
    (data["to"] == condition.as_str() && !because.is_empty()).then(|| because.join("; "))
}

async fn record(cx: &Context, key: &IntentKey) -> Result<Answer<IntentRecord>, Failure> {
    cx.client.get(&["v1", "intents", &key.tenant, &key.id], &[]).await
}

/// Returns when a run that began after `before` has ended.
#[expect(clippy::disallowed_methods, reason = "asking another process again and again is a real wait; the caller bounds it")]
async fn wait(cx: &Context, key: &IntentKey, before: u64) -> Result<Answer<IntentRecord>, Failure> {
    loop {
        let answer = record(cx, key).await?;
        if answer.body.state.runs > before && answer.body.state.run.is_none() {
            return Ok(answer);
        }
        tokio::time::sleep(POLL).await;
    }
}
