//! Four worker processes, one budget: a sweep of 20,000 intents against the simulated Graph with its published limits.
//!
//! # Expected flow
//! The budget of the connection is the whole of what Graph publishes, so that nothing is left for mistakes: a call too
//! many in any 20 s is answered 429. Intents are spread over so many applications that the device bucket is what limits
//! the sweep. The fleet's clock runs [`SPEED`] times as fast as real time, and Graph's windows with it.
//!
//! # Guarantees
//! Under 0.1 % of calls are answered 429, at 90 % or more of the allowed rate; also while a process is killed every few
//! seconds. The rate is taken between the moments at which 5 % and 85 % of the sweep's calls were made.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use trueup_boot::embedded::Redis;
use trueup_engine::budgets::Pace;
use trueup_engine::{By, RedisOptions, RedisStore, Store};
use trueup_model::intent::Scope;
use trueup_model::{
    Clock, Condition, CorrelationId, Intent, PlaneKind, ScaledClock, SharedClock, SystemClock, Target, Time,
};
use trueup_simulators::{Counts, Seed, WaitStyle, app_id, app_name, client_id, client_secret, group_id};
use trueup_tests::fleet::world_graph::{Graph, TENANT};
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::{intent, redis};

/// Seconds of the fleet's time in a real one.
const SPEED: f64 = 2.0;
const WORKERS: usize = 4;
const INTENTS: usize = 20_000;
const APPS: usize = 2_000;
const PARTITIONS: u16 = 4;
/// Requests about devices and about applications in any 20 s, as published.
const DEVICES: f64 = 2_000.0;
const CONNECTION: &str = "contoso-intune";

/// One fleet at a time: they share two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Worker(Child);

