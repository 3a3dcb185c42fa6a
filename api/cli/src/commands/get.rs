//! `trueup get`: lists and single things, once or as they change.

mod follow;
mod run;
mod shown;

use clap::Subcommand;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_engine::requests::Reconciliation;
use trueup_model::{Condition, IntentKey, IntentRecord, Time};

use super::check::because;
use super::reconcile::progress;
use crate::args::Output;
use crate::client::{Answer, Items};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Table;
use crate::views;
use follow::Follow;
use shown::{Shown, Watch, show};

const EXAMPLES: &str = "\
Examples:
  trueup get intents --condition drifted --tenant acme
  trueup get intents --condition drifted --watch          again whenever it changes, until ctrl-c
  trueup get intents -l 'team=web,tier!=lab' -o wide
  trueup get intent acme/firefox-lab -o yaml
  trueup get findings --open --severity high
  trueup get approvals --kind cab
  trueup get events --intent acme/firefox-lab --last 20
  trueup get events --correlation-id ee53e31a-57a8-8449-9a10-000e4efce2b1 --watch
  trueup get runs --tenant acme                           what goes on now
  trueup get run run_8h2k4m0qz1x3c5v7b9n2
  trueup get reconciliations                              what `trueup reconcile` asked for
  trueup get reconciliation rec_8h2k4m0qz1x3c5v7b9n2 --wait
  trueup get findings --open --output name | xargs -n1 trueup explain";

/// Show intents, findings, events, approvals, runs, reconciliations or workers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    watch: Watch,
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
        /// Only of this tenant
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
    Intent {
        /// TENANT/ID
        name: IntentKey,
    },
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
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only about this intent
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
        #[command(flatten)]
        size: Size,
    },
    /// What happened
    Events {
        /// Only about this intent
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
        /// Only what this request or run caused
        #[arg(long, value_name = "ID")]
        correlation_id: Option<String>,
        /// Like DRIFT_DETECTED or ESCALATED
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Not before this time, like 2026-01-06T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<Time>,
        /// The newest so many; with --watch what to begin with, 0 for nothing
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1000))]
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
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        size: Size,
    },
    /// What is being looked at or remediated now
    Runs {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only of this intent
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
        /// intune, jamf, configmgr or ansible
        #[arg(long)]
        plane: Option<String>,
        /// schedule, request, verification, coalesced or recovery
        #[arg(long)]
        trigger: Option<String>,
        #[command(flatten)]
        size: Size,
    },
    /// One run as a story, also when it has ended
    Run {
        /// Its id, as `get runs` and `get intent` show it
        id: String,
        /// Its intent: needed for one that has ended without an event, or that somebody asked for
        #[arg(long, value_name = "TENANT/ID")]
        intent: Option<IntentKey>,
    },
    /// What was asked for with `trueup reconcile`, newest first
    Reconciliations {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        size: Size,
    },
    /// One reconciliation, and how far it is
    Reconciliation {
        /// Its id, as `trueup reconcile` says it
        id: String,
        /// Wait until it is done; exit status 5 unless all of it is in sync
        #[arg(long, conflicts_with = "watch")]
        wait: bool,
        /// Longest wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400), requires = "wait")]
        timeout: u64,
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
        let wide = cx.wide();
        let cx = &Listing { cx, watch: self.watch };
        match self.what {
            What::Intents { tenant, condition, plane, selector, size } => {
                let query = query([
                    ("tenant", tenant),
                    ("condition", condition),
                    ("plane", plane),
                    ("selector", selector),
                ]);
                let table = if wide { views::wide_intents } else { views::intents };
                let none = "no intents match; store some with `trueup apply -f FILE`";
                cx.paged("intents", &query, &size, "/intent", none, table).await
            }
            What::Intent { name } => cx.intent(&name).await,
            What::Findings { open, kind, severity, tenant, intent, size } => {
                let query = query([
                    ("open", open.then(|| "true".into())),
                    ("kind", kind),
                    ("severity", severity),
                    ("tenant", tenant),
                    ("intent", intent.map(Into::into)),
                ]);
                let table = if wide { views::wide_findings } else { views::findings };
                cx.paged("findings", &query, &size, "/id", "no findings match", table).await
            }
            What::Approvals { kind, state, tenant, size } => {
                let query = query([("kind", kind), ("state", state), ("tenant", tenant)]);
                let table = if wide { views::wide_approvals } else { views::approvals };
                cx.paged("approvals", &query, &size, "/id", "no approvals match", table).await
            }
            What::Events { intent, correlation_id, kind, since, last } => {
                let which = query([
                    ("intent", intent.map(Into::into)),
                    ("correlation_id", correlation_id),
                    ("type", kind),
                ]);
                if cx.watch.watch {
                    return Follow::new(cx.cx, which).run(last, since).await;
                }
                if last == 0 {
                    return Err(Failure::usage("none of the newest events are asked for").at("--last 0"));
                }
                let more =
                    query([("since", since.map(|t| t.to_rfc3339())), ("last", Some(last.to_string()))]);
                let table = if wide { views::wide_events } else { views::events };
                cx.whole("events", &[which, more].concat(), "/event_id", "no events match", table).await
            }
            What::Runs { tenant, intent, plane, trigger, size } => {
                let intent = intent.map(Into::into);
                let query =
                    query([("tenant", tenant), ("intent", intent), ("plane", plane), ("trigger", trigger)]);
                cx.paged("runs", &query, &size, "/id", "no run goes on", views::runs).await
            }
            What::Run { id, intent } => {
                let query = query([("intent", intent.map(Into::into))]);
                show(cx.cx, &cx.watch, async || run::look(cx.cx, &id, &query).await).await
            }
            What::Reconciliations { tenant, size } => {
                let none = "nothing was asked for in the last 24 h; ask with `trueup reconcile`";
                let table = |items: &[Reconciliation], now| views::reconciliations(items, now);
                cx.paged("reconciliations", &query([("tenant", tenant)]), &size, "/id", none, table).await
            }
            What::Reconciliation { id, wait: true, timeout } => progress::waited(cx.cx, &id, timeout).await,
            What::Reconciliation { id, .. } => {
                show(cx.cx, &cx.watch, async || {
                    let answer: Answer<Value> =
                        cx.cx.client.get(&["v1", "reconciliations", &id], &[]).await?;
                    let table =
                        |seen: &Value| progress::table(seen, answer.now).map(|t| t.render(cx.cx.colour));
                    Shown::of(cx.cx, answer.body, |_| vec![id.clone()], table)
                })
                .await
            }
            What::Workers => {
                let none = "no worker is running; start one with `trueup work`";
                let table = |items: &[trueup_server::workers::Worker], _| views::workers(items);
                cx.whole("workers", &[], "/incarnation", none, table).await
            }
        }
    }
}

