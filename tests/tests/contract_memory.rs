//! The contract of `Store`, run against the in-memory twin.

use std::sync::Arc;

use async_trait::async_trait;
use trueup_engine::memory::{DEAD_AFTER, MemoryStore};
use trueup_engine::store::Store;
use trueup_model::{Duration, ManualClock, SharedClock, SystemClock, Time};
use trueup_tests::contract::Fresh;

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
async fn preflight_says_that_nothing_is_kept() {
    let preflight = MemoryStore::new(1).preflight().await.unwrap();
    assert!(preflight.warnings.iter().any(|w| w.contains("state is kept in memory only")), "{preflight:?}");
}
