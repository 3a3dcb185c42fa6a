//! Security: boundaries that only some may reach across, and incidents.

use serde::Serialize;
use trueup_model::{Drift, DriftKind, Intent, Time};

use super::conditions::{Conditions, Globs, WITH_KIND};
use super::read::Section;
use super::rules::Say;
use super::windows::time;
use super::{names, scopes};
use crate::compare::scope_text;

/// Who may reach some scopes.
const MAY: &[&str] = &["tenants", "intents", "rings", "labels"];

/// Scopes that only the intents it names may reach. Whoever else does, or drifts there, crosses it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Boundary {
    pub(super) name: String,
    /// `review` or `cab`.
    pub(super) say: Say,
    /// Of scopes as differences name them: `group:ID`, `all_devices`, …
    pub(super) groups: Globs,
    /// Who may.
    pub(super) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

/// How a boundary is crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crossing<'p> {
    pub(super) boundary: &'p str,
    pub(super) say: Say,
    pub(super) because: String,
}

impl Boundary {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "boundary");
        let say = Say::read(section, &[Say::Review, Say::Cab], Some(Say::Cab));
        if !section.has("groups") {
            section.lacks("groups", "is missing: name the scopes inside, like [\"group:ID\"]");
        }
        let groups = Globs::read(section, "groups");
        let conditions = Conditions::read(section, MAY);
        if conditions.is_empty() {
            let may = MAY.join(", ");
            section.lacks("tenants", &format!("say who may reach them, by at least one of {may}"));
        }
        let because = section.text("because").map(|(text, _)| text);
        Some(Self { name, say, groups: groups?, conditions, because })
    }

    /// Whether and how the intent, or its drift, crosses it.
    pub(super) fn crossed(&self, intent: &Intent, drift: &Drift) -> Option<Crossing<'_>> {
        if self.conditions.intent(intent) {
            return None;
        }
        let wanted = intent.desired.assignment.iter().flat_map(|a| &a.include).map(scope_text);
        let wanted = wanted.into_iter().find(|scope| self.groups.matches(scope));
        let sides = drift.delta.iter().flat_map(|d| [(&d.path, &d.desired), (&d.path, &d.observed)]);
        let drifted = || {
            let mut named = sides.filter_map(|(path, side)| scopes::named(path, side));
            named.find(|scope| self.groups.matches(scope))
        };
        let what = match wanted {
            Some(scope) => format!("policy violation: the intent itself reaches {scope}, which it may not"),
            None => format!("the drift is about {}, which the intent may not reach", drifted()?),
        };
        let why = self.because.as_deref().map(|b| format!(" ({b})")).unwrap_or_default();
        Some(Crossing { boundary: &self.name, say: self.say, because: format!("{what}{why}") })
    }
}

/// While it lasts, what it matches is the CAB's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Incident {
    pub(super) name: String,
    pub(super) ticket: String,
    pub(super) since: Time,
    /// None: until the policy says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Time>,
    pub(super) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

impl Incident {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "incident");
        let (ticket, _) = section.needed("ticket");
        if !section.has("since") {
            section.lacks("since", "is missing");
        }
        let (since, until) = (section.time("since"), section.time("until"));
        let because = section.text("because").map(|(text, _)| text);
        let conditions = Conditions::read(section, WITH_KIND);
        let since = since?;
        if until.is_some_and(|until| until <= since) {
            section.lacks("until", "must be after since");
        }
        Some(Self { name, ticket, since, until, conditions, because })
    }

    pub(super) fn holds(&self, intent: &Intent, kind: DriftKind, now: Time) -> bool {
        self.since <= now
            && self.until.is_none_or(|until| now < until)
            && self.conditions.kind(kind)
            && self.conditions.intent(intent)
    }

    pub(super) fn words(&self) -> String {
        let why = self.because.as_deref().map(|b| format!("{b}; ")).unwrap_or_default();
        let until = self.until.map(|t| format!(" until {}", time(t))).unwrap_or_default();
        format!("security incident: {why}ticket {}, since {}{until}", self.ticket, time(self.since))
    }
}
