//! A simulated Graph on a free port, a manual clock, and a connection to it.

use std::sync::Arc;

use trueup_model::job::Check;
use trueup_model::target::IntuneTarget;
use trueup_model::{
    Duration, EffectKey, Fault, IntentKey, JobId, ManualClock, Observed, RunId, Target, Time,
};
use trueup_planes::intune::{Intune, IntuneConfig};
use trueup_planes::{FixedSecrets, LocalBroker, Plane, Secret};
use trueup_simulators::{
    Limits, Options, Seed, Simulator, Tenant, WaitStyle, app_id, app_name, client_id, client_secret,
    old_app_id,
};

pub(crate) const TENANT: &str = "contoso";

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) sim: Arc<Tenant>,
    pub(crate) plane: Intune,
}

pub(crate) fn start() -> Time {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(crate) struct Setup {
    pub(crate) seed: Seed,
    pub(crate) limits: Limits,
    pub(crate) wait: WaitStyle,
    pub(crate) secret: String,
}

impl Default for Setup {
    fn default() -> Self {
        let seed = Seed { apps: 30, devices: 40, devices_per_app: 4, older: true, ..Seed::default() };
        Self { seed, limits: Limits::default(), wait: WaitStyle::Silent, secret: client_secret(TENANT) }
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let clock = ManualClock::at(start());
        let mut options = Options::new(Arc::new(clock.clone()));
        options.throttle_clock = Arc::new(clock.clone());
        options.limits = setup.limits;
        options.wait = setup.wait;
        let simulator = Simulator::with(options);
        let sim = simulator.tenant(TENANT);
        sim.seed(&setup.seed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
        let config: IntuneConfig = serde_json::from_value(serde_json::json!({
            "name": "c", "tenant": TENANT, "directory_tenant": TENANT, "client_id": client_id(TENANT),
            "client_secret_env": "S", "graph_url": format!("{origin}/v1.0"), "login_url": origin,
            "quota": {"apps": 100_000, "devices": 100_000, "writes": 100_000},
        }))
        .unwrap();
        let secrets = FixedSecrets([("S".to_owned(), Secret::new(setup.secret))].into());
        let broker = Arc::new(LocalBroker::new(Arc::new(clock.clone())));
        let plane = Intune::new(&config, Arc::new(clock.clone()), &secrets, broker).unwrap();
        Self { clock, sim, plane }
    }

    pub(crate) async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.plane.observe(checks).await;
        assert_eq!(answers.len(), checks.len(), "one answer per check");
        answers
    }

    pub(crate) async fn look(&self, n: usize) -> Result<Observed, Fault> {
        self.observe(&[check(n)]).await.remove(0)
    }

    pub(crate) fn pass(&self, minutes: i64) {
        self.clock.advance(Duration::minutes(minutes));
    }
}

pub(crate) fn target(n: usize) -> Target {
    Target::Intune(IntuneTarget {
        app_id: app_id(TENANT, n),
        app_name: app_name(n),
        replaces: vec![old_app_id(TENANT, n)],
    })
}

pub(crate) fn check(n: usize) -> Check {
    check_of(target(n))
}

pub(crate) fn check_of(target: Target) -> Check {
    Check { intent: IntentKey::new(TENANT, "i"), run: RunId::derive(&["r"]), target, newer_than: None }
}

pub(crate) fn key() -> EffectKey {
    EffectKey::of(&JobId::derive(&["j"]))
}
