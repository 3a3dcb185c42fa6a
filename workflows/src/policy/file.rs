//! The file: which sections there are, and where each stands.

use std::collections::BTreeSet;

use serde::Serialize;

use super::MAX_BYTES;
use super::boundary::{Boundary, Incident};
use super::caps::Cap;
use super::check::cases::{self, Expected};
use super::exceptions::{Exception, Ignore};
use super::flaws::{Flaw, Flaws, Place};
use super::read::Reader;
use super::rules::{Rule, Tolerance};
use super::windows::{Freeze, Window};

/// What the version of a policy is the digest of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Sections {
    pub(super) tolerance: Tolerance,
    pub(super) rules: Vec<Rule>,
    pub(super) windows: Vec<Window>,
    pub(super) freezes: Vec<Freeze>,
    pub(super) caps: Vec<Cap>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) ignores: Vec<Ignore>,
    pub(super) incidents: Vec<Incident>,
    pub(super) boundaries: Vec<Boundary>,
}

/// Where the sections stand, in the order of [`Sections`].
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) rules: Vec<Place>,
    pub(super) windows: Vec<Place>,
    pub(super) freezes: Vec<Place>,
    pub(super) exceptions: Vec<Place>,
    pub(super) ignores: Vec<Place>,
    pub(super) incidents: Vec<Place>,
    pub(super) boundaries: Vec<Place>,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) sections: Sections,
    pub(super) places: Places,
    /// `[[case]]`: what the policy is expected to decide; no part of its version.
    pub(super) cases: Vec<Expected>,
}

const KNOWN: &str = "tolerance, rule, window, freeze, cap, exception, ignore, incident, boundary, case";
/// Of windows and of freezes: each decision may look at all of them.
const MAX_TIMES: usize = 64;

/// Reads a policy file.
pub(super) fn read(text: &str) -> Result<File, Flaws> {
    if text.len() > MAX_BYTES {
        let what = format!("longer than {MAX_BYTES} bytes");
        return Err(Flaws(vec![Flaw { place: Place { line: 1, column: 1 }, what }]));
    }
    let (mut reader, mut top) = Reader::open(text)?;
    let (sections, places) = {
        let r = &mut reader;
        let tolerance = r.table(&mut top, "tolerance", Tolerance::read).unwrap_or_default();
        let (rules, rules_at) = split(r.sections(&mut top, "rule", Rule::read));
        let (windows, windows_at) = split(r.sections(&mut top, "window", Window::read));
        let (freezes, freezes_at) = split(r.sections(&mut top, "freeze", Freeze::read));
        let (caps, _) = split(r.sections(&mut top, "cap", Cap::read));
        let (exceptions, exceptions_at) = split(r.sections(&mut top, "exception", Exception::read));
        let (ignores, ignores_at) = split(r.sections(&mut top, "ignore", Ignore::read));
        let (incidents, incidents_at) = split(r.sections(&mut top, "incident", Incident::read));
        let (boundaries, boundaries_at) = split(r.sections(&mut top, "boundary", Boundary::read));
        (
            Sections { tolerance, rules, windows, freezes, caps, exceptions, ignores, incidents, boundaries },
            Places {
                rules: rules_at,
                windows: windows_at,
                freezes: freezes_at,
                exceptions: exceptions_at,
                ignores: ignores_at,
                incidents: incidents_at,
                boundaries: boundaries_at,
            },
        )
    };
    let cases = reader.sections(&mut top, "case", cases::read).into_iter().filter_map(|(c, _)| c).collect();
    for (key, value) in top {
        let key_at = key.span();
        let what = format!("unknown section '{}' (known: {KNOWN})", key.get_ref().escape_default());
        reader.flaw(if key_at.is_empty() { value.span() } else { key_at }, what);
    }
    if sections.windows.len() > MAX_TIMES || sections.freezes.len() > MAX_TIMES {
        reader.flaw(0..0, format!("more than {MAX_TIMES} windows, or freezes"));
    }
    unique(&mut reader, "rule", sections.rules.iter().map(|s| &s.name), &places.rules);
    unique(&mut reader, "window", sections.windows.iter().map(|s| &s.name), &places.windows);
    unique(&mut reader, "freeze", sections.freezes.iter().map(|s| &s.name), &places.freezes);
    unique(&mut reader, "exception", sections.exceptions.iter().map(|s| &s.name), &places.exceptions);
    unique(&mut reader, "ignore", sections.ignores.iter().map(|s| &s.name), &places.ignores);
    unique(&mut reader, "incident", sections.incidents.iter().map(|s| &s.name), &places.incidents);
    unique(&mut reader, "boundary", sections.boundaries.iter().map(|s| &s.name), &places.boundaries);
    if reader.is_fine() { Ok(File { sections, places, cases }) } else { Err(reader.close()) }
}

/// Reads a file that holds nothing but `[[case]]`.
pub(super) fn read_cases(text: &str) -> Result<Vec<Expected>, Flaws> {
    if text.len() > MAX_BYTES {
        let what = format!("longer than {MAX_BYTES} bytes");
        return Err(Flaws(vec![Flaw { place: Place { line: 1, column: 1 }, what }]));
    }
    let (mut reader, mut top) = Reader::open(text)?;
    let cases = reader.sections(&mut top, "case", cases::read).into_iter().filter_map(|(c, _)| c).collect();
    for (key, _) in top {
        let what = format!("unknown section '{}' (known: case)", key.get_ref().escape_default());
        reader.flaw(key.span(), what);
    }
    if reader.is_fine() { Ok(cases) } else { Err(reader.close()) }
}

fn split<T>(sections: Vec<(Option<T>, Place)>) -> (Vec<T>, Vec<Place>) {
    sections.into_iter().filter_map(|(s, place)| Some((s?, place))).unzip()
}

fn unique<'a>(
    reader: &mut Reader<'_>,
    what: &str,
    names: impl Iterator<Item = &'a String>,
    places: &[Place],
) {
    let mut seen = BTreeSet::new();
    for (name, place) in names.zip(places) {
        if !name.is_empty() && !seen.insert(name) {
            reader.flaw_at(*place, format!("{what} '{name}': name: it is there twice"));
        }
    }
}