/// Lists of the API, shown as it was asked for.
struct Listing<'a> {
    cx: &'a Context,
    watch: Watch,
}

type Query = [(&'static str, String)];

impl Listing<'_> {
    /// A list that may take many pages. `name` points to the name of an item.
    async fn paged<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &Query,
        size: &Size,
        name: &str,
        none: &str,
        table: impl Fn(&[T], Time) -> Table,
    ) -> Result<Exit, Failure> {
        show(self.cx, &self.watch, async || {
            let list = self.cx.client.list(&["v1", what], query, size.most()).await?;
            Shown::list(self.cx, list, name, none, &table)
        })
        .await
    }

    /// A list that comes in one answer.
    async fn whole<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &Query,
        name: &str,
        none: &str,
        table: impl Fn(&[T], Time) -> Table,
    ) -> Result<Exit, Failure> {
        show(self.cx, &self.watch, async || {
            let answer: Answer<Value> = self.cx.client.get(&["v1", what], query).await?;
            let items = answer.body["items"].as_array().cloned().unwrap_or_default();
            Shown::list(self.cx, Items { items, more: false, now: answer.now }, name, none, &table)
        })
        .await
    }

    async fn intent(&self, key: &IntentKey) -> Result<Exit, Failure> {
        show(self.cx, &self.watch, async || {
            let answer: Answer<Value> =
                self.cx.client.get(&["v1", "intents", &key.tenant, &key.id], &[]).await?;
            let condition = Condition::deserialize(&answer.body["state"]["condition"]).ok();
            let because = match condition {
                Some(condition) if self.cx.output == Output::Table => because(self.cx, key, condition).await,
                _ => None,
            };
            let table = |seen: &Value| {
                let record: IntentRecord = views::read(std::slice::from_ref(seen))?.swap_remove(0);
                Ok(views::intent(&record, because.as_deref(), answer.now).render(self.cx.colour))
            };
            Shown::of(self.cx, answer.body, |_| vec![key.to_string()], table)
        })
        .await
    }
}
