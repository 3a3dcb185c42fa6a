//! How a command ends, and what it says when it ends badly.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::text::clean;

/// Exit statuses; documented on the first page of help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    NotFound = 4,
    Unwell = 5,
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) what: String,
    /// Each a line: a URL, a field, a file and line.
    pub(crate) places: Vec<String>,
    pub(crate) advice: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) exit: Exit,
    /// HTTP status, if the API answered with one.
    pub(crate) status: Option<u16>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { what: what.into(), places: Vec::new(), advice: None, correlation_id: None, exit, status: None }
    }
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }
    #[must_use]
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.places.push(place.into());
        self
    }
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// For people, on stderr.
    pub(crate) fn report(&self) {
        let _ = std::io::stderr().lock().write_all(self.to_text().as_bytes());
    }

    fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", clean(&self.what));
        let listed = [("where", &self.places)]
            .into_iter()
            .flat_map(|(label, lines)| lines.iter().map(move |l| (label, l)));
        for (label, line) in listed.chain(self.advice.iter().map(|a| ("do", a))) {
            let _ = writeln!(text, "  {label}: {}", clean(line));
        }
        if let Some(id) = &self.correlation_id {
            let _ = writeln!(text, "  correlation id: {}", clean(id));
        }
        text
    }
}

/// For the commands that run processes, whose errors come from many places.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_what_to_do_without_escapes() {
        let failure = Failure {
            correlation_id: Some("abc".into()),
            ..Failure::new(Exit::Failed, "bad \u{1b}[31mred").at("a.yaml:3").advise("mend it")
        };
        assert_eq!(
            failure.to_text(),
            "error: bad red\n  where: a.yaml:3\n  do: mend it\n  correlation id: abc\n"
        );
    }
}
