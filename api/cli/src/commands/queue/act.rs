//! `retry`, `discard` and `front`: on jobs that are named, or on all that match, a part at a time.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use trueup_client::Method;
use serde_json::{Value, json};
use trueup_server::queues::QueueList;
use trueup_server::selection::Acted;

use super::conditions::{self, Conditions};
use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::{count, words};

/// Jobs, and how to go about it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name, or `all`
    queue: String,
    /// This job; can be repeated
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    job: Vec<String>,
    /// All dead jobs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    conditions: conditions::Args,
    /// Only count what matches
    #[arg(long)]
    dry_run: bool,
    /// At most so many jobs a second
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Discard,
    Front,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Front => "front",
        }
    }
    fn done(self) -> &'static str {
        match self {
            Self::Retry => "put back",
            Self::Discard => "deleted",
            Self::Front => "moved to the front",
        }
    }
}

/// What became of one queue.
struct Sum {
    queue: String,
    matched: u64,
    changed: u64,
}

pub(super) async fn run(cx: &Context, args: Args, verb: Verb) -> Result<Exit, Failure> {
    let conditions = args.conditions.read()?;
    if !args.job.is_empty() {
        if !args.conditions.is_empty() {
            return Err(Failure::usage("jobs are named: leave out the conditions").at("--job"));
        }
        return named(cx, &args, verb).await;
    }
    if !args.all && args.conditions.is_empty() {
        return Err(Failure::usage(format!("which jobs of queue {}?", args.queue)).advise(
            "name them with --job, give conditions (--where, --tenant, --older-than, …), or say --all",
        ));
    }
    let queues = match args.queue.as_str() {
        "all" => {
            let list: Answer<QueueList> = cx.client.get(&["v1", "queues"], &[]).await?;
            list.body.items.into_iter().map(|q| q.depth.queue).collect()
        }
        one => vec![one.to_owned()],
    };
    let mut sums = Vec::new();
    for queue in queues {
        let matched = counted(cx, &queue, verb, &conditions).await?;
        sums.push(Sum { queue, matched, changed: 0 });
    }
    let matched: u64 = sums.iter().map(|s| s.matched).sum();
    if !args.dry_run && verb == Verb::Discard && matched > 0 && !args.yes {
        confirm(&format!("delete {} for good", jobs(matched, conditions.state())), &args.queue)?;
    }
    if !args.dry_run {
        for sum in sums.iter_mut().filter(|s| s.matched > 0) {
            all_that_match(cx, verb, &conditions, args.rate, sum).await?;
        }
    }
    let (one, state) = (args.queue != "all", words(conditions.state()));
    match cx.output {
        Output::Name => cx.write_names(sums.iter().filter(|s| s.matched > 0).map(|s| s.queue.as_str())),
        Output::Table => {
            for sum in sums.iter().filter(|s| one || s.matched > 0) {
                let line = if args.dry_run {
                    format!("queue {}: {} would be {}", sum.queue, jobs(sum.matched, &state), verb.done())
                } else {
                    format!("queue {}: {} {}", sum.queue, jobs(sum.changed, &state), verb.done())
                };
                cx.write(&(line + "\n"));
            }
            if !one && matched == 0 {
                cx.note("nothing matches in any queue");
            }
        }
        _ => {
            let items: Vec<Value> = sums
                .iter()
                .map(|s| json!({"queue": s.queue, "matched": s.matched, "changed": s.changed}))
                .collect();
            let changed: u64 = sums.iter().map(|s| s.changed).sum();
            cx.write_json(&json!({
                "action": verb.name(), "dry_run": args.dry_run, "matched": matched, "changed": changed, "queues": items
            }));
        }
    }
    Ok(Exit::Done)
}

fn jobs(n: u64, state: &str) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), &format!("{} job", words(state)))
}

async fn ask(cx: &Context, queue: &str, verb: Verb, body: Value) -> Result<Acted, Failure> {
    let path = ["v1", "queues", queue, verb.name()];
    let answer: Answer<Acted> = cx.client.ask(Method::POST, &path, &[], Body::Json(body)).await?;
    Ok(answer.body)
}

async fn counted(cx: &Context, queue: &str, verb: Verb, conditions: &Conditions) -> Result<u64, Failure> {
    let (mut matched, mut cursor) = (0, None::<String>);
    loop {
        let body = json!({"where": conditions.body(), "dry_run": true, "cursor": cursor});
        let part = ask(cx, queue, verb, body).await?;
        matched += part.matched;
        cursor = part.next;
        if cursor.is_none() {
            return Ok(matched);
        }
    }
}

/// Part after part, no faster than the rate.
async fn all_that_match(
    cx: &Context,
    verb: Verb,
    conditions: &Conditions,
    rate: Option<u32>,
    sum: &mut Sum,
) -> Result<(), Failure> {
    let mut cursor = None::<String>;
    loop {
        let body = json!({"where": conditions.body(), "rate": rate, "cursor": cursor});
        let part = ask(cx, &sum.queue, verb, body).await.map_err(|mut failure| {
            if sum.changed > 0 {
                failure.places.push(format!("after {} jobs of queue {}", sum.changed, sum.queue));
            }
            failure
        })?;
        sum.changed += part.changed;
        cursor = part.next;
        if cursor.is_none() {
            return Ok(());
        }
        if let Some(ms) = part.wait_ms.filter(|ms| *ms > 0) {
            if std::io::stderr().is_terminal() {
                cx.note(&format!("queue {}: {} of {}", sum.queue, sum.changed, sum.matched));
            }
            // The rate is kept by waiting, here and nowhere else.
            let _ = tokio::time::timeout(Duration::from_millis(ms), std::future::pending::<()>()).await;
        }
    }
}

async fn named(cx: &Context, args: &Args, verb: Verb) -> Result<Exit, Failure> {
    if verb == Verb::Discard && args.job.len() > 1 && !args.yes && !args.dry_run {
        confirm(&format!("delete {} for good", count(args.job.len(), "job")), &args.queue)?;
    }
    let mut body = json!({"dry_run": args.dry_run});
    match args.job.as_slice() {
        [one] => body["job"] = json!(one),
        many => body["jobs"] = json!(many),
    }
    let acted = ask(cx, &args.queue, verb, body).await?;
    for (job, why) in &acted.passed_over {
        cx.note(&format!("{job}: {why}"));
    }
    match cx.output {
        Output::Name => cx.write_names(args.job.iter().map(String::as_str)),
        Output::Table => {
            let (n, would) = if args.dry_run { (acted.matched, "would be ") } else { (acted.changed, "") };
            let n = count(usize::try_from(n).unwrap_or(usize::MAX), "job");
            cx.write(&format!("queue {}: {n} {would}{}\n", args.queue, verb.done()));
        }
        _ => cx.write_json(&serde_json::to_value(&acted).unwrap_or_default()),
    }
    Ok(Exit::Done)
}

/// Asks on a terminal; elsewhere there is nobody to ask.
fn confirm(what: &str, queue: &str) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::usage(why)
            .at(format!("queue {queue}"))
            .advise("count them with --dry-run, look at them with `trueup queue show`, then add --yes")
    };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(refused(format!("this would {what}")));
    }
    let _ = write!(std::io::stderr().lock(), "{what}? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(refused("nothing was changed".into()))
    }
}
