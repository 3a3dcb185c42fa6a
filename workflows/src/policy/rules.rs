//! Rules, and the tolerance of drift by criticality.

use serde::Serialize;
use trueup_model::{Criticality, Duration, Verdict};

use super::Case;
use super::conditions::{self, Conditions, Facts};
use super::names;
use super::read::{Section, shown};
use super::schedule::seconds;

/// What a section can say. Only a mode says `observe_only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Say {
    /// Exceptions only: the drift is not looked at.
    Ignore,
    Automatic,
    Review,
    Cab,
}

impl Say {
    fn word(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Automatic => "automatic",
            Self::Review => "review",
            Self::Cab => "cab",
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Ignore | Self::Automatic => Verdict::Automatic,
            Self::Review => Verdict::Review,
            Self::Cab => Verdict::Cab,
        }
    }

    /// Takes `say`, which must be one of these; the strictest if it is not, since the file is refused then.
    pub(super) fn read(section: &mut Section<'_, '_>, may: &[Self], default: Option<Self>) -> Self {
        if !section.has("say")
            && let Some(default) = default
        {
            section.expect(&["say"]);
            return default;
        }
        let (text, span) = section.needed("say");
        let found = may.iter().copied().find(|s| s.word() == text);
        if found.is_none() && !text.is_empty() {
            let known = may.iter().map(|s| s.word()).collect::<Vec<_>>().join(", ");
            section.flaw(span, "say", &format!("'{text}' is none of {known}"));
        }
        found.unwrap_or(Self::Cab)
    }
}

/// One line of policy. Every rule that matches speaks; the strictest wins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rule {
    /// Unique; recorded with every decision the rule had a part in.
    pub(super) name: String,
    pub(super) say: Say,
    pub(super) conditions: Conditions,
    /// For people.
    pub(super) because: String,
}

impl Rule {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "rule");
        let say = Say::read(section, &[Say::Automatic, Say::Review, Say::Cab], None);
        let (because, _) = section.needed("because");
        let conditions = Conditions::read(section, conditions::ALL);
        Some(Self { name, say, conditions, because })
    }

    pub(super) fn matches(&self, case: &Case<'_>, facts: &Facts) -> bool {
        let c = &self.conditions;
        c.kind(case.drift.kind) && c.facts(facts) && c.intent(case.intent)
    }

    /// Whether it speaks of incidents or boundaries, which no exception may set aside.
    pub(super) fn is_protected(&self) -> bool {
        self.conditions.security_incident == Some(true) || self.conditions.crosses_boundary == Some(true)
    }
}

/// How long low-risk drift may stand before it is remediated; older, it is overdue. Zero: at once, and never overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Tolerance {
    #[serde(serialize_with = "seconds")]
    pub(super) critical: Duration,
    #[serde(serialize_with = "seconds")]
    pub(super) high: Duration,
    #[serde(serialize_with = "seconds")]
    pub(super) standard: Duration,
    #[serde(serialize_with = "seconds")]
    pub(super) low: Duration,
}

impl Default for Tolerance {
    /// Those of seed 000, "Reconciliation Frequency".
    fn default() -> Self {
        Self {
            critical: Criticality::Critical.tolerance(),
            high: Criticality::High.tolerance(),
            standard: Criticality::Standard.tolerance(),
            low: Criticality::Low.tolerance(),
        }
    }
}

const MOST: Duration = Duration::days(90);

impl Tolerance {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let default = Self::default();
        let mut get = |field, or| section.duration(field, Duration::zero(), MOST).unwrap_or(or);
        Self {
            critical: get("critical", default.critical),
            high: get("high", default.high),
            standard: get("standard", default.standard),
            low: get("low", default.low),
        }
    }

    pub(super) fn of(&self, criticality: Criticality) -> Duration {
        match criticality {
            Criticality::Critical => self.critical,
            Criticality::High => self.high,
            Criticality::Standard => self.standard,
            Criticality::Low => self.low,
        }
    }

    pub(super) fn words(&self, criticality: Criticality) -> String {
        shown(self.of(criticality))
    }
}
