//! The contract of `Store`, run against Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::store::Store;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SystemClock;
use trueup_tests::contract::Fresh;

/// Silence that means death here: the real three seconds would only make the suite slow.
const DEAD_AFTER: Duration = Duration::from_millis(400);

/// A Redis of its own for every store; the last one is kept until the next is wanted.
#[derive(Default)]
struct OnRedis(Mutex<Option<Redis>>);

#[async_trait]
impl Fresh for OnRedis {
    async fn store(&self, partitions: u16) -> Arc<dyn Store> {
        let server = Redis::temporary(Options::default()).await.expect("a private Redis");
        let options = RedisOptions {
            partitions: Some(partitions),
            dead_after: DEAD_AFTER,
            ..RedisOptions::new(server.url(), Arc::new(SystemClock))
        };
        let store = RedisStore::connect(options).await.expect("a connection");
        *self.0.lock().await = Some(server);
        Arc::new(store)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "leases end by the clock of the Redis server, which nobody can steer"
    )]
    async fn lease_time_passes(&self) {
        tokio::time::sleep(DEAD_AFTER + Duration::from_millis(10)).await;
    }

    fn histories(&self) -> u32 {
        12
    }
}

trueup_tests::store_contract!(OnRedis::default());
