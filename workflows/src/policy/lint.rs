//! What a sound policy probably does not mean: rules that never match or never matter, leases that are over, doubles.

mod cells;

use trueup_model::{DriftKind, Time};

use super::conditions::{Conditions, Globs};
use super::exceptions::MAX_LEASE;
use super::file::{File, Sections};
use super::flaws::{Flaw, Place};
use super::windows::{self, Span, time};
use crate::compare::{scope, version};

pub(super) fn warnings(file: &File, now: Time) -> Vec<Flaw> {
    let (s, places) = (&file.sections, &file.places);
    let mut lint = Lint { sections: s, cells: cells::all(s), all: Vec::new() };
    lint.rules(&places.rules);
    lint.calendar(now, &places.windows, &places.freezes);
    lint.leases(now, &places.exceptions, &places.incidents);
    lint.ignores(&places.ignores);
    lint.boundaries(&places.boundaries);
    let mut all = lint.all;
    all.sort();
    all
}

struct Lint<'p> {
    sections: &'p Sections,
    cells: Vec<cells::Cell>,
    all: Vec<Flaw>,
}

impl Lint<'_> {
    fn warn(&mut self, place: Place, what: String) {
        self.all.push(Flaw { place, what });
    }

    /// That what it says is said already.
    fn doubles<T>(
        &mut self,
        what: &str,
        list: &[T],
        places: &[Place],
        name: impl Fn(&T) -> &str,
        same: impl Fn(&T, &T) -> bool,
    ) {
        for (n, one) in list.iter().enumerate() {
            if let Some(first) = list[..n].iter().find(|other| same(one, other)) {
                let text = format!("{what} '{}': says the same as {what} '{}'", name(one), name(first));
                self.warn(places[n], text);
            }
        }
    }

    /// That it can never match, and why.
    fn never(&mut self, what: &str, name: &str, conditions: &Conditions, place: Place) -> bool {
        let why = cells::contradiction(conditions, &self.cells).or_else(|| names(conditions));
        let Some(why) = why else { return false };
        self.warn(place, format!("{what} '{name}': it can never match: {why}"));
        true
    }

    fn rules(&mut self, places: &[Place]) {
        let rules = &self.sections.rules;
        self.doubles(
            "rule",
            rules,
            places,
            |r| &r.name,
            |a, b| a.say == b.say && a.conditions == b.conditions,
        );
        let mut idle = cells::idle(self.sections, &self.cells);
        for (n, rule) in rules.iter().enumerate() {
            if self.never("rule", &rule.name, &rule.conditions, places[n]) {
                continue;
            }
            if let Some(by) = idle.remove(&n) {
                let by = by.into_iter().collect::<Vec<_>>().join(", ");
                let text = format!(
                    "rule '{}': its verdict never matters: wherever it matches, something stricter speaks ({by})",
                    rule.name
                );
                self.warn(places[n], text);
            }
        }
    }

    fn calendar(&mut self, now: Time, windows_at: &[Place], freezes_at: &[Place]) {
        let Sections { windows, freezes, .. } = self.sections;
        let same = |a: &windows::Window, b: &windows::Window| {
            (&a.schedule, &a.conditions, a.named_only) == (&b.schedule, &b.conditions, b.named_only)
        };
        self.doubles("window", windows, windows_at, |w| &w.name, same);
        let always: Vec<_> = freezes.iter().filter(|f| f.conditions.is_empty()).collect();
        let open: Vec<_> = windows.iter().filter(|w| !w.named_only).collect();
        for (window, place) in windows.iter().zip(windows_at) {
            self.never("window", &window.name, &window.conditions, *place);
            let name = &window.name;
            if !windows::possible(vec![window], vec![], always.clone(), now) {
                self.warn(
                    *place,
                    format!("window '{name}': within two years it is never open outside the freezes"),
                );
            }
            let elsewhere = open.iter().any(|w| w.conditions.is_empty());
            if window.named_only && elsewhere && !windows::possible(open.clone(), vec![window], vec![], now) {
                let text = format!(
                    "window '{name}': it excludes the other windows, which hold for everything: an intent that names it is never remediated automatically"
                );
                self.warn(*place, text);
            }
        }
        for (freeze, place) in freezes.iter().zip(freezes_at) {
            self.never("freeze", &freeze.name, &freeze.conditions, *place);
            if let Span::Once { to, .. } = freeze.when
                && to <= now
            {
                self.warn(*place, format!("freeze '{}': it is over since {}", freeze.name, time(to)));
            }
        }
    }

    fn leases(&mut self, now: Time, exceptions_at: &[Place], incidents_at: &[Place]) {
        let Sections { exceptions, incidents, .. } = self.sections;
        let same = |a: &super::exceptions::Exception, b: &super::exceptions::Exception| {
            a.say == b.say && a.conditions == b.conditions
        };
        self.doubles("exception", exceptions, exceptions_at, |e| &e.name, same);
        for (exception, place) in exceptions.iter().zip(exceptions_at) {
            self.never("exception", &exception.name, &exception.conditions, *place);
            let (name, expires) = (&exception.name, exception.expires);
            if expires <= now {
                self.warn(
                    *place,
                    format!("exception '{name}': it expired {}; it does not hold any more", time(expires)),
                );
            } else if expires.signed_duration_since(exception.since.unwrap_or(now).max(now)) > MAX_LEASE {
                self.warn(
                    *place,
                    format!("exception '{name}': it expires {}, more than a year from now", time(expires)),
                );
            }
        }
        for (incident, place) in incidents.iter().zip(incidents_at) {
            self.never("incident", &incident.name, &incident.conditions, *place);
            if let Some(until) = incident.until.filter(|until| *until <= now) {
                self.warn(*place, format!("incident '{}': it is over since {}", incident.name, time(until)));
            }
        }
    }

    fn ignores(&mut self, places: &[Place]) {
        let ignores = &self.sections.ignores;
        self.doubles(
            "ignore",
            ignores,
            places,
            |i| &i.name,
            |a, b| a.paths == b.paths && a.conditions == b.conditions,
        );
        for (ignore, place) in ignores.iter().zip(places) {
            if self.never("ignore", &ignore.name, &ignore.conditions, *place) {
                continue;
            }
            let mut kinds = DriftKind::ALL.into_iter().filter(|k| ignore.conditions.kind(*k));
            if !kinds.any(|kind| paths(kind).iter().any(|path| is_path(&ignore.paths, path))) {
                let text = format!(
                    "ignore '{}': no path of such drift matches (there are: {})",
                    ignore.name,
                    all_paths()
                );
                self.warn(*place, text);
            }
        }
    }

    fn boundaries(&mut self, places: &[Place]) {
        let boundaries = &self.sections.boundaries;
        let same = |a: &super::boundary::Boundary, b: &super::boundary::Boundary| {
            a.groups == b.groups && a.conditions == b.conditions
        };
        self.doubles("boundary", boundaries, places, |b| &b.name, same);
        for (boundary, place) in boundaries.iter().zip(places) {
            if let Some(pattern) = boundary.groups.patterns().find(|p| !is_scope(p)) {
                let text = format!(
                    "boundary '{}': groups: '{pattern}' matches no scope (all_devices, all_users, group:ID, device:ID, building:ID, department:ID)",
                    boundary.name
                );
                self.warn(*place, text);
            }
        }
    }
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// Whether no name fits the conditions on names.
fn names(c: &Conditions) -> Option<String> {
    let intents: Vec<&str> = c.intents.as_ref()?.patterns().collect();
    if let Some(pattern) = intents.iter().find(|p| !p.contains('/') && !is_glob(p)) {
        return (intents.len() == 1).then(|| format!("intents: '{pattern}' is not TENANT/ID"));
    }
    let tenants = c.tenants.as_ref()?;
    let fits = |pattern: &&str| {
        let tenant = pattern.split('/').next().unwrap_or_default();
        is_glob(tenant) || tenants.matches(tenant)
    };
    (!intents.iter().any(fits)).then(|| "tenants and intents exclude each other".to_owned())
}

