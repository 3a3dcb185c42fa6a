//! `trueup queue`: what waits, what is stuck, and what to do about it.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::count;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup queue ls
  trueup queue show query.intune --state dead
  trueup queue pause remediate.intune         nothing is leased from it until it is resumed
  trueup queue resume remediate.intune
  trueup queue retry emit --job job_8h2k4m0qz1x3c5v7b9n2
  trueup queue retry emit --all
  trueup queue discard emit --all --yes       delete its dead letters for good";

/// Show and operate the queues
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// One dead job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// All dead jobs
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All queues with their numbers
    Ls,
    /// Jobs of one queue
    Show {
        queue: String,
        /// ready, scheduled, in_flight or dead
        #[arg(long)]
        state: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Lease nothing from it until it is resumed
    Pause { queue: String },
    /// Go on with it
    Resume { queue: String },
    /// Put dead jobs back, with a clean slate
    Retry {
        queue: String,
        #[command(flatten)]
        which: Which,
    },
    /// Delete dead jobs for good
    Discard {
        queue: String,
        #[command(flatten)]
        which: Which,
        /// Really all of them
        #[arg(long)]
        yes: bool,
    },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Ls => {
                let answer: Answer<Value> = cx.client.get(&["v1", "queues"], &[]).await?;
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => cx.write_names(items.iter().filter_map(|q| q["queue"].as_str())),
                    Output::Table => cx.write_table(&views::queues(&views::read(&items)?), "there are no queues"),
                }
                Ok(Exit::Done)
            }
            What::Show { queue, state, limit } => {
                let mut query = vec![("limit", limit.to_string())];
                query.extend(state.map(|s| ("state", s)));
                let answer: Answer<Value> = cx.client.get(&["v1", "queues", &queue], &query).await?;
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => cx.write_names(items.iter().filter_map(|j| j["id"].as_str())),
                    Output::Table => {
                        cx.write_table(&views::jobs(&views::read(&items)?), &format!("queue {queue} has no such jobs"));
                    }
                }
                Ok(Exit::Done)
            }
            What::Pause { queue } => act(cx, &queue, "pause", Body::None, "paused").await,
            What::Resume { queue } => act(cx, &queue, "resume", Body::None, "resumed").await,
            What::Retry { queue, which } => dead(cx, &queue, "retry", which, "put back").await,
            What::Discard { queue, which, yes } => {
                if which.all && !yes {
                    return Err(Failure::usage("this deletes every dead job of the queue for good")
                        .at(format!("queue {queue}"))
                        .advise(format!("look at them with `trueup queue show {queue} --state dead`, then add --yes")));
                }
                dead(cx, &queue, "discard", which, "deleted").await
            }
        }
    }
}

async fn post(cx: &Context, queue: &str, action: &str, body: Body) -> Result<Answer<Value>, Failure> {
    cx.client.ask(Method::POST, &["v1", "queues", queue, action], &[], body).await
}

async fn act(cx: &Context, queue: &str, action: &str, body: Body, done: &str) -> Result<Exit, Failure> {
    let answer = post(cx, queue, action, body).await?;
    match cx.output {
        Output::Json => cx.write_json(&answer.body),
        Output::Name => cx.write_names([queue]),
        Output::Table => cx.write(&format!("queue {queue} {done}\n")),
    }
    Ok(Exit::Done)
}

/// Dead jobs, 256 at a time. What dies again meanwhile is not taken twice: no more are taken than were dead at first.
async fn dead(cx: &Context, queue: &str, action: &str, which: Which, done: &str) -> Result<Exit, Failure> {
    let mut changed = 0;
    if let Some(job) = which.job {
        changed = changed_by(post(cx, queue, action, Body::Json(json!({"job": job}))).await?);
    } else {
        let shown: Answer<Value> = cx.client.get(&["v1", "queues", queue], &[("limit", "1".into())]).await?;
        let at_first = shown.body.pointer("/depth/dead").and_then(Value::as_u64).unwrap_or_default();
        while changed < at_first {
            let more = changed_by(post(cx, queue, action, Body::Json(json!({"all": true}))).await?);
            if more == 0 {
                break;
            }
            changed += more;
        }
    }
    match cx.output {
        Output::Json => cx.write_json(&json!({"queue": queue, "action": action, "changed": changed})),
        Output::Name => cx.write_names([queue]),
        Output::Table => {
            let jobs = count(usize::try_from(changed).unwrap_or(usize::MAX), "dead job");
            cx.write(&format!("queue {queue}: {jobs} {done}\n"));
        }
    }
    Ok(Exit::Done)
}

fn changed_by(answer: Answer<Value>) -> u64 {
    answer.body["changed"].as_u64().unwrap_or_default()
}
