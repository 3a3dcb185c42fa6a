//! Jamf Pro: policies by the Classic API, inventory by the Jamf Pro API.
//!
//! Reads whom policies reach, which versions computers report, and who is in a failing group; changes scopes of policies
//! and has failing computers join the group that mends them. Not verified against the vendor's service: against its
//! documented behaviour, recorded shapes, and a simulator that is as strict as both.
//!
//! # Guarantees
//! A policy is read, changed, written and read again within one call of `apply`, by one worker of the fleet at a time. Jamf
//! Pro has no conditional write, so a person may undo our entries of a policy at that moment, or we theirs: what is not there
//! when it is read again is written again, and what was lost after that is found by the next look. A scope is sent
//! whole, with everybody else's entries and limitations; a limitation or exclusion that Jamf Pro did not keep, and that
//! writing again would not bring back, is a fault. Nothing that Jamf Pro masks is ever sent. Doing an action again does no
//! more than the first time.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::job::Check;
use trueup_model::target::{JamfCompliance, JamfTarget};
use trueup_model::{Action, Budget, Duration, EffectKey, Fault, Observed, Receipt, SharedClock, Target};

use crate::broker::{Lane, lane_of};
use crate::http::{Hints, Http, HttpOptions, base_url};
use crate::secret::SecretRef;
use crate::{Broker, ConfigError, Plane, Secrets};

mod api;
pub mod group;
pub mod inventory;
mod observe;
pub mod policy;
pub mod request;
pub mod scope;
mod token;
pub mod xml;

use api::Api;
use observe::Reads;
use scope::{Wanted, lost, merge, restorable};
use token::{Credential, Tokens};

const HINTS: Hints = Hints {
    unauthorized: "check client_id and client_secret (or username and password) of the connection, and that the API client or account is enabled",
    forbidden: "check that the API role may read computers, policies, smart and static computer groups, and update policies and static computer groups",
};
/// Calls at once that Jamf Pro bears.
const CONNECTIONS: u32 = 5;
/// Seconds in which `quota` calls are made at most.
const WINDOW_S: u32 = 60;
/// Computers that one action may have join a group.
const MAX_COMPUTERS: usize = 200;

/// A connection to one Jamf Pro. Privileges of the API role or account: read Computers, Policies, Smart and Static Computer
/// Groups; update Policies and Static Computer Groups.
///
/// Give `client_id` with its secret (API client, OAuth), or `username` with its password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JamfConfig {
    /// For people, unique.
    pub name: String,
    /// Whose intents it serves.
    pub tenant: String,
    /// The server, e.g. `https://contoso.jamfcloud.com`.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// A file that holds the client secret. With `client_id`: exactly one of this and `client_secret_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds the client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A file that holds the password. With `username`: exactly one of this and `password_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// Computers per page of the inventory, 1 to 2000. Default 100. A page must not have more than 16 MiB.
    #[serde(default = "page_size")]
    pub page_size: u32,
    /// What was read serves other checks for this long, in seconds. Default 225, as for Intune.
    #[serde(default = "reuse_seconds")]
    pub reuse_seconds: u32,
    /// Most calls that the whole fleet makes through this connection in any minute. Default 600: Jamf publishes no limit,
    /// and asks to be gentle.
    #[serde(default = "quota")]
    pub quota: u32,
}

fn page_size() -> u32 {
    100
}
fn reuse_seconds() -> u32 {
    225
}
fn quota() -> u32 {
    600
}

impl JamfConfig {
    fn credential(&self, secrets: &dyn Secrets) -> Result<Credential, ConfigError> {
        let invalid = |why: &str| Err(ConfigError::Invalid(why.into()));
        match (&self.client_id, &self.username) {
            (Some(id), None) => {
                if self.password_file.is_some() || self.password_env.is_some() {
                    return invalid("password_file and password_env go with username, not with client_id");
                }
                let (file, env) = (self.client_secret_file.as_ref(), self.client_secret_env.as_ref());
                let secret = secrets.read(&SecretRef::one_of("client_secret", file, env)?)?;
                Ok(Credential::Client { id: id.clone(), secret })
            }
            (None, Some(name)) => {
                if self.client_secret_file.is_some() || self.client_secret_env.is_some() {
                    return invalid(
                        "client_secret_file and client_secret_env go with client_id, not with username",
                    );
                }
                let (file, env) = (self.password_file.as_ref(), self.password_env.as_ref());
                let password = secrets.read(&SecretRef::one_of("password", file, env)?)?;
                Ok(Credential::Account { name: name.clone(), password })
            }
            _ => invalid("give either client_id (OAuth) or username (an account)"),
        }
    }
}

