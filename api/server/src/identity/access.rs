//! What the one who asks may do. The middleware puts it beside the request; a handler takes it as an extractor.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::policies::{Policies, Verdict};
use super::{Permission, Principal};
use crate::{ApiState, Problem};

/// Tenants whose decisions are remembered. Beyond, they are made anew.
const MAX_REMEMBERED: usize = 10_000;

/// Cheap to clone. Remembers its decisions: they depend on nothing that changes while it lives.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    actor: String,
    principal: Principal,
    policies: Arc<Policies>,
    /// By tenant (the fleet: `*`, which no tenant is called): permissions that were decided, and those that are permitted.
    decided: Mutex<HashMap<String, (u16, u16)>>,
}

impl Access {
    pub fn new(principal: Principal, policies: Arc<Policies>) -> Self {
        Self(Arc::new(Inner { actor: principal.actor(), principal, policies, decided: Mutex::default() }))
    }

    /// Somebody on this host, where the API serves without authentication.
    pub fn local() -> Self {
        Self::new(Principal::local(), Policies::shipped())
    }

    /// All that they were granted, in one text.
    pub(crate) fn grants(&self) -> String {
        let mut grants: Vec<String> = self.0.principal.grants.iter().map(ToString::to_string).collect();
        grants.sort();
        grants.join(" ")
    }

    /// As it stands in events: from where, and who.
    pub fn actor(&self) -> &str {
        &self.0.actor
    }

    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Whether it is permitted. For the fleet as a whole, the tenant is `None`.
    pub fn may(&self, permission: Permission, tenant: Option<&str>) -> bool {
        let (bit, name) = (1u16 << permission as u16, tenant.unwrap_or("*"));
        let known = self.decided().get(name).copied().filter(|(known, _)| known & bit != 0);
        if let Some((_, permitted)) = known {
            return permitted & bit != 0;
        }
        let permitted = self.0.policies.decide(&self.0.principal, permission, tenant) == Verdict::Permitted;
        let mut decided = self.decided();
        if decided.len() < MAX_REMEMBERED || decided.contains_key(name) {
            let entry = decided.entry(name.to_owned()).or_default();
            entry.0 |= bit;
            entry.1 |= if permitted { bit } else { 0 };
        }
        permitted
    }

    fn decided(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u16, u16)>> {
        self.0.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses with the missing permission. For the fleet as a whole, the tenant is `None`.
    pub fn require(&self, permission: Permission, tenant: Option<&str>) -> Result<(), Problem> {
        if self.may(permission, tenant) { Ok(()) } else { Err(self.denial(permission, tenant)) }
    }

    /// Whether they may read what is of this tenant; what is of none (queues, workers) belongs to the fleet. Lists leave out
    /// the rest.
    pub fn sees(&self, tenant: &str) -> bool {
        match tenant {
            "" => self.may(Permission::ReadFleet, None),
            tenant => self.may(Permission::Read, Some(tenant)),
        }
    }

    /// The tenants that their grants name; nothing if they have one for all. Lists are about these: what a policy permits beside
    /// the grants can be read by name.
    pub fn tenants(&self) -> Option<BTreeSet<String>> {
        self.0.principal.grants.iter().map(|g| g.tenant.clone()).collect()
    }

    /// 403: which permission is missing, where, and who has it.
    fn denial(&self, permission: Permission, tenant: Option<&str>) -> Problem {
        let place = tenant.map_or("the fleet (grant on *)".to_owned(), |t| {
            format!("tenant '{}'", t.chars().take(128).collect::<String>().escape_default())
        });
        let roles = self.0.policies.roles_with(permission, tenant);
        let roles: Vec<&str> = roles.into_iter().map(|r| r.as_str()).collect();
        let who = match roles.as_slice() {
            [] => "no role has it".to_owned(),
            roles => format!("it comes with {}", roles.join(", ")),
        };
        let why = match self.0.policies.decide(&self.0.principal, permission, tenant) {
            Verdict::Forbidden(policies) => format!("forbidden by policy: {}; ", policies.join(", ")),
            _ => String::new(),
        };
        let detail = format!(
            "{} lacks the permission '{permission}' on {place}; {why}{who}; `trueup whoami` shows what you may, an admin can \
             make a key with more",
            self.0.actor
        );
        tracing::info!(actor = self.actor(), %permission, tenant = tenant.unwrap_or("*"), "denied");
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not permitted", detail)
    }
}

impl FromRequestParts<ApiState> for Access {
    type Rejection = Problem;

    /// Only the middleware says who asks; a request that it did not see is nobody's.
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::bug)
    }
}
