//! A policy file looked at before it is used: its warnings, and its table of cases.

pub mod cases;

use trueup_model::Time;

pub use cases::{Expected, Tried};

use super::{Flaw, Flaws, Policy, file, lint};

/// A policy file that is sound.
#[derive(Debug)]
pub struct Checked {
    pub policy: Policy,
    /// `[[case]]` of the file, in its order.
    pub cases: Vec<Expected>,
    /// What is probably not meant; in the order of the file.
    pub warnings: Vec<Flaw>,
}

/// Reads a policy file and looks at it closely. `now`: to tell what is over.
pub fn check(text: &str, now: Time) -> Result<Checked, Flaws> {
    let file = file::read(text)?;
    let warnings = lint::warnings(&file, now);
    Ok(Checked { policy: Policy::of(file.sections), cases: file.cases, warnings })
}

/// The cases of a policy file; none if it is not sound.
pub fn cases_in(text: &str) -> Vec<Expected> {
    file::read(text).map(|file| file.cases).unwrap_or_default()
}

/// Reads a file of cases that stands beside a policy.
pub fn cases(text: &str) -> Result<Vec<Expected>, Flaws> {
    file::read_cases(text)
}
