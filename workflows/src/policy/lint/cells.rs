//! All situations that rules can tell apart by anything but names and labels: few enough to try each.

use std::collections::{BTreeMap, BTreeSet};

use trueup_model::{Criticality, DriftKind, Mode, PlaneKind, Ring, Verdict};

use super::super::conditions::{Conditions, Facts, Word};
use super::super::file::Sections;
use super::super::rules::Rule;

#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    kind: DriftKind,
    plane: PlaneKind,
    ring: Ring,
    criticality: Criticality,
    mode: Mode,
    privileged: bool,
    facts: Facts,
}

/// Those that can be under these sections.
pub(super) fn all(s: &Sections) -> Vec<Cell> {
    let flags: fn(bool) -> &'static [bool] = |both| if both { &[false, true] } else { &[false] };
    let mut all = Vec::new();
    for &kind in DriftKind::ALL.iter() {
        // A playbook is checked for compliance and nothing else.
        let planes = PlaneKind::ALL
            .into_iter()
            .filter(|p| *p != PlaneKind::Ansible || kind == DriftKind::ComplianceDrift);
        for plane in planes {
            let reaches = plane != PlaneKind::Ansible && !s.boundaries.is_empty();
            for criticality in Criticality::ALL {
                for &overdue in flags(!s.tolerance.of(criticality).is_zero()) {
                    for &security_incident in flags(!s.incidents.is_empty()) {
                        for &crosses_boundary in flags(reaches) {
                            let severity = if overdue { kind.severity().raised() } else { kind.severity() };
                            let facts = Facts { severity, overdue, security_incident, crosses_boundary };
                            for ring in Ring::ALL {
                                for &mode in Mode::ALL {
                                    for privileged in [false, true] {
                                        all.push(Cell {
                                            kind,
                                            plane,
                                            ring,
                                            criticality,
                                            mode,
                                            privileged,
                                            facts,
                                        });
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

impl Cell {
    /// Whether the conditions hold here, for some name and labels.
    fn fits(&self, c: &Conditions) -> bool {
        fn holds<T: Ord>(set: &Option<BTreeSet<T>>, value: T) -> bool {
            set.as_ref().is_none_or(|set| set.contains(&value))
        }
        holds(&c.kinds, self.kind)
            && holds(&c.planes, self.plane)
            && holds(&c.rings, self.ring)
            && holds(&c.criticalities, self.criticality)
            && holds(&c.modes, self.mode)
            && c.privileged.is_none_or(|p| p == self.privileged)
            && c.facts(&self.facts)
    }
}

impl Cell {
    /// What speaks here under any rules.
    fn built_in(&self, s: &Sections) -> Vec<(Verdict, &'static str)> {
        let mut all = Vec::new();
        match self.mode {
            Mode::Observe => all.push((Verdict::ObserveOnly, "mode")),
            Mode::Propose => all.push((Verdict::Review, "mode")),
            Mode::Enforce => {}
        }
        if self.facts.security_incident {
            all.push((Verdict::Cab, "an incident"));
        }
        // The least strict of all: a boundary that is crossed says at least this.
        let crossing = s.boundaries.iter().map(|b| b.say.verdict()).min();
        all.extend(crossing.filter(|_| self.facts.crosses_boundary).map(|verdict| (verdict, "a boundary")));
        all
    }
}

/// A condition, and how to take it away.
type Without = (&'static str, fn(&mut Conditions));

/// Which conditions exclude each other, if no situation fits them all.
pub(super) fn contradiction(c: &Conditions, all: &[Cell]) -> Option<String> {
    if all.iter().any(|cell| cell.fits(c)) {
        return None;
    }
    // Each without which there would be such a situation has a part in it.
    let without: [Without; 9] = [
        ("kinds", |c| c.kinds = None),
        ("planes", |c| c.planes = None),
        ("rings", |c| c.rings = None),
        ("criticalities", |c| c.criticalities = None),
        ("modes", |c| c.modes = None),
        ("severities", |c| c.severities = None),
        ("overdue", |c| c.overdue = None),
        ("security_incident", |c| c.security_incident = None),
        ("crosses_boundary", |c| c.crosses_boundary = None),
    ];
    let parts: Vec<&str> = without
        .iter()
        .filter(|(_, drop)| {
            let mut less = c.clone();
            drop(&mut less);
            all.iter().any(|cell| cell.fits(&less))
        })
        .map(|(name, _)| *name)
        .collect();
    Some(match parts[..] {
        ["security_incident"] => "security_incident: the policy has no [[incident]]".into(),
        ["crosses_boundary"] => "crosses_boundary: the policy has no [[boundary]]".into(),
        [] => "its conditions exclude each other".into(),
        [one] => format!("{one}: there is no such drift"),
        _ => format!("{} exclude each other", parts.join(" and ")),
    })
}

/// Rules told to be idle whose betters are looked for; the rest is only told.
const EXPLAINED: usize = 50;

/// Rules, by their place in the file, above which something stricter always speaks, and what.
pub(super) fn idle(s: &Sections, cells: &[Cell]) -> BTreeMap<usize, Vec<String>> {
    let groups = groups(&s.rules);
    let mut matched = vec![false; s.rules.len()];
    let mut matters = vec![false; s.rules.len()];
    for cell in cells {
        let here: Vec<usize> = (0..s.rules.len()).filter(|n| cell.fits(&s.rules[*n].conditions)).collect();
        let mut strictest: BTreeMap<Option<usize>, Verdict> = BTreeMap::new();
        for n in &here {
            let says = s.rules[*n].say.verdict();
            let most = strictest.entry(groups[*n]).or_insert(says);
            *most = says.max(*most);
        }
        let built_in = cell.built_in(s).into_iter().map(|(verdict, _)| verdict).max();
        let anywhere = strictest.get(&None).copied().max(built_in);
        for n in here {
            matched[n] = true;
            let by = strictest.get(&groups[n]).copied().max(anywhere);
            matters[n] |= by.is_none_or(|verdict| verdict <= s.rules[n].say.verdict());
        }
    }
    let idle = (0..s.rules.len()).filter(|n| matched[*n] && !matters[*n]);
    idle.enumerate()
        .map(|(told, n)| (n, if told < EXPLAINED { betters(n, s, &groups, cells) } else { Vec::new() }))
        .collect()
}

/// Rules with the same conditions on names and labels have the same number; those without any, none.
fn groups(rules: &[Rule]) -> Vec<Option<usize>> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut number = |rule: &Rule| {
        let c = &rule.conditions;
        let names = (&c.tenants, &c.intents, &c.labels);
        let open = c.tenants.is_some() || c.intents.is_some() || c.labels.is_some();
        let next = known.len();
        open.then(|| *known.entry(serde_json::json!(names).to_string()).or_insert(next))
    };
    rules.iter().map(&mut number).collect()
}

/// Who speaks wherever the rule does, and is stricter: one, if one is enough.
fn betters(n: usize, s: &Sections, groups: &[Option<usize>], cells: &[Cell]) -> Vec<String> {
    let rule = &s.rules[n];
    let says = rule.say.verdict();
    let stricter: Vec<&Rule> = (s.rules.iter().zip(groups))
        .filter(|(other, group)| (group.is_none() || **group == groups[n]) && other.say.verdict() > says)
        .map(|(other, _)| other)
        .collect();
    let mut everywhere: Option<BTreeSet<&str>> = None;
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    for cell in cells.iter().filter(|cell| cell.fits(&rule.conditions)) {
        let rules = stricter.iter().filter(|r| cell.fits(&r.conditions)).map(|r| r.name.as_str());
        let built_in =
            cell.built_in(s).into_iter().filter(|(verdict, _)| *verdict > says).map(|(_, who)| who);
        let here: Vec<&str> = rules.chain(built_in).collect();
        if !here.iter().any(|who| chosen.contains(who)) {
            chosen.extend(here.first());
        }
        let here: BTreeSet<&str> = here.into_iter().collect();
        everywhere = Some(everywhere.map_or(here.clone(), |all| all.intersection(&here).copied().collect()));
    }
    let one = everywhere.and_then(|all| all.first().copied());
    one.map_or(chosen, |one| BTreeSet::from([one])).into_iter().map(str::to_owned).collect()
}
