//! The fleet of the story, and what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as Real;

use trueup_boot::embedded::{Options as RedisSetup, Redis};
use trueup_engine::{By, EventFilter, JobState, NewJob, RedisOptions, RedisStore, Stop, Store};
use trueup_model::{
    Clock, Condition, CorrelationId, Duration, Event, EventKind, Intent, IntentKey, IntentRecord, PlaneKind,
    Queue, ScaledClock, SharedClock, StepName, SystemClock, Target, Time, job,
};
use trueup_planes::{Broker, ConnectionConfig, Planes};
use trueup_runner::{ChannelConfig, Channels, Fleet, FleetBroker, FleetError, Options};
use trueup_simulators::{Seed, WaitStyle};
use trueup_tests::fleet::sites::{self, ENDPOINT_PLANES, Sites, Wrong, key, secrets};
use trueup_tests::fleet::world_graph::{Graph, TENANT};
use trueup_tests::fleet::world_live::count_panics;
use trueup_tests::fleet::world_wait::wait_for;
use trueup_tests::world::uncapped;
use trueup_workflows::{Chain, Rules};

use super::GATHER_S;
use super::looks::{self, End, Late, Look, Looks, Watched};

/// Half an hour in 45 s: the simulated Jamf Pro answers at most five calls at once, in real time.
const SPEED: f64 = 40.0;
/// Intents on each plane, one per application; as many devices.
pub(crate) const EACH: usize = 150;
/// Bound on anything that is waited for, in real time.
const SOON: Real = Real::from_secs(90);
/// Between two samples of how late the machine itself is.
const IDLE_EVERY: Real = Real::from_millis(20);
/// From a slot to the call: a tick is leased, reads what is due, commits; a query is leased and reads its records.
const ROUND_TRIPS: usize = 6;

pub(crate) struct Town {
    pub(crate) sites: Sites,
    pub(crate) began: Time,
    graph: Graph,
    store: Arc<RedisStore>,
    clock: SharedClock,
    looks: Looks,
    idle: Sampler<f64>,
    stop: Stop,
    run: tokio::task::JoinHandle<Result<(), FleetError>>,
    _redis: Redis,
}

impl Town {
    /// A working fleet with intents on all planes. `quota`: calls per minute to Jamf Pro.
    pub(crate) async fn start(quota: u32) -> Self {
        count_panics();
        let clock: SharedClock = Arc::new(ScaledClock::starting_at(SystemClock.now(), SPEED));
        let seed = Seed { apps: EACH, devices: EACH, devices_per_app: 3, older: true, ..Seed::default() };
        let graph = Graph::start(&clock, &seed, WaitStyle::Whole).await.unwrap();
        let sites = Sites::start(&clock, &[TENANT], EACH).await.unwrap();
        let redis = Redis::temporary(RedisSetup::default()).await.unwrap();
        let options = RedisOptions { partitions: Some(4), ..RedisOptions::new(redis.url(), clock.clone()) };
        let store = Arc::new(RedisStore::connect(options).await.unwrap());

        let mut connections = graph.connections(&[TENANT]).unwrap();
        connections.extend(sites.connections(&[TENANT]).unwrap());
        for connection in &mut connections {
            if let ConnectionConfig::Jamf(jamf) = connection {
                jamf.quota = quota;
            }
        }
        let broker = FleetBroker::start(store.clone(), clock.clone(), &connections);
        let broker: Arc<dyn Broker> = Arc::new(broker);
        let mut planes = Planes::connect(&connections, &clock, &secrets(&[TENANT]), &broker).unwrap();
        let looks = Looks::default();
        for kind in ENDPOINT_PLANES {
            let plane = planes.get(TENANT, kind).unwrap();
            let watched = Watched { plane, clock: clock.clone(), looks: looks.clone() };
            planes.insert(TENANT, kind, Arc::new(watched));
        }
        let channels = Channels::open(&[ChannelConfig::log()], &secrets(&[TENANT])).unwrap();
        let chain = Chain::new(Rules { policy: uncapped(), ..Rules::default() });
        let options = Options { planes: ENDPOINT_PLANES.to_vec(), ..Options::default() };
        let fleet =
            Fleet::start(store.clone(), planes, channels, chain, clock.clone(), options).await.unwrap();
        let stop = fleet.stop_switch();
        let run = tokio::spawn(fleet.run());
        let began = clock.now();
        let idle = idle(store.clone(), clock.clone());
        let town = Self { sites, began, graph, store, clock, looks, idle, stop, run, _redis: redis };
        for plane in ENDPOINT_PLANES {
            let intents: Vec<_> = (0..EACH).map(|n| meant(plane, n)).collect();
            let by = By {
                actor: "operator".into(),
                correlation_id: CorrelationId::derive(&["outage"]),
                now: town.now(),
            };
            for some in intents.chunks(256) {
                town.store.apply(some, &by).await.unwrap();
            }
        }
        town
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Waits for a time of the product's clock.
    pub(crate) async fn reach(&self, time: Time) {
        wait_for("time passes", SOON, async || if self.now() >= time { Ok(()) } else { Err(String::new()) })
            .await;
    }

    /// Makes applications go wrong, and asks for a look at them.
    pub(crate) async fn go_wrong(&self, planes: &[PlaneKind], range: Range<usize>, wrong: Wrong) {
        for plane in planes {
            for n in range.clone() {
                sites::go_wrong(&self.graph, &self.sites, *plane, TENANT, n, wrong);
                let key = key(TENANT, *plane, n);
                let p = key.partition(self.store.partitions());
                let correlation = CorrelationId::derive(&["asked", key.id.as_str()]);
                let (id, job) = job::request(p, vec![key], correlation);
                let queue = Queue::new(StepName::Sweep, None).unwrap();
                self.store.enqueue(p, &[NewJob::of(id, queue, &job, None)]).await.unwrap();
            }
        }
    }

    // --- what is seen

    fn keys(planes: &[PlaneKind]) -> Vec<IntentKey> {
        planes.iter().flat_map(|plane| (0..EACH).map(|n| key(TENANT, *plane, n))).collect()
    }

    pub(crate) async fn record(&self, plane: PlaneKind, n: usize) -> IntentRecord {
        self.records(&[key(TENANT, plane, n)]).await.remove(0)
    }

    async fn records(&self, keys: &[IntentKey]) -> Vec<IntentRecord> {
        let mut all = Vec::new();
        for some in keys.chunks(256) {
            all.extend(self.store.intents(some).await.unwrap().into_iter().flatten());
        }
        assert_eq!(all.len(), keys.len());
        all
    }

    /// Waits until every intent of these planes is in sync and at rest.
    pub(crate) async fn all_in_sync(&self, planes: &[PlaneKind]) {
        let keys = Self::keys(planes);
        wait_for("all in sync", SOON, async || {
            let records = self.records(&keys).await;
            let wrong = records.iter().filter(|r| r.state.condition != Condition::InSync).collect::<Vec<_>>();
            match wrong.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} others, as {:#?}", wrong.len(), first)),
            }
        })
        .await;
    }

