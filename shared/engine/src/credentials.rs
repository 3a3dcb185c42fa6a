//! API keys: who may ask the API, for what, and how that is told from a secret that nobody keeps.
//!
//! # Guarantees
//! - The store knows the SHA-256 of a secret, never the secret; neither is in an event, a message or a `Debug`. A secret has
//!   256 random bits, so a slow hash would add nothing.
//! - Each change is one atomic operation with its audit event (`KEY_CREATED`, `KEY_ROTATED`, `KEY_REVOKED`), in partition 0.
//! - Nothing here grows: at most [`MAX_CREDENTIALS`]; what ended is forgotten [`KEPT_DAYS`] after, when the next is made.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::{Event, EventId, EventKind, Time};

use crate::EngineError;
use crate::store::By;

type Result<T> = std::result::Result<T, EngineError>;

/// Keys that a fleet can have, those that ended lately included.
pub const MAX_CREDENTIALS: usize = 2_000;
/// Days for which a key is still listed that was revoked or has expired.
pub const KEPT_DAYS: i64 = 30;
/// Grants of one key.
pub const MAX_GRANTS: usize = 64;
/// Characters of a label.
pub const MAX_LABEL: usize = 100;
/// Bytes of a tenant's name.
const MAX_TENANT: usize = 128;

/// What somebody is in a tenant. What a role permits is decided by policy, not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Approver,
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role in one tenant, or in all of them and the fleet itself: `acme:operator`, `*:admin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// Nothing: every tenant, and what belongs to none.
    pub tenant: Option<String>,
    pub role: Role,
}

impl Grant {
    /// A role everywhere.
    pub fn everywhere(role: Role) -> Self {
        Self { tenant: None, role }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant.as_deref().unwrap_or("*"), self.role)
    }
}

impl FromStr for Grant {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || {
            "expected TENANT:ROLE or *:ROLE; the roles are viewer, operator, approver and admin".to_owned()
        };
        let (tenant, role) = text.rsplit_once(':').ok_or_else(wrong)?;
        let role = Role::ALL.into_iter().find(|r| r.as_str() == role).ok_or_else(wrong)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let named = !tenant.is_empty() && tenant.len() <= MAX_TENANT && tenant.bytes().all(plain);
        match tenant {
            "*" => Ok(Self { tenant: None, role }),
            _ if named => Ok(Self { tenant: Some(tenant.to_owned()), role }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Grant {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

/// SHA-256 of a secret. Not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// An API key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The public part of the key.
    pub id: String,
    /// What it is for, in the words of whoever made it.
    pub label: String,
    pub grants: Vec<Grant>,
    pub created_at: Time,
    pub created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    pub secret: SecretHash,
    /// The secret before the last rotation, and until when it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<(SecretHash, Time)>,
    /// Coarse: written once a minute at most. Kept beside the rest.
    #[serde(skip)]
    pub last_used_at: Option<Time>,
}

impl Credential {
    /// When it ended, if it has.
    pub fn ended_at(&self, now: Time) -> Option<Time> {
        [self.revoked_at, self.expires_at.filter(|t| *t <= now)].into_iter().flatten().min()
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_history(&self, now: Time) -> bool {
        self.ended_at(now).is_some_and(|t| now - t > chrono::TimeDelta::days(KEPT_DAYS))
    }

    /// What it becomes; nothing if it has ended.
    pub(crate) fn changed(&self, change: &KeyChange, now: Time) -> Option<Self> {
        if self.ended_at(now).is_some() {
            return None;
        }
        let mut new = self.clone();
        match change {
            KeyChange::Rotate { secret, grace_until, expires_at } => {
                new.previous = grace_until.filter(|t| *t > now).map(|t| (self.secret.clone(), t));
                (new.secret, new.rotated_at, new.expires_at) = (secret.clone(), Some(now), *expires_at);
            }
            KeyChange::Revoke => (new.revoked_at, new.previous) = (Some(now), None),
        }
        Some(new)
    }
}

/// What can happen to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// Another secret, and another end; the secret before is accepted until then.
    Rotate {
        secret: SecretHash,
        grace_until: Option<Time>,
        expires_at: Option<Time>,
    },
    Revoke,
}

impl KeyChange {
    pub(crate) fn event(&self) -> EventKind {
        match self {
            Self::Rotate { .. } => EventKind::KeyRotated,
            Self::Revoke => EventKind::KeyRevoked,
        }
    }
}

#[async_trait]
pub trait Credentials: Send + Sync {
    /// By id; one that has ended is there for a while.
    async fn credential(&self, id: &str) -> Result<Option<Credential>>;
    /// All, by id.
    async fn all_credentials(&self) -> Result<Vec<Credential>>;
    /// False if the id is taken, or there are [`MAX_CREDENTIALS`] already.
    async fn create_credential(&self, new: &Credential, by: &By) -> Result<bool>;
    /// What it became; nothing if there is none, or it has ended.
    async fn change_credential(&self, id: &str, change: &KeyChange, by: &By) -> Result<Option<Credential>>;
    /// Remembers when it was used.
    async fn credential_used(&self, id: &str, at: Time) -> Result<()>;
}

/// The audit event. It belongs to a tenant if the key does.
pub(crate) fn event(kind: EventKind, key: &Credential, by: &By) -> Event {
    let mut tenants = key.grants.iter().map(|g| g.tenant.as_deref());
    let first = tenants.next().flatten();
    let tenant = first.filter(|t| tenants.all(|other| other == Some(t))).unwrap_or_default();
    let at = by.now.to_rfc3339();
    let id = EventId::derive(&["key", kind.as_str(), &key.id, by.correlation_id.as_str(), &at]);
    let data = serde_json::json!({
        "key": key.id, "label": key.label, "grants": key.grants, "expires_at": key.expires_at,
        "previous_until": key.previous.as_ref().map(|(_, until)| until),
    });
    by.event(id, kind, tenant, data)
}

/// What no store accepts.
pub(crate) fn check(new: &Credential) -> Result<()> {
    let id = !new.id.is_empty() && new.id.len() <= 64 && new.id.bytes().all(|b| b.is_ascii_alphanumeric());
    if id && new.label.chars().count() <= MAX_LABEL && (1..=MAX_GRANTS).contains(&new.grants.len()) {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "a key has an id of letters and digits, a label of at most {MAX_LABEL} characters, and 1 to {MAX_GRANTS} grants"
    )))
}

/// For stores that keep no keys: there are none.
pub(crate) struct NoCredentials;

#[async_trait]
impl Credentials for NoCredentials {
    async fn credential(&self, _: &str) -> Result<Option<Credential>> {
        Ok(None)
    }
    async fn all_credentials(&self) -> Result<Vec<Credential>> {
        Ok(Vec::new())
    }
    async fn create_credential(&self, _: &Credential, _: &By) -> Result<bool> {
        Err(EngineError::Refused("this store keeps no API keys".into()))
    }
    async fn change_credential(&self, _: &str, _: &KeyChange, _: &By) -> Result<Option<Credential>> {
        Ok(None)
    }
    async fn credential_used(&self, _: &str, _: Time) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_or_refused() {
        for text in ["acme:viewer", "*:admin", "a.b-c_d:approver"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "acme",
            "acme:",
            ":viewer",
            "acme:root",
            "a b:viewer",
            "**:admin",
            "a\n:viewer",
            "a:b:viewer",
        ] {
            assert!(text.parse::<Grant>().is_err(), "{text:?}");
        }
    }
}
