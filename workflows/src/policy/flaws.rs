//! What is wrong with a policy file, each with its place.

use std::fmt;

/// A place in the file, from 1: as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Place {
    /// The place of a byte.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column }
    }
}

/// One thing that is wrong, or (as a warning) probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    pub place: Place,
    /// The section, the field, why, and what would be right.
    pub what: String,
}

/// `12:8: rule 'x': rings: unknown ring 'prod' (known: …)`
impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.what)
    }
}

/// Everything that is wrong with a file, in its order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaws(pub(super) Vec<Flaw>);

impl Flaws {
    pub fn list(&self) -> &[Flaw] {
        &self.0
    }
}

impl fmt::Display for Flaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, flaw) in self.0.iter().enumerate() {
            write!(f, "{}{flaw}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Flaws {}
