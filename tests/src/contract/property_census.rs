//! Random histories of manifests and findings: the census is always what counting the records gives.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trueup_engine::store::Store;
use trueup_engine::{Census, FindingCount, IntentCount};
use trueup_model::{DriftKind, Finding, Intent, Severity, Status, Target, Time, Write};

use super::Fresh;
use super::given::*;
use super::records::finding;

const INTENTS: usize = 6;

#[derive(Debug, Clone)]
enum Act {
    /// Manifests in one call, the same one maybe twice.
    Apply(Vec<(usize, Sort)>),
    Delete(usize),
    /// Findings in one commit, of intents that may not be there.
    Find(Vec<Found>),
}

/// What makes an intent count otherwise.
#[derive(Debug, Clone, Copy)]
struct Sort {
    status: Status,
    ansible: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    intent: usize,
    kind: usize,
    open: bool,
    persistent: bool,
    severity: Severity,
}

fn sort() -> impl Strategy<Value = Sort> {
    let status = prop_oneof![
        Just(Status::Pending),
        Just(Status::InProgress),
        Just(Status::Completed),
        Just(Status::Paused),
        Just(Status::Retired),
    ];
    (status, any::<bool>()).prop_map(|(status, ansible)| Sort { status, ansible })
}

fn found() -> impl Strategy<Value = Found> {
    let severity = prop_oneof![Just(Severity::Low), Just(Severity::High), Just(Severity::Critical)];
    (0..INTENTS, 0..DriftKind::ALL.len(), any::<bool>(), any::<bool>(), severity).prop_map(
        |(intent, kind, open, persistent, severity)| Found { intent, kind, open, persistent, severity },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => prop::collection::vec((0..INTENTS, sort()), 1..4).prop_map(Act::Apply),
        1 => (0..INTENTS).prop_map(Act::Delete),
        4 => prop::collection::vec(found(), 1..5).prop_map(Act::Find),
    ]
}

/// The tenant of the second half is another one.
fn tenant(n: usize) -> &'static str {
    if n < INTENTS / 2 { "acme" } else { "other" }
}

fn manifest(n: usize, sort: Sort) -> Intent {
    let mut i = intent(&format!("i{n}"));
    i.key.tenant = tenant(n).into();
    i.status = sort.status;
    if sort.ansible {
        let target = serde_json::json!({"playbook": "site.yml", "inventory": "hosts.yml"});
        i.target = Target::parse(trueup_model::PlaneKind::Ansible, target).unwrap();
    }
    i
}

/// As a step would write it: the plane is the intent's of the moment, so that here it does not matter which.
fn record_of(f: Found, seen: Time) -> Finding {
    let kind = DriftKind::ALL[f.kind];
    let mut finding = finding(&format!("i{}", f.intent), kind, seen);
    finding.intent.tenant = tenant(f.intent).into();
    finding.id = Finding::id_of(&finding.intent, kind);
    (finding.open, finding.persistent, finding.severity) = (f.open, f.persistent, f.severity);
    finding
}

/// Counted one by one.
async fn counted(store: &dyn Store) -> Census {
    let (mut intents, mut findings) = (BTreeMap::new(), BTreeMap::new());
    for r in store.list_intents(None, 1000).await.unwrap().items {
        let i = r.intent;
        if i.status.is_reconciled() {
            *intents.entry((i.key.tenant.clone(), i.plane())).or_default() += 1;
        }
    }
    for f in store.list_findings(None, 1000).await.unwrap().items.into_iter().filter(|f| f.open) {
        let row = (f.intent.tenant, f.plane, f.kind, f.severity, f.persistent);
        *findings.entry(row).or_default() += 1;
    }
    let intents = intents.into_iter().map(|((tenant, plane), count)| IntentCount { tenant, plane, count });
    let findings = findings.into_iter().map(|((tenant, plane, kind, severity, persistent), count)| {
        FindingCount { tenant, plane, kind, severity, persistent, count }
    });
    Census { intents: intents.collect(), findings: findings.collect(), ..Census::default() }
}

pub(crate) fn the_census_is_what_counting_gives(fresh: &dyn Fresh, runtime: &tokio::runtime::Runtime) {
    let config = Config { cases: fresh.histories(), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(act(), 1..40), |acts| {
        runtime.block_on(async {
            let store = fresh.store(2).await;
            for (n, act) in acts.iter().enumerate() {
                perform(&*store, n, act).await;
                assert_eq!(store.census().await.unwrap(), counted(&*store).await, "after {act:?}");
            }
            for n in 0..INTENTS {
                store.delete(&[manifest(n, PLAIN).key], &by("operator")).await.unwrap();
            }
            assert_eq!(store.census().await.unwrap(), Census::default(), "nothing is left of nothing");
        });
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

const PLAIN: Sort = Sort { status: Status::Pending, ansible: false };

async fn perform(store: &dyn Store, n: usize, act: &Act) {
    match act {
        Act::Apply(some) => {
            let manifests: Vec<Intent> = some.iter().map(|(i, sort)| manifest(*i, *sort)).collect();
            store.apply(&manifests, &by("operator")).await.unwrap();
        }
        Act::Delete(i) => {
            store.delete(&[manifest(*i, PLAIN).key], &by("operator")).await.unwrap();
        }
        Act::Find(found) => {
            let seen = t(i64::try_from(n).unwrap());
            let records: Vec<Finding> = found.iter().map(|f| record_of(*f, seen)).collect();
            for p in 0..store.partitions() {
                let here = records.iter().filter(|f| f.intent.partition(store.partitions()).0 == p);
                let found = writes(here.map(|f| Write::Finding(Box::new(f.clone()))).collect());
                carried_out(store, trueup_model::Partition(p), &format!("{n} {p}"), found).await;
            }
        }
    }
}
