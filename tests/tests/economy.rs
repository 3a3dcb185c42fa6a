//! What it costs to look: 100,000 intents over 2,000 applications on 5,000 devices, none of them drifted, for an hour.
//!
//! # Expected flow
//! The real Intune plane against the simulated Graph, on a manual clock. Checks come in the order and at the times at
//! which a sweep brings them: spread over the hour by a hash of the intent, in batches, each sorted by target. The
//! simulator counts calls as Graph does: each item of a `$batch` is one.
//!
//! # Guarantees
//! At most one call for twenty intents: for one process from its first hour on, for four processes (that share nothing
//! but the work) once they know the fleet. What a process that knows nothing pays is printed.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::target::IntuneTarget;
use trueup_model::{
    Clock, DateTime, Duration, IntentKey, ManualClock, PlaneKind, RunId, SharedClock, Target, Time,
};
use trueup_planes::{Broker, LocalBroker, Plane, Planes};
use trueup_simulators::{Seed, WaitStyle, app_id, app_name};
use trueup_tests::fleet::world_graph::{Graph, TENANT, secrets};

const INTENTS: usize = 100_000;
const APPS: usize = 2_000;
const DEVICES: usize = 5_000;
const DEVICES_PER_APP: usize = 20;
/// Checks in a `query` job of this plane.
const BATCH: usize = 64;
/// The promise: intents checked for one call.
const INTENTS_PER_CALL: u64 = 20;

struct World {
    graph: Graph,
    clock: ManualClock,
    processes: Vec<Arc<dyn Plane>>,
    /// Of each application.
    checks: Vec<Check>,
}

impl World {
    async fn with(processes: usize) -> Self {
        let clock = ManualClock::at(DateTime::from_timestamp(1_795_255_200, 0).unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let seed = Seed { apps: APPS, devices: DEVICES, devices_per_app: DEVICES_PER_APP, ..Seed::default() };
        let graph = Graph::start(&shared, &seed, WaitStyle::Whole).await.unwrap();
        let connections = graph.connections(&[TENANT]).unwrap();
        let connect = |_| {
            let broker: Arc<dyn Broker> = Arc::new(LocalBroker::new(shared.clone()));
            let planes = Planes::connect(&connections, &shared, &secrets(), &broker).unwrap();
            planes.get(TENANT, PlaneKind::Intune).unwrap()
        };
        let processes = (0..processes).map(connect).collect();
        Self { graph, clock, processes, checks: (0..APPS).map(check).collect() }
    }

    /// Checks intents once each, as many in an hour as there are; gives the calls that took.
    async fn sweep(&self, intents: usize, batch: usize) -> u64 {
        let began = self.clock.now();
        let takes = Duration::milliseconds((3_600_000 * intents / INTENTS) as i64);
        let before = self.graph.tenant(TENANT).counts();
        let mut due: Vec<(Time, usize)> = (0..intents).map(|n| (began + spread(n, takes), n)).collect();
        due.sort_unstable();
        for (turn, chunk) in due.chunks(batch).enumerate() {
            let at = chunk[chunk.len() - 1].0;
            self.clock.advance(at - self.clock.now());
            let mut checks: Vec<Check> = chunk.iter().map(|(_, n)| self.checks[n % APPS].clone()).collect();
            checks.sort_by(|a, b| a.target.cmp(&b.target));
            let answers = self.processes[turn % self.processes.len()].observe(&checks).await;
            assert_eq!(answers.len(), checks.len());
            for answer in answers {
                let seen = answer.unwrap();
                let versions = seen.versions.unwrap();
                assert_eq!(seen.assignments.unwrap().here.len(), 1);
                assert_eq!((versions.len(), versions[0].devices), (1, DEVICES_PER_APP as u32));
                assert_eq!(seen.compliance.unwrap().noncompliant, 0);
                assert!(at - seen.at <= Duration::seconds(225), "looked at {at}, read at {}", seen.at);
            }
        }
        self.clock.advance(began + takes - self.clock.now());
        let after = self.graph.tenant(TENANT).counts();
        assert_eq!(after.throttled, 0);
        let (apps, devices) = (after.app_calls - before.app_calls, after.device_calls - before.device_calls);
        println!(
            "{} process(es), {intents} intents in {} min, {batch} checks a batch: {} calls ({apps} about applications, {devices} about devices), \
             one for {:.1} intents",
            self.processes.len(),
            takes.num_minutes(),
            apps + devices,
            intents as f64 / (apps + devices) as f64
        );
        apps + devices
    }
}

/// When the intent is checked.
fn spread(n: usize, takes: Duration) -> Duration {
    let hash = (n as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    Duration::milliseconds((hash % takes.num_milliseconds().unsigned_abs()) as i64)
}

/// Intents of one application differ in nothing that the plane sees.
fn check(app: usize) -> Check {
    let target = IntuneTarget { app_id: app_id(TENANT, app), app_name: app_name(app), replaces: Vec::new() };
    let (intent, run) = (IntentKey::new(TENANT, app.to_string()), RunId::derive(&["r"]));
    Check { intent, run, target: Target::Intune(target), newer_than: None }
}

fn assert_cheap(calls: u64, intents: usize) {
    let most = intents as u64 / INTENTS_PER_CALL;
    assert!(calls <= most, "{calls} calls for {intents} intents, at most {most} are promised");
}

#[tokio::test]
async fn one_process_needs_a_call_for_twenty_intents_at_most() {
    let world = World::with(1).await;
    assert_cheap(world.sweep(INTENTS, BATCH).await, INTENTS);
}

/// With sixteen partitions, a tick finds a few intents due, not sixty-four.
#[tokio::test]
async fn also_when_checks_come_a_few_at_a_time() {
    let world = World::with(1).await;
    assert_cheap(world.sweep(INTENTS, 4).await, INTENTS);
}

/// Half hours, at the same rate.
#[tokio::test]
async fn four_processes_need_no_more_once_they_know_the_fleet() {
    let world = World::with(4).await;
    println!("at first each of them learns which devices report what:");
    world.sweep(INTENTS / 2, BATCH).await;
    // What they learned is kept for two to six hours, four in the middle: on average an eighth of it ends in a half
    // hour. This one begins a quarter of an hour after the first did, so a little more than that is read again.
    world.clock.advance(Duration::minutes(105));
    println!("then:");
    assert_cheap(world.sweep(INTENTS / 2, BATCH).await, INTENTS / 2);
}
