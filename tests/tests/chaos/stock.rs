//! A producer that knows nothing of Trueup but the name of a queue and the shape of a payload.

use std::time::Duration;

use apalis_core::backend::TaskSink;
use apalis_redis::{Config, RedisStorage};
use trueup_engine::Store;
use trueup_engine::keys::Keys;
use trueup_model::job::Sweep;
use trueup_model::{CorrelationId, EventKind, Job, Partition, Queue, StepName};
use trueup_tests::fleet::Fleet;
use trueup_tests::fleet::plane::{Behaviour, intent};
use trueup_tests::fleet::wait::wait_until;

use crate::{alone, setting};

const SOON: Duration = Duration::from_secs(30);

/// Guards: apalis-redis's key layout and task format, which `lease` reads as stock `apalis_redis::RedisStorage` writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_producer_asks_for_a_check() {
    let _alone = alone().await;
    let mut setting = setting();
    setting.partitions = 1;
    let mut fleet = Fleet::new(setting).await;
    let (asked, other) = (intent("acme", 0, Behaviour::InSync), intent("acme", 1, Behaviour::InSync));
    fleet.apply(&[asked.clone(), other.clone()]).await;
    fleet.start_worker();
    let runs = async |of: &trueup_model::IntentKey| -> u64 {
        let found = fleet.store.intents(std::slice::from_ref(of)).await.unwrap_or_default();
        found.into_iter().flatten().find(|r| r.state.run.is_none()).map_or(0, |r| r.state.runs)
    };
    wait_until(SOON, "both are checked because they are new", async || {
        runs(&asked.key).await == 1 && runs(&other.key).await == 1
    })
    .await;

    let queue = Queue::new(StepName::Sweep, None).expect("a queue");
    let config = Config::default().queue(Keys(Partition(0)).queue(queue));
    let connection = apalis_redis::connect(fleet.redis.url()).await.expect("a connection");
    let mut storage = RedisStorage::<serde_json::Value>::new(connection).with_config(config);
    let correlation_id = CorrelationId::parse("stock-producer").expect("an id");
    let only = Some(vec![asked.key.clone()]);
    let job = Job::Sweep(Sweep { partition: Partition(0), only, correlation_id: Some(correlation_id) });
    let payload: serde_json::Value = serde_json::from_slice(&job.encode()).expect("JSON");
    storage.push(payload).await.expect("pushed");

    wait_until(SOON, "the intent it named is checked again", async || runs(&asked.key).await == 2).await;
    assert_eq!(runs(&other.key).await, 1, "and no other");
    fleet.drained(SOON).await;
    fleet.assert_alive();
    let audited = fleet.audit(&[asked.clone(), other]).await;
    assert!(audited.of(&asked.key, EventKind::JobDead).next().is_none());
}
