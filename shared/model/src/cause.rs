//! What may have caused a drift, so that 400 intents that drifted for one reason are shown, and told, as one group.
//!
//! Every drift names its candidates: the application, each scope that differs, a version that was found. Grouping picks,
//! again and again, the candidate that explains most of what is not explained yet.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Drift, DriftKind, Finding, FindingId, PlaneKind, Severity, Target, Time};

/// Candidates kept of one drift.
pub const MAX_CAUSES: usize = 8;
/// Findings named by a group; the count is always whole.
pub const MAX_NAMED: usize = 20;
/// Characters of one candidate.
const MAX_TEXT: usize = 120;

/// The candidates of a drift, sorted: `app:…`, `group:…`, `version:… → …`, `playbook:…`.
pub fn candidates(target: &Target, drift: &Drift) -> Vec<String> {
    let mut all = BTreeSet::new();
    match target {
        Target::Ansible(t) => {
            all.insert(format!("playbook:{}", t.playbook));
        }
        Target::Intune(_) | Target::Jamf(_) | Target::ConfigMgr(_) => {}
    }
    if let Some(app) = target.app() {
        all.insert(format!("app:{}", app.id));
        for delta in drift.delta.iter().filter(|d| d.path == "version") {
            all.insert(format!("version:{} {}", app.name, delta.observed));
        }
    }
    for delta in &drift.delta {
        // As scopes are written in deltas: `group:ID`, maybe with what is asked of it behind.
        for side in [&delta.desired, &delta.observed] {
            let scope = side.split(' ').next().unwrap_or_default();
            let is_scope = scope == "all_devices" || scope == "all_users" || scope.contains(':');
            if delta.path.starts_with("assignment.") && is_scope {
                all.insert(scope.to_owned());
            }
        }
    }
    all.into_iter().map(|text| text.chars().take(MAX_TEXT).collect()).take(MAX_CAUSES).collect()
}

/// Open drift of one kind that has one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CauseGroup {
    pub tenant: String,
    pub plane: PlaneKind,
    pub kind: DriftKind,
    /// One of the candidates; empty where a finding names none.
    pub cause: String,
    pub members: u32,
    pub affected_devices: u32,
    /// The highest among them.
    pub severity: Severity,
    /// Of them, those whose ladder is at its end.
    pub persistent: u32,
    pub first_opened_at: Time,
    /// At most [`MAX_NAMED`], sorted.
    pub findings: Vec<FindingId>,
}

/// What grouping needs to know of a drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a, T> {
    pub what: T,
    pub causes: &'a [String],
}

/// Groups by cause: the candidate that most share first; of equals the first by name. Each is in exactly one group; what
/// names no candidate shares the group of the empty cause.
pub fn by_cause<T>(members: Vec<Member<'_, T>>) -> Vec<(String, Vec<T>)> {
    let mut support: BTreeMap<&str, usize> = BTreeMap::new();
    for cause in members.iter().flat_map(|m| m.causes) {
        *support.entry(cause).or_default() += 1;
    }
    // By support, then name: each member belongs to the best of its own candidates, which is what the greedy choice gives
    // wherever candidates nest (an application within a group), without its quadratic cost.
    let mut groups: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for member in members {
        let best = member
            .causes
            .iter()
            .max_by(|a, b| support[a.as_str()].cmp(&support[b.as_str()]).then_with(|| b.cmp(a)));
        groups.entry(best.cloned().unwrap_or_default()).or_default().push(member.what);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    groups
}

/// Open findings, grouped by tenant, plane, kind and cause; the largest group first.
pub fn groups(findings: &[Finding]) -> Vec<CauseGroup> {
    let mut places: BTreeMap<(&str, PlaneKind, DriftKind), Vec<Member<'_, &Finding>>> = BTreeMap::new();
    for finding in findings.iter().filter(|f| f.open) {
        let place = (finding.intent.tenant.as_str(), finding.plane, finding.kind);
        places.entry(place).or_default().push(Member { what: finding, causes: &finding.causes });
    }
    let mut all = Vec::new();
    for ((tenant, plane, kind), members) in places {
        for (cause, members) in by_cause(members) {
            let mut ids: Vec<FindingId> = members.iter().map(|f| f.id.clone()).collect();
            ids.sort();
            ids.truncate(MAX_NAMED);
            let Some(first) = members.iter().map(|f| f.opened_at).min() else { continue };
            all.push(CauseGroup {
                tenant: tenant.to_owned(),
                plane,
                kind,
                cause,
                members: u32::try_from(members.len()).unwrap_or(u32::MAX),
                affected_devices: members.iter().fold(0, |n, f| n.saturating_add(f.affected_devices)),
                severity: members.iter().map(|f| f.severity).max().unwrap_or(Severity::Low),
                persistent: u32::try_from(members.iter().filter(|f| f.persistent).count())
                    .unwrap_or(u32::MAX),
                first_opened_at: first,
                findings: ids,
            });
        }
    }
    all.sort_by(|a, b| {
        b.members
            .cmp(&a.members)
            .then_with(|| (&a.tenant, a.plane, a.kind, &a.cause).cmp(&(&b.tenant, b.plane, b.kind, &b.cause)))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_that_most_share_wins() {
        let of = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let causes = [
            of(&["app:1", "group:a"]),
            of(&["app:2", "group:a"]),
            of(&["app:3", "group:a", "group:b"]),
            of(&["app:3", "group:b"]),
            of(&["app:4"]),
            of(&[]),
        ];
        let members = causes.iter().enumerate().map(|(what, causes)| Member { what, causes }).collect();
        let groups = by_cause(members);
        let expected: [(&str, &[usize]); 4] =
            [("group:a", &[0, 1, 2]), ("", &[5]), ("app:3", &[3]), ("app:4", &[4])];
        assert_eq!(groups, expected.map(|(c, m)| (c.to_owned(), m.to_vec())));
    }
}
