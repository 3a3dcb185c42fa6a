//! Looking: deployments, versions and compliance of many applications with few calls.
//!
//! # Expected flow
//! Deployments, collections, inventory times and counts are read whole; products, device collections and baselines only
//! those that were asked for, many in one call. All of it is kept for a while (`kept`), so that thousands of checks share
//! one read.
//!
//! # Decides
//! An empty answer is believed only where a second one agrees: a site without a collection, or without deployments while
//! its summary counts some, is `unreachable`; without inventory nothing is said about versions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::observed::{ComplianceSeen, VersionSeen};
use trueup_model::target::ConfigMgrTarget;
use trueup_model::{Duration, Fault, Observed, Target, Time};

use super::kept::{Answers, Kept, Wanted};
use super::parse::{
    APPLICATION, Collection, Deployment, Failing, Member, Page, Scan, Software, Summary, time,
};
use super::seen::{self, Deployments, FailingSet, Scans};
use super::service::Service;
use super::{query, request};

/// Devices, versions, when the row changed. `None`: the site collects no installed software at all.
type Product = Option<Arc<Vec<(u32, String, Option<Time>)>>>;

#[derive(Debug)]
pub(crate) struct Reads {
    deployments: Kept<(), Arc<Deployments>>,
    members: Kept<String, Arc<Vec<u32>>>,
    software: Kept<String, Product>,
    scans: Kept<(), Arc<Scans>>,
    failing: Kept<u32, Arc<FailingSet>>,
    summaries: Kept<(), Arc<HashMap<u32, Summary>>>,
}

fn want<K: Ord>(wanted: &mut Wanted<K>, key: K, newer_than: Option<Time>) {
    let at_least = wanted.entry(key).or_default();
    *at_least = (*at_least).max(newer_than);
}

/// One result for all keys.
fn spread<K: std::hash::Hash + Eq, V>(
    keys: Vec<K>,
    result: Result<impl Fn(&K) -> V, Fault>,
) -> HashMap<K, Result<V, Fault>> {
    let of = |key: K| {
        let value = result.as_ref().map(|f| f(&key)).map_err(Clone::clone);
        (key, value)
    };
    keys.into_iter().map(of).collect()
}

fn product(target: &ConfigMgrTarget) -> &str {
    target.product_name.as_deref().unwrap_or(&target.app_name)
}

/// What the checks of one batch need.
#[derive(Default)]
struct Needs {
    /// One entry if anything is needed at all.
    any: Wanted<()>,
    products: Wanted<String>,
    collections: Wanted<String>,
    baselines: Wanted<u32>,
    counts: Wanted<()>,
}

struct Found {
    deployments: Answers<(), Arc<Deployments>>,
    members: Answers<String, Arc<Vec<u32>>>,
    software: Answers<String, Product>,
    scans: Answers<(), Arc<Scans>>,
    failing: Answers<u32, Arc<FailingSet>>,
    summaries: Answers<(), Arc<HashMap<u32, Summary>>>,
}

impl Reads {
    pub(crate) fn new(reuse: Duration) -> Self {
        Self {
            deployments: Kept::new(reuse),
            members: Kept::new(reuse),
            software: Kept::new(reuse),
            scans: Kept::new(reuse),
            failing: Kept::new(reuse),
            summaries: Kept::new(reuse),
        }
    }

    /// Something of ours changed deployments or memberships.
    pub(crate) fn changed(&self) {
        self.deployments.forget();
        self.members.forget();
    }

