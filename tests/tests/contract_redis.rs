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

async fn raw(fresh: &OnRedis) -> redis::aio::MultiplexedConnection {
    let url = fresh.0.lock().await.as_ref().expect("a server").url().to_owned();
    let client = redis::Client::open(url).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// Somebody deleted payloads and left the ids in the list: jobs behind them do not wait for a call per id.
#[tokio::test]
async fn ids_that_nobody_has_do_not_hold_up_the_jobs_behind_them() {
    use trueup_engine::store::{Incarnation, NewJob};
    use trueup_model::{JobId, Partition, Queue, Time};
    const NOBODYS: usize = 2_500;
    let (p, fresh) = (Partition(0), OnRedis::default());
    let (store, emit): (_, Queue) = (fresh.store(1).await, "emit".parse().expect("a queue"));
    let mut push = redis::cmd("RPUSH");
    push.arg("{tu:0}:emit:active");
    (0..NOBODYS).for_each(|n| {
        push.arg(format!("nobody's {n}"));
    });
    push.query_async::<()>(&mut raw(&fresh).await).await.expect("pushed");
    let job = |n: u8| NewJob {
        id: JobId::derive(&[&n.to_string()]),
        queue: emit,
        payload: b"{}".to_vec(),
        at: None,
        traceparent: None,
    };
    store.enqueue(p, &[job(1), job(2), job(3)]).await.expect("enqueued");
    let (w, now) = (Incarnation("w".into()), Time::UNIX_EPOCH);
    store.beat(p, &w).await.expect("a heartbeat");
    let mut calls = 0;
    let leases = loop {
        calls += 1;
        let leases = store.lease(p, &w, &[(emit, 2)], now).await.expect("leased");
        if !leases.jobs.is_empty() {
            break leases;
        }
        assert!(leases.more && leases.next_due == Some(now), "whoever leases goes on at once: {leases:?}");
    };
    assert_eq!(calls, 3, "a thousand ids a call");
    let ids: Vec<JobId> = leases.jobs.into_iter().map(|j| j.id).collect();
    assert_eq!((ids, leases.more), (vec![job(1).id, job(2).id], true));
    assert_eq!(store.held(p, &w).await.expect("held").len(), 2, "nothing is held that is nobody's");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_hides_no_other() {
    use trueup_engine::WorkerReport;
    use trueup_engine::store::Incarnation;
    use trueup_model::Partition;
    let fresh = OnRedis::default();
    let store = fresh.store(1).await;
    for name in ["newer", "w"] {
        let who = Incarnation(name.into());
        store.beat(Partition(0), &who).await.expect("a heartbeat");
        store.operations().report(&who, &WorkerReport::default()).await.expect("kept");
    }
    let mut spoil = redis::cmd("HSET");
    spoil.arg("{tu:0}:workers:reports").arg("newer").arg(r#"{"version":2}"#);
    spoil.query_async::<()>(&mut raw(&fresh).await).await.expect("written");
    let reports = store.operations().reports().await.expect("reports");
    assert_eq!(reports.into_keys().collect::<Vec<_>>(), [Incarnation("w".into())]);
}

/// What is known of the dead goes with the verdict, not with the next look.
#[tokio::test]
async fn nothing_is_kept_of_workers_that_are_dead() {
    use trueup_engine::WorkerReport;
    use trueup_engine::store::{By, Incarnation};
    use trueup_model::{CorrelationId, Partition, Time};
    let (p, fresh) = (Partition(0), OnRedis::default());
    let store = fresh.store(1).await;
    let (dead, other) = (Incarnation("dead".into()), Incarnation("other".into()));
    store.beat(p, &dead).await.expect("a heartbeat");
    store.operations().report(&dead, &WorkerReport::default()).await.expect("kept");
    let by = By { actor: "op".into(), correlation_id: CorrelationId::derive(&["op"]), now: Time::UNIX_EPOCH };
    store.operations().drain(&dead, &by).await.expect("asked");
    fresh.lease_time_passes().await;
    store.beat(p, &other).await.expect("a heartbeat");
    store.beat(p, &other).await.expect("a heartbeat");
    let mut kept = redis::cmd("EXISTS");
    kept.arg("{tu:0}:workers:reports").arg("{tu:0}:workers:drains");
    assert_eq!(kept.query_async::<u8>(&mut raw(&fresh).await).await.expect("an answer"), 0);
}

/// The server's clock cannot be steered, so what it wrote is made older.
#[tokio::test]
async fn what_was_told_is_remembered_for_seven_days() {
    use trueup_engine::store::TOLD_FOR;
    let fresh = OnRedis::default();
    let store = fresh.store(1).await;
    let told = told_and_taken(&*store, "1").await;
    let mut redis = raw(&fresh).await;
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
