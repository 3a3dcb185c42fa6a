//! `trueup completion`: a script for the shell.

use clap_complete::Shell;

use crate::context::Context;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup completion bash > ~/.local/share/bash-completion/completions/trueup
  trueup completion zsh > \"${fpath[1]}/_trueup\"
  trueup completion fish > ~/.config/fish/completions/trueup.fish";

/// Print a completion script for your shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Whose script it is to be
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::args::command(), "trueup", &mut script);
        cx.write(&String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}
