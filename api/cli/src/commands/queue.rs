//! `trueup queue`: what waits, what is stuck, and what to do about it.

mod act;
mod conditions;
mod job;
mod top;

use clap::Subcommand;
use trueup_client::Method;
use serde_json::Value;
use trueup_server::queues::{QueueJobs, QueueList};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup queue ls                             depth, age and rates of every queue
  trueup queue top                            the same, live
  trueup queue show query.intune --state dead
  trueup queue show emit --where 'reason~timeout' --tenant acme --older-than 1h
  trueup queue job job_8h2k4m0qz1x3c5v7b9n2   why it waits or is dead, and what came before and after
  trueup queue pause remediate.intune         nothing is leased from it until it is resumed
  trueup queue resume remediate.intune
  trueup queue retry emit --job job_8h2k4m0qz1x3c5v7b9n2
  trueup queue retry emit --where 'reason~timeout' --dry-run
  trueup queue retry all --where 'reason~timeout' --rate 100
  trueup queue discard emit --all --yes       delete its dead letters for good
  trueup queue front emit --where 'state=ready,tenant=acme'";

/// Show and operate the queues
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All queues with their numbers
    Ls,
    /// Live view of queues, workers and what died last
    Top {
        /// Seconds between two looks
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
        every: u64,
    },
    /// Jobs of one queue
    Show {
        /// Its name, as `queue ls` shows it
        queue: String,
        #[command(flatten)]
        conditions: conditions::Args,
        /// Also whose jobs they are, by a sample
        #[arg(long)]
        by_tenant: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One job: why it waits or is dead, what it is about, what came before and after it
    Job {
        /// Its id, as `queue show` shows it
        id: String,
    },
    /// Lease nothing from it until it is resumed
    Pause {
        /// Its name, as `queue ls` shows it
        queue: String,
    },
    /// Go on with it
    Resume {
        /// Its name, as `queue ls` shows it
        queue: String,
    },
    /// Put dead jobs back, with a clean slate; run scheduled ones now
    Retry(act::Args),
    /// Delete jobs for good
    Discard(act::Args),
    /// Move jobs to the front of their queue: at most 256, since more would be a front no longer
    Front(act::Args),
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Ls => ls(cx).await,
            What::Top { every } => top::run(cx, every).await,
            What::Show { queue, conditions, by_tenant, limit } => {
                show(cx, &queue, &conditions, by_tenant, limit as usize).await
            }
            What::Job { id } => job::run(cx, &id).await,
            What::Pause { queue } => pause(cx, &queue, "pause", "paused").await,
            What::Resume { queue } => pause(cx, &queue, "resume", "resumed").await,
            What::Retry(args) => act::run(cx, args, act::Verb::Retry).await,
            What::Discard(args) => act::run(cx, args, act::Verb::Discard).await,
            What::Front(args) => act::run(cx, args, act::Verb::Front).await,
        }
    }
}

async fn ls(cx: &Context) -> Result<Exit, Failure> {
    let answer: Answer<Value> = cx.client.get(&["v1", "queues"], &[]).await?;
    let list: QueueList = views::read(std::slice::from_ref(&answer.body))?.swap_remove(0);
    match cx.output {
        Output::Name => cx.write_names(list.items.iter().map(|q| q.depth.queue.as_str())),
        Output::Table => cx.write_table(&views::queues(&list.items), "there are no queues"),
        _ => cx.write_json(&answer.body),
    }
    Ok(Exit::Done)
}

/// Over as many parts as it takes to fill the list or to reach the end of the queue.
async fn show(
    cx: &Context,
    queue: &str,
    conditions: &conditions::Args,
    by_tenant: bool,
    limit: usize,
) -> Result<Exit, Failure> {
    let conditions = conditions.read()?;
    let path = ["v1", "queues", queue];
    let mut query = conditions.query();
    query.push(("limit", limit.to_string()));
    query.extend(by_tenant.then(|| ("by_tenant", "true".to_owned())));
    let first: Answer<Value> = cx.client.get(&path, &query).await?;
    let mut shown: QueueJobs = views::read(std::slice::from_ref(&first.body))?.swap_remove(0);
    query.retain(|(name, _)| *name != "by_tenant");
    while let Some(next) = shown.next.take().filter(|_| shown.items.len() < limit) {
        let mut query = query.clone();
        query.push(("cursor", next));
        let more: Answer<QueueJobs> = cx.client.get(&path, &query).await?;
        shown.items.extend(more.body.items);
        shown.next = more.body.next;
    }
    let more = shown.next.is_some() || shown.items.len() > limit;
    shown.items.truncate(limit);
    match cx.output {
        Output::Name => cx.write_names(shown.items.iter().map(|j| j.id.as_str())),
        Output::Table => {
            if let Some(sample) = &shown.by_tenant {
                cx.write(&views::by_tenant(sample).render(cx.colour));
                cx.note(&format!("a sample: {} of {} jobs were read", sample.sampled, sample.of));
            }
            cx.write_table(&views::jobs(&shown.items, first.now), &format!("queue {queue} has no such jobs"));
        }
        _ => cx.write_json(&serde_json::to_value(&shown).unwrap_or_default()),
    }
    if more {
        cx.note("there are more; see them with a larger --limit");
    }
    Ok(Exit::Done)
}

async fn pause(cx: &Context, queue: &str, action: &str, done: &str) -> Result<Exit, Failure> {
    let path = ["v1", "queues", queue, action];
    let answer: Answer<Value> = cx.client.ask(Method::POST, &path, &[], Body::None).await?;
    match cx.output {
        Output::Name => cx.write_names([queue]),
        Output::Table => cx.write(&format!("queue {queue} {done}\n")),
        _ => cx.write_json(&answer.body),
    }
    Ok(Exit::Done)
}
