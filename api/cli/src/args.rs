//! The command line: what is common to all commands, and the first page of help.

use clap::{CommandFactory as _, Parser, ValueEnum};

use crate::commands::{self, Command};

/// Where the API listens unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:7171";

/// Keeps what is running true to what was meant.
#[derive(Debug, Parser)]
#[command(
    name = "trueup",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Where the API is; else the profile's, else http://127.0.0.1:7171
    #[arg(long, global = true, env = "TRUEUP_URL", value_name = "URL", display_order = 900)]
    pub(crate) url: Option<String>,
    /// Whose URL and key to use, as `trueup login` stored them
    #[arg(long, global = true, env = "TRUEUP_PROFILE", value_name = "NAME", display_order = 900)]
    pub(crate) profile: Option<String>,
    /// Trust only the certificate authorities in this file (PEM), for https
    #[arg(long, global = true, env = "TRUEUP_CA_FILE", value_name = "FILE", display_order = 901)]
    pub(crate) ca_file: Option<std::path::PathBuf>,
    /// A file with the API key to use (or TRUEUP_API_KEY, the key itself)
    #[arg(long, global = true, env = "TRUEUP_API_KEY_FILE", value_name = "FILE", display_order = 901)]
    pub(crate) api_key_file: Option<std::path::PathBuf>,
    /// How results are written: for people, for programs, or just the names
    #[arg(long, short, global = true, value_enum, default_value_t = Form::Table, value_name = "FORM", display_order = 902)]
    pub(crate) output: Form,
}

/// The forms that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Form {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// For whom the result is; a form of each kind only differs in how it is written ([`crate::context::Context`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Json,
    Name,
}

impl From<Form> for Output {
    fn from(form: Form) -> Self {
        match form {
            Form::Table | Form::Wide => Self::Table,
            Form::Json | Form::Yaml => Self::Json,
            Form::Name => Self::Name,
        }
    }
}

const FIRST_STEPS: &str = "\
First steps:
  trueup login --url https://trueup.example   store where the API is, and the key
  trueup apply -f fleet.yaml                  store what is meant
  trueup get intents --condition drifted      what is not as it was meant
  trueup get findings --open                  the drift, by kind and severity
  trueup explain fnd_8h2k4m                   why something was or was not remediated
  trueup reconcile --tenant acme --wait       look at all of a tenant now
  trueup get events --watch                   what happens, as it happens
  trueup queue ls                             the steps as queues
  trueup doctor                               is everything well, and what to do if not

Exit status:
  0  done                                     1  the request failed
  2  wrong usage                              3  the API (or the store behind it) cannot be reached
  4  there is no such thing                   5  it was found to be unwell (doctor, check --wait,
                                             reconcile --wait, get reconciliation --wait)

Colour is used on a terminal only, and not if NO_COLOR is set. `trueup <command> --help` has examples.";

/// The whole command line, with the commands grouped on the first page.
pub(crate) fn command() -> clap::Command {
    let command = Args::command();
    let mut groups = String::new();
    for (group, names) in commands::GROUPS {
        groups += &format!("{group}:\n");
        for name in *names {
            let name = name.to_lowercase();
            let about = command.find_subcommand(&name).and_then(|c| c.get_about()).map(ToString::to_string);
            groups += &format!("  {name:<12}{}\n", about.unwrap_or_default());
        }
        groups.push('\n');
    }
    command
        .help_template(format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
        ))
        .after_help(FIRST_STEPS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }

    #[test]
    fn every_flag_and_argument_has_help() {
        fn missing(command: &clap::Command, into: &mut Vec<String>) {
            let silent =
                command.get_arguments().filter(|a| a.get_help().is_none_or(|h| h.to_string().is_empty()));
            into.extend(silent.map(|a| format!("{}: {}", command.get_name(), a.get_id())));
            command.get_subcommands().for_each(|sub| missing(sub, into));
        }
        let mut silent = Vec::new();
        missing(&super::command(), &mut silent);
        assert_eq!(silent, [""; 0]);
    }

    #[test]
    fn every_command_has_a_group_a_line_and_an_example() {
        let command = super::command();
        let help = command.clone().render_help().to_string();
        for sub in command.get_subcommands() {
            assert!(
                help.contains(&format!("\n  {:<12}", sub.get_name())),
                "{} is not on the first page",
                sub.get_name()
            );
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Examples:\n  trueup "), "{} has no examples", sub.get_name());
        }
    }
}
