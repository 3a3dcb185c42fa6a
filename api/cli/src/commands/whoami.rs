//! `trueup whoami`: who the API takes us for, and what we may.

use serde_json::Value;

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  trueup whoami
  TRUEUP_API_KEY_FILE=ops.key trueup whoami -o json";

/// Show who the API takes you for, and what you may
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

/// The texts of a list, with commas.
pub(crate) fn joined(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let answer: Answer<Value> = cx.client.get(&["v1", "whoami"], &[]).await?;
        let body = &answer.body;
        let actor = body["actor"].as_str().unwrap_or_default();
        match cx.output {
            Output::Json => cx.write_json(body),
            Output::Name => cx.write_names([actor]),
            Output::Table => {
                let until = body["expires_at"].as_str().map(|t| format!(", until {t}")).unwrap_or_default();
                cx.write(&format!("{}{}\n", crate::text::clean(actor), crate::text::clean(&until)));
                let mut table = Table::new(&["TENANT", "MAY"]);
                for (tenant, may) in body["permissions"].as_object().into_iter().flatten() {
                    let tenant = if tenant == "*" { "* (all, and the fleet)" } else { tenant };
                    table.row([tenant.into(), joined(may).into()]);
                }
                cx.write_table(&table, "nothing is granted to you; ask an admin for a key with a grant");
            }
        }
        Ok(Exit::Done)
    }
}
