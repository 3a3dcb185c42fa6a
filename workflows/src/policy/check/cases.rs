//! `[[case]]`: what a policy is expected to decide, as a table of tests.

use std::collections::BTreeMap;

use trueup_model::{
    Criticality, Delta, Drift, DriftKind, Duration, Intent, IntentKey, Mode, PlaneKind, Ring, Severity,
    Status, Target, Time, Trip, Verdict,
    intent::{Assignment, Desired, Scope},
    target::{AnsibleTarget, ConfigMgrTarget, IntuneTarget, JamfTarget},
};

use crate::compare::parse_scope;
use crate::policy::conditions::{Word, word};
use crate::policy::outcome::Outcome;
use crate::policy::read::Section;
use crate::policy::{Place, Policy, recorded};

/// One case, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Expected {
    pub name: String,
    pub place: Place,
    case: recorded::Case,
    /// None: ignored.
    verdict: Option<Verdict>,
    not_before: Option<Time>,
    severity: Option<Severity>,
    rules: Option<Vec<String>>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub name: String,
    pub place: Place,
    pub got: Outcome,
    /// What was expected otherwise, each in words; none: it passed.
    pub differences: Vec<String>,
}

impl Expected {
    /// Decides the case under a policy.
    pub fn run(&self, policy: &Policy) -> Tried {
        let got = policy.outcome(&self.case.live());
        let mut differences = Vec::new();
        let expected = self.verdict.map_or("ignored", Verdict::as_str);
        if self.verdict != got.verdict {
            differences.push(format!("expected {expected}, got {}", got.verdict()));
        }
        if self.verdict.is_some() && self.not_before != got.not_before {
            let text = |t: Option<Time>| {
                t.map_or("at once".to_owned(), |t| format!("not before {}", t.to_rfc3339()))
            };
            differences.push(format!("expected {}, got {}", text(self.not_before), text(got.not_before)));
        }
        if let (Some(wanted), Some(is)) = (self.severity, got.severity)
            && wanted != is
        {
            differences.push(format!("expected severity {}, got {}", wanted.word(), is.word()));
        }
        if let Some(wanted) = &self.rules {
            let sorted = |rules: &[String]| {
                let mut rules = rules.to_vec();
                rules.sort();
                rules
            };
            let (wanted, is) = (sorted(wanted), sorted(&got.rules));
            if wanted != is {
                differences.push(format!("expected rules [{}], got [{}]", wanted.join(", "), is.join(", ")));
            }
        }
        Tried { name: self.name.clone(), place: self.place, got, differences }
    }
}

/// The one of that name, if the field is there; else the default.
fn one<T: Word>(s: &mut Section<'_, '_>, field: &'static str, default: T) -> T {
    s.text(field).and_then(|item| word(s, field, field, item)).unwrap_or(default)
}

pub(in crate::policy) fn read(s: &mut Section<'_, '_>) -> Option<Expected> {
    let name = s.needed("name").0;
    s.call(format!("case '{}'", name.escape_default()));
    let intent = intent(s);
    let case = situation(s, intent);
    let (text, at) = s.needed("expect");
    let verdict = match text.as_str() {
        "automatic" => Some(Verdict::Automatic),
        "review" => Some(Verdict::Review),
        "cab" => Some(Verdict::Cab),
        "observe_only" => Some(Verdict::ObserveOnly),
        "ignored" | "" => None,
        other => {
            let known = "automatic, review, cab, observe_only, ignored";
            s.flaw(at, "expect", &format!("'{other}' is none of {known}"));
            None
        }
    };
    let not_before = s.time("not_before");
    let severity = s.text("severity").and_then(|item| word(s, "severity", "severity", item));
    let rules = s.list("rules").map(|l| l.into_iter().map(|(rule, _)| rule).collect());
    Some(Expected { name, place: s.place(), case: case?, verdict, not_before, severity, rules })
}

