//! `trueup policy replay`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use trueup_model::{Duration, Event, Time};
use trueup_runner::policy::outcome::Outcome;
use trueup_runner::policy::replay::{Change, Replay};
use trueup_runner::policy::{Policy, duration};

use super::archive;
use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Cell, Table, Tone, cell};
use crate::text::count;
use crate::views;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A policy (TOML); - is stdin
    file: PathBuf,
    /// Cases no older than this, like 12h or 30d (back from now; of an archive, from its newest event), or since a time
    #[arg(long, default_value = "30d", value_name = "AGE|TIME", value_parser = since)]
    since: Since,
    /// Read the events' archive in this folder instead of asking the API, which has only the newest
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Changes shown at most; all are counted
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Since {
    Ago(Duration),
    At(Time),
}

impl Since {
    pub(super) fn from(self, now: Time) -> Time {
        match self {
            Self::Ago(age) => now.checked_sub_signed(age).unwrap_or(Time::UNIX_EPOCH),
            Self::At(at) => at,
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    match (duration(text), text.parse()) {
        (Some(age), _) => Ok(Since::Ago(age)),
        (None, Ok(at)) => Ok(Since::At(at)),
        _ => Err("expected an age like 12h or 30d, or a time like 2026-01-06T00:00:00Z".into()),
    }
}

impl Args {
    pub(super) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let text = super::text(&self.file)?;
        let policy = Policy::parse(&text).map_err(|flaws| super::wrong(&self.file, &flaws))?;
        let mut replay = match &self.archive {
            Some(dir) => archive::replay(dir, self.since, &policy)?,
            None => from_api(cx, self.since, &policy).await?,
        };
        replay.changed.sort_by(|a, b| (a.at, &a.intent, a.kind).cmp(&(b.at, &b.intent, b.kind)));
        let totals = totals(&replay);
        match cx.output {
            Output::Json => cx.write_json(&json!({
                "version": policy.digest(), "cases": replay.cases(), "same": replay.same,
                "unreadable": replay.unreadable, "changed": replay.changed,
                "totals": totals.iter().map(|((was, would_be), n)| json!({"was": was, "would_be": would_be, "count": n})).collect::<Vec<_>>(),
            })),
            Output::Name => {
                let names: std::collections::BTreeSet<String> =
                    replay.changed.iter().map(|c| c.intent.to_string()).collect();
                cx.write_names(names.iter().map(String::as_str));
            }
            Output::Table => self.show(cx, &replay, &totals),
        }
        Ok(Exit::Done)
    }

    fn show(&self, cx: &Context, replay: &Replay, totals: &BTreeMap<(String, String), usize>) {
        let mut table = Table::new(&["DECIDED", "INTENT", "DRIFT", "WAS", "WOULD BE", "RULES"]);
        for change in replay.changed.iter().take(self.limit as usize) {
            table.row([
                change.at.format("%Y-%m-%d %H:%M:%S").to_string().into(),
                change.intent.to_string().into(),
                change.kind.as_str().into(),
                outcome(&change.was, change),
                outcome(&change.would_be, change),
                change.would_be.rules.join(", ").into(),
            ]);
        }
        if !table.is_empty() {
            cx.write(&(table.render(cx.colour) + "\n"));
        }
        let decisions = count(replay.cases() - replay.unreadable, "recorded decision");
        cx.write(&format!("{} of {decisions} would change\n", replay.changed.len()));
        for ((was, would_be), n) in totals {
            cx.write(&format!("  {n:>6}  {was} → {would_be}\n"));
        }
        if replay.changed.len() > self.limit as usize {
            cx.note("there are more changes; see them with a larger --limit");
        }
        if replay.unreadable > 0 {
            let n = count(replay.unreadable, "decision");
            cx.note(&format!(
                "{n} could not be decided again: recorded by another version, without its case"
            ));
        }
        if replay.cases() == 0 {
            cx.note("no decision is recorded since then; older ones may be in the archive (--archive DIR)");
        }
    }
}

/// An outcome in a word or two, with what distinguishes it from the other.
fn words(of: &Outcome, change: &Change) -> String {
    let mut text = of.verdict().to_owned();
    if of.not_before.is_some() {
        text.push_str(", later");
    }
    if let Some(severity) = of
        .severity
        .filter(|_| change.would_be.severity.is_some() && change.was.severity != change.would_be.severity)
    {
        text.push_str(&format!(", {}", views::wire(&severity)));
    }
    text
}

fn outcome(of: &Outcome, change: &Change) -> Cell {
    let at = of.not_before.map(|t| t.format(" (%Y-%m-%d %H:%M:%S)").to_string()).unwrap_or_default();
    let tone = match of.verdict {
        None => Tone::Dim,
        Some(_) if of.verdict() == "automatic" => Tone::Good,
        Some(_) if of.verdict() == "cab" => Tone::Bad,
        Some(_) => Tone::Warn,
    };
    cell(words(of, change) + &at, tone)
}

/// How many went from what to what.
fn totals(replay: &Replay) -> BTreeMap<(String, String), usize> {
    let mut totals = BTreeMap::new();
    for change in &replay.changed {
        *totals.entry((words(&change.was, change), words(&change.would_be, change))).or_default() += 1;
    }
    totals
}

#[derive(Debug, serde::Deserialize)]
struct Page {
    items: Vec<Value>,
    after: String,
}

/// Page after page, oldest first within a partition.
async fn from_api(cx: &Context, since: Since, policy: &Policy) -> Result<Replay, Failure> {
    let path = ["v1", "events"];
    // One answer only for the time by the clock that decisions use.
    let now = cx.client.get::<Value>(&path, &[("last", "1".into())]).await?.now;
    let since = since.from(now).to_rfc3339();
    let mut replay = Replay::default();
    let mut after = String::new();
    loop {
        let mut query = vec![
            ("type", "POLICY_DECIDED".to_owned()),
            ("since", since.clone()),
            ("limit", trueup_server::MAX_LIMIT.to_string()),
        ];
        query.extend((!after.is_empty()).then(|| ("after", after.clone())));
        let answer: Answer<Page> = cx.client.get(&path, &query).await?;
        if answer.body.items.is_empty() || answer.body.after == after {
            return Ok(replay);
        }
        for event in views::read::<Event>(&answer.body.items)? {
            replay.add(&event, policy);
        }
        after = answer.body.after;
    }
}
