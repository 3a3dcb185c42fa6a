//! A worker that stops for longer than its lease, and comes back.

use std::time::Duration;

use trueup_engine::Store;
use trueup_model::{EventKind, StepName};
use trueup_tests::fleet::Fleet;
use trueup_tests::fleet::plane::{Behaviour, intent};
use trueup_tests::fleet::wait::wait_until;

use crate::{alone, mixed, setting};

const SOON: Duration = Duration::from_secs(30);

/// Guards: the fence (only the holder of a lease commits, E3), and that a worker which was declared dead goes on under
/// a new name instead of leasing or committing under the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_stopped_commits_nothing_late() {
    let _alone = alone().await;
    let mut setting = setting();
    (setting.observe, setting.apply) = (Duration::from_secs(1), Duration::from_millis(200));
    let mut fleet = Fleet::new(setting).await;
    let intents = mixed(3_000);
    fleet.apply(&intents).await;
    fleet.start_worker();
    fleet.start_worker();
    wait_until(SOON, "the first worker looks at targets, and the second works too", async || {
        let working = fleet.held_by(&fleet.workers[0]).await;
        let looks = working.iter().filter(|h| h.queue.step() == StepName::Query).count();
        looks >= 4 && !fleet.held_by(&fleet.workers[1]).await.is_empty()
    })
    .await;

    fleet.workers[0].freeze();
    let held = fleet.held_by(&fleet.workers[0]).await;
    let looking: Vec<_> = held.iter().filter(|h| h.queue.step() == StepName::Query).cloned().collect();
    assert!(!looking.is_empty(), "it was stopped between two jobs: {held:?}");
    let old = fleet.names_of(&fleet.workers[0]).await;
    wait_until(SOON, "the stopped worker is declared dead everywhere", async || {
        fleet.names_of(&fleet.workers[0]).await.is_empty()
    })
    .await;
    fleet.drained(Duration::from_secs(90)).await;

    // Its jobs have ended long ago. Now it finishes them.
    fleet.workers[0].thaw();
    wait_until(SOON, "its late commits are rejected", async || {
        let log = fleet.workers[0].log();
        let rejected = |job: &str| log.lines().any(|l| l.contains("lease lost") && l.contains(job));
        looking.iter().all(|h| rejected(h.job.as_str()))
    })
    .await;
    wait_until(SOON, "it goes on under a new name", async || {
        let workers = fleet.store.workers().await.unwrap_or_default();
        workers.iter().any(|w| fleet.workers[0].is(&w.incarnation) && !old.contains(&w.incarnation))
    })
    .await;
    fleet.assert_alive();
    let audited = fleet.audit(&intents).await;
    let repeated: usize = audited.calls.queries.values().map(|n| n - 1).sum();
    // It may have held some that it had not begun to look at.
    assert!(repeated <= looking.len(), "{repeated} looked at again, and it held only {}", looking.len());

    // It is of use again: alone, it does what the other did.
    fleet.workers.remove(1);
    let more = intent("acme", 9_999, Behaviour::Missing);
    fleet.apply(std::slice::from_ref(&more)).await;
    wait_until(SOON, "the worker that came back works", async || {
        let found = fleet.store.intents(std::slice::from_ref(&more.key)).await.unwrap_or_default();
        found.into_iter().flatten().any(|r| r.state.attempts.made == 1 && r.state.run.is_none())
    })
    .await;
    fleet.drained(SOON).await;
    let all: Vec<_> = intents.into_iter().chain([more.clone()]).collect();
    let audited = fleet.audit(&all).await;
    assert_eq!(audited.of(&more.key, EventKind::RemediationApplied).count(), 1);
}
