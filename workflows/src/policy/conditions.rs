//! What a section of the policy holds for: conditions on the intent, and on its drift.
//!
//! All conditions must hold; of a list, one item is enough; a condition that is absent always holds.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Serialize;
use trueup_model::{Criticality, DriftKind, Intent, Mode, PlaneKind, Ring, Severity};

use super::read::{Item, Section};

/// Conditions on the intent, and on the kind of drift.
pub(super) const WITH_KIND: &[&str] =
    &["kinds", "tenants", "intents", "planes", "rings", "criticalities", "modes", "privileged", "labels"];
/// All there are.
pub(super) const ALL: &[&str] = &[
    "kinds",
    "tenants",
    "intents",
    "planes",
    "rings",
    "criticalities",
    "modes",
    "privileged",
    "labels",
    "severities",
    "overdue",
    "security_incident",
    "crosses_boundary",
];

type Set<T> = Option<BTreeSet<T>>;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kinds: Set<DriftKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenants: Option<Globs>,
    /// Of `TENANT/ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) intents: Option<Globs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) planes: Set<PlaneKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rings: Set<Ring>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) criticalities: Set<Criticality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) modes: Set<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) privileged: Option<bool>,
    /// `key=value`, or `key` for any value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Set<String>,
    /// After overdue drift was raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) severities: Set<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) overdue: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) security_incident: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crosses_boundary: Option<bool>,
}

/// What is known of a drift beyond its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) severity: Severity,
    pub(super) overdue: bool,
    pub(super) security_incident: bool,
    pub(super) crosses_boundary: bool,
}

/// A finite attribute: all its values, and their names in files.
pub(super) trait Word: Copy + Ord + Serialize + 'static {
    const ALL: &'static [Self];
    fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Word for DriftKind {
    const ALL: &'static [Self] = &DriftKind::ALL;
}
impl Word for PlaneKind {
    const ALL: &'static [Self] = &PlaneKind::ALL;
}
impl Word for Ring {
    const ALL: &'static [Self] = &Ring::ALL;
}
impl Word for Criticality {
    const ALL: &'static [Self] = &Criticality::ALL;
}
impl Word for Mode {
    const ALL: &'static [Self] = &[Mode::Observe, Mode::Propose, Mode::Enforce];
}
impl Word for Severity {
    const ALL: &'static [Self] = &[Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
}

/// The value of that name; what is wrong with it is noted.
pub(super) fn word<T: Word>(
    section: &mut Section<'_, '_>,
    field: &str,
    one: &str,
    (text, span): Item,
) -> Option<T> {
    let found = T::ALL.iter().copied().find(|v| v.word() == text);
    if found.is_none() {
        let known = T::ALL.iter().map(|v| v.word()).collect::<Vec<_>>().join(", ");
        section.flaw(span, field, &format!("unknown {one} '{text}' (known: {known})"));
    }
    found
}

fn words<T: Word>(section: &mut Section<'_, '_>, field: &'static str, one: &str) -> Set<T> {
    let items = section.list(field)?;
    Some(items.into_iter().filter_map(|item| word(section, field, one, item)).collect())
}

impl Conditions {
    /// Takes the fields that the section may have.
    pub(super) fn read(section: &mut Section<'_, '_>, fields: &[&str]) -> Self {
        let may = |field: &str| fields.contains(&field);
        let mut c = Self::default();
        if may("kinds") {
            c.kinds = words(section, "kinds", "kind of drift");
        }
        c.tenants = may("tenants").then(|| Globs::read(section, "tenants")).flatten();
        c.intents = may("intents").then(|| Globs::read(section, "intents")).flatten();
        if may("planes") {
            c.planes = words(section, "planes", "plane");
        }
        if may("rings") {
            c.rings = words(section, "rings", "ring");
        }
        if may("criticalities") {
            c.criticalities = words(section, "criticalities", "criticality");
        }
        if may("modes") {
            c.modes = words(section, "modes", "mode");
        }
        if may("labels") {
            c.labels = section.list("labels").map(|l| l.into_iter().map(|(text, _)| text).collect());
        }
        if may("severities") {
            c.severities = words(section, "severities", "severity");
        }
        let mut flag = |field| if may(field) { section.flag(field) } else { None };
        c.privileged = flag("privileged");
        c.overdue = flag("overdue");
        c.security_incident = flag("security_incident");
        c.crosses_boundary = flag("crosses_boundary");
        c
    }

    pub(super) fn intent(&self, intent: &Intent) -> bool {
        fn holds<T: Ord>(set: &Set<T>, value: T) -> bool {
            set.as_ref().is_none_or(|set| set.contains(&value))
        }
        let label = |text: &String| match text.split_once('=') {
            Some((key, value)) => intent.labels.get(key).is_some_and(|v| v == value),
            None => intent.labels.contains_key(text),
        };
        holds(&self.planes, intent.plane())
            && holds(&self.rings, intent.ring)
            && holds(&self.criticalities, intent.criticality)
            && holds(&self.modes, intent.mode)
            && self.privileged.is_none_or(|p| p == intent.privileged)
            && self.tenants.as_ref().is_none_or(|g| g.matches(&intent.key.tenant))
            && self.intents.as_ref().is_none_or(|g| g.matches(&intent.key.to_string()))
            && self.labels.as_ref().is_none_or(|l| l.iter().any(label))
    }

    pub(super) fn kind(&self, kind: DriftKind) -> bool {
        self.kinds.as_ref().is_none_or(|k| k.contains(&kind))
    }

    pub(super) fn facts(&self, facts: &Facts) -> bool {
        let flag = |wanted: Option<bool>, is: bool| wanted.is_none_or(|w| w == is);
        self.severities.as_ref().is_none_or(|s| s.contains(&facts.severity))
            && flag(self.overdue, facts.overdue)
            && flag(self.security_incident, facts.security_incident)
            && flag(self.crosses_boundary, facts.crosses_boundary)
    }

    /// Whether it holds for everything.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Patterns of which one must match: `*`, `?`, `[…]`, `{a,b}`. A `*` goes across dots and slashes.
#[derive(Debug, Clone)]
pub(super) struct Globs {
    patterns: BTreeSet<String>,
    set: GlobSet,
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Serialize for Globs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.patterns.serialize(serializer)
    }
}

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 200;

impl Globs {
    pub(super) fn read(section: &mut Section<'_, '_>, field: &'static str) -> Option<Self> {
        let items = section.list(field)?;
        let (mut patterns, mut set) = (BTreeSet::new(), GlobSetBuilder::new());
        for (text, span) in items {
            if text.len() > MAX_PATTERN {
                section.flaw(span, field, &format!("a pattern has at most {MAX_PATTERN} bytes"));
                continue;
            }
            match GlobBuilder::new(&text).literal_separator(false).build() {
                Ok(glob) => {
                    set.add(glob);
                    patterns.insert(text);
                }
                Err(e) => section.flaw(span, field, &format!("'{text}': {}", e.kind())),
            }
        }
        match set.build() {
            Ok(set) => Some(Self { patterns, set }),
            Err(e) => {
                section.lacks(field, &format!("the patterns are too large together: {}", e.kind()));
                None
            }
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.set.is_match(text)
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }
}
