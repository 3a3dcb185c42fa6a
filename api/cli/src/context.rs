//! What every command gets: the API's client, and where and how to write.

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use crate::args::{Global, Output};
use crate::client::Client;
use crate::failure::Failure;
use crate::table::Table;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) output: Output,
    /// stdout is a terminal and nobody asked for no colour.
    pub(crate) colour: bool,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let colour = std::io::stdout().is_terminal() && !no_colour && !dumb;
        Ok(Self { client: Client::new(&global.url)?, output: global.output, colour })
    }

    /// The result. A reader that went away (`| head`) is no error.
    pub(crate) fn write(&self, text: &str) {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// The result for programs.
    pub(crate) fn write_json(&self, value: &Value) {
        self.write(&(crate::text::json(value) + "\n"));
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