    /// Waits until an attempt on each of these has come so far.
    pub(crate) async fn started(&self, plane: PlaneKind, range: Range<usize>, kind: EventKind) {
        wait_for(kind.as_str(), SOON, async || {
            let events = self.events(kind).await;
            let is = |n: &usize| events.iter().any(|e| e.intent == key(TENANT, plane, *n).id);
            match range.clone().filter(is).count() {
                n if n == range.len() => Ok(()),
                n => Err(format!("{n} of {}", range.len())),
            }
        })
        .await;
    }

    pub(crate) async fn events(&self, kind: EventKind) -> Vec<Event> {
        let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
        let found = self.store.events(&filter, &BTreeMap::new(), 100_000).await.unwrap();
        found.into_iter().map(|(_, event)| event).collect()
    }

    pub(crate) async fn count(&self, plane: PlaneKind, kind: EventKind) -> usize {
        self.events(kind).await.iter().filter(|e| e.event_data["plane"] == plane.as_str()).count()
    }

    /// Highest attempt begun on each intent of a plane, as the events have it; as the records have it, no more.
    pub(crate) async fn attempts(&self, plane: PlaneKind) -> BTreeMap<IntentKey, u64> {
        let mut all = BTreeMap::new();
        for event in self.events(EventKind::RemediationStarted).await {
            if event.event_data["plane"] == plane.as_str() {
                let attempt = event.event_data["attempt"].as_u64().unwrap();
                let key = IntentKey::new(event.tenant, event.intent);
                all.entry(key).and_modify(|n: &mut u64| *n = attempt.max(*n)).or_insert(attempt);
            }
        }
        for record in self.records(&Self::keys(&[plane])).await {
            let made = u64::from(record.state.attempts.made);
            let begun = all.get(&record.intent.key).copied().unwrap_or(0);
            assert!(made <= begun, "{} made {made}, begun {begun}", record.intent.key);
        }
        all
    }

    fn all_looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Intents of a plane of which nothing was seen since then.
    pub(crate) fn not_looked_at_since(&self, plane: PlaneKind, since: Time) -> Vec<IntentKey> {
        let looks = self.all_looks().into_iter().filter(|l| l.seen && l.answered >= since);
        let looks: BTreeSet<IntentKey> = looks.map(|l| l.intent).collect();
        let seen = |k: &IntentKey| looks.contains(k);
        Self::keys(&[plane]).into_iter().filter(|k| !seen(k)).collect()
    }

    /// How late looks at these planes were; of intents that nothing ever was wrong with: while one is remediated, its
    /// look waits for the verification.
    pub(crate) async fn late(&self, planes: &[PlaneKind], from: Time, to: Time, end: End) -> Late {
        let drifted = self.events(EventKind::DriftDetected).await;
        let mut keys = Self::keys(planes);
        keys.retain(|key| !drifted.iter().any(|e| e.intent == key.id));
        looks::late(&self.all_looks(), &keys, &self.stood_still(), (from, to), end)
    }

