//! `trueup profile`: which APIs are known here, and which one is used.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::args::Output;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};

const EXAMPLES: &str = "\
Examples:
  trueup profile ls
  trueup profile use ops                      from now on, unless --profile or TRUEUP_PROFILE says otherwise
  trueup --profile ops whoami";

/// Show and choose profiles
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All that `trueup login` stored
    Ls,
    /// Use this one when none is named
    Use {
        /// As `profile ls` shows it
        name: String,
    },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let mut profiles = cx.profiles.clone();
        match self.what {
            What::Ls => {
                let used = cx.reach.profile.as_str();
                match cx.output {
                    Output::Name => cx.write_names(profiles.profiles.keys().map(String::as_str)),
                    Output::Json => {
                        let item = |(name, p): (&String, &crate::profiles::Profile)| -> Value {
                            json!({"name": name, "url": p.url, "has_key": p.key.is_some(), "in_use": name == used})
                        };
                        let items: Vec<Value> = profiles.profiles.iter().map(item).collect();
                        cx.write_json(&json!({"items": items}));
                    }
                    Output::Table => {
                        let mut table = Table::new(&["PROFILE", "URL", "KEY", "USED"]);
                        for (name, p) in &profiles.profiles {
                            let mark = if name == used { cell("in use", Tone::Good) } else { "".into() };
                            let key = if p.key.is_some() { "stored" } else { "" };
                            table.row([name.as_str().into(), p.url.as_str().into(), key.into(), mark]);
                        }
                        cx.write_table(&table, "there are no profiles; `trueup login` makes one");
                    }
                }
            }
            What::Use { name } => {
                if !profiles.profiles.contains_key(&name) {
                    return Err(Failure::new(Exit::NotFound, format!("there is no profile '{name}'"))
                        .advise("`trueup profile ls` shows those that are"));
                }
                profiles.current = Some(name.clone());
                profiles.store()?;
                cx.note(&format!("profile {name} is used from now on"));
            }
        }
        Ok(Exit::Done)
    }
}