    pub(crate) async fn observe(&self, service: &Service, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let mut needs = Needs::default();
        for check in checks {
            let Target::ConfigMgr(target) = &check.target else { continue };
            want(&mut needs.any, (), check.newer_than);
            want(&mut needs.products, product(target).to_owned(), check.newer_than);
            if let Some(id) = &target.device_collection {
                want(&mut needs.collections, id.clone(), check.newer_than);
            }
            if let Some(compliance) = &target.compliance {
                want(&mut needs.baselines, compliance.baseline_assignment, check.newer_than);
                want(&mut needs.counts, (), check.newer_than);
            }
        }
        let found = self.read(service, &needs).await;
        let now = service.http.clock().now();
        // Many intents are about one product.
        let mut versions: HashMap<&str, Result<Versions, Fault>> = HashMap::new();
        let mut answers = Vec::with_capacity(checks.len());
        for check in checks {
            answers.push(match &check.target {
                Target::ConfigMgr(target) => {
                    let name = product(target);
                    let seen = versions.entry(name).or_insert_with(|| found.versions(name)).clone();
                    found.observed(target, seen, now)
                }
                other => Err(Fault::bug(format!("a target of {} was sent to configmgr", other.plane()))),
            });
        }
        answers
    }

    async fn read(&self, service: &Service, needs: &Needs) -> Found {
        let (lane, now) = (service.lane, || service.http.clock().now());
        let (deployments, members, software, scans, failing, summaries) = tokio::join!(
            self.deployments.get(lane, &needs.any, now, async |keys| {
                let found = load_deployments(service).await;
                spread(keys, found.map(|all| move |_: &()| all.clone()))
            }),
            self.members.get(lane, &needs.collections, now, async |keys| load_members(service, keys).await),
            self.software.get(lane, &needs.products, now, async |keys| load_software(service, keys).await),
            self.scans.get(lane, &needs.any, now, async |keys| {
                let found = load_scans(service).await;
                spread(keys, found.map(|all| move |_: &()| all.clone()))
            }),
            self.failing.get(lane, &needs.baselines, now, async |keys| load_failing(service, keys).await),
            self.summaries.get(lane, &needs.counts, now, async |keys| {
                let found = load_summaries(service).await.map(Arc::new);
                spread(keys, found.map(|all| move |_: &()| all.clone()))
            }),
        );
        Found { deployments, members, software, scans, failing, summaries }
    }
}

async fn load_deployments(service: &Service) -> Result<Arc<Deployments>, Fault> {
    let (deployments, collections) = (query::deployments(), query::collections());
    let (rows, collections) =
        tokio::try_join!(service.rows::<Deployment>(&deployments), service.rows::<Collection>(&collections))?;
    if collections.is_empty() {
        return Err(Fault::transient(
            "the site lists no collection at all, not even its own; not believed (check the rights of the connection's account)",
        ));
    }
    if rows.is_empty() {
        let counted = load_summaries(service).await?;
        let some = counted.values().filter(|s| s.feature_type == Some(APPLICATION)).count();
        if some > 0 {
            return Err(Fault::transient(format!(
                "the site lists no application deployment, while SMS_DeploymentSummary counts {some}; not believed"
            )));
        }
    }
    let collections: BTreeSet<String> = collections.into_iter().map(|c| c.id).collect();
    Ok(Arc::new(Deployments::new(rows, &collections)))
}

async fn load_scans(service: &Service) -> Result<Arc<Scans>, Fault> {
    let rows: Vec<Scan> = service.rows(&query::scans()).await?;
    let now = service.http.clock().now();
    Ok(Arc::new(rows.into_iter().map(|s| (s.device, time(s.at.as_deref(), now))).collect()))
}

async fn load_summaries(service: &Service) -> Result<HashMap<u32, Summary>, Fault> {
    let rows: Vec<Summary> = service.rows(&query::summaries()).await?;
    Ok(rows.into_iter().map(|s| (s.id, s)).collect())
}

async fn load_members(service: &Service, keys: Vec<String>) -> HashMap<String, Result<Arc<Vec<u32>>, Fault>> {
    let queries = query::direct_members(keys.iter().map(String::as_str));
    let found = service.rows_of_all::<Member>(&queries).await.map(|rows| {
        let mut by_collection: HashMap<String, Vec<u32>> = HashMap::new();
        for row in rows {
            by_collection.entry(row.collection).or_default().push(row.device);
        }
        move |key: &String| Arc::new(by_collection.get(key).cloned().unwrap_or_default())
    });
    spread(keys, found)
}

