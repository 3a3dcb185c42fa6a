//! Policy: rules as data, decisions with their reasons.
//!
//! # Expected flow
//! [`Policy::parse`] a file → per drift [`Policy::ignore`], then [`Policy::decide`] what is left → record the case with the
//! decision ([`Case::record`]) → [`replay`] it under another policy.
//!
//! # Guarantees
//! Every rule that matches speaks; the strictest wins. Drift that no rule foresaw goes to people. A policy that does
//! not parse is refused with every place and reason, never half applied. Reading and deciding are pure: the same policy
//! and case give the same decision, anywhere, at any time.

mod boundary;
mod caps;
mod case;
pub mod check;
mod conditions;
mod evaluate;
mod exceptions;
mod file;
mod flaws;
mod lint;
mod names;
pub mod outcome;
mod read;
pub mod recorded;
pub mod replay;
mod rules;
mod schedule;
mod scopes;
mod windows;
mod words;

use trueup_model::{Caps, Criticality, Digest, Drift, Duration, Intent, Time};

pub use case::{Case, Decided, Ignored};
use file::Sections;
pub use flaws::{Flaw, Flaws, Place};
pub use read::duration;
pub(crate) use words::{waits_for_calendar, waits_for_calendar_only};

/// `default.toml`, as shipped; for users to read and to start from.
pub const DEFAULT: &str = include_str!("default.toml");

/// Longest policy file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// All rules, in the order of the file. Without any, everything goes to review.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    sections: Sections,
    digest: Digest,
}

impl Default for Policy {
    /// The shipped one.
    fn default() -> Self {
        // A test proves that it parses; were it broken all the same, no rules is the strict side.
        Self::parse(DEFAULT).unwrap_or_else(|_| Self::of(Sections::default()))
    }
}

impl Policy {
    fn of(sections: Sections) -> Self {
        let digest = Digest::of(&sections);
        Self { sections, digest }
    }

    /// Reads a policy file (TOML). The error says everything that is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, Flaws> {
        file::read(text).map(|file| Self::of(file.sections))
    }

    /// The version recorded with every decision: the same for the same content, whatever its comments and layout.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How long low-risk drift may stand.
    pub fn tolerance(&self, criticality: Criticality) -> Duration {
        self.sections.tolerance.of(criticality)
    }

    /// The caps on automatic attempts that hold for the intent's tenant and plane.
    pub fn caps(&self, intent: &Intent) -> Option<Caps> {
        caps::of(&self.sections.caps, intent)
    }

    /// Takes out of a drift what is not to be looked at. No exception hides anything of a privileged application, during
    /// an incident, or across a boundary.
    pub fn ignore(&self, intent: &Intent, drift: Drift, now: Time) -> Ignored {
        let Sections { ignores, exceptions, boundaries, incidents, .. } = &self.sections;
        let is_protected = intent.privileged
            || incidents.iter().any(|i| i.holds(intent, drift.kind, now))
            || boundaries.iter().any(|b| b.crossed(intent, &drift).is_some());
        let exceptions = if is_protected { &[] } else { exceptions.as_slice() };
        exceptions::ignore(ignores, exceptions, intent, drift, now)
    }
}
