//! `trueup reconcile`: look at one, many or a tenant's intents now, and wait for what is found.

pub(super) mod progress;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_client::{Ask, Method};
use trueup_model::IntentKey;

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::count;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup reconcile acme/firefox-lab acme/vpn-lab          these two, return at once
  trueup reconcile --tenant acme --wait                   all of a tenant, and wait
  trueup reconcile --tenant acme -l 'env=prod,tier!=gold' --wait --timeout 1800
  trueup reconcile --tenant acme --idempotency-key release-4711
  trueup get reconciliation rec_8h2k4m0qz1x3c5v7b9n2 --wait

With --wait the exit status is 5 unless all are in sync. What drifted is found, and remediated where
policy allows; that is not waited for. An active run is not disturbed: the look follows it.
`trueup check` does the same for one intent, and shows the intent.";

/// Intents that can be named in one command.
const MOST: usize = 10_000;
/// Refusals that are shown.
const MAX_SHOWN: usize = 20;

/// Look at many intents now instead of at their next check
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// TENANT/ID of each
    #[arg(required_unless_present = "tenant", conflicts_with = "tenant", num_args = 1..=MOST)]
    intents: Vec<IntentKey>,
    /// All that this tenant has
    #[arg(long)]
    tenant: Option<String>,
    /// Only those with these labels: KEY=VALUE, KEY!=VALUE, KEY, with commas
    #[arg(
        short = 'l',
        long,
        visible_alias = "label",
        value_name = "SELECTOR",
        requires = "tenant",
        conflicts_with = "intents"
    )]
    selector: Option<String>,
    /// Wait until all were looked at, and say what was found
    #[arg(long)]
    wait: bool,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400), requires = "wait")]
    timeout: u64,
    /// Asked for again with the same key, it is done once: for scripts that may run twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// What was accepted.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    id: String,
    correlation_id: String,
    accepted: u64,
    refused: Vec<Refused>,
    refused_total: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    item: usize,
    intent: String,
    reason: String,
    detail: String,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let key = self.idempotency_key.map(key_of).transpose()?;
        let ask = match (self.tenant, self.intents) {
            (Some(tenant), _) => Ask::Selected { tenant, selector: self.selector },
            (None, mut intents) if intents.len() == 1 => Ask::One { intent: intents.remove(0) },
            (None, intents) => Ask::Many { intents },
        };
        let request = cx.client.request(Method::POST, &["v1", "reconciliations"]);
        let request = request.headers(key.map(|key| ("idempotency-key", key))).json(&ask);
        let answer: Answer<Value> = request.send().await?;
        let handle: Handle = views::read(std::slice::from_ref(&answer.body))?.swap_remove(0);
        let refused = refusal(&handle);
        if !self.wait {
            match cx.output {
                Output::Json => cx.write_json(&answer.body),
                Output::Name => cx.write_names([handle.id.as_str()]),
                Output::Table => {
                    cx.write(&format!("{} will be looked at now: {}\n", intents(handle.accepted), handle.id));
                    cx.note(&format!("wait for it with `trueup get reconciliation {} --wait`", handle.id));
                    cx.note(&format!(
                        "follow it with `trueup get events --correlation-id {} --watch`",
                        handle.correlation_id
                    ));
                }
            }
            return refused.map_or(Ok(Exit::Done), Err);
        }
        if cx.output == Output::Table {
            cx.note(&format!("{} will be looked at: {}", intents(handle.accepted), handle.id));
        }
        let ended = progress::waited(cx, &handle.id, self.timeout).await?;
        refused.map_or(Ok(ended), Err)
    }
}

/// Characters that a header can carry, as the API wants them.
fn key_of(key: String) -> Result<String, Failure> {
    let plain = (1..=255).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if plain {
        return Ok(key);
    }
    Err(Failure::usage(
        "a key has 1 to 255 printable ASCII characters, without blanks, quotes and backslashes",
    )
    .at("--idempotency-key"))
}

fn intents(n: u64) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), "intent")
}

/// Those that are not looked at, while the others are.
fn refusal(handle: &Handle) -> Option<Failure> {
    if handle.refused_total == 0 {
        return None;
    }
    let what = format!("{} cannot be looked at; the others will be", intents(handle.refused_total));
    let failure = Failure::new(Exit::Failed, what);
    let shown = handle.refused.iter().take(MAX_SHOWN).map(|r| format!("{}: {}", r.intent, r.detail));
    Some(shown.fold(failure, Failure::at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_be_sent_or_is_refused() {
        for key in ["release-4711", "a", "!#~[]", &"x".repeat(255)] {
            assert_eq!(key_of(key.to_owned()).as_deref(), Ok(key));
        }
        for key in ["", "a b", "a\nb", "é", "\"", "\\", &"x".repeat(256)] {
            assert_eq!(key_of(key.to_owned()).unwrap_err().exit, Exit::Usage, "{key:?}");
        }
    }
}
