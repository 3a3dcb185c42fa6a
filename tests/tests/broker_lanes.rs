//! The fleet's broker between its callers and a store: who goes first, and what nobody may do.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::budgets::{Breaker, Pace};
use trueup_engine::memory::MemoryStore;
use trueup_engine::{RedisOptions, RedisStore, Store};
use trueup_model::{Budget, Clock, Fault, Lane, ManualClock, ScaledClock, SharedClock, SystemClock, Time};
use trueup_planes::broker::{Broker, Cost, Limits, Permit, Said};
use trueup_runner::FleetBroker;
use trueup_tests::stopwatch::Stopwatch;

/// Seconds of the product's time in a real one.
const SPEED: f64 = 5.0;

async fn on_redis() -> (Redis, Arc<RedisStore>) {
    let redis = Redis::temporary(Options::default()).await.unwrap();
    let options = RedisOptions::new(redis.url(), Arc::new(SystemClock));
    let store = Arc::new(RedisStore::connect(options).await.unwrap());
    (redis, store)
}

fn limits(budgets: Vec<Budget>, at_most: Option<u32>) -> Arc<Limits> {
    Arc::new(Limits { connection: "c".into(), budgets, at_most })
}

fn brokers(n: usize, store: &Arc<RedisStore>, clock: &SharedClock) -> Vec<Arc<FleetBroker>> {
    (0..n).map(|_| Arc::new(FleetBroker::start(store.clone(), clock.clone(), &[]))).collect()
}