impl Worker {
    fn start(redis: &Redis, origin: &str) -> Self {
        let config = json!({"planes": ["intune"], "partitions": PARTITIONS, "connections": [{
            "plane": "intune", "name": CONNECTION, "tenant": TENANT, "directory_tenant": TENANT,
            "client_id": client_id(TENANT), "client_secret_env": "BROKER_SECRET",
            "graph_url": format!("{origin}/v1.0"), "login_url": origin,
            "quota": {"apps": 1000, "devices": 2000, "writes": 100},
        }]});
        let child = Command::new(env!("CARGO_BIN_EXE_broker_worker"))
            .env("BROKER_URL", redis.url())
            .env("BROKER_CONFIG", config.to_string())
            .env("BROKER_SECRET", client_secret(TENANT))
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Worker {
    /// Kill -9.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn in_sync(n: usize) -> Intent {
    let app = n % APPS;
    let mut intent = intent(TENANT, &format!("i-{n:05}"));
    if let Target::Intune(target) = &mut intent.target {
        (target.app_id, target.app_name) = (app_id(TENANT, app), app_name(app));
    }
    if let Some(assignment) = &mut intent.desired.assignment {
        assignment.include = [Scope::Group(group_id(app))].into();
    }
    intent
}

struct World {
    redis: Redis,
    store: Arc<RedisStore>,
    graph: Graph,
    clock: ScaledClock,
    workers: Vec<Worker>,
}

impl World {
    async fn new() -> Self {
        let redis = redis().await.unwrap();
        let clock = ScaledClock::starting_at(SystemClock.now(), SPEED);
        RedisStore::save_clock(&redis.url(), &clock).await.unwrap();
        let shared: SharedClock = Arc::new(clock);
        let options =
            RedisOptions { partitions: Some(PARTITIONS), ..RedisOptions::new(redis.url(), shared.clone()) };
        let store = Arc::new(RedisStore::connect(options).await.unwrap());
        let seed = Seed { apps: APPS, devices: 2_000, devices_per_app: 2, ..Seed::default() };
        // A 429 would say how long to wait: one that does not would stop the fleet for 30 s and hide all others.
        let graph = Graph::start(&shared, &seed, WaitStyle::Whole).await.unwrap();
        let by =
            By { actor: "test".into(), correlation_id: CorrelationId::derive(&["test"]), now: clock.now() };
        let intents: Vec<Intent> = (0..INTENTS).map(in_sync).collect();
        for chunk in intents.chunks(256) {
            store.apply(chunk, &by).await.unwrap();
        }
        let workers = (0..WORKERS).map(|_| Worker::start(&redis, &graph.origin)).collect();
        Self { redis, store, graph, clock, workers }
    }

    async fn checked(&self) -> usize {
        let depths = self.store.depths().await.unwrap();
        let busy: u64 = depths
            .iter()
            .map(|q| q.ready + q.in_flight + if q.queue == "sweep" { 0 } else { q.scheduled })
            .sum();
        usize::try_from(busy).unwrap()
    }

    async fn is_done(&self) -> bool {
        for p in 0..PARTITIONS {
            let (due, _) = self.store.due(trueup_model::Partition(p), self.clock.now(), 1).await.unwrap();
            if !due.is_empty() {
                return false;
            }
        }
        self.checked().await == 0
    }
}

/// What was asked when, looked at every few milliseconds.
#[derive(Default)]
struct Rate(Vec<(Time, u64)>);

impl Rate {
    fn look(&mut self, now: Time, counts: Counts) {
        let calls = counts.device_calls;
        if self.0.last().is_none_or(|(_, n)| *n < calls) {
            self.0.push((now, calls));
        }
    }

    /// Share of the limit that was used, in percent, for each ten seconds.
    fn course(&self) -> Vec<i64> {
        let start = self.0.first().unwrap().0;
        let mut at = std::collections::BTreeMap::new();
        for (t, n) in &self.0 {
            at.insert((*t - start).num_seconds() / 10, *n);
        }
        let mut before = 0;
        at.into_values()
            .map(|n| {
                let share = (n - before) as f64 / (DEVICES / 2.0) * 100.0;
                before = n;
                share.round() as i64
            })
            .collect()
    }

    /// Calls in 20 s between two shares of all.
    fn between(&self, from: f64, to: f64) -> f64 {
        let all = self.0.last().unwrap().1 as f64;
        let at = |share: f64| *self.0.iter().find(|(_, n)| *n as f64 >= share * all).unwrap();
        let ((t0, n0), (t1, n1)) = (at(from), at(to));
        (n1 - n0) as f64 / ((t1 - t0).num_milliseconds() as f64 / 20_000.0)
    }
}

/// Sweeps once; a process is killed so often, in real time.
async fn sweep(kill_every: Option<Duration>) {
    let _alone = ALONE.lock().await;
    let mut world = World::new().await;
    let tenant = world.graph.tenant(TENANT);
    let watch = Stopwatch::start();
    let (mut rate, mut kills, mut looks) = (Rate::default(), 0u32, 0u32);
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut shown = None;
    loop {
        every.tick().await;
        rate.look(world.clock.now(), tenant.counts());
        looks += 1;
        if let Some(kill_every) = kill_every
            && watch.seconds() > kill_every.as_secs_f64() * f64::from(kills + 1)
        {
            // Any of them, in no order.
            let n = (kills.wrapping_mul(2_654_435_761) >> 16) as usize % WORKERS;
            world.workers[n] = Worker::start(&world.redis, &world.graph.origin);
            kills += 1;
        }
        if looks % 25 == 0 {
            let pace = Pace { now: world.clock.now(), speed: SPEED };
            let views = world.store.budgets().connections(pace).await.unwrap();
            shown = views.into_iter().find(|c| c.waiting[2] > 0).or(shown);
            if world.is_done().await {
                break;
            }
        }
        assert!(watch.seconds() < 200.0, "not done: {:?} {:?}", tenant.counts(), world.store.depths().await);
    }
    let counts = tenant.counts();
    let achieved = rate.between(0.05, 0.85);
    println!(
        "{WORKERS} workers, {kills} killed, {INTENTS} intents over {APPS} applications, clock ×{SPEED}, {:.0} s really: \
         {} calls ({} about devices, {} about applications) in {} requests",
        watch.seconds(),
        counts.calls(),
        counts.device_calls,
        counts.app_calls,
        counts.requests,
    );
    println!(
        "about devices: limit {DEVICES:.0} in 20 s, achieved {achieved:.0} ({:.1} %)",
        achieved / DEVICES * 100.0
    );
    println!("in each ten seconds: {:?} %", rate.course());
    let refused = counts.throttled as f64 / counts.calls() as f64;
    println!(
        "answered 429: {} of {} ({:.3} %), limit 0.1 %",
        counts.throttled,
        counts.calls(),
        refused * 100.0
    );
    println!("in the middle: {shown:?}");
    assert!(refused < 0.001, "too many calls were answered 429");
    assert!(achieved >= 0.9 * DEVICES, "less than 90 % of the allowed rate");
    let mut cursor = None;
    let (mut fine, mut all) = (0, 0);
    loop {
        let page = world.store.list_intents(cursor.as_deref(), 1000).await.unwrap();
        fine += page.items.iter().filter(|r| r.state.condition == Condition::InSync).count();
        all += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((fine, all), (INTENTS, INTENTS), "all are checked, and in sync");
    let shown = shown.expect("somebody waited while the budget was used up");
    assert_eq!(
        (shown.connection.plane, shown.connection.connection.as_str()),
        (PlaneKind::Intune, CONNECTION)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_stay_within_what_graph_allows_and_use_it() {
    sweep(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_workers_changes_neither() {
    sweep(Some(Duration::from_secs(6))).await;
}
