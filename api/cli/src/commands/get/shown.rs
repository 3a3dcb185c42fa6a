//! What one look gave, written once, or again whenever it changed.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use trueup_boot::shutdown::Shutdown;
use trueup_model::Time;

use crate::args::Output;
use crate::client::Items;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Table;
use crate::views;

/// Whether to go on looking.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Go on: show it again when it changes, or events as they happen; ctrl-c ends it, with status 0
    #[arg(long, short, global = true, visible_alias = "follow")]
    pub(super) watch: bool,
    /// Seconds between two looks, with --watch (events come by themselves)
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) every: u64,
}

/// An answer in the form that was asked for.
pub(super) struct Shown {
    /// By which a change is seen; ages in the text change all the time.
    seen: Value,
    text: String,
    notes: Vec<String>,
}

impl Shown {
    /// `names`: for `--output name`; `table`: for people.
    pub(super) fn of(
        cx: &Context,
        seen: Value,
        names: impl FnOnce(&Value) -> Vec<String>,
        table: impl FnOnce(&Value) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let text = match cx.output {
            Output::Json => cx.json(&seen),
            Output::Name => names(&seen).iter().map(|n| crate::text::clean(n) + "\n").collect(),
            Output::Table => table(&seen)?,
        };
        Ok(Self { seen, text, notes: Vec::new() })
    }

    /// A list. `name` points to the name of an item; `none` is said where there is nothing.
    pub(super) fn list<T: DeserializeOwned>(
        cx: &Context,
        list: Items,
        name: &str,
        none: &str,
        table: impl FnOnce(&[T], Time) -> Table,
    ) -> Result<Self, Failure> {
        let Items { items, more, now } = list;
        let empty = items.is_empty();
        let names = |seen: &Value| {
            seen["items"].as_array().into_iter().flatten().filter_map(|i| name_of(i, name)).collect()
        };
        let rows = |seen: &Value| {
            let items = views::read(seen["items"].as_array().map(Vec::as_slice).unwrap_or_default())?;
            Ok(if empty { String::new() } else { table(&items, now).render(cx.colour) })
        };
        let mut shown = Self::of(cx, json!({"items": items, "more": more}), names, rows)?;
        if empty && cx.output == Output::Table {
            shown.notes.push(none.into());
        }
        if more {
            shown.notes.push("there are more; see them with --all or a larger --limit".into());
        }
        Ok(shown)
    }
}

/// An intent's name has two parts, the others one.
fn name_of(item: &Value, pointer: &str) -> Option<String> {
    match item.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        manifest => Some(format!("{}/{}", manifest["tenant"].as_str()?, manifest["id"].as_str()?)),
    }
}

/// Looks, and shows what is seen; with `--watch` until ctrl-c.
pub(super) async fn show(
    cx: &Context,
    watch: &Watch,
    look: impl AsyncFn() -> Result<Shown, Failure>,
) -> Result<Exit, Failure> {
    let first = look().await?;
    if !watch.watch {
        cx.write(&first.text);
        first.notes.iter().for_each(|note| cx.note(note));
        return Ok(Exit::Done);
    }
    let shutdown = on_signal()?;
    shutdown.or(again(cx, Duration::from_secs(watch.every), first, look)).await.unwrap_or(Ok(Exit::Done))
}

pub(super) fn on_signal() -> Result<Shutdown, Failure> {
    Shutdown::on_signal().map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))
}

/// Until somebody ends it, the reader goes away, or the API refuses.
async fn again(
    cx: &Context,
    every: Duration,
    first: Shown,
    look: impl AsyncFn() -> Result<Shown, Failure>,
) -> Result<Exit, Failure> {
    // A terminal is drawn anew each time, so that ages move; elsewhere only what changed is worth a word.
    let redraws = std::io::stdout().is_terminal() && cx.output == Output::Table;
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    looks.tick().await;
    let (mut last, mut next, mut away) = (None, Some(first), false);
    loop {
        if let Some(shown) = next.take() {
            let changed = last.as_ref() != Some(&shown.seen);
            if redraws || changed {
                let before = match (redraws, last.is_some(), cx.output) {
                    (true, ..) => "\u{1b}[H\u{1b}[2J",
                    (false, true, Output::Table) => "\n",
                    (false, true, Output::Json) => cx.between_documents(),
                    _ => "",
                };
                if !try_write(&format!("{before}{}", shown.text)) {
                    return Ok(Exit::Done);
                }
                shown.notes.iter().for_each(|note| cx.note(note));
            }
            last = Some(shown.seen);
        }
        looks.tick().await;
        match look().await {
            Ok(shown) => {
                if std::mem::take(&mut away) {
                    cx.note("it answers again");
                }
                next = Some(shown);
            }
            // It may be restarting: who watches wants to see it come back.
            Err(failure) if failure.exit == Exit::Unreachable => {
                if !std::mem::replace(&mut away, true) {
                    cx.note(&format!("{}; still trying", failure.what));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// False: nobody reads any more.
pub(super) fn try_write(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
