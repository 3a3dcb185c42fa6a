//! Looking: scopes, versions and compliance of many policies with few calls.
//!
//! # Expected flow
//! Policies that checks ask for are read one by one (the Classic API has no other way), each once for all that wait for
//! it; the inventory is read whole, once for everybody; failing groups one by one. All of it is kept for a moment.
//!
//! # Decides
//! An inventory that is empty, or lost more than half, is the plane's trouble, not the fleet's: a transient fault, so that
//! intents are unreachable and nothing drifts (`intune::doubt`).

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use trueup_model::job::Check;
use trueup_model::observed::{AssignmentSeen, Assignments, ComplianceSeen, MAX_LISTED, Observed};
use trueup_model::target::JamfTarget;
use trueup_model::{Duration, Fault, Target, Time};

use super::api::{AT_ONCE, Api};
use super::group::{self, Group};
use super::inventory::Fleet;
use super::policy::{self, Policy};
use super::request;
use crate::intune::doubt::{Count, Empty};
use crate::intune::snapshot::{Dataset, Dated, Loaded, Whole};

/// The only key of the inventory.
const ALL: &str = "inventory";

#[derive(Debug)]
pub(crate) struct Reads {
    policies: Dataset<Arc<Policy>>,
    groups: Dataset<Arc<Group>>,
    inventory: Dataset<Arc<Fleet>>,
}

type Wants = HashMap<String, Option<Time>>;
type Answers<V> = HashMap<String, Result<Dated<V>, Fault>>;

fn want(wants: &mut Wants, key: String, newer_than: Option<Time>) {
    let at_least = wants.entry(key).or_default();
    *at_least = (*at_least).max(newer_than);
}

impl Reads {
    pub(crate) fn new(reuse: Duration) -> Self {
        Self { policies: Dataset::new(reuse), groups: Dataset::new(reuse), inventory: Dataset::new(reuse) }
    }

    /// An action of ours changes the policy, or changed it already.
    pub(crate) fn rescoped(&self, policy: u32) {
        self.policies.forget(&policy.to_string());
    }

    pub(crate) async fn observe(&self, api: &Api, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let (mut policies, mut groups, mut inventory) = (Wants::new(), Wants::new(), Wants::new());
        for check in checks {
            if let Target::Jamf(target) = &check.target {
                for id in std::iter::once(&target.policy_id).chain(&target.replaces) {
                    want(&mut policies, id.to_string(), check.newer_than);
                }
                if let Some(compliance) = &target.compliance {
                    want(&mut groups, compliance.failing_group.to_string(), check.newer_than);
                }
                want(&mut inventory, ALL.into(), check.newer_than);
            }
        }
        let now = || api.http.clock().now();
        let (policies, groups, inventory) = tokio::join!(
            self.policies.get(&policies, now, |keys, _| one_by_one(keys, |id| async move {
                api.find(&request::policy(id), policy::read).await
            })),
            self.groups.get(&groups, now, |keys, _| one_by_one(keys, |id| async move {
                api.find(&request::group(id), group::read).await
            })),
            self.inventory.get(&inventory, now, |_, _| whole(api)),
        );
        let answer = |check: &Check| match &check.target {
            Target::Jamf(target) => observed(target, &policies, &groups, &inventory),
            other => Err(Fault::bug(format!("a target of {} was sent to jamf", other.plane()))),
        };
        checks.iter().map(answer).collect()
    }
}

/// Things by number, a few at once. One that cannot be read is not another's trouble.
async fn one_by_one<V, F, Fut>(keys: Vec<String>, read: F) -> Result<Loaded<Arc<V>>, Fault>
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Result<Option<V>, Fault>>,
{
    let mut loaded = Loaded { whole: None, values: HashMap::new(), faults: HashMap::new() };
    let reads: Vec<_> = keys.iter().map(|key| Box::pin(read(key.parse().unwrap_or_default()))).collect();
    let answers: Vec<_> = futures::stream::iter(reads).buffered(AT_ONCE).collect().await;
    for (key, answer) in keys.into_iter().zip(answers) {
        match answer {
            Ok(value) => {
                loaded.values.insert(key, value.map(Arc::new));
            }
            Err(fault) => {
                loaded.faults.insert(key, fault);
            }
        }
    }
    Ok(loaded)
}