/// Takes some real time, as a call does.
#[expect(clippy::disallowed_methods, reason = "stands for a call that takes its time")]
async fn call(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Calls again and again, until aborted.
fn busy(
    broker: Arc<FleetBroker>,
    to: Arc<Limits>,
    lane: Lane,
    count: Arc<AtomicU64>,
) -> tokio::task::AbortHandle {
    let calls = async move {
        loop {
            match broker.admit(&to, lane, &Cost::of("devices", 1)).await {
                Ok(_permit) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    call(5).await;
                }
                Err(_) => call(50).await,
            }
        }
    };
    tokio::spawn(calls).abort_handle()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_uses_up_the_budget_delays_no_write() {
    let (_redis, store) = on_redis().await;
    let clock: SharedClock = Arc::new(ScaledClock::starting_at(SystemClock.now(), SPEED));
    let to = limits(vec![Budget::new("devices", 400, 20)], None);
    let fleet = brokers(4, &store, &clock);
    let (swept, started) = (Arc::new(AtomicU64::new(0)), Stopwatch::start());
    let tasks: Vec<_> =
        (0..120).map(|n| busy(fleet[n % 4].clone(), to.clone(), Lane::Sweep, swept.clone())).collect();
    let mut waits = std::collections::BTreeMap::new();
    for n in 0..24usize {
        // Half a second of the product's time between two.
        call(100).await;
        let lane = if n.is_multiple_of(2) { Lane::Write } else { Lane::Urgent };
        let watch = Stopwatch::start();
        let permit = fleet[n % 4].admit(&to, lane, &Cost::of("devices", 1)).await;
        assert!(permit.is_ok(), "{lane}: {permit:?}");
        waits.entry(lane).or_insert_with(Vec::new).push(watch.seconds() * SPEED);
    }
    let shown = swept.load(Ordering::Relaxed) as f64 / (started.seconds() * SPEED) * 20.0;
    tasks.iter().for_each(tokio::task::AbortHandle::abort);
    println!("120 callers of a sweep: {shown:.0} calls in 20 s, of 400 allowed");
    for (lane, mut waits) in waits {
        waits.sort_by(f64::total_cmp);
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!("{lane}: waits {median:.2} s (median), {longest:.2} s at most, by the product's clock");
        assert!(median < 1.0 && longest < 2.0 * SPEED, "{lane} waits too long");
    }
    assert!(shown <= 400.0, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_are_limited_for_the_whole_fleet() {
    let (_redis, store) = on_redis().await;
    let clock: SharedClock = Arc::new(SystemClock);
    let to = limits(Vec::new(), Some(5));
    let fleet = brokers(4, &store, &clock);
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let one = |n: usize| {
        let (broker, to, now, most) = (fleet[n % 4].clone(), to.clone(), now.clone(), most.clone());
        async move {
            let lane = if n.is_multiple_of(2) { Lane::Sweep } else { Lane::Write };
            let _permit: Permit = broker.admit(&to, lane, &Cost::free()).await.unwrap();
            let under_way = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(under_way, Ordering::SeqCst);
            call(10).await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
    };
    futures::future::join_all((0..60).map(one)).await;
    let most = most.load(Ordering::SeqCst);
    assert!((2..=5).contains(&most), "{most} under way at once");
}

#[tokio::test]
async fn a_429_stops_every_process_and_a_broken_plane_is_tried_by_one() {
    let (_redis, store) = on_redis().await;
    let clock: SharedClock = Arc::new(ScaledClock::starting_at(SystemClock.now(), 100.0));
    let to = limits(vec![Budget::new("devices", 2000, 20)], None);
    let fleet = brokers(3, &store, &clock);
    let cost = Cost::of("devices", 1);
    let admit = |n: usize| fleet[n].admit(&to, Lane::Write, &cost);
    for n in 0..3 {
        assert!(admit(n).await.is_ok());
    }
    let told = clock.now() + trueup_model::Duration::hours(1);
    assert_eq!(fleet[0].learn(&to, &cost, Said::AskedToWait { until: Some(told) }).await, Some(told));
    for n in 0..3 {
        // Another process may have a few calls left from before, for a moment.
        let fault = loop {
            if let Err(fault) = admit(n).await {
                break fault;
            }
        };
        let Fault::Throttled { until, what } = fault else { panic!("{fault}") };
        let off = (until - told).num_seconds().abs();
        assert!(off <= 5 && what.contains("c: not sent, the plane asked to wait"), "{off} s: {what}");
    }

    let broken = limits(Vec::new(), None);
    let broken = Limits { connection: "broken".into(), ..(*broken).clone() };
    let free = Cost::free();
    for n in 0..5 {
        assert!(fleet[n % 3].admit(&broken, Lane::Sweep, &free).await.is_ok());
        fleet[n % 3].learn(&broken, &free, Said::Failed { why: "connection refused".into() }).await;
    }
    // 30 s are 0.3 s here: everybody waits in the gate, one goes first, and the others wait for what comes of that.
    let callers: Vec<_> = fleet.iter().map(|b| b.admit(&broken, Lane::Sweep, &free)).collect();
    let (probe, _, others) = futures::future::select_all(callers).await;
    assert!(probe.is_ok(), "{probe:?}");
    let mut others = futures::future::select_all(others);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut others).await;
    assert!(early.is_err(), "a second call before the first was answered");
    fleet[1].learn(&broken, &free, Said::Fine).await;
    let (second, _, rest) = others.await;
    assert!(second.is_ok() && rest.into_iter().next().unwrap().await.is_ok());
}

#[tokio::test]
async fn without_redis_nothing_is_sent() {
    let (redis, store) = on_redis().await;
    let clock: SharedClock = Arc::new(SystemClock);
    let to = limits(vec![Budget::new("devices", 2000, 20)], None);
    let broker = FleetBroker::start(store, clock, &[]);
    assert!(broker.admit(&to, Lane::Sweep, &Cost::of("devices", 1)).await.is_ok());
    drop(redis);
    let watch = Stopwatch::start();
    let cost = Cost::of("devices", 1);
    let callers = (0..20).map(|_| broker.admit(&to, Lane::Write, &cost));
    let answers = futures::future::join_all(callers).await;
    for answer in answers {
        let Err(Fault::Throttled { what, .. }) = answer else { panic!("{answer:?}") };
        assert!(what.contains("nobody knows what is left of the budget"), "{what}");
    }
    assert!(watch.seconds() < 30.0, "and nobody is kept for long: {}", watch.seconds());
}

#[tokio::test]
async fn processes_register_what_they_have() {
    let noon: Time = "2026-11-21T12:00:00Z".parse().unwrap();
    let clock: SharedClock = Arc::new(ManualClock::at(noon));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    let connections = [serde_json::from_value(json!({"plane": "intune", "name": "c", "tenant": "contoso",
        "directory_tenant": "contoso", "client_id": "x", "client_secret_env": "S"}))
    .unwrap()];
    let broker = FleetBroker::start(store.clone(), clock.clone(), &connections);
    broker.enlist(&limits(vec![Budget::new("devices", 1600, 20)], Some(5)));
    let pace = Pace { now: noon, speed: 1.0 };
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let watch = Stopwatch::start();
    let view = loop {
        looks.tick().await;
        let views = store.budgets().connections(pace).await.unwrap();
        if let Some(view) = views.into_iter().find(|v| !v.buckets.is_empty()) {
            break view;
        }
        assert!(watch.seconds() < 10.0, "not registered");
    };
    assert_eq!((view.connection.tenant.as_str(), view.connection.at_most), ("contoso", Some(5)));
    assert_eq!((view.breaker, view.buckets[0].rate), (Breaker::Closed, 1600.0));
}
