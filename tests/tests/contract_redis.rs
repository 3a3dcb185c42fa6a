//! The contract of `Store`, run against Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::store::Store;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SystemClock;
use trueup_tests::contract::{Fresh, tell, told_and_taken};

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

/// The server's clock cannot be steered, so what it wrote is made older.
#[tokio::test]
async fn what_was_told_is_remembered_for_seven_days() {
    use trueup_engine::store::TOLD_FOR;
    let fresh = OnRedis::default();
    let store = fresh.store(1).await;
    let told = told_and_taken(&*store, "1").await;
    let url = fresh.0.lock().await.as_ref().expect("a server").url().to_owned();
    let client = redis::Client::open(url).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut older = async |by: i64| {
        for key in ["{tu:0}:outbox:told", "{tu:0}:outbox:taken"] {
            let mut cmd = redis::cmd("ZINCRBY");
            cmd.arg(key).arg(-by).arg(told.id.as_str());
            cmd.query_async::<f64>(&mut redis).await.expect("made older");
        }
    };
    let week = i64::try_from(TOLD_FOR.as_millis()).expect("a week");
    older(week - 60_000).await;
    tell(&*store, "2", &told).await;
    assert!(store.notices(9).await.expect("notices").is_empty(), "on the seventh day");
    older(60_000).await;
    // Both memories are bounded: the outbox's, and that of what is taken.
    assert!(store.notices(9).await.expect("notices").is_empty());
    tell(&*store, "3", &told).await;
    assert_eq!(store.notices(9).await.expect("notices"), [told], "after it");
}