#[derive(Debug)]
pub struct Jamf {
    /// `connection 'contoso-jamf'`, for whoever reads a fault at night.
    name: String,
    api: Api,
    reads: Reads,
    /// One write at a time for this connection in this process: two that read the same scope would undo each other.
    writing: tokio::sync::Mutex<()>,
}

impl Jamf {
    pub fn new(
        config: &JamfConfig,
        clock: SharedClock,
        secrets: &dyn Secrets,
        broker: Arc<dyn Broker>,
    ) -> Result<Self, ConfigError> {
        let url = base_url("url", &config.url)?;
        if !(1..=request::MAX_PAGE_SIZE).contains(&config.page_size) {
            return Err(ConfigError::Invalid(format!("page_size: must be 1 to {}", request::MAX_PAGE_SIZE)));
        }
        if config.quota == 0 {
            return Err(ConfigError::Invalid("quota: must be at least one call per minute".into()));
        }
        let credential = config.credential(secrets)?;
        let base: Arc<str> = url.as_str().trim_end_matches('/').into();
        let options = HttpOptions {
            clock,
            connection: config.name.clone(),
            budgets: vec![Budget::new(request::CALLS, config.quota, WINDOW_S)],
            at_most: Some(CONNECTIONS),
            ca: None,
            plain: url.scheme() == "http",
            cookies: true,
            hints: HINTS,
        };
        let http = Arc::new(Http::new(options, broker)?);
        let tokens = Tokens::new(http.clone(), &base, credential)
            .map_err(|why| ConfigError::Invalid(format!("url: {why}")))?;
        let page_size = config.page_size;
        Ok(Self {
            name: format!("connection '{}'", config.name),
            api: Api { http, tokens: Arc::new(tokens), base, lane: Lane::Write, page_size },
            reads: Reads::new(Duration::seconds(i64::from(config.reuse_seconds))),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Read, change, write.
    async fn rescope(&self, id: u32, wanted: &Wanted<'_>) -> Result<Receipt, Fault> {
        let _one = self.writing.lock().await;
        // The whole of it is repeated, not the write alone: who knows what it met the first time.
        crate::retry::transient(|| self.rescope_once(id, wanted))
            .await
            .map_err(|fault| fault.about(&format!("policy {id}")))
    }

    async fn rescope_once(&self, id: u32, wanted: &Wanted<'_>) -> Result<Receipt, Fault> {
        let _alone = self.api.http.alone(&format!("policy {id}")).await?;
        let current = self.api.find_once(&request::policy(id), policy::read).await?;
        let current = current.ok_or_else(|| Fault::permanent("does not exist in Jamf Pro"))?;
        let Some(change) = merge(&current, wanted).map_err(Fault::permanent)? else {
            let note = format!("policy {id} is as wanted already");
            return Ok(Receipt { note, changed: false });
        };
        let request = request::put_policy(id, &change.element).map_err(Fault::bug)?;
        let sent = self.api.write_once(&request).await;
        // Also after a failure: it may have arrived.
        self.reads.rescoped(id);
        let status = sent?;
        let parts: Vec<&str> = change.element.children.iter().map(|part| &*part.name).collect();
        let mut note = format!("{status} from PUT policies/id/{id}: {} changed", parts.join(", "));
        // A limitation that a write lost lets the policy reach more people: that must not wait for the next look.
        match self.api.find_once(&request::policy(id), policy::read).await {
            Ok(Some(now)) => {
                if let Some(what) = lost(&change.next, &now) {
                    if restorable(&change.next, &now, wanted) {
                        return Err(Fault::transient(format!(
                            "{note}, but it was not as sent when read again: {what}; somebody else may have written it at the same time"
                        )));
                    }
                    return Err(Fault::permanent(format!(
                        "{note}, but Jamf Pro did not keep all that was sent: {what}; look at the policy's scope"
                    )));
                }
            }
            Ok(None) => note.push_str("; gone when it was read again"),
            Err(fault) => note.push_str(&format!("; could not be read again: {fault}")),
        }
        Ok(Receipt { note, changed: true })
    }

    /// Has failing computers join the group whose policy mends them. Who is a member already stays one.
    async fn comply(&self, meant: &JamfCompliance, devices: &[String]) -> Result<Receipt, Fault> {
        if devices.len() > MAX_COMPUTERS {
            let n = devices.len();
            return Err(Fault::permanent(format!("{n} computers in one action, at most {MAX_COMPUTERS}")));
        }
        let ids = devices.iter().map(|d| d.parse::<u64>()).collect::<Result<Vec<_>, _>>();
        let ids =
            ids.map_err(|_| Fault::bug("the action names a computer by something that is no number"))?;
        let _one = self.writing.lock().await;
        crate::retry::transient(|| self.comply_once(meant, &ids)).await
    }

    async fn comply_once(&self, meant: &JamfCompliance, ids: &[u64]) -> Result<Receipt, Fault> {
        let (failing, remedy) = (meant.failing_group, meant.remedy_group);
        let _alone = self.api.http.alone(&format!("group {remedy}")).await?;
        let group = |id: u32, field: &'static str| async move {
            let found = self.api.find_once(&request::group(id), group::read).await;
            let none = || {
                let what =
                    format!("does not exist: create it in Jamf Pro or correct target.compliance.{field}");
                Fault::permanent(what)
            };
            found.and_then(|g| g.ok_or_else(none)).map_err(|f| f.about(&format!("computer group {id}")))
        };
        let now_failing = group(failing, "failing_group").await?;
        let members = group(remedy, "remedy_group").await?;
        if members.smart {
            return Err(Fault::permanent(format!(
                "computer group {remedy} ({}) is a smart group: nobody can join it; name a static group in target.compliance.remedy_group",
                members.name
            )));
        }
        // Who complies meanwhile, or is deleted, does not join: one computer that is gone would refuse all of them.
        let (still, rest): (Vec<u64>, Vec<u64>) =
            ids.iter().partition(|id| now_failing.members.contains_key(id));
        let joining: Vec<u64> =
            still.iter().copied().filter(|id| !members.members.contains_key(id)).collect();
        let fine = rest.len();
        if joining.is_empty() {
            let there = still.len();
            let note =
                format!("{there} computers are in group {remedy} already, {fine} do not fail any more");
            return Ok(Receipt { note, changed: false });
        }
        let request = request::put_group(remedy, &group::additions(&joining)).map_err(Fault::bug)?;
        let status =
            self.api.write_once(&request).await.map_err(|f| f.about(&format!("computer group {remedy}")))?;
        let (new, old) = (joining.len(), still.len() - joining.len());
        let note = format!(
            "{status} from PUT computergroups/id/{remedy}: {new} computers joined, {old} were there, {fine} do not fail any more"
        );
        Ok(Receipt { note, changed: true })
    }
}

/// An action may touch the target's policies only.
fn belongs(target: &JamfTarget, app: &str) -> Result<u32, Fault> {
    let mut known = std::iter::once(&target.policy_id).chain(&target.replaces);
    let id = app.parse().ok().filter(|id| known.any(|k| k == id));
    id.ok_or_else(|| {
        let app = app.escape_default();
        Fault::bug(format!("the action names policy '{app}', which is not the target's"))
    })
}

#[async_trait]
impl Plane for Jamf {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.reads.observe(&self.api.at(lane_of(checks)), checks).await;
        answers.into_iter().map(|answer| answer.map_err(|fault| fault.about(&self.name))).collect()
    }

    async fn apply(&self, target: &Target, action: &Action, _: &EffectKey) -> Result<Receipt, Fault> {
        let Target::Jamf(target) = target else {
            return Err(Fault::bug(format!("a target of {} was sent to jamf", target.plane())));
        };
        let done = match action {
            Action::Assign { app, install, include, exclude, remove } => {
                let wanted = Wanted {
                    install: Some(*install),
                    include: Some(include),
                    exclude: Some(exclude),
                    remove: Some(remove),
                };
                self.rescope(belongs(target, app)?, &wanted).await
            }
            Action::Unassign { app, remove } => {
                let wanted = Wanted { remove: Some(remove), ..Wanted::default() };
                self.rescope(belongs(target, app)?, &wanted).await
            }
            Action::Comply { devices } => match &target.compliance {
                Some(meant) => self.comply(meant, devices).await,
                None => Err(Fault::permanent("the target has no `compliance`: add it to the intent")),
            },
        };
        done.map_err(|fault| fault.about(&self.name))
    }

    async fn probe(&self) -> Result<String, Fault> {
        let version = self.api.version().await?;
        Ok(format!("{} answers, Jamf Pro {version}", self.api.base))
    }
}
