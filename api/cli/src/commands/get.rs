//! `trueup get`: lists and single things.

use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use trueup_model::{IntentKey, IntentRecord, Time};

use crate::args::Output;
use crate::client::{Answer, Items};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Table;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup get intents --condition drifted --tenant acme
  trueup get intents -l 'team=web,tier!=lab' -o wide
  trueup get intent acme/firefox-lab -o yaml
  trueup get findings --open --severity high
  trueup get approvals --kind cab
  trueup get events --intent acme/firefox-lab --last 20
  trueup get findings --open --output name | xargs -n1 trueup explain";

/// Show intents, findings, events, approvals or workers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct Size {
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Size {
    fn most(&self) -> usize {
        if self.all { usize::MAX } else { self.limit as usize }
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// What was meant, and how it stands
    Intents {
        #[arg(long)]
        tenant: Option<String>,
        /// unknown, in_sync, drifted, stale or unreachable
        #[arg(long)]
        condition: Option<String>,
        /// intune, jamf, configmgr or ansible
        #[arg(long)]
        plane: Option<String>,
        /// By labels: KEY=VALUE, KEY!=VALUE, KEY, with commas
        #[arg(short = 'l', long, visible_alias = "label", value_name = "SELECTOR")]
        selector: Option<String>,
        #[command(flatten)]
        size: Size,
    },
    /// One intent in full
    Intent { name: IntentKey },
    /// Drift with its history, newest first
    Findings {
        /// Only what is still there
        #[arg(long)]
        open: bool,
        /// missing_assignment, version_mismatch, scope_mismatch or compliance_drift
        #[arg(long)]
        kind: Option<String>,
        /// low, medium, high or critical
        #[arg(long)]
        severity: Option<String>,
        #[arg(long)]
        tenant: Option<String>,
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
        #[command(flatten)]
        size: Size,
    },
    /// What happened
    Events {
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
        #[arg(long, value_name = "ID")]
        correlation_id: Option<String>,
        /// Like DRIFT_DETECTED or ESCALATED
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Not before this time, like 2026-01-06T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<Time>,
        /// The newest so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        last: u32,
    },
    /// What waits for people
    Approvals {
        /// review or cab
        #[arg(long)]
        kind: Option<String>,
        /// open or withdrawn
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        size: Size,
    },
    /// Worker processes and their last heartbeat
    Workers,
}

/// The parameters that were given.
fn query<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    pairs.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect()
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Intents { tenant, condition, plane, selector, size } => {
                let query = query([("tenant", tenant), ("condition", condition), ("plane", plane), ("selector", selector)]);
                let list = cx.client.list(&["v1", "intents"], &query, size.most()).await?;
                show(cx, list, "/intent", "no intents match; store some with `trueup apply -f FILE`", if cx.wide() { views::wide_intents } else { views::intents })
            }
            What::Intent { name } => {
                let answer: Answer<Value> = cx.client.get(&["v1", "intents", &name.tenant, &name.id], &[]).await?;
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => cx.write_names([name.to_string().as_str()]),
                    Output::Table => {
                        let record: IntentRecord = views::read(&[answer.body])?.swap_remove(0);
                        cx.write(&views::intent(&record, answer.now).render(cx.colour));
                    }
                }
                Ok(Exit::Done)
            }
            What::Findings { open, kind, severity, tenant, intent, size } => {
                let query = query([
                    ("open", open.then(|| "true".into())),
                    ("kind", kind),
                    ("severity", severity),
                    ("tenant", tenant),
                    ("intent", intent.map(Into::into)),
                ]);
                let list = cx.client.list(&["v1", "findings"], &query, size.most()).await?;
                show(cx, list, "/id", "no findings match", if cx.wide() { views::wide_findings } else { views::findings })
            }
            What::Approvals { kind, state, tenant, size } => {
                let query = query([("kind", kind), ("state", state), ("tenant", tenant)]);
                let list = cx.client.list(&["v1", "approvals"], &query, size.most()).await?;
                show(cx, list, "/id", "no approvals match", if cx.wide() { views::wide_approvals } else { views::approvals })
            }
            What::Events { intent, correlation_id, kind, since, last } => {
                let query = query([
                    ("intent", intent.map(Into::into)),
                    ("correlation_id", correlation_id),
                    ("type", kind),
                    ("since", since.map(|t| t.to_rfc3339())),
                    ("last", Some(last.to_string())),
                ]);
                let answer: Answer<Value> = cx.client.get(&["v1", "events"], &query).await?;
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                let list = Items { items, more: false, now: answer.now };
                show(cx, list, "/event_id", "no events match", if cx.wide() { views::wide_events } else { views::events })
            }
            What::Workers => {
                let answer: Answer<Value> = cx.client.get(&["v1", "workers"], &[]).await?;
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                let list = Items { items, more: false, now: answer.now };
                let none = "no worker is running; start one with `trueup work`";
                show(cx, list, "/incarnation", none, |w: &[trueup_server::workers::Worker], _| views::workers(w))
            }
        }
    }
}

/// Writes a list in the form asked for. `name` points to the name of an item.
fn show<T: DeserializeOwned>(
    cx: &Context,
    list: Items,
    name: &str,
    none: &str,
    table: impl FnOnce(&[T], Time) -> Table,
) -> Result<Exit, Failure> {
    match cx.output {
        Output::Json => cx.write_json(&json!({"items": list.items, "more": list.more})),
        Output::Name => cx.write_names(list.items.iter().filter_map(|i| name_of(i, name)).collect::<Vec<_>>().iter().map(String::as_str)),
        Output::Table => cx.write_table(&table(&views::read(&list.items)?, list.now), none),
    }
    if list.more {
        cx.note("there are more; see them with --all or a larger --limit");
    }
    Ok(Exit::Done)
}

/// An intent's name has two parts, the others one.
fn name_of(item: &Value, pointer: &str) -> Option<String> {
    match item.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        manifest => Some(format!("{}/{}", manifest["tenant"].as_str()?, manifest["id"].as_str()?)),
    }
}
