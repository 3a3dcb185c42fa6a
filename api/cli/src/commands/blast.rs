//! `trueup blast`: the blast-radius switches.

use clap::Subcommand;
use trueup_client::Method;
use serde_json::Value;
use trueup_model::{PlaneKind, Time, Trip};

use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::relative;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup blast ls
  trueup causes --tenant acme --plane intune  what made so much drift at once
  trueup blast rearm acme intune              remediate automatically again";

/// Show and rearm the blast-radius switches
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Where more remediation was wanted at once than policy allows, so that it is manual now
    Ls,
    /// Let remediation of a tenant on a plane be automatic again, under the same caps
    Rearm {
        /// As `blast ls` shows it
        tenant: String,
        /// intune, jamf, configmgr or ansible
        plane: PlaneKind,
    },
}

fn trips(trips: &[Trip], now: Time) -> Table {
    let mut table = Table::new(&["TENANT", "PLANE", "STATE", "SINCE", "CAP"]);
    for t in trips {
        table.row([
            t.tenant.as_str().into(),
            t.plane.as_str().into(),
            cell("tripped", Tone::Bad),
            relative(t.at, now).into(),
            t.cap.as_str().into(),
        ]);
    }
    table
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Ls => {
                let answer: Answer<Value> = cx.client.get(&["v1", "blast-radius"], &[]).await?;
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                let tripped: Vec<Trip> = views::read(&items)?;
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => {
                        let names: Vec<String> =
                            tripped.iter().map(|t| format!("{} {}", t.tenant, t.plane)).collect();
                        cx.write_names(names.iter().map(String::as_str));
                    }
                    Output::Table => {
                        cx.write_table(
                            &trips(&tripped, answer.now),
                            "no blast-radius switch is tripped: remediation is automatic where policy allows",
                        );
                    }
                }
            }
            What::Rearm { tenant, plane } => {
                let path = ["v1", "blast-radius", &tenant, plane.as_str(), "rearm"];
                let answer: Answer<Value> = cx.client.ask(Method::POST, &path, &[], Body::None).await?;
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => cx.write_names([format!("{tenant} {plane}").as_str()]),
                    Output::Table => cx.write(&format!(
                        "rearmed: remediation of tenant {tenant} on plane {plane} is automatic again where policy allows\n"
                    )),
                }
            }
        }
        Ok(Exit::Done)
    }
}