fn intent(s: &mut Section<'_, '_>) -> Intent {
    let mut key = IntentKey::new("acme", "case");
    if let Some((text, at)) = s.text("intent") {
        match text.parse() {
            Ok(named) => key = named,
            Err(e) => s.flaw(at, "intent", &e),
        }
    }
    let mut labels = BTreeMap::new();
    for (text, at) in s.list("labels").unwrap_or_default() {
        match text.split_once('=') {
            Some((k, v)) => drop(labels.insert(k.to_owned(), v.to_owned())),
            None => s.flaw(at, "labels", "expected key=value"),
        }
    }
    let include: std::collections::BTreeSet<Scope> = scopes(s, "reaches").into_iter().collect();
    let assignment = (!include.is_empty()).then(|| Assignment {
        install: Default::default(),
        include,
        exclude: Default::default(),
        exclusive: false,
    });
    Intent {
        key,
        workspace: None,
        target: target(one(s, "plane", PlaneKind::Intune)),
        desired: Desired { assignment, version: None, compliant: false },
        criticality: one(s, "criticality", Criticality::Critical),
        ring: one(s, "ring", Ring::Lab),
        privileged: s.flag("privileged").unwrap_or(false),
        mode: one(s, "mode", Mode::Enforce),
        status: Status::default(),
        labels,
        windows: s.list("windows").unwrap_or_default().into_iter().map(|(name, _)| name).collect(),
    }
}

fn situation(s: &mut Section<'_, '_>, intent: Intent) -> Option<recorded::Case> {
    let drift = s.needed("drift");
    let kind = if drift.0.is_empty() { None } else { word(s, "drift", "kind of drift", drift) };
    let (paths, named) = (s.list("paths").unwrap_or_default(), scopes(s, "scopes"));
    if !s.has("now") {
        s.lacks("now", "is missing: when it is decided");
    }
    let (now, age) = (s.time("now"), s.duration("age", Duration::zero(), Duration::days(3_660)));
    let remedy = s.flag("remedy").unwrap_or(true);
    let exhausted = s.flag("exhausted").unwrap_or(false);
    let held = s.flag("held").unwrap_or(false);
    let (kind, now) = (kind?, now?);
    let held = held.then(|| Trip {
        tenant: intent.key.tenant.clone(),
        plane: intent.plane(),
        at: now,
        cap: "as the case says".into(),
    });
    let opened_at = now.checked_sub_signed(age.unwrap_or_default())?;
    Some(recorded::Case {
        drift: drifted(kind, &paths, &named, now),
        intent,
        opened_at,
        now,
        remedy,
        exhausted,
        held,
    })
}

fn drifted(kind: DriftKind, paths: &[(String, std::ops::Range<usize>)], named: &[Scope], now: Time) -> Drift {
    let delta =
        |path: &str, desired: String| Delta { path: path.to_owned(), desired, observed: "absent".into() };
    let mut all: Vec<Delta> = paths.iter().map(|(path, _)| delta(path, String::new())).collect();
    all.extend(named.iter().map(|scope| delta("assignment.include", crate::compare::scope_text(scope))));
    if all.is_empty() {
        let path = match kind {
            DriftKind::MissingAssignment | DriftKind::ScopeMismatch => "assignment.include",
            DriftKind::VersionMismatch => "version",
            DriftKind::ComplianceDrift => "compliance.details",
        };
        all.push(delta(path, String::new()));
    }
    Drift::new(kind, all, now)
}

fn scopes(s: &mut Section<'_, '_>, field: &'static str) -> Vec<Scope> {
    let mut all = Vec::new();
    for (text, at) in s.list(field).unwrap_or_default() {
        match parse_scope(&text) {
            Some(scope) => all.push(scope),
            None => {
                let why = format!(
                    "'{text}' is no scope (all_devices, all_users, group:ID, device:ID, building:ID, department:ID)"
                );
                s.flaw(at, field, &why);
            }
        }
    }
    all
}

/// Of what it is about, only the plane matters to policy.
fn target(plane: PlaneKind) -> Target {
    let app_name = String::from("case");
    match plane {
        PlaneKind::Intune => Target::Intune(IntuneTarget {
            app_id: "00000000-0000-4000-8000-000000000000".into(),
            app_name,
            replaces: vec![],
        }),
        PlaneKind::Jamf => Target::Jamf(JamfTarget {
            policy_id: 1,
            app_name,
            bundle_id: None,
            replaces: vec![],
            compliance: None,
        }),
        PlaneKind::ConfigMgr => Target::ConfigMgr(ConfigMgrTarget {
            ci_id: 1,
            app_name,
            product_name: None,
            replaces: vec![],
            device_collection: None,
            compliance: None,
        }),
        PlaneKind::Ansible => Target::Ansible(AnsibleTarget {
            playbook: "site.yml".into(),
            inventory: "hosts".into(),
            limit: None,
        }),
    }
}