    /// When this host itself was late by more than the tick may be.
    fn stood_still(&self) -> Vec<Range<Time>> {
        let late = self.idle.samples().into_iter().filter(|(_, late)| *late > GATHER_S);
        late.map(|(t, late)| (t, Duration::milliseconds((late * 1000.0) as i64)))
            .map(|(t, late)| t - late..t + late)
            .collect()
    }

    /// How late the machine itself was between the two times.
    pub(crate) fn idle(&self, from: Time, to: Time) -> Late {
        let all = self.idle.samples();
        Late::of(all.into_iter().filter(|(t, _)| (from..to).contains(t)).map(|(_, late)| late).collect())
    }

    /// Waits until something was seen of every intent of a plane since then; gives the time of the last.
    pub(crate) async fn caught_up(&self, plane: PlaneKind, since: Time) -> Time {
        wait_for("caught up", SOON, async || {
            let missing = self.not_looked_at_since(plane, since);
            let Some(first) = missing.first() else { return Ok(()) };
            let record = self.records(std::slice::from_ref(first)).await.remove(0);
            let last = self.all_looks().into_iter().rfind(|l| l.intent == *first);
            Err(format!(
                "{} not looked at, as {first}: {last:?}, {:?}; {missing:?}",
                missing.len(),
                record.state
            ))
        })
        .await;
        self.now()
    }

    /// From the drift's detection to its verified remediation.
    pub(crate) async fn mended(&self, planes: &[PlaneKind], range: Range<usize>) -> Late {
        let detected = self.events(EventKind::DriftDetected).await;
        let verified = self.events(EventKind::RemediationVerified).await;
        let when = |events: &[Event], key: &IntentKey| {
            let one = events.iter().find(|e| e.intent == key.id);
            one.unwrap_or_else(|| panic!("nothing of {key}")).created_at
        };
        let mut all = Vec::new();
        for plane in planes {
            for n in range.clone() {
                let key = key(TENANT, *plane, n);
                all.push(looks::seconds(when(&verified, &key) - when(&detected, &key)));
            }
        }
        Late::of(all)
    }

    pub(crate) async fn dead(&self) -> Vec<String> {
        let mut all = Vec::new();
        for queue in Queue::all() {
            for view in self.store.jobs(queue, JobState::Dead, 100).await.unwrap() {
                all.push(format!("{queue}: {}", view.reason.unwrap_or_default()));
            }
        }
        all
    }

    /// Counts calls to Jamf Pro from now on.
    pub(crate) fn meter(&self) -> Sampler<u64> {
        let (jamf, clock) = (self.sites.jamf_of(TENANT), self.clock.clone());
        Sampler::start(Real::from_millis(10), move || {
            std::future::ready((clock.now(), jamf.counts().requests))
        })
    }

    pub(crate) async fn end(self) {
        self.stop.stop();
        let ended = tokio::time::timeout(SOON, self.run).await.unwrap();
        ended.unwrap().unwrap();
        assert_eq!(trueup_tests::fleet::world_live::panics(), 0, "something panicked in this process");
    }
}

/// On Jamf Pro nothing but the assignment, so that a look costs one call, and the connection's quota, not this host, is
/// what limits it.
fn meant(plane: PlaneKind, n: usize) -> Intent {
    let mut intent = sites::intent(plane, TENANT, n);
    if let Target::Jamf(target) = &mut intent.target {
        (target.bundle_id, target.compliance) = (None, None);
        target.replaces.clear();
        (intent.desired.version, intent.desired.compliant) = (None, false);
    }
    intent
}

/// What this machine and its Redis take, at any time, for what a slot needs before a plane is asked: a timer, and a
/// few round trips. Seconds of the product's clock.
fn idle(store: Arc<RedisStore>, clock: SharedClock) -> Sampler<f64> {
    let key = key(TENANT, PlaneKind::Intune, 0);
    let asleep = IDLE_EVERY.as_secs_f64() * SPEED;
    let woken = Arc::new(Mutex::new(clock.now()));
    Sampler::start(IDLE_EVERY, move || {
        let (store, clock, key, woken) = (store.clone(), clock.clone(), key.clone(), woken.clone());
        async move {
            let began = clock.now();
            let before = *woken.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..ROUND_TRIPS {
                let _ = store.intents(std::slice::from_ref(&key)).await;
            }
            let ended = clock.now();
            *woken.lock().unwrap_or_else(PoisonError::into_inner) = began;
            (began, (looks::seconds(began - before) - asleep).max(0.0) + looks::seconds(ended - began))
        }
    })
}

/// Takes samples until it ends.
pub(crate) struct Sampler<T> {
    samples: Arc<Mutex<Vec<(Time, T)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl<T: Copy + Send + 'static> Sampler<T> {
    fn start<F>(every: Real, mut take: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = (Time, T)> + Send,
    {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let into = samples.clone();
        let task = tokio::spawn(async move {
            let mut often = tokio::time::interval(every);
            often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                often.tick().await;
                let sample = take().await;
                into.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Self { samples, task }
    }

    pub(crate) fn samples(&self) -> Vec<(Time, T)> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Drop for Sampler<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
