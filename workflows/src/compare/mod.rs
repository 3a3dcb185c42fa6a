//! The comparators: one per drift kind, each a pure function from desired and observed to a judgement.
//!
//! # Guarantees
//! Missing or old evidence is never drift: it is `stale` or `unknown`, with a reason, and leaves a finding as it is.
//! The same difference gives the same digest, in whatever order a plane lists things.

pub mod compliance;
pub mod evidence;
mod ignored;
pub mod missing_assignment;
pub mod scope;
pub mod version;

use trueup_model::{
    Condition, Delta, Drift, DriftKind, Ignored, Observation, Observed, Target,
    intent::{Desired, Install, Scope},
    observed::AssignmentSeen,
};

use evidence::Freshness;

/// What one comparator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The intent does not name this aspect.
    NotAsked,
    InSync,
    Drifted(Drift),
    /// The plane's own report is too old to judge by.
    Stale(String),
    /// The plane did not tell.
    Unknown(String),
}

type Comparator = fn(&Desired, &Observed, &Target, &Freshness) -> Judgement;

/// Every kind and who judges it.
pub const COMPARATORS: [(DriftKind, Comparator); 4] = [
    (DriftKind::MissingAssignment, missing_assignment::judge),
    (DriftKind::VersionMismatch, version::judge),
    (DriftKind::ScopeMismatch, scope::judge),
    (DriftKind::ComplianceDrift, compliance::judge),
];

/// What all comparators together say about one observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Sorted by kind.
    pub drifts: Vec<Drift>,
    /// For people.
    pub unjudged: Vec<String>,
    pub unjudged_kinds: Vec<DriftKind>,
    /// What ignore rules hid; filled by [`Judged::under`].
    pub ignored: Vec<Ignored>,
    pub condition: Condition,
}

/// Compares what was meant with what was seen.
pub fn judge(desired: &Desired, observation: &Observation, target: &Target, fresh: &Freshness) -> Judged {
    let observed = match observation {
        Observation::Seen(observed) => observed,
        Observation::Unreachable(fault) => {
            return Judged {
                drifts: Vec::new(),
                unjudged: vec![format!("no answer: {}", bounded(&fault.to_string()))],
                unjudged_kinds: DriftKind::ALL.to_vec(),
                ignored: Vec::new(),
                condition: Condition::Unreachable,
            };
        }
    };
    let mut judged = Judged {
        drifts: vec![],
        unjudged: vec![],
        unjudged_kinds: vec![],
        ignored: vec![],
        condition: Condition::InSync,
    };
    for (kind, comparator) in COMPARATORS {
        match comparator(desired, observed, target, fresh) {
            Judgement::NotAsked | Judgement::InSync => {}
            Judgement::Drifted(drift) => judged.drifts.push(drift),
            Judgement::Stale(why) | Judgement::Unknown(why) => {
                judged.unjudged.push(format!("{kind}: {why}"));
                judged.unjudged_kinds.push(kind);
            }
        }
    }
    if !judged.drifts.is_empty() {
        judged.condition = Condition::Drifted;
    } else if !judged.unjudged.is_empty() {
        judged.condition = Condition::Stale;
    }
    judged
}

/// Longest text of a delta, in characters.
const MAX_TEXT: usize = 400;
/// Most deltas of one drift.
const MAX_DELTAS: usize = 250;

/// Text from outside, cut; what was cut off still counts in a digest.
pub(crate) fn bounded(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(MAX_TEXT).collect();
    format!("{kept}… ({})", trueup_model::Digest::of(&text))
}

/// A drift whose deltas are bounded; what was cut off still counts in its digest.
pub(crate) fn drift(kind: DriftKind, mut delta: Vec<Delta>, at: trueup_model::Time) -> Drift {
    for d in &mut delta {
        d.observed = bounded(&d.observed);
    }
    delta.sort();
    delta.dedup();
    if delta.len() > MAX_DELTAS {
        let rest = delta.split_off(MAX_DELTAS);
        let observed = format!("{} more ({})", rest.len(), trueup_model::Digest::of(&rest));
        delta.push(Delta { path: "…".into(), desired: String::new(), observed });
    }
    Drift::new(kind, delta, at)
}

/// As scopes are written in deltas.
pub fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::AllDevices => "all_devices".into(),
        Scope::AllUsers => "all_users".into(),
        Scope::Group(id) => format!("group:{id}"),
        Scope::Device(id) => format!("device:{id}"),
        Scope::Building(id) => format!("building:{id}"),
        Scope::Department(id) => format!("department:{id}"),
    }
}

/// The reverse of [`scope_text`].
pub fn parse_scope(text: &str) -> Option<Scope> {
    match text {
        "all_devices" => Some(Scope::AllDevices),
        "all_users" => Some(Scope::AllUsers),
        _ => {
            let (kind, id) = text.split_once(':')?;
            let id = id.to_owned();
            match kind {
                "group" => Some(Scope::Group(id)),
                "device" => Some(Scope::Device(id)),
                "building" => Some(Scope::Building(id)),
                "department" => Some(Scope::Department(id)),
                _ => None,
            }
        }
    }
}

pub(crate) fn install_text(install: Install) -> &'static str {
    match install {
        Install::Required => "required",
        Install::Available => "available",
        Install::AvailableWithoutEnrollment => "available_without_enrollment",
        Install::Uninstall => "uninstall",
    }
}

/// Whether any of these reaches the scope.
pub(crate) fn reaches(seen: &[AssignmentSeen], scope: &Scope) -> bool {
    seen.iter().any(|a| !a.excluded && a.scope == *scope)
}
