//! Microsoft Intune, through Microsoft Graph v1.0.
//!
//! Reads assignments, detected versions and device compliance; assigns, unassigns, and asks devices to check in.
//! Not verified against the vendor's service: against its published schema (CSDL), its documented examples, and a
//! simulator that is as strict as both.
//!
//! # Guarantees
//! `assign` replaces the whole set on the server, so it is always read, changed and written, within one call of `apply`;
//! what others assigned is sent back as it came. Doing an action again does no more than the first time.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::job::Check;
use trueup_model::target::{IntuneTarget, is_guid};
use trueup_model::{Action, Duration, EffectKey, Fault, Observed, Receipt, SharedClock, Target};

use crate::broker::{Lane, lane_of};
use crate::http::{Hints, Http, HttpOptions, base_url};
use crate::secret::SecretRef;
use crate::{Broker, ConfigError, Plane, Secrets};

pub mod assign;
mod devices;
pub(crate) mod doubt;
mod graph;
mod loads;
mod observe;
pub mod parse;
mod quota;
pub mod request;
pub(crate) mod snapshot;
mod token;
mod weigh;

use assign::{Wanted, merge};
use graph::{Graph, ItemFault};
use observe::Reads;
pub use quota::Quota;
use token::Tokens;

const HINTS: Hints = Hints {
    unauthorized: "check client_id, client_secret and directory_tenant of the connection, and that the secret has not expired",
    forbidden: "check that the application has the permission and an admin consented",
};
/// Devices that one action may ask to check in.
const MAX_DEVICES: usize = 200;

/// A connection to one directory's Intune. Permissions of the application registration:
/// `DeviceManagementApps.ReadWrite.All`, `DeviceManagementManagedDevices.Read.All`,
/// `DeviceManagementManagedDevices.PrivilegedOperations.All`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntuneConfig {
    /// For people, unique.
    pub name: String,
    /// Whose intents it serves.
    pub tenant: String,
    /// The Entra directory: a GUID or a domain.
    pub directory_tenant: String,
    pub client_id: String,
    /// A file that holds the client secret. Exactly one of this and `client_secret_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<std::path::PathBuf>,
    /// The environment variable that holds the client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_env: Option<String>,
    /// Default `https://graph.microsoft.com/v1.0`.
    #[serde(default = "graph_url")]
    pub graph_url: String,
    /// Default `https://login.microsoftonline.com`.
    #[serde(default = "login_url")]
    pub login_url: String,
    /// What was read serves other checks for this long, in seconds. Default 225: a quarter of the shortest interval
    /// between two checks of an intent (critical, 15 minutes), so that no check is judged by data that is much older
    /// than the check itself. A look that somebody asked for, or that verifies an action, always reads anew.
    #[serde(default = "reuse_seconds")]
    pub reuse_seconds: u32,
    #[serde(default)]
    pub quota: Quota,
}

fn graph_url() -> String {
    "https://graph.microsoft.com/v1.0".into()
}
fn login_url() -> String {
    "https://login.microsoftonline.com".into()
}
fn reuse_seconds() -> u32 {
    225
}

#[derive(Debug)]
pub struct Intune {
    /// `connection 'contoso-intune'`, for whoever reads a fault at night.
    name: String,
    graph: Graph,
    reads: Reads,
    /// One write at a time for this connection: two that read the same set would undo each other.
    writing: tokio::sync::Mutex<()>,
}

