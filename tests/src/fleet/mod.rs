//! A fleet of real processes on a real Redis, for the tests of faults.

pub mod audit;
pub mod held;
pub mod plane;
pub mod sites;
mod story_seen;
pub mod table;
pub mod wait;
pub mod worker;
pub mod world_everywhere;
pub mod world_graph;
pub mod world_live;
pub mod world_rotel;
pub mod world_story;
pub mod world_wait;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use tempfile::TempDir;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::{Admin, By, EngineError, RedisOptions, RedisStore, Store};
use trueup_model::{Clock, CorrelationId, Intent, Partition, Queue, StepName, SystemClock};

use worker::Worker;

/// The tenants whose intents the plane serves. A `query` job is of one tenant.
pub const TENANTS: [&str; 2] = ["acme", "doomed"];

/// How a fleet is made.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The program of a worker process.
    pub program: PathBuf,
    pub partitions: u16,
    /// How long the plane takes to answer.
    pub observe: Duration,
    pub apply: Duration,
}

impl Setting {
    pub fn of(program: &str) -> Self {
        let (observe, apply) = (Duration::from_millis(5), Duration::from_millis(5));
        Self { program: program.into(), partitions: 4, observe, apply }
    }
}

fn by() -> By {
    By { actor: "chaos".into(), correlation_id: CorrelationId::derive(&["chaos"]), now: SystemClock.now() }
}

/// Processes are killed and files removed with the value.
pub struct Fleet {
    pub workers: Vec<Worker>,
    pub store: Arc<RedisStore>,
    /// For what `Store` does not show.
    pub connection: ConnectionManager,
    pub redis: Redis,
    pub dir: TempDir,
    pub setting: Setting,
    started: usize,
}

impl Fleet {
    /// A Redis with AOF everysec and nobody who works on it yet.
    ///
    /// # Panics
    /// Without a redis-server; this is for tests.
    pub async fn new(setting: Setting) -> Self {
        let redis = Redis::temporary(Options::default()).await.expect("a private Redis");
        let options = RedisOptions {
            partitions: Some(setting.partitions),
            ..RedisOptions::new(redis.url(), Arc::new(SystemClock))
        };
        let store = Arc::new(RedisStore::connect(options).await.expect("a store"));
        let client = redis::Client::open(redis.url()).expect("a url");
        let connection = ConnectionManager::new(client).await.expect("a connection");
        let dir = tempfile::tempdir().expect("a directory");
        Self { workers: Vec::new(), store, connection, redis, dir, setting, started: 0 }
    }

    /// # Panics
    /// When they are not applied.
    pub async fn apply(&self, intents: &[Intent]) {
        self.try_apply(intents).await.expect("intents are applied");
    }

    pub async fn try_apply(&self, intents: &[Intent]) -> Result<(), EngineError> {
        for chunk in intents.chunks(256) {
            self.store.apply(chunk, &by()).await?;
        }
        Ok(())
    }

    /// A new process at the end of the list.
    pub fn start_worker(&mut self) {
        let worker = self.spawn();
        self.workers.push(worker);
    }

    fn spawn(&mut self) -> Worker {
        self.started += 1;
        Worker::start(&self.setting, &self.redis.url(), self.dir.path(), self.started)
    }

    /// A new process in the place of another, which is killed if it still lives.
    pub fn replace_worker(&mut self, n: usize) {
        self.workers[n] = self.spawn();
    }

    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.setting.partitions).map(Partition)
    }

    /// Nothing is due, and no job is anywhere but the ticks, which wait. `false` also while Redis is away.
    pub async fn is_drained(&self) -> bool {
        for p in self.partitions() {
            match self.store.due(p, SystemClock.now(), 1).await {
                Ok((due, _)) if due.is_empty() => {}
                _ => return false,
            }
        }
        self.is_idle().await
    }

    /// No job is anywhere but the ticks, which wait.
    async fn is_idle(&self) -> bool {
        // Read in the order of the chain, so a job that moves on meanwhile is met again.
        let Ok(depths) = self.store.depths().await else { return false };
        depths.iter().all(|d| {
            let ticks =
                if d.queue == StepName::Sweep.as_str() { u64::from(self.setting.partitions) } else { 0 };
            d.in_flight == 0 && d.ready + d.scheduled == ticks
        })
    }

    /// Ends what goes on and begins nothing, also what becomes due by its schedule, so that the audit sees one moment.
    pub(crate) async fn hold_still(&self) {
        // A connection that was lost with an earlier Redis fails once more.
        let ping = async || redis::cmd("PING").query_async::<()>(&mut self.connection.clone()).await.is_ok();
        wait::wait_until(Duration::from_secs(30), "Redis answers", ping).await;
        self.sweeps(&Admin::Pause).await;
        wait::wait_until(Duration::from_secs(60), "nothing goes on", async || {
            self.is_idle().await && self.is_idle().await
        })
        .await;
    }

    pub(crate) async fn go_on(&self) {
        self.sweeps(&Admin::Resume).await;
    }

    async fn sweeps(&self, what: &Admin) {
        let queue = Queue::new(StepName::Sweep, None).expect("a queue");
        self.store.admin(queue, what, &by()).await.expect("an operator's action");
    }

    /// # Panics
    /// When work is left after the bound; shows the queues.
    pub async fn drained(&self, within: Duration) {
        let drained = tokio::time::timeout(
            within,
            wait::wait_until(Duration::from_secs(3600), "drained", async || {
                self.is_drained().await && self.is_drained().await
            }),
        );
        if drained.await.is_err() {
            panic!("not drained within {within:?}: {:#?}", self.store.depths().await);
        }
    }

    /// Asserts that every process still runs.
    ///
    /// # Panics
    /// When one ended; shows the end of its log.
    pub fn assert_alive(&mut self) {
        for worker in &mut self.workers {
            if let Some(status) = worker.exited() {
                panic!("worker {} ended: {status}\n{}", worker.pid(), worker.log_tail());
            }
        }
    }
}
