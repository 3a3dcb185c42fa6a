//! Microsoft Configuration Manager (SCCM), through its administration service (AdminService).
//!
//! Reads deployments, direct memberships, installed versions and the compliance of deployed baselines; deploys to
//! collections, puts single devices into a collection, and starts scripts or client operations on devices that do not comply.
//! Not verified against the vendor's service, which has no published schema: against its documented classes, public
//! reports of working calls, and a simulator that is as strict as both.
//!
//! # Guarantees
//! Nothing is created before it was looked for, by one worker of the fleet at a time, and what others deployed to other collections is left alone. Doing an action
//! again does no more than the first time.
//!
//! # What is deliberately absent
//! Negotiate (Kerberos, NTLM): a connection needs a bearer token, from Entra through a cloud management gateway, or from
//! something else that puts one into a file. Creation of applications and collections.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::intent::Install;
use trueup_model::job::Check;
use trueup_model::target::ConfigMgrTarget;
use trueup_model::{
    Action, Budget, Duration, EffectKey, Fault, Lane, Observed, Receipt, SharedClock, Target,
};

use crate::broker::lane_of;
use crate::http::{Hints, Http, HttpOptions, base_url};
use crate::{Broker, ConfigError, Plane, Secrets};

mod apply;
mod auth;
mod comply;
pub mod deploy;
mod kept;
mod observe;
pub mod parse;
pub mod query;
pub mod request;
mod seen;
mod service;

use apply::{Apply, Change, Recent};
use auth::Tokens;
pub use auth::{ConfigMgrAuth, EntraAuth, TokenAuth};
use observe::Reads;
use service::{CALLS, Service, WRITES};

/// A connection to one site's AdminService. The account must be an administrative user of the site with the rights to read
/// and deploy applications, to modify collections, and to run scripts where an intent wants one.
///
/// ```json
/// {"plane": "configmgr", "name": "contoso-cm", "tenant": "contoso", "url": "https://cm.contoso.example/AdminService",
///  "ca_file": "site-ca.pem", "auth": {"token": {"token_file": "cm.token"}}}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigMgrConfig {
    /// For people, unique.
    pub name: String,
    /// Whose intents it serves.
    pub tenant: String,
    /// `https://<SMS provider>/AdminService`, or the gateway's `https://<gateway>/CCM_Proxy_ServerAuth/<id>/AdminService`.
    pub url: String,
    /// Certificates (PEM) of the site's own authority, trusted besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    pub auth: ConfigMgrAuth,
    /// What was read serves other checks for this long, in seconds. Default 225, a quarter of the shortest interval between
    /// two checks of an intent. A look that somebody asked for, or that verifies an action, always reads anew.
    #[serde(default = "reuse_seconds")]
    pub reuse_seconds: u32,
    #[serde(default)]
    pub quota: ConfigMgrQuota,
}

fn reuse_seconds() -> u32 {
    225
}

/// Most calls this connection makes in any 20 s. The AdminService documents no limit, and works on the site's own
/// database: the defaults are gentle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigMgrQuota {
    /// Calls of all kinds. Default 100.
    pub calls: u32,
    /// Writes among them. Default 20.
    pub writes: u32,
}

impl Default for ConfigMgrQuota {
    fn default() -> Self {
        Self { calls: 100, writes: 20 }
    }
}

const WINDOW_S: u32 = 20;

const HINTS: Hints = Hints {
    unauthorized: "the token is refused: check auth of the connection, that the secret or the token has not expired, and that the token was made for this site",
    forbidden: "check that the connection's account is an administrative user of the site and has the rights for it",
};

#[derive(Debug)]
pub struct ConfigMgr {
    /// `connection 'contoso-cm'`
    name: String,
    service: Service,
    reads: Reads,
    recent: Recent,
    begun: comply::Begun,
    /// One write at a time for this connection.
    writing: tokio::sync::Mutex<()>,
}

