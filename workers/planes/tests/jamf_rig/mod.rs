//! A simulated Jamf Pro on a free port, a manual clock, and a connection to it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeSet;
use std::sync::Arc;

use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::observed::AssignmentSeen;
use trueup_model::target::{JamfCompliance, JamfTarget};
use trueup_model::{
    Action, Duration, EffectKey, Fault, IntentKey, JobId, ManualClock, Observed, Receipt, RunId, Target, Time,
};
use trueup_planes::jamf::{Jamf, JamfConfig};
use trueup_planes::{FixedSecrets, LocalBroker, Plane, Secret};
use trueup_simulators::jamf::{
    JamfMischief, JamfOptions, JamfPlanned, JamfSeed, JamfSimulator, JamfTenant, JamfTrouble, app_name,
    bundle_id, client_id, client_secret, failing_group_id, group_id, old_policy_id, password, policy_id,
    remedy_group_id, username,
};

pub(crate) const TENANT: &str = "contoso";

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) sim: Arc<JamfTenant>,
    pub(crate) plane: Jamf,
    pub(crate) url: String,
}

pub(crate) fn start() -> Time {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(crate) struct Setup {
    pub(crate) seed: JamfSeed,
    pub(crate) token_seconds: u32,
    pub(crate) page_size: u32,
    /// By name and password instead of an API client.
    pub(crate) account: bool,
    pub(crate) secret: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        let seed = JamfSeed {
            policies: 12,
            computers: 40,
            computers_per_policy: 4,
            older: true,
            ..JamfSeed::default()
        };
        Self { seed, token_seconds: 1800, page_size: 100, account: false, secret: None }
    }
}

pub(crate) fn config(url: &str, account: bool, page_size: u32) -> JamfConfig {
    let mut config = serde_json::json!({
        "name": "c", "tenant": TENANT, "url": url, "page_size": page_size, "quota": 1_000_000,
    });
    if account {
        config["username"] = username(TENANT).into();
        config["password_env"] = "S".into();
    } else {
        config["client_id"] = client_id(TENANT).into();
        config["client_secret_env"] = "S".into();
    }
    serde_json::from_value(config).unwrap()
}

pub(crate) fn connect(config: &JamfConfig, clock: &ManualClock, secret: String) -> Jamf {
    let secrets = FixedSecrets([("S".to_owned(), Secret::new(secret))].into());
    let broker = Arc::new(LocalBroker::new(Arc::new(clock.clone())));
    Jamf::new(config, Arc::new(clock.clone()), &secrets, broker).unwrap()
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let clock = ManualClock::at(start());
        let options =
            JamfOptions { token_seconds: setup.token_seconds, ..JamfOptions::new(Arc::new(clock.clone())) };
        let simulator = JamfSimulator::with(options);
        let sim = simulator.tenant(TENANT);
        sim.seed(&setup.seed);
        let url = format!("{}/{TENANT}", simulator.start().await.unwrap());
        let own = if setup.account { password(TENANT) } else { client_secret(TENANT) };
        let config = config(&url, setup.account, setup.page_size);
        let plane = connect(&config, &clock, setup.secret.unwrap_or(own));
        Self { clock, sim, plane, url }
    }

    pub(crate) async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.plane.observe(checks).await;
        assert_eq!(answers.len(), checks.len(), "one answer per check");
        answers
    }

    /// Looks anew.
    pub(crate) async fn look(&self, n: usize) -> Result<Observed, Fault> {
        let newer_than = Some(trueup_model::Clock::now(&self.clock));
        self.clock.advance(Duration::milliseconds(1));
        self.observe(&[Check { newer_than, ..check(n) }]).await.remove(0)
    }

    pub(crate) async fn apply(&self, n: usize, action: &Action) -> Result<Receipt, Fault> {
        self.plane.apply(&target(n), action, &EffectKey::of(&JobId::derive(&["j"]))).await
    }

    pub(crate) async fn assign(&self, n: usize, include: &[Scope]) -> Result<Receipt, Fault> {
        self.apply(n, &assign(n, include)).await
    }

    pub(crate) fn mischief(&self, what: &JamfMischief) {
        self.sim.mischief(what).unwrap();
    }

    /// This often, or for ever.
    pub(crate) fn trouble(&self, trouble: JamfTrouble, times: Option<u32>, only: &str) {
        self.sim.trouble(JamfPlanned { trouble, times, only: Some(only.into()) });
    }

    pub(crate) fn pass(&self, minutes: i64) {
        self.clock.advance(Duration::minutes(minutes));
    }
}

pub(crate) fn target(n: usize) -> Target {
    Target::Jamf(JamfTarget {
        policy_id: policy_id(n),
        app_name: app_name(n),
        bundle_id: Some(bundle_id(n)),
        replaces: vec![old_policy_id(n)],
        compliance: Some(JamfCompliance {
            failing_group: failing_group_id(n),
            remedy_group: remedy_group_id(n),
        }),
    })
}

pub(crate) fn check(n: usize) -> Check {
    check_of(target(n))
}

pub(crate) fn check_of(target: Target) -> Check {
    Check { intent: IntentKey::new(TENANT, "i"), run: RunId::derive(&["r"]), target, newer_than: None }
}

pub(crate) fn group(n: usize) -> Scope {
    Scope::Group(group_id(n).to_string())
}

pub(crate) fn assign(n: usize, include: &[Scope]) -> Action {
    Action::Assign {
        app: policy_id(n).to_string(),
        install: Install::Required,
        include: include.iter().cloned().collect(),
        exclude: BTreeSet::new(),
        remove: BTreeSet::new(),
    }
}

/// `group:1`, `not group:2 (available)`
pub(crate) fn brief(seen: &[AssignmentSeen]) -> Vec<String> {
    let one = |a: &AssignmentSeen| {
        let scope = match &a.scope {
            Scope::AllDevices => "all".to_owned(),
            Scope::Group(id) => format!("group:{id}"),
            other => format!("{other:?}"),
        };
        let install = if a.install == Install::Required { "" } else { " (available)" };
        format!("{}{scope}{install}", if a.excluded { "not " } else { "" })
    };
    seen.iter().map(one).collect()
}

pub(crate) fn versions(seen: &Observed) -> Vec<(&str, u32)> {
    seen.versions.as_ref().unwrap().iter().map(|v| (v.version.as_str(), v.devices)).collect()
}
