//! `trueup delete`: forget an intent.

use clap::Subcommand;
use trueup_client::Method;
use serde_json::Value;
use trueup_model::IntentKey;

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup delete intent acme/firefox-lab

To stop reconciling it for a while instead, apply it with `status: PAUSED`.";

/// Forget an intent with its findings and approvals; nothing is changed on its plane
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An intent, by TENANT/ID
    Intent {
        /// TENANT/ID
        name: IntentKey,
    },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let What::Intent { name } = self.what;
        let path = ["v1", "intents", &name.tenant, &name.id];
        let answer: Answer<Value> = cx.client.ask(Method::DELETE, &path, &[], Body::None).await?;
        match cx.output {
            Output::Json => cx.write_json(&answer.body),
            Output::Name => cx.write_names([name.to_string().as_str()]),
            Output::Table => cx.write(&format!("{name} deleted\n")),
        }
        Ok(Exit::Done)
    }
}
