//! A store of budgets and its time: in memory, where a case steers it, and on Redis, where nobody can. There a second of
//! the product's time is 20 ms, so that waits are short.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::budgets::Pace;
use trueup_engine::memory::MemoryStore;
use trueup_engine::{RedisOptions, RedisStore, Store};
use trueup_model::{Duration as Span, SystemClock, Time};

const SPEED: f64 = 50.0;

/// A store and its time.
#[async_trait]
pub(crate) trait Subject: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;
    fn pace(&self) -> Pace;
    /// Lets seconds of the product's time pass.
    async fn pass(&self, seconds: f64);
    /// Whether time stands still while nobody lets it pass.
    fn is_exact(&self) -> bool;
}

pub(crate) struct InMemory(Arc<MemoryStore>, Mutex<Time>);

#[async_trait]
impl Subject for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
    fn pace(&self) -> Pace {
        Pace { now: *self.1.lock().unwrap(), speed: 1.0 }
    }
    async fn pass(&self, seconds: f64) {
        *self.1.lock().unwrap() += Span::milliseconds((seconds * 1000.0).ceil() as i64);
    }
    fn is_exact(&self) -> bool {
        true
    }
}

pub(crate) struct OnRedis(
    Arc<RedisStore>,
    #[expect(dead_code, reason = "lives as long")] Redis,
    Time,
    tokio::time::Instant,
);

#[async_trait]
impl Subject for OnRedis {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
    fn pace(&self) -> Pace {
        let shown = self.3.elapsed().as_secs_f64() * SPEED * 1000.0;
        Pace { now: self.2 + Span::milliseconds(shown as i64), speed: SPEED }
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "budgets flow by the clock of the Redis server, which nobody can steer"
    )]
    async fn pass(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds / SPEED)).await;
    }
    fn is_exact(&self) -> bool {
        false
    }
}

pub(crate) async fn memory() -> InMemory {
    let noon = "2026-11-21T12:00:00Z".parse().unwrap();
    InMemory(Arc::new(MemoryStore::new(1)), Mutex::new(noon))
}

pub(crate) async fn redis() -> OnRedis {
    let server = Redis::temporary(Options::default()).await.unwrap();
    let store = RedisStore::connect(RedisOptions::new(server.url(), Arc::new(SystemClock))).await.unwrap();
    let noon = "2026-11-21T12:00:00Z".parse().unwrap();
    OnRedis(Arc::new(store), server, noon, tokio::time::Instant::now())
}