async fn whole(api: &Api) -> Result<Loaded<Arc<Fleet>>, Fault> {
    let (fleet, calls) = api.fleet().await?;
    let counts = vec![Count { what: "computers", n: fleet.computers(), empty: Empty::Never }];
    let values = HashMap::from([(ALL.to_owned(), Some(Arc::new(fleet)))]);
    Ok(Loaded { whole: Some(Whole { calls, counts }), values, faults: HashMap::new() })
}

fn find<V: Clone>(answers: &Answers<V>, key: &str) -> Result<Dated<V>, Fault> {
    answers.get(key).cloned().unwrap_or_else(|| Err(Fault::bug(format!("'{key}' was not looked up"))))
}

fn observed(
    target: &JamfTarget,
    policies: &Answers<Arc<Policy>>,
    groups: &Answers<Arc<Group>>,
    inventory: &Answers<Arc<Fleet>>,
) -> Result<Observed, Fault> {
    let policy = |id: u32| find(policies, &id.to_string()).map_err(|f| f.about(&format!("policy {id}")));
    let id = target.policy_id;
    let (mut at, here) = policy(id)?;
    let here = here.ok_or_else(|| {
        Fault::permanent(format!(
            "there is no policy {id}: create it in Jamf Pro or correct target.policy_id of the intent"
        ))
    })?;
    let mut replaced: Vec<AssignmentSeen> = Vec::new();
    for id in &target.replaces {
        let (read_at, policy) = policy(*id)?;
        at = at.min(read_at);
        // An old policy that is gone reaches nobody.
        replaced.extend(policy.map(|p| p.assignments()).unwrap_or_default());
    }
    replaced.sort();
    let (read_at, fleet) = find(inventory, ALL)?;
    at = at.min(read_at);
    let fleet = fleet.ok_or_else(|| Fault::bug("the inventory was not read"))?;
    let mut compliance = None;
    if let Some(meant) = &target.compliance {
        let id = meant.failing_group;
        let about = format!("computer group {id}");
        let (read_at, failing) = find(groups, &id.to_string()).map_err(|f| f.about(&about))?;
        at = at.min(read_at);
        let failing = failing.ok_or_else(|| {
            Fault::permanent(format!(
                "there is no computer group {id}: create it in Jamf Pro or correct target.compliance.failing_group of the intent"
            ))
        })?;
        compliance = Some(compliance_of(&failing, &fleet));
    }
    Ok(Observed {
        at,
        assignments: Some(Assignments { here: here.assignments(), replaced }),
        versions: Some(fleet.versions(&target.app_name, target.bundle_id.as_deref())),
        compliance,
    })
}

fn compliance_of(group: &Group, fleet: &Fleet) -> ComplianceSeen {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut failing: Vec<String> = group.members.keys().map(ToString::to_string).collect();
    failing.sort();
    failing.truncate(MAX_LISTED);
    let named = |id: &String| {
        let name = group.members.get(&id.parse().ok()?).filter(|name| !name.is_empty())?;
        Some(format!("computer {id} ({name}) is in group {} ({})", group.id, group.name))
    };
    let details = failing.iter().filter_map(named).collect();
    let newest_failing = group.members.keys().filter_map(|id| fleet.reported(*id)).max();
    let noncompliant = count(group.members.len());
    ComplianceSeen {
        devices: count(fleet.computers()),
        noncompliant,
        unknown: 0,
        failing,
        details,
        reported: if noncompliant > 0 { newest_failing } else { fleet.newest() },
    }
}
