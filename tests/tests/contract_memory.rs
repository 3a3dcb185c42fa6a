//! The contract of `Store`, run against the in-memory twin.

use std::sync::Arc;

use async_trait::async_trait;
use trueup_engine::memory::{DEAD_AFTER, MemoryStore};
use trueup_engine::store::Store;
use trueup_model::{Duration, ManualClock, SharedClock, SystemClock, Time};
use trueup_tests::contract::{Fresh, tell, told_and_taken};

/// Memory stores on one lease clock that moves only when told to.
struct Memory {
    lease_clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        Self { lease_clock: ManualClock::at(Time::UNIX_EPOCH) }
    }
}

#[async_trait]
impl Fresh for Memory {
    async fn store(&self, partitions: u16) -> Arc<dyn Store> {
        let lease_clock: SharedClock = Arc::new(self.lease_clock.clone());
        Arc::new(MemoryStore::with_clocks(partitions, lease_clock, Arc::new(SystemClock)))
    }
    async fn lease_time_passes(&self) {
        let silence = i64::try_from(DEAD_AFTER.as_millis()).unwrap_or(i64::MAX);
        self.lease_clock.advance(Duration::milliseconds(silence + 1));
    }
}

trueup_tests::store_contract!(Memory::new());

#[tokio::test]
async fn a_worker_is_dead_only_after_three_seconds() {
    use trueup_engine::store::Incarnation;
    use trueup_model::Partition;
    let memory = Memory::new();
    let store = memory.store(1).await;
    let [v, w] = ["v", "w"].map(|name| Incarnation(name.into()));
    store.beat(Partition(0), &v).await.unwrap();
    memory.lease_clock.advance(Duration::seconds(3));
    store.beat(Partition(0), &w).await.unwrap();
    assert_eq!(store.workers().await.unwrap().len(), 2, "three seconds are not more than three seconds");
    memory.lease_clock.advance(Duration::milliseconds(1));
    store.beat(Partition(0), &w).await.unwrap();
    assert_eq!(store.workers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_told_is_remembered_for_seven_days() {
    use trueup_engine::store::TOLD_FOR;
    let memory = Memory::new();
    let store = memory.store(1).await;
    let told = told_and_taken(&*store, "1").await;
    memory.lease_clock.advance(Duration::from_std(TOLD_FOR).unwrap());
    tell(&*store, "2", &told).await;
    assert!(store.notices(9).await.unwrap().is_empty(), "on the seventh day");
    memory.lease_clock.advance(Duration::milliseconds(1));
    // Both memories are bounded: the outbox's, and that of what is taken.
    assert!(store.notices(9).await.unwrap().is_empty());
    tell(&*store, "3", &told).await;
    assert_eq!(store.notices(9).await.unwrap(), [told], "after it");
}

#[tokio::test]
async fn preflight_says_that_nothing_is_kept() {
    let preflight = MemoryStore::new(1).preflight().await.unwrap();
    assert!(preflight.warnings.iter().any(|w| w.contains("state is kept in memory only")), "{preflight:?}");
}
