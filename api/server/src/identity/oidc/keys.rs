//! The issuer's keys: fetched when one is unknown, kept while the issuer is away.
//!
//! # Guarantees
//! Who comes with a known key never waits for the issuer: keys that are old are fetched anew behind the answer. Only where a key
//! is unknown, or too old to be believed, the issuer is asked first.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;

use super::super::{signatures, unauthenticated};
use crate::Problem;

/// The issuer is asked no more often.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(10);
/// Keys are fetched anew by the first use after so long…
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// …and not believed any more after so long without an answer, since a key may have been withdrawn.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3600);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a document of the issuer, and keys read from it.
const MAX_DOCUMENT: usize = 1024 * 1024;
const MAX_KEYS: usize = 64;

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: Arc<DecodingKey>,
}

#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    fetched: Option<Instant>,
}

/// How the last try went.
struct Tried {
    at: Instant,
    failure: Option<String>,
}

impl Tried {
    /// Whether the issuer may be asked again.
    fn is_over(&self) -> bool {
        self.at.elapsed() >= ASK_EVERY
    }
}

pub(super) struct Keys {
    issuer: String,
    http: reqwest::Client,
    known: RwLock<Known>,
    /// Held while the issuer is asked, so that one asks for all.
    tried: Mutex<Option<Tried>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Whether keys may be fetched from there: nobody can change them on the way.
fn trustworthy(url: &str) -> Result<reqwest::Url, String> {
    let parsed = reqwest::Url::parse(url).map_err(|e| format!("'{url}' is not a URL: {e}"))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if parsed.scheme() == "https" || (parsed.scheme() == "http" && local) {
        return Ok(parsed);
    }
    Err(format!("'{url}' is not https; keys from there could be anybody's"))
}

impl Keys {
    pub(super) fn new(issuer: &str) -> Result<Self, String> {
        trustworthy(issuer)?;
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("cannot set up HTTP for the OIDC issuer: {e}"))?;
        Ok(Self { issuer: issuer.to_owned(), http, known: RwLock::default(), tried: Mutex::default() })
    }

    /// The key that a token says it was signed with.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        family: AlgorithmFamily,
    ) -> Result<Arc<DecodingKey>, Problem> {
        if let (Some(key), Some(age)) = self.look(id, algorithm, family).await
            && age < BELIEVED_FOR
        {
            if age >= FRESH_FOR {
                self.refresh_behind();
            }
            return Ok(key);
        }
        let failure = self.ask().await;
        let (key, age) = self.look(id, algorithm, family).await;
        match (key, failure) {
            (Some(key), _) if age.is_some_and(|age| age < BELIEVED_FOR) => Ok(key),
            (_, Some(why)) => Err(self.away(&why)),
            (_, None) => Err(unauthenticated(
                "this bearer token is not valid: the issuer has no such key (kid); get another token from the issuer",
            )),
        }
    }

    async fn look(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        family: AlgorithmFamily,
    ) -> (Option<Arc<DecodingKey>>, Option<Duration>) {
        let known = self.known.read().await;
        let mut fitting = known.keys.iter().filter(|k| {
            k.key.family() == family
                && k.algorithm.is_none_or(|a| a == algorithm)
                && id.is_none_or(|id| k.id.as_deref() == Some(id))
        });
        let first = fitting.next();
        // Without an id, there must be no choice.
        let only = first.filter(|_| id.is_some() || fitting.next().is_none());
        (only.map(|k| k.key.clone()), known.fetched.map(|at| at.elapsed()))
    }

    /// Has the issuer asked while the caller goes on, unless somebody is at it or just was.
    fn refresh_behind(self: &Arc<Self>) {
        if self.tried.try_lock().is_ok_and(|tried| tried.as_ref().is_none_or(Tried::is_over)) {
            let keys = self.clone();
            tokio::spawn(async move { keys.ask().await });
        }
    }

    /// Asks the issuer unless somebody just did; says how it failed.
    async fn ask(&self) -> Option<String> {
        let mut tried = self.tried.lock().await;
        if let Some(last) = tried.as_ref().filter(|t| !t.is_over()) {
            return last.failure.clone();
        }
        let failure = self.fetch().await.err();
        if let Some(why) = &failure {
            tracing::warn!(issuer = self.issuer, why, "the OIDC issuer's keys could not be fetched");
        }
        *tried = Some(Tried { at: tokio::time::Instant::now(), failure: failure.clone() });
        failure
    }

    pub(super) async fn refresh(&self) -> Result<(), String> {
        self.ask().await.map_or(Ok(()), Err)
    }

    fn away(&self, why: &str) -> Problem {
        let detail = format!(
            "the token cannot be checked, since the keys of its issuer {} cannot be fetched ({why}); ask again in {} s; an API key \
             works meanwhile, and whoever runs this server looks whether it reaches the issuer",
            self.issuer,
            ASK_EVERY.as_secs()
        );
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "issuer-unavailable",
            "The identity issuer is not available",
            detail,
        )
    }

    async fn fetch(&self) -> Result<(), String> {
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Value = self.get(&discovery).await?;
        if document["issuer"].as_str() != Some(self.issuer.as_str()) {
            return Err(format!("{discovery} is about another issuer"));
        }
        let url = document["jwks_uri"].as_str().ok_or_else(|| format!("{discovery} names no jwks_uri"))?;
        let set: Value = self.get(url).await?;
        let keys: Vec<Key> =
            set["keys"].as_array().into_iter().flatten().take(MAX_KEYS).filter_map(usable).collect();
        if keys.is_empty() {
            return Err(format!("{url} has no key for RS256, PS256, ES256 or EdDSA"));
        }
        *self.known.write().await = Known { keys, fetched: Some(tokio::time::Instant::now()) };
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let at = |what: &dyn std::fmt::Display| format!("{url}: {what}");
        let mut response = self.http.get(trustworthy(url)?).send().await.map_err(|e| at(&root(&e)))?;
        if !response.status().is_success() {
            return Err(at(&response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| at(&root(&e)))? {
            if body.len() + chunk.len() > MAX_DOCUMENT {
                return Err(at(&"the document is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|e| at(&e))
    }
}

/// The cause that says most.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        last = e.to_string();
        source = e.source();
    }
    last
}

/// A key that can check a signature of ours; nothing for those of other kinds and uses.
fn usable(tree: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(tree.clone()).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let algorithm = match jwk.common.key_algorithm {
        None => None,
        Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        Some(KeyAlgorithm::PS256) => Some(Algorithm::PS256),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(_) => return None,
    };
    let fits = signatures::ALLOWED.into_iter().filter_map(signatures::family).any(|f| f == key.family());
    fits.then(|| Key { id: jwk.common.key_id, algorithm, key: Arc::new(key) })
}
