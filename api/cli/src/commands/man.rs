//! `trueup man`: manual pages.

use std::path::PathBuf;

use serde_json::json;

use crate::args::Output;
use crate::context::Context;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup man --dir ~/.local/share/man/man1    then: man trueup, man trueup-queue-retry
  trueup man --dir /usr/local/share/man/man1";

/// Write the manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder to write them to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let shown = self.dir.display().to_string();
        let failed = |e: std::io::Error| {
            Failure::new(Exit::Failed, format!("cannot write the manual pages: {e}"))
                .at(&shown)
                .advise("name a folder that you may write to")
        };
        std::fs::create_dir_all(&self.dir).map_err(failed)?;
        let mut command = crate::args::command();
        command.build();
        let mut pages = Vec::new();
        write(&command, &self.dir, &mut pages).map_err(failed)?;
        match cx.output {
            Output::Json => cx.write_json(&json!({"dir": shown, "pages": pages})),
            Output::Name => cx.write_names(pages.iter().map(String::as_str)),
            Output::Table => {
                cx.write(&format!("{} written to {shown}\n", crate::text::count(pages.len(), "page")));
            }
        }
        Ok(Exit::Done)
    }
}

/// A page for the command and each below it.
fn write(command: &clap::Command, dir: &std::path::Path, pages: &mut Vec<String>) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    pages.push(page.get_filename());
    page.generate_to(dir)?;
    command.get_subcommands().try_for_each(|sub| write(sub, dir, pages))
}
