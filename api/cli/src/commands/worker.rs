//! `trueup worker`: who drains the queues, and asking one to leave.

use std::time::Duration;

use clap::Subcommand;
use trueup_client::Method;
use serde_json::Value;
use trueup_server::workers::{Drained, WorkerList};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup worker ls
  trueup worker drain w4711-0123456789abcdef             it leases no more, ends what it holds and leaves
  trueup worker drain w4711-0123456789abcdef --wait      until it has left

Whoever supervises the process (systemd, Kubernetes) may start it again: scale down first if it shall stay away.";

/// Show workers, and ask one to leave
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All workers: what they serve and hold, and when they were last heard
    Ls,
    /// Ask a worker to lease no more, end what it holds and leave
    Drain {
        /// Its name, as `worker ls` shows it
        #[arg(value_name = "ID")]
        id: String,
        /// Wait until it has left
        #[arg(long)]
        wait: bool,
        /// Give up waiting after so many seconds
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400), requires = "wait")]
        timeout: u64,
    },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Ls => {
                let answer: Answer<Value> = cx.client.get(&["v1", "workers"], &[]).await?;
                let list: WorkerList = views::read(std::slice::from_ref(&answer.body))?.swap_remove(0);
                match cx.output {
                    Output::Name => cx.write_names(list.items.iter().map(|w| w.incarnation.as_str())),
                    Output::Table => {
                        let none = "no worker is running; start one with `trueup work`";
                        cx.write_table(&views::workers(&list.items), none);
                    }
                    _ => cx.write_json(&answer.body),
                }
                Ok(Exit::Done)
            }
            What::Drain { id, wait, timeout } => {
                let path = ["v1", "workers", id.as_str(), "drain"];
                let answer: Answer<Drained> = cx.client.ask(Method::POST, &path, &[], Body::None).await?;
                if wait {
                    left(cx, &id, Duration::from_secs(timeout)).await?;
                }
                match cx.output {
                    Output::Name => cx.write_names([id.as_str()]),
                    Output::Table if wait => cx.write(&format!("worker {id} has left\n")),
                    Output::Table => {
                        cx.write(&format!(
                            "worker {id} was asked to leave; `trueup worker ls` shows when it has gone\n"
                        ));
                    }
                    _ => cx.write_json(&serde_json::json!({
                        "incarnation": answer.body.incarnation, "drain": answer.body.drain, "left": wait
                    })),
                }
                Ok(Exit::Done)
            }
        }
    }
}

/// Looks twice a second whether it is still listed.
async fn left(cx: &Context, id: &str, within: Duration) -> Result<(), Failure> {
    let gone = async {
        let mut looks = tokio::time::interval(Duration::from_millis(500));
        loop {
            looks.tick().await;
            let answer: Answer<WorkerList> = cx.client.get(&["v1", "workers"], &[]).await?;
            if answer.body.items.iter().all(|w| w.incarnation != id) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(within, gone).await.unwrap_or_else(|_| {
        Err(Failure::new(Exit::Failed, format!("it has not left within {} s", within.as_secs()))
            .at(format!("worker {id}"))
            .advise("it still ends what it holds; `trueup worker ls` shows how much that is"))
    })
}
