//! To be told to stop is no trouble, whichever part of the process hears it first.

use std::sync::Arc;

use trueup_engine::memory::MemoryStore;
use trueup_model::SystemClock;
use trueup_planes::FixedSecrets;
use trueup_runner::WorkConfig;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_is_never_taken_for_the_end_of_a_worker() {
    let secrets = FixedSecrets(std::collections::BTreeMap::new());
    for n in 0..300 {
        let store = Arc::new(MemoryStore::new(1));
        let fleet = WorkConfig::default().start_with(store, Arc::new(SystemClock), &secrets).await;
        let fleet = fleet.expect("a fleet");
        let stop = fleet.stop_switch();
        let run = tokio::spawn(fleet.run());
        // So that everything waits for the switch.
        for _ in 0..n % 7 {
            tokio::task::yield_now().await;
        }
        stop.stop();
        run.await.expect("no panic").unwrap_or_else(|e| panic!("stop {n}: {e}"));
    }
}
