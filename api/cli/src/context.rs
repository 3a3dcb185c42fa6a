//! What every command gets: the API's client, and where and how to write.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde_json::Value;

use crate::args::{Form, Global, Output};
use crate::client::Client;
use crate::commands::Command;
use crate::failure::{Exit, Failure};
use crate::profiles::Profiles;
use crate::reach::Reach;
use crate::table::Table;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) output: Output,
    /// The form of that output: more columns, or YAML in the place of JSON.
    form: Form,
    pub(crate) profiles: Profiles,
    pub(crate) reach: Reach,
    /// stdout is a terminal and nobody asked for no colour.
    pub(crate) colour: bool,
    /// Why the result, or a part of it, could not be written.
    unwritten: OnceLock<String>,
}

impl Context {
    pub(crate) fn new(global: &Global, command: &Command) -> Result<Self, Failure> {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let colour = std::io::stdout().is_terminal() && !no_colour && !dumb;
        let profiles = match Profiles::load() {
            Err(e) if !command.needs_profiles(global) => {
                let _ = writeln!(std::io::stderr().lock(), "warning: profiles are not used: {}", e.what);
                Profiles::default()
            }
            loaded => loaded?,
        };
        let reach = Reach::of(global, &profiles, command.changes_profiles())?;
        let client = reach.client(reach.key.clone())?;
        let output = global.output.into();
        Ok(Self { client, output, form: global.output, profiles, reach, colour, unwritten: OnceLock::new() })
    }

    /// The result. A reader that went away (`| head`) is no error; a full disk is one, which [`Self::written`] tells.
    pub(crate) fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
            && e.kind() != ErrorKind::BrokenPipe
        {
            let _ = self.unwritten.set(e.to_string());
        }
    }

    /// Whether all that was to be written was.
    pub(crate) fn written(&self) -> Result<(), Failure> {
        let Some(why) = self.unwritten.get() else { return Ok(()) };
        Err(Failure::new(Exit::Failed, format!("the result could not be written: {why}")).advise(
            "what was asked for was done all the same; look at it again with the command that shows it",
        ))
    }

    /// More columns are asked for.
    pub(crate) fn wide(&self) -> bool {
        self.form == Form::Wide
    }

    /// The result for programs.
    pub(crate) fn write_json(&self, value: &Value) {
        self.write(&self.json(value));
    }

    /// As [`Self::write_json`] writes it.
    pub(crate) fn json(&self, value: &Value) -> String {
        match self.form {
            Form::Yaml => crate::text::yaml(value),
            _ => crate::text::json(value) + "\n",
        }
    }

    /// What stands between two results for programs: JSON needs nothing, YAML a line.
    pub(crate) fn between_documents(&self) -> &'static str {
        if self.form == Form::Yaml { "---\n" } else { "" }
    }

    /// A table, or a note on stderr if it is empty.
    pub(crate) fn write_table(&self, table: &Table, none: &str) {
        if table.is_empty() {
            self.note(none);
        } else {
            self.write(&table.render(self.colour));
        }
    }

    /// Names, one per line.
    pub(crate) fn write_names<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let text: String = names.into_iter().map(|n| crate::text::clean(n) + "\n").collect();
        self.write(&text);
    }

    /// A message beside the result.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", crate::text::clean(text));
    }
}
