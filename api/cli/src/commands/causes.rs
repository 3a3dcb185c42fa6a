//! `trueup causes`: open drift grouped by what caused it.

use serde_json::Value;
use trueup_model::cause::CauseGroup;
use trueup_model::{PlaneKind, Time};

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::relative;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup causes
  trueup causes --tenant acme --plane intune
  trueup causes --output json | jq '.items[0].findings'";

/// Show open drift by cause: one line for 400 intents that drifted because one group changed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// intune, jamf, configmgr or ansible
    #[arg(long)]
    plane: Option<PlaneKind>,
}

fn table(groups: &[CauseGroup], now: Time) -> Table {
    let mut table = Table::new(&[
        "MEMBERS",
        "TENANT",
        "PLANE",
        "DRIFT",
        "CAUSE",
        "SEVERITY",
        "DEVICES",
        "PERSISTENT",
        "SINCE",
    ]);
    for g in groups {
        table.row([
            g.members.to_string().into(),
            g.tenant.as_str().into(),
            g.plane.as_str().into(),
            g.kind.as_str().into(),
            if g.cause.is_empty() { cell("not told", Tone::Dim) } else { g.cause.as_str().into() },
            views::severity(g.severity),
            g.affected_devices.to_string().into(),
            if g.persistent == 0 { "".into() } else { cell(g.persistent.to_string(), Tone::Bad) },
            relative(g.first_opened_at, now).into(),
        ]);
    }
    table
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let mut query = Vec::new();
        query.extend(self.tenant.map(|t| ("tenant", t)));
        query.extend(self.plane.map(|p| ("plane", p.as_str().to_owned())));
        let answer: Answer<Value> = cx.client.get(&["v1", "causes"], &query).await?;
        let groups: Vec<CauseGroup> =
            views::read(answer.body["items"].as_array().map(Vec::as_slice).unwrap_or_default())?;
        match cx.output {
            Output::Json => cx.write_json(&answer.body),
            Output::Name => cx.write_names(groups.iter().map(|g| g.cause.as_str()).filter(|c| !c.is_empty())),
            Output::Table => cx.write_table(&table(&groups, answer.now), "nothing has drifted"),
        }
        if answer.body["cut"] == true {
            cx.note("there are too many findings to group all of them; ask for one --tenant or --plane");
        }
        Ok(Exit::Done)
    }
}