async fn load_failing(service: &Service, keys: Vec<u32>) -> HashMap<u32, Result<Arc<FailingSet>, Fault>> {
    let queries = query::noncompliant(keys.iter().copied());
    let found = service.rows_of_all::<Failing>(&queries).await.map(|rows| {
        let mut by_baseline: HashMap<u32, FailingSet> = HashMap::new();
        for row in rows {
            by_baseline.entry(row.baseline).or_default().add(row);
        }
        move |key: &u32| Arc::new(by_baseline.get(key).cloned().unwrap_or_default())
    });
    spread(keys, found)
}

async fn load_software(service: &Service, keys: Vec<String>) -> HashMap<String, Result<Product, Fault>> {
    let queries = query::software(keys.iter().map(String::as_str));
    let found = async {
        let rows = service.rows_of_all::<Software>(&queries).await?;
        // No row of what was asked for: nobody has it, or the site does not collect what is installed?
        let collected = !rows.is_empty() || {
            let any: Page = service.get(&request::any_software()).await?;
            !any.value.is_empty()
        };
        let mut products: HashMap<_, _> = seen::by_product(rows, service.http.clock().now())
            .into_iter()
            .map(|(name, rows)| (name, Arc::new(rows)))
            .collect();
        for key in &keys {
            products.entry(key.clone()).or_default();
        }
        Ok::<_, Fault>(move |key: &String| collected.then(|| products.get(key).cloned().unwrap_or_default()))
    }
    .await;
    spread(keys, found)
}

/// The oldest read they rest on. `None`: the site cannot tell.
type Versions = (Time, Option<Vec<VersionSeen>>);

fn answer<K: std::hash::Hash + Eq, V: Clone>(answers: &Answers<K, V>, key: &K) -> Result<(Time, V), Fault> {
    answers.get(key).cloned().unwrap_or_else(|| Err(Fault::bug("something was not looked up")))
}

impl Found {
    fn versions(&self, name: &str) -> Result<Versions, Fault> {
        let (scanned_at, scans) = answer(&self.scans, &())?;
        let (at, rows) = answer(&self.software, &name.to_owned())?;
        let seen = rows.filter(|_| !scans.is_empty()).map(|rows| seen::versions(&rows, &scans));
        Ok((at.min(scanned_at), seen))
    }

    fn compliance(&self, baseline: u32, now: Time) -> Result<(Time, Option<ComplianceSeen>), Fault> {
        let (at, failing) = answer(&self.failing, &baseline)?;
        let (counted_at, summaries) = answer(&self.summaries, &())?;
        let summary = summaries.get(&baseline).ok_or_else(|| {
            Fault::permanent(format!(
                "no deployed baseline has the AssignmentID {baseline}: deploy it or correct target.compliance.baseline_assignment"
            ))
        })?;
        Ok((at.min(counted_at), seen::compliance(&failing, summary, now)))
    }

    fn observed(
        &self,
        target: &ConfigMgrTarget,
        versions: Result<Versions, Fault>,
        now: Time,
    ) -> Result<Observed, Fault> {
        let (mut at, deployments) = answer(&self.deployments, &())?;
        let mut direct = Arc::default();
        if let Some(id) = &target.device_collection {
            let (read_at, members) = answer(&self.members, id)?;
            (at, direct) = (at.min(read_at), members);
        }
        let assignments = deployments.seen(target, &direct)?;
        let (read_at, versions) = versions?;
        at = at.min(read_at);
        let mut compliance = None;
        if let Some(meant) = &target.compliance {
            let (read_at, seen) = self.compliance(meant.baseline_assignment, now)?;
            (at, compliance) = (at.min(read_at), seen);
        }
        Ok(Observed { at, assignments: Some(assignments), versions, compliance })
    }
}