impl Intune {
    pub fn new(
        config: &IntuneConfig,
        clock: SharedClock,
        secrets: &dyn Secrets,
        broker: Arc<dyn Broker>,
    ) -> Result<Self, ConfigError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        if config.directory_tenant.is_empty() || !config.directory_tenant.bytes().all(plain) {
            let why = "directory_tenant: must be the directory's GUID or one of its domains";
            return Err(ConfigError::Invalid(why.into()));
        }
        let base = base_url("graph_url", &config.graph_url)?;
        let login = base_url("login_url", &config.login_url)?;
        let field = "client_secret";
        let source =
            SecretRef::one_of(field, config.client_secret_file.as_ref(), config.client_secret_env.as_ref())?;
        let secret = secrets.read(&source)?;
        let token_url =
            format!("{}/{}/oauth2/v2.0/token", login.as_str().trim_end_matches('/'), config.directory_tenant);
        let token_url = base_url("login_url", &token_url)?;
        let options = HttpOptions {
            clock,
            connection: config.name.clone(),
            budgets: config.quota.budgets(),
            at_most: None,
            ca: None,
            plain: base.scheme() == "http" && login.scheme() == "http",
            cookies: false,
            hints: HINTS,
        };
        let http = Arc::new(Http::new(options, broker)?);
        let tokens = Arc::new(Tokens::new(http.clone(), token_url, &config.client_id, secret));
        let reuse = Duration::seconds(i64::from(config.reuse_seconds));
        Ok(Self {
            name: format!("connection '{}'", config.name),
            graph: Graph { http, tokens, base, lane: Lane::Write },
            reads: Reads::new(reuse),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Read, change, write.
    async fn assign(&self, app: &str, wanted: &Wanted<'_>, key: &EffectKey) -> Result<Receipt, Fault> {
        let _one = self.writing.lock().await;
        let current: Vec<Value> = self.graph.list(&request::assignments_of(app)).await?;
        let set =
            merge(&current, wanted).map_err(|why| Fault::permanent(format!("mobileApp {app}: {why}")))?;
        let Some(set) = set else {
            return Ok(Receipt {
                note: format!("the assignments of {app} are as wanted already"),
                changed: false,
            });
        };
        let (before, after) = (current.len(), set.len());
        let sent = self.graph.send(&request::assign(app, set), Some(key)).await;
        // Also after a failure: it may have arrived.
        self.reads.assigned(app);
        let status = sent.map_err(|fault| assign::explain(fault, &current, wanted))?;
        let note =
            format!("{status} from POST mobileApps/{app}/assign: {before} assignments before, {after} now");
        Ok(Receipt { note, changed: true })
    }

    /// Asks devices to check in. Asking twice is as good as once.
    async fn sync(&self, devices: &[String], key: &EffectKey) -> Result<Receipt, Fault> {
        if devices.is_empty() {
            return Ok(Receipt { note: "no devices named, none asked to check in".into(), changed: false });
        }
        if devices.len() > MAX_DEVICES {
            return Err(Fault::permanent(format!(
                "{} devices in one action, at most {MAX_DEVICES}",
                devices.len()
            )));
        }
        let items: Vec<_> = devices.iter().map(|d| request::sync_device(d)).collect();
        let (mut asked, mut gone, mut refused) = (0, 0, None::<Fault>);
        for answer in self.graph.batch(&items, Some(key)).await {
            match answer {
                Ok(_) => asked += 1,
                Err(ItemFault::Absent(_)) => gone += 1,
                // To wait, or to try again, concerns the whole action: it is repeated.
                Err(ItemFault::Other(
                    fault @ (Fault::Throttled { .. } | Fault::Away { .. } | Fault::Transient { .. }),
                )) => {
                    return Err(fault);
                }
                Err(ItemFault::Other(fault)) => refused = Some(fault),
            }
        }
        match refused {
            Some(fault) if asked == 0 => Err(fault),
            _ if asked == 0 => Err(Fault::permanent("none of the devices exists any more")),
            _ => {
                let not = devices.len() - asked;
                let note = format!("{asked} devices asked to check in, {not} not ({gone} no longer exist)");
                Ok(Receipt { note, changed: true })
            }
        }
    }
}

/// An action may touch the target's applications only.
fn belongs(target: &IntuneTarget, app: &str) -> Result<(), Fault> {
    let mut known = std::iter::once(&target.app_id).chain(&target.replaces);
    if is_guid(app) && known.any(|id| id.eq_ignore_ascii_case(app)) {
        return Ok(());
    }
    Err(Fault::bug(format!(
        "the action names mobileApp '{}', which is not the target's",
        app.escape_default()
    )))
}

#[async_trait]
impl Plane for Intune {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.reads.observe(&self.graph.at(lane_of(checks)), checks).await;
        answers.into_iter().map(|answer| answer.map_err(|fault| fault.about(&self.name))).collect()
    }

    async fn apply(&self, target: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        let Target::Intune(target) = target else {
            return Err(Fault::bug(format!("a target of {} was sent to intune", target.plane())));
        };
        self.reads.touched(&target.app_name);
        let done = match action {
            Action::Assign { app, install, include, exclude, remove } => {
                belongs(target, app)?;
                let wanted = Wanted {
                    install: *install,
                    include: Some(include),
                    exclude: Some(exclude),
                    remove: Some(remove),
                };
                self.assign(app, &wanted, key).await
            }
            Action::Unassign { app, remove } => {
                belongs(target, app)?;
                self.assign(app, &Wanted { remove: Some(remove), ..Wanted::default() }, key).await
            }
            Action::Comply { devices } => self.sync(devices, key).await,
        };
        done.map_err(|fault| fault.about(&self.name))
    }

    async fn probe(&self) -> Result<String, Fault> {
        let page: parse::Page<Value> = self.graph.get(&request::first_app()).await?;
        let some = if page.value.is_empty() { "no application yet" } else { "applications are readable" };
        Ok(format!("{} answers, {some}", self.graph.base))
    }
}
