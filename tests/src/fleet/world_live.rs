//! A fleet in this process, on a private Redis: the real runner by a clock that runs 600 times as fast, the real Intune
//! connections to a simulated Graph.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use trueup_boot::embedded::{Options, Redis};
use trueup_engine::{By, EventFilter, JobState, JobView, RedisOptions, RedisStore, Stop, Store};
use trueup_model::{
    Clock, Condition, CorrelationId, Event, EventKind, Intent, IntentKey, IntentRecord, Queue, ScaledClock,
    SharedClock, SystemClock,
};
use trueup_planes::ConnectionConfig;
use trueup_runner::{FleetError, WorkConfig};
use trueup_simulators::WaitStyle;
use trueup_workflows::Settings;

use super::world_graph::{Graph, OTHER, TENANT, secrets, seed};
use super::world_wait::wait_for;

/// An hour in six seconds.
const SPEED: f64 = 600.0;
/// Bound on anything that is waited for, in real time.
pub const SOON: Duration = Duration::from_secs(60);

/// Works until it is ended.
pub struct Live {
    pub redis: Redis,
    pub store: Arc<RedisStore>,
    pub clock: SharedClock,
    pub graph: Graph,
    stop: Stop,
    run: tokio::task::JoinHandle<Result<(), FleetError>>,
}

impl Live {
    /// With both simulated tenants, and whatever else is connected.
    pub async fn start(options: Options, more: Vec<ConnectionConfig>) -> Self {
        count_panics();
        let clock: SharedClock = Arc::new(ScaledClock::starting_at(SystemClock.now(), SPEED));
        let graph = Graph::start(&clock, &seed(), WaitStyle::Whole).await.expect("a simulated Graph");
        let redis = Redis::temporary(options).await.expect("a private Redis");
        let options = RedisOptions::new(redis.url(), clock.clone());
        let store = Arc::new(RedisStore::connect(options).await.expect("a store"));
        let mut connections = graph.connections(&[TENANT, OTHER]).expect("connections");
        connections.extend(more);
        // A run is lost after ten hours, which is a real minute.
        let settings = Settings { run_deadline_s: 36_000, ..Settings::default() };
        let config = WorkConfig { connections, settings, ..WorkConfig::default() };
        let fleet = config.start_with(store.clone(), clock.clone(), &secrets()).await.expect("a fleet");
        let stop = fleet.stop_switch();
        let run = tokio::spawn(fleet.run());
        Self { redis, store, clock, graph, stop, run }
    }

    pub async fn apply(&self, intents: &[Intent]) {
        let correlation_id = CorrelationId::derive(&["live"]);
        let by = By { actor: "operator".into(), correlation_id, now: self.clock.now() };
        self.store.apply(intents, &by).await.expect("applied");
    }

    pub async fn record(&self, key: &IntentKey) -> IntentRecord {
        let found = self.store.intents(std::slice::from_ref(key)).await.expect("an answer");
        found.into_iter().next().flatten().expect("the intent is there")
    }

    /// Waits until the intent is in this condition.
    pub async fn becomes(&self, key: &IntentKey, condition: Condition) -> IntentRecord {
        wait_for(&format!("{key} {}", condition.as_str()), SOON, async || {
            let record = self.record(key).await;
            if record.state.condition == condition { Ok(record) } else { Err(format!("{:?}", record.state)) }
        })
        .await
    }

    pub async fn events_of(&self, key: &IntentKey) -> Vec<Event> {
        let filter = EventFilter { intent: Some(key.clone()), ..EventFilter::default() };
        let found = self.store.events(&filter, &BTreeMap::new(), 1_000).await.expect("events");
        found.into_iter().map(|(_, e)| e).collect()
    }

    /// Waits for an event of the intent.
    pub async fn sees(&self, key: &IntentKey, kind: EventKind) -> Event {
        wait_for(&format!("{key} {}", kind.as_str()), SOON, async || {
            let events = self.events_of(key).await;
            events.iter().find(|e| e.event_type == kind).cloned().ok_or_else(|| format!("{events:#?}"))
        })
        .await
    }

    /// Why nothing can be told about the intent, as its events say.
    pub async fn reason(&self, key: &IntentKey) -> String {
        let events = self.events_of(key).await;
        let changed = events.iter().filter(|e| e.event_type == EventKind::ConditionChanged);
        changed.map(|e| e.event_data["because"].to_string()).collect::<Vec<_>>().join("\n")
    }

    /// All jobs in this state.
    pub async fn jobs(&self, state: JobState) -> Vec<JobView> {
        let mut all = Vec::new();
        for queue in Queue::all() {
            all.extend(self.store.jobs(queue, state, 100).await.expect("jobs"));
        }
        all
    }

    /// Whether the fleet still works.
    pub fn is_working(&self) -> bool {
        !self.run.is_finished()
    }

    /// Ends the fleet gracefully.
    ///
    /// # Panics
    /// If a worker ended by itself, something panicked, or the end took too long.
    pub async fn end(self) {
        self.stop.stop();
        let ended = tokio::time::timeout(SOON, self.run).await.expect("a graceful end");
        ended.expect("no panic").expect("no worker ended by itself");
        assert_eq!(panics(), 0, "something panicked in this process");
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// From now on panics of the fleet in this process are counted, also those that somebody catches.
pub fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A test that fails panics in its own thread; everything of the fleet runs in the runtime's.
            if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}

/// How many there were.
pub fn panics() -> usize {
    PANICS.load(Ordering::SeqCst)
}
