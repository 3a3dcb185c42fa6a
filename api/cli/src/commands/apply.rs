//! `trueup apply`: store what is meant.

use std::collections::BTreeMap;
use std::path::PathBuf;

use trueup_client::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use trueup_engine::{Applied, Change};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::manifests::{self, Loaded};
use crate::table::{Table, Tone, cell};
use crate::text::count;
use crate::views::wire;

const EXAMPLES: &str = "\
Examples:
  trueup apply -f fleet.yaml                  one or many documents in a file
  trueup apply -f fleet/ --dry-run            a folder; says what would change and stores nothing
  generate | trueup apply -f -                YAML, JSON or NDJSON from stdin

A manifest:
  id: firefox-lab
  tenant: acme
  plane: intune
  target: {app_id: 0177548a-548a-0177-8a54-77018a547701, app_name: Firefox}
  desired:
    version: \"126.0\"
    assignment: {include: [{group: lab}]}
  criticality: high
  ring: lab

Everything is read and checked first; if anything is wrong, nothing is sent.";

/// Manifests in one request.
const CHUNK: usize = 256;
/// Above this many, progress is shown on stderr.
const SHOW_PROGRESS: usize = 1_000;
/// Above this many, a table leaves out what did not change and what is new.
const MAX_ROWS: usize = 50;
/// Flaws told at once.
const MAX_FLAWS: usize = 20;

/// Store intents from YAML, JSON or NDJSON
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file, a folder, or - for stdin; may be given more than once
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR|-")]
    file: Vec<PathBuf>,
    /// Say what would change; store nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
struct Results {
    results: Vec<ItemResult>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ItemResult {
    Applied(Applied),
    Wrong { item: usize, error: String },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let loaded = manifests::load(&self.file).map_err(refuse)?;
        let (mut applied, mut wrong) = (Vec::with_capacity(loaded.len()), Vec::new());
        let mut rest = loaded.as_slice();
        while !rest.is_empty() {
            let (chunk, body);
            (chunk, rest, body) = cut(rest)?;
            let results = send(cx, body, self.dry_run).await.map_err(|mut f| {
                if !applied.is_empty() {
                    f.places.push(format!("{} of {} were stored before; applying again is safe", applied.len(), loaded.len()));
                }
                f
            })?;
            for result in results {
                match result {
                    ItemResult::Applied(one) => applied.push(one),
                    ItemResult::Wrong { item, error } => {
                        let place = item.checked_sub(1).and_then(|n| chunk.get(n)).map(|l| l.place.to_string());
                        wrong.push(format!("{}: {error}", place.unwrap_or_default()));
                    }
                }
            }
            if loaded.len() > SHOW_PROGRESS {
                cx.note(&format!("{} of {}", applied.len() + wrong.len(), loaded.len()));
            }
        }
        self.show(cx, &applied);
        if wrong.is_empty() {
            return Ok(Exit::Done);
        }
        let what = format!("the API refused {} of {}", wrong.len(), count(loaded.len(), "manifest"));
        let failure = Failure::new(Exit::Failed, what).advise("correct them and apply again; the others are stored");
        Err(wrong.into_iter().take(MAX_FLAWS).fold(failure, Failure::at))
    }

    fn show(&self, cx: &Context, applied: &[Applied]) {
        let mut counts: BTreeMap<Change, usize> = BTreeMap::new();
        for one in applied {
            *counts.entry(one.change).or_default() += 1;
        }
        match cx.output {
            Output::Json => {
                let counts: BTreeMap<String, usize> = counts.iter().map(|(c, n)| (wire(c), *n)).collect();
                cx.write_json(&json!({"results": applied, "counts": counts, "dry_run": self.dry_run}));
            }
            Output::Name => {
                let names: Vec<String> = applied.iter().map(|a| a.intent.to_string()).collect();
                cx.write_names(names.iter().map(String::as_str));
            }
            Output::Table => {
                let brief = applied.len() > MAX_ROWS;
                let mut table = Table::new(&["INTENT", "CHANGE", "GENERATION"]);
                let rows = applied.iter().filter(|a| !brief || !matches!(a.change, Change::Unchanged | Change::Created));
                for one in rows.take(MAX_ROWS) {
                    let tone = match one.change {
                        Change::Created => Tone::Good,
                        Change::Changed => Tone::Warn,
                        _ => Tone::Dim,
                    };
                    table.row([one.intent.to_string().into(), cell(wire(&one.change), tone), one.generation.to_string().into()]);
                }
                if !table.is_empty() {
                    cx.write(&table.render(cx.colour));
                }
                let counts: Vec<String> = counts.iter().map(|(c, n)| format!("{n} {}", wire(c))).collect();
                let note = if self.dry_run { " (dry run: nothing was stored)" } else { "" };
                cx.note(&format!("{}{note}", counts.join(", ")));
                if brief && !self.dry_run {
                    cx.note("see how they stand with `trueup get intents`");
                }
            }
        }
    }
}

/// Nothing is sent if anything is wrong.
fn refuse(flaws: Vec<manifests::Flaw>) -> Failure {
    let advice = "correct it and apply again; `trueup apply --help` shows a manifest. Nothing was sent";
    let failure = match flaws.as_slice() {
        [one] => Failure::new(Exit::Failed, match &one.field {
            Some(field) => format!("{field}: {}", one.what),
            None => one.what.clone(),
        })
        .at(one.place.to_string()),
        many => {
            let failure = Failure::new(Exit::Failed, format!("{} are wrong", count(many.len(), "thing")));
            many.iter().take(MAX_FLAWS).fold(failure, |f, flaw| f.at(flaw.to_string()))
        }
    };
    failure.advise(advice)
}

/// The next manifests to send, the ones after them, and the body: at most [`CHUNK`] of them, and no more bytes than the
/// API takes.
fn cut(loaded: &[Loaded]) -> Result<(&[Loaded], &[Loaded], String), Failure> {
    let (mut body, mut n) = (String::new(), 0);
    for one in loaded.iter().take(CHUNK) {
        let line = serde_json::to_string(&one.intent).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        if n > 0 && body.len() + line.len() > trueup_server::MAX_BODY / 2 {
            break;
        }
        body += &line;
        body.push('\n');
        n += 1;
    }
    let (chunk, rest) = loaded.split_at(n);
    Ok((chunk, rest, body))
}

async fn send(cx: &Context, body: String, dry_run: bool) -> Result<Vec<ItemResult>, Failure> {
    let query = if dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
    let answer: Answer<Value> = cx.client.ask(Method::POST, &["v1", "intents"], &query, Body::Ndjson(body)).await?;
    let results: Vec<Results> = crate::views::read(&[answer.body])?;
    Ok(results.into_iter().flat_map(|r| r.results).collect())
}
