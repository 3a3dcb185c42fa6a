//! Leased exceptions: somebody answers for them, and they end by themselves.

use serde::Serialize;
use trueup_model::{Drift, DriftKind, Duration, Intent, Time};

use super::conditions::{Conditions, Globs, WITH_KIND};
use super::names;
use super::read::Section;
use super::rules::Say;
use super::windows::time;

/// Longest lease.
pub(super) const MAX_LEASE: Duration = Duration::days(366);

/// While it is active, what it matches is ignored, reviewed or automatic, whatever rules say. It never sets aside an
/// incident, a boundary, a mode, the blast radius, the end of the ladder, and nothing of a privileged application.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Exception {
    pub(super) name: String,
    pub(super) say: Say,
    /// Who answers for it.
    pub(super) owner: String,
    pub(super) ticket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Time>,
    /// From then on it does not hold any more.
    pub(super) expires: Time,
    pub(super) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

impl Exception {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "exception");
        let say = Say::read(section, &[Say::Ignore, Say::Review, Say::Automatic], None);
        let (owner, _) = section.needed("owner");
        let (ticket, _) = section.needed("ticket");
        if !section.has("expires") {
            section.lacks("expires", "is missing: an exception ends, at most a year after it began");
        }
        let (since, expires) = (section.time("since"), section.time("expires"));
        let because = section.text("because").map(|(text, _)| text);
        let conditions = Conditions::read(section, WITH_KIND);
        let expires = expires?;
        if let Some(since) = since {
            if expires <= since {
                section.lacks("expires", "must be after since");
            } else if expires.signed_duration_since(since) > MAX_LEASE {
                section.lacks("expires", "more than 366 days after since");
            }
        }
        Some(Self { name, say, owner, ticket, since, expires, conditions, because })
    }

    pub(super) fn holds(&self, intent: &Intent, kind: DriftKind, now: Time) -> bool {
        self.since.is_none_or(|since| since <= now)
            && now < self.expires
            && self.conditions.kind(kind)
            && self.conditions.intent(intent)
    }

    pub(super) fn words(&self) -> String {
        let Self { owner, ticket, .. } = self;
        let why = self.because.as_deref().map(|b| format!("{b}; ")).unwrap_or_default();
        format!("{why}owner {owner}, ticket {ticket}, expires {}", time(self.expires))
    }
}

/// Differences that are not looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Ignore {
    pub(super) name: String,
    /// Of [`trueup_model::Delta::path`].
    pub(super) paths: Globs,
    pub(super) conditions: Conditions,
    pub(super) because: String,
}

impl Ignore {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "ignore");
        if !section.has("paths") {
            section.lacks("paths", "is missing; [\"*\"] is every path");
        }
        let paths = Globs::read(section, "paths");
        let (because, _) = section.needed("because");
        let conditions = Conditions::read(section, WITH_KIND);
        Some(Self { name, paths: paths?, conditions, because })
    }
}

/// What is left of a drift, and which rule took out which path.
pub(super) fn ignore(
    rules: &[Ignore],
    exceptions: &[Exception],
    intent: &Intent,
    drift: Drift,
    now: Time,
) -> super::Ignored {
    let kind = drift.kind;
    let whole = exceptions.iter().find(|e| e.say == Say::Ignore && e.holds(intent, kind, now));
    let applying: Vec<&Ignore> =
        rules.iter().filter(|r| r.conditions.kind(kind) && r.conditions.intent(intent)).collect();
    if whole.is_none() && applying.is_empty() {
        return super::Ignored { drift: Some(drift), rules: Vec::new() };
    }
    let by = |path: &str| match whole {
        Some(e) => Some(format!("exception {} ({})", e.name, e.words())),
        None => applying.iter().find(|r| r.paths.matches(path)).map(|r| format!("ignore {}", r.name)),
    };
    let (mut kept, mut out, before) = (Vec::new(), Vec::new(), drift.delta.len());
    for delta in drift.delta {
        match by(&delta.path) {
            Some(rule) => out.push((rule, delta.path)),
            None => kept.push(delta),
        }
    }
    out.sort();
    out.dedup();
    let left = if kept.is_empty() && (before > 0 || whole.is_some()) {
        None
    } else {
        let mut left = Drift::new(kind, kept, drift.evidence_at);
        (left.affected_devices, left.devices) = (drift.affected_devices, drift.devices);
        Some(left)
    };
    super::Ignored { drift: left, rules: out }
}
