//! A simulated AdminService on a free port, a manual clock, and a connection to it.

use std::sync::Arc;

use serde_json::{Value, json};
use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::{
    Action, Duration, EffectKey, Fault, IntentKey, JobId, ManualClock, Observed, Receipt, RunId, Target, Time,
};
use trueup_planes::configmgr::{ConfigMgr, ConfigMgrConfig};
use trueup_planes::{FixedSecrets, LocalBroker, Plane, Secret};
use trueup_simulators::*;

pub(crate) const TENANT: &str = "contoso";

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) sim: Arc<ConfigMgrSite>,
    pub(crate) plane: ConfigMgr,
    pub(crate) origin: String,
}

pub(crate) fn start() -> Time {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(crate) fn seed() -> ConfigMgrSeed {
    ConfigMgrSeed { apps: 30, devices: 40, devices_per_app: 4, older: true, ..Default::default() }
}

pub(crate) fn entra(origin: &str) -> Value {
    json!({"entra": {"login_url": origin, "directory_tenant": TENANT, "client_id": client_id(TENANT),
        "client_secret_env": "S", "scope": CONFIGMGR_SCOPE}})
}

pub(crate) fn secrets(secret: &str) -> FixedSecrets {
    FixedSecrets([("S".to_owned(), Secret::new(secret))].into())
}

/// A connection to the AdminService there.
pub(crate) fn connect(origin: &str, auth: Value, clock: &ManualClock, secret: &str) -> ConfigMgr {
    let config: ConfigMgrConfig = serde_json::from_value(json!({
        "name": "site", "tenant": TENANT, "url": format!("{origin}/AdminService"), "auth": auth, "reuse_seconds": 30,
        "quota": {"calls": 100_000, "writes": 100_000},
    }))
    .unwrap();
    let clock: trueup_model::SharedClock = Arc::new(clock.clone());
    let broker = Arc::new(LocalBroker::new(clock.clone()));
    ConfigMgr::new(&config, clock, &secrets(secret), broker).unwrap()
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(seed(), 500).await
    }

    pub(crate) async fn with(seed: ConfigMgrSeed, page: usize) -> Self {
        let clock = ManualClock::at(start());
        let mut options = ConfigMgrOptions::new(Arc::new(clock.clone()));
        options.page = page;
        let simulator = ConfigMgrSimulator::with(options);
        let sim = simulator.tenant(TENANT);
        sim.seed(&seed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
        let plane = connect(&origin, entra(&origin), &clock, &client_secret(TENANT));
        Self { clock, sim, plane, origin }
    }

    /// The same site, another process.
    pub(crate) fn another(&self) -> ConfigMgr {
        connect(&self.origin, entra(&self.origin), &self.clock, &client_secret(TENANT))
    }

    pub(crate) async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.plane.observe(checks).await;
        assert_eq!(answers.len(), checks.len(), "one answer per check");
        answers
    }

    pub(crate) async fn look(&self, n: usize) -> Result<Observed, Fault> {
        self.observe(&[check(n)]).await.remove(0)
    }

    pub(crate) async fn apply(&self, n: usize, action: &Action) -> Result<Receipt, Fault> {
        self.plane.apply(&target(n), action, &key("j")).await
    }

    /// The scopes the application is seen to reach.
    pub(crate) async fn reached(&self, n: usize) -> Vec<Scope> {
        self.look(n).await.unwrap().assignments.unwrap().here.into_iter().map(|a| a.scope).collect()
    }

    pub(crate) fn mischief(&self, what: ConfigMgrMischief) {
        self.sim.mischief(&what).unwrap();
    }

    pub(crate) fn pass(&self, minutes: i64) {
        self.clock.advance(Duration::minutes(minutes));
    }

    /// Methods and paths of the accepted writes.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.sim.writes().into_iter().map(|w| format!("{} {}", w.method, w.path)).collect()
    }
}

pub(crate) fn target(n: usize) -> Target {
    target_with(n, json!({"script": approved_script()}))
}

pub(crate) fn target_with(n: usize, remedy: Value) -> Target {
    let target = json!({"ci_id": ci_id(n), "app_name": app_name(n), "replaces": [old_ci_id(n)],
        "device_collection": device_collection_id(n),
        "compliance": {"baseline_assignment": baseline_id(n), "remedy": remedy}});
    Target::parse(trueup_model::PlaneKind::ConfigMgr, target).unwrap()
}

pub(crate) fn check(n: usize) -> Check {
    check_of(target(n))
}

pub(crate) fn check_of(target: Target) -> Check {
    Check { intent: IntentKey::new(TENANT, "i"), run: RunId::derive(&["r"]), target, newer_than: None }
}

pub(crate) fn key(job: &str) -> EffectKey {
    EffectKey::of(&JobId::derive(&[job]))
}

pub(crate) fn group(n: usize) -> Scope {
    Scope::Group(collection_id(n))
}

pub(crate) fn device(n: usize) -> Scope {
    Scope::Device(resource_id(n).to_string())
}

pub(crate) fn assign(n: usize, install: Install, include: &[Scope], remove: &[Scope]) -> Action {
    Action::Assign {
        app: ci_id(n).to_string(),
        install,
        include: include.iter().cloned().collect(),
        exclude: Default::default(),
        remove: remove.iter().cloned().collect(),
    }
}

pub(crate) fn required(n: usize, include: &[Scope]) -> Action {
    assign(n, Install::Required, include, &[])
}