/// As comparators write them; behind a final dot comes what differs from drift to drift.
fn paths(kind: DriftKind) -> &'static [&'static str] {
    match kind {
        DriftKind::MissingAssignment => &["assignment.include"],
        DriftKind::VersionMismatch => &["version", version::REPLACES],
        DriftKind::ScopeMismatch => {
            &["assignment.include", "assignment.exclude", scope::EXTRA, scope::EXTRA_EXCLUSION]
        }
        DriftKind::ComplianceDrift => &["compliance", "compliance.details", "compliance.devices"],
    }
}

fn all_paths() -> String {
    let all: std::collections::BTreeSet<&str> = DriftKind::ALL.into_iter().flat_map(paths).copied().collect();
    all.into_iter()
        .map(|p| if p.ends_with('.') { format!("{p}*") } else { p.to_owned() })
        .collect::<Vec<_>>()
        .join(", ")
}

fn is_path(globs: &Globs, path: &str) -> bool {
    globs.matches(path)
        || (path.ends_with('.')
            && globs
                .patterns()
                .any(|p| p.starts_with(path) || is_glob(p) && globs.matches(&format!("{path}x"))))
}

fn is_scope(pattern: &str) -> bool {
    let kinds = ["group:", "device:", "building:", "department:"];
    ["all_devices", "all_users"].contains(&pattern)
        || kinds.iter().any(|k| pattern.starts_with(k))
        || pattern.split(':').next().is_some_and(is_glob)
}
