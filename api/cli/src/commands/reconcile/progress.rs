//! How far a reconciliation is, and waiting for its end.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use trueup_model::Time;

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::{count, relative, span};
use crate::views;

/// Between two looks, also where the API answers at once because too many wait already.
const PAUSE: Duration = Duration::from_secs(1);
/// Where no terminal is, a line is written after so many looks.
const LOOKS_A_LINE: u32 = 10;

/// As the API tells it.
#[derive(Debug, Deserialize)]
struct View {
    id: String,
    correlation_id: String,
    done: bool,
    accepted: u64,
    refused: u64,
    tenants: Vec<String>,
    #[serde(default)]
    selector: Option<String>,
    actor: String,
    requested_at: Time,
    progress: Progress,
}

#[derive(Debug, Deserialize)]
struct Progress {
    waiting: u64,
    running: u64,
    finished: Finished,
    gone: u64,
    not_reconciled: u64,
    /// Not read in time; whether they are done is not known.
    #[serde(default)]
    unread: u64,
}

#[derive(Debug, Deserialize)]
struct Finished {
    in_sync: u64,
    drifted: u64,
    stale: u64,
    unreachable: u64,
    unknown: u64,
}

impl View {
    fn read(value: &Value) -> Result<Self, Failure> {
        Ok(views::read(std::slice::from_ref(value))?.swap_remove(0))
    }

    fn looked_at(&self) -> u64 {
        let f = &self.progress.finished;
        f.in_sync + f.drifted + f.stale + f.unreachable + f.unknown
    }

    /// All of it was looked at, and is as it was meant.
    fn is_well(&self) -> bool {
        self.done && self.progress.finished.in_sync == self.accepted
    }

    /// `988 in sync, 12 drifted`.
    fn found(&self) -> String {
        let (p, f) = (&self.progress, &self.progress.finished);
        let all = [
            (f.in_sync, "in sync"),
            (f.drifted, "drifted"),
            (f.stale, "stale"),
            (f.unreachable, "unreachable"),
            (f.unknown, "unknown"),
            (p.gone, "deleted meanwhile"),
            (p.not_reconciled, "paused or retired meanwhile"),
            (p.unread, "not counted yet"),
        ];
        let found: Vec<String> =
            all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if found.is_empty() { "nothing yet".into() } else { found.join(", ") }
    }
}

/// One reconciliation in full.
pub(crate) fn table(view: &Value, now: Time) -> Result<Table, Failure> {
    let view = View::read(view)?;
    let mut table = Table::new(&["FIELD", "VALUE"]);
    let mut row = |field: &str, value: crate::table::Cell| table.row([field.into(), value]);
    row("reconciliation", view.id.as_str().into());
    let state = format!("{} of {} looked at", view.looked_at(), view.accepted);
    let tone = if view.is_well() { Tone::Good } else { Tone::Warn };
    row("state", cell(if view.done { format!("done: {state}") } else { state }, tone));
    row("found", view.found().into());
    row("waiting, running", format!("{}, {}", view.progress.waiting, view.progress.running).into());
    row("tenants", view.tenants.join(", ").into());
    row("selector", view.selector.as_deref().unwrap_or_default().into());
    row("refused", view.refused.to_string().into());
    row("asked by", view.actor.as_str().into());
    row("asked", format!("{} ({})", view.requested_at.to_rfc3339(), relative(view.requested_at, now)).into());
    row("correlation", view.correlation_id.as_str().into());
    Ok(table)
}

/// Waits for its end, and says what was found: status 5 unless all is in sync.
pub(crate) async fn waited(cx: &Context, id: &str, seconds: u64) -> Result<Exit, Failure> {
    let mut latest = None;
    let waiting = tokio::time::timeout(Duration::from_secs(seconds), until_done(cx, id, &mut latest)).await;
    let Ok(ended) = waiting else {
        let so_far =
            latest.map(|v| format!(": {} of {} looked at", v.looked_at(), v.accepted)).unwrap_or_default();
        let after = span(seconds.saturating_mul(1_000));
        return Err(Failure::new(Exit::Failed, format!("{id} was not done within {after}{so_far}")).advise(
            format!("it goes on: wait again with `trueup get reconciliation {id} --wait`; if it does not move, `trueup doctor` says why"),
        ));
    };
    let (body, view) = ended?;
    match cx.output {
        Output::Json => cx.write_json(&body),
        Output::Name => cx.write_names([id]),
        Output::Table => {
            let n = usize::try_from(view.looked_at()).unwrap_or(usize::MAX);
            let line = format!("{} looked at: {}", count(n, "intent"), view.found());
            cx.write(&(crate::text::clean(&line) + "\n"));
            if !view.is_well() {
                let tenant = view.tenants.first().map(|t| format!(" --tenant {t}")).unwrap_or_default();
                cx.note(&format!("see `trueup get findings --open{tenant}`, and why with `trueup explain`"));
            }
        }
    }
    Ok(if view.is_well() { Exit::Done } else { Exit::Unwell })
}

async fn until_done(cx: &Context, id: &str, latest: &mut Option<View>) -> Result<(Value, View), Failure> {
    let terminal = std::io::stderr().is_terminal();
    let (mut looks, mut n, mut away) = (tokio::time::interval(PAUSE), 0_u32, false);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // The first is answered at once, so that it is known how far it is; the others wait for the end.
        let wait = if n == 0 { "0s" } else { "1s" };
        n += 1;
        let asked = cx.client.get(&["v1", "reconciliations", id], &[("wait", wait.to_owned())]).await;
        let answer: Answer<Value> = match asked {
            Ok(answer) => answer,
            // What was accepted is not lost: it may be restarting.
            Err(failure) if failure.exit == Exit::Unreachable && latest.is_some() => {
                if !std::mem::replace(&mut away, true) {
                    cx.note(&format!("{}; still waiting", failure.what));
                }
                continue;
            }
            Err(failure) => return Err(failure),
        };
        away = false;
        let view = View::read(&answer.body)?;
        let line = format!("{} of {} looked at", view.looked_at(), view.accepted);
        if terminal {
            let end = if view.done { "\r\u{1b}[K" } else { "" };
            let _ = write!(std::io::stderr().lock(), "\r{line}{end}");
        } else if !view.done && n.is_multiple_of(LOOKS_A_LINE) {
            cx.note(&line);
        }
        if view.done {
            return Ok((answer.body, view));
        }
        *latest = Some(view);
    }
}