impl ConfigMgr {
    pub fn new(
        config: &ConfigMgrConfig,
        clock: SharedClock,
        secrets: &dyn Secrets,
        broker: Arc<dyn Broker>,
    ) -> Result<Self, ConfigError> {
        let base = base_url("url", &config.url)?;
        if !base.path().to_ascii_lowercase().ends_with("/adminservice") {
            return Err(ConfigError::Invalid("url: must end with /AdminService".into()));
        }
        let tokens = Tokens::new(&config.auth, secrets)?;
        let ca = config.ca_file.as_ref().map(std::fs::read).transpose();
        let ca = ca.map_err(|e| {
            let path = config.ca_file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
            ConfigError::Invalid(format!("ca_file: cannot read {path}: {e}"))
        })?;
        let login_is_plain = match &config.auth {
            ConfigMgrAuth::Entra(entra) => entra.login_url.starts_with("http://"),
            ConfigMgrAuth::Token(_) => true,
        };
        let options = HttpOptions {
            clock,
            connection: config.name.clone(),
            budgets: vec![
                Budget::new(CALLS, config.quota.calls.max(1), WINDOW_S),
                Budget::new(WRITES, config.quota.writes.max(1), WINDOW_S),
            ],
            at_most: None,
            ca,
            plain: base.scheme() == "http" && login_is_plain,
            cookies: false,
            hints: HINTS,
        };
        let http = Arc::new(Http::new(options, broker)?);
        Ok(Self {
            name: format!("connection '{}'", config.name),
            service: Service { http, tokens: Arc::new(tokens), base, lane: Lane::Write },
            reads: Reads::new(Duration::seconds(i64::from(config.reuse_seconds))),
            recent: Recent::default(),
            begun: comply::Begun::default(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    async fn change(
        &self,
        target: &ConfigMgrTarget,
        action: &Action,
        key: &EffectKey,
    ) -> Result<Receipt, Fault> {
        let _one = self.writing.lock().await;
        let _alone = self.service.alone().await?;
        let (service, recent) = (&self.service, &self.recent);
        let apply = Apply { service, recent, target, key, done: Vec::new() };
        let done = match action {
            Action::Assign { exclude, .. } if !exclude.is_empty() => Err(Fault::permanent(
                "a deployment has no exclusions: exclude members in the collection's own rules",
            )),
            Action::Assign { install: Install::AvailableWithoutEnrollment, .. } => {
                Err(Fault::permanent("configmgr has no deployment 'available without enrollment'"))
            }
            Action::Assign { app, install, include, remove, .. } => {
                let ci = belongs(target, app)?;
                apply.assign(Change { ci, install: *install, include, remove }).await
            }
            Action::Unassign { app, remove } => apply.unassign(belongs(target, app)?, remove).await,
            Action::Comply { devices } => match &target.compliance {
                Some(meant) => comply::comply(service, &self.begun, meant, devices, key).await,
                None => Err(Fault::permanent("the intent has no target.compliance, so there is no remedy")),
            },
        };
        // Also after a failure: some of it may have arrived.
        self.reads.changed();
        done
    }
}

/// An action may touch the target's applications only.
fn belongs(target: &ConfigMgrTarget, app: &str) -> Result<u32, Fault> {
    let known: BTreeSet<u32> = target.replaces.iter().copied().chain([target.ci_id]).collect();
    app.parse().ok().filter(|ci| known.contains(ci)).ok_or_else(|| {
        Fault::bug(format!("the action names the CI '{}', which is not the target's", app.escape_default()))
    })
}

#[async_trait]
impl Plane for ConfigMgr {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.reads.observe(&self.service.at(lane_of(checks)), checks).await;
        answers.into_iter().map(|answer| answer.map_err(|fault| fault.about(&self.name))).collect()
    }

    async fn apply(&self, target: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        let Target::ConfigMgr(target) = target else {
            return Err(Fault::bug(format!("a target of {} was sent to configmgr", target.plane())));
        };
        self.change(target, action, key).await.map_err(|fault| fault.about(&self.name))
    }

    async fn probe(&self) -> Result<String, Fault> {
        let page: parse::Page = self
            .service
            .at(Lane::Urgent)
            .get(&request::first_deployment())
            .await
            .map_err(|f| f.about(&self.name))?;
        let some = if page.value.is_empty() { "no deployment yet" } else { "deployments are readable" };
        Ok(format!("{} answers, {some}", self.service.base))
    }
}
