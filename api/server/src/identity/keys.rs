//! API keys as they are shown and checked: `tuk_<id>_<secret>`.
//!
//! # Guarantees
//! - A secret is 32 bytes from the system's generator. It is shown once, and compared by its SHA-256 in constant time.
//! - What was looked up is remembered for at most [`REMEMBERED`], so that a request costs no round trip: a revocation or a
//!   rotation takes that long to reach every process. The same holds for keys that do not exist, of which a bounded number
//!   is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use trueup_engine::credentials::{Credential, Grant, Role, SecretHash};
use trueup_engine::store::Store;
use trueup_model::Time;

use super::policies::Policies;
use super::principal::{Kind, Principal};
use super::{Access, unauthenticated};
use crate::Problem;

/// How long what was looked up is believed.
pub const REMEMBERED: Duration = Duration::from_secs(5);
/// Ids that are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// How often the last use of a key is written down.
const USED_EVERY: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
/// What every key begins with.
pub const PREFIX: &str = "tuk_";
/// Characters of a bootstrap key, at least.
const MIN_BOOTSTRAP: usize = 32;
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A new key as its owner gets it.
pub(crate) struct Shown {
    pub(crate) id: String,
    /// The whole key.
    pub(crate) key: String,
    pub(crate) hash: SecretHash,
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        tracing::error!("the system gave no random bytes: {e}");
        Problem::bug()
    })?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A key with a new id.
pub(crate) fn generate() -> Result<Shown, Problem> {
    generate_for(hex(&random::<ID_BYTES>()?))
}

/// A new secret for a key.
pub(crate) fn generate_for(id: String) -> Result<Shown, Problem> {
    let secret = hex(&random::<SECRET_BYTES>()?);
    Ok(Shown { key: format!("{PREFIX}{id}_{secret}"), hash: hash(&secret), id })
}

fn hash(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret.as_bytes()).into())
}

fn same(a: &SecretHash, b: &SecretHash) -> bool {
    a.0.ct_eq(&b.0).into()
}

/// A key from a file, for the first requests to a fleet that has no keys yet. Admin of everything; not in the store.
#[derive(Debug, Clone)]
pub struct Bootstrap(SecretHash);

impl Bootstrap {
    /// # Errors
    /// If it is too short to be safe.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        if text.len() < MIN_BOOTSTRAP || text.len() > 512 || !plain {
            return Err(format!(
                "a bootstrap key is {MIN_BOOTSTRAP} to 512 visible ASCII characters; make one with `openssl rand -hex 32`"
            ));
        }
        Ok(Self(hash(text)))
    }

    /// Who sent it, if that is this key.
    pub(super) fn check(&self, token: &str) -> Option<Principal> {
        same(&self.0, &hash(token))
            .then(|| Principal::new(Kind::Key, "bootstrap", vec![Grant::everywhere(Role::Admin)], None))
    }
}

/// What was looked up under an id.
#[derive(Debug, Clone)]
struct Seen {
    at: Instant,
    found: Option<(Arc<Credential>, Access)>,
    used_at: Option<Time>,
}

/// The keys that were asked for lately.
#[derive(Debug, Default)]
pub(super) struct KeyRing(Mutex<HashMap<String, Seen>>);

impl KeyRing {
    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at the next request that uses this key. Other processes notice within [`REMEMBERED`].
    pub(super) fn forget(&self, id: &str) {
        self.seen().remove(id);
    }

    /// Who sent this key.
    pub(super) async fn check(
        &self,
        store: &Arc<dyn Store>,
        policies: &Arc<Policies>,
        token: &str,
        now: Time,
    ) -> Result<Access, Problem> {
        let wrong = || unauthenticated("this API key is not valid: it is unknown, revoked or mistyped");
        let (id, secret) = token.strip_prefix(PREFIX).and_then(|t| t.split_once('_')).ok_or_else(wrong)?;
        let whole = id.len() == 2 * ID_BYTES && secret.len() == 2 * SECRET_BYTES;
        if !whole || !id.bytes().chain(secret.bytes()).all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let (credential, access) = self.find(store, policies, id).await?.ok_or_else(wrong)?;
        let given = hash(secret);
        let before = credential.previous.as_ref().filter(|(_, until)| *until > now).map(|(hash, _)| hash);
        // Both are always compared.
        let fits = same(&credential.secret, &given) | before.is_some_and(|hash| same(hash, &given));
        if !fits || credential.revoked_at.is_some() {
            return Err(wrong());
        }
        if let Some(at) = credential.ended_at(now) {
            return Err(unauthenticated(&format!(
                "this API key expired at {}; make another one with `trueup key create`",
                at.to_rfc3339()
            )));
        }
        self.note_use(store, id, now);
        Ok(access)
    }

    async fn find(
        &self,
        store: &Arc<dyn Store>,
        policies: &Arc<Policies>,
        id: &str,
    ) -> Result<Option<(Arc<Credential>, Access)>, Problem> {
        if let Some(seen) = self.seen().get(id).filter(|s| s.at.elapsed() < REMEMBERED) {
            return Ok(seen.found.clone());
        }
        let found = store.credentials().credential(id).await?.map(|c| {
            let principal = Principal::new(Kind::Key, &c.id, c.grants.clone(), c.expires_at);
            let access = Access::new(principal, policies.clone());
            (Arc::new(c), access)
        });
        let mut all = self.seen();
        if all.len() >= MAX_REMEMBERED {
            all.retain(|_, s| s.at.elapsed() < REMEMBERED);
        }
        if all.len() >= MAX_REMEMBERED {
            // Somebody tries ids: those that exist stay.
            all.retain(|_, s| s.found.is_some());
        }
        let used_at = all.get(id).and_then(|s| s.used_at);
        let used_at = used_at.or(found.as_ref().and_then(|(c, _)| c.last_used_at));
        all.insert(id.to_owned(), Seen { at: tokio::time::Instant::now(), found: found.clone(), used_at });
        Ok(found)
    }

    /// Writes the use down, once in a while and beside the request.
    fn note_use(&self, store: &Arc<dyn Store>, id: &str, now: Time) {
        {
            let mut all = self.seen();
            let Some(seen) = all.get_mut(id) else { return };
            if seen.used_at.is_some_and(|at| now - at < USED_EVERY) {
                return;
            }
            seen.used_at = Some(now);
        }
        let (store, id) = (store.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(e) = store.credentials().credential_used(&id, now).await {
                tracing::debug!(key = id, "its use was not written down: {e}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_random_and_not_shown_by_accident() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a.key, b.key);
        assert_eq!(a.key.len(), PREFIX.len() + 16 + 1 + 64);
        let secret = a.key.rsplit('_').next().unwrap();
        assert!(same(&a.hash, &hash(secret)) && !same(&a.hash, &b.hash));
        assert_eq!(format!("{:?}", a.hash), "SecretHash(…)");
    }

    #[test]
    fn a_bootstrap_key_is_long_enough_and_exact() {
        for wrong in ["", "short", "thirty-two characters with space", &"x".repeat(513)] {
            assert!(Bootstrap::new(wrong).is_err(), "{wrong}");
        }
        let key = Bootstrap::new(" 0123456789abcdef0123456789abcdef\n").unwrap();
        assert!(key.check("0123456789abcdef0123456789abcdef").is_some());
        for wrong in ["", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcdef0"] {
            assert!(key.check(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{key:?}").contains("0123456789abcdef"));
    }
}
