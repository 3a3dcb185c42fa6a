//! OIDC bearer tokens: signed by an issuer whose keys are fetched from it.
//!
//! # Guarantees
//! - A token is believed only if its signature fits a key of the issuer (`signatures.rs`), and `iss`, `aud`, `exp` and `nbf`
//!   hold by the clock that decisions use, give or take [`SKEW`].
//! - The issuer away or slow: tokens whose key is known are checked all the same, without waiting; the others get 503. Nothing is
//!   let in unchecked.
//! - Who sends tokens cannot make this process call the issuer more than once in [`keys::ASK_EVERY`].

mod keys;

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use trueup_engine::credentials::Grant;
use trueup_model::Time;

use super::principal::{Kind, Principal};
use super::{signatures, unauthenticated};
use crate::Problem;
use keys::Keys;

/// How far clocks may be apart.
const SKEW: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
/// Grants read from one token.
const MAX_GRANTS: usize = 256;

/// What tokens must be.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// As it stands in `iss`; the keys are found through its discovery document.
    pub issuer: String,
    /// As it stands in `aud`.
    pub audience: String,
    /// The claim with the grants (`tenant:role`, one or a list). Dots lead into objects: `resource_access.trueup.roles`.
    pub grants_claim: String,
}

/// The issuer, and what is known of its keys.
#[derive(Debug)]
pub struct Oidc {
    options: OidcOptions,
    keys: Arc<Keys>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<Value>,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl Oidc {
    /// # Errors
    /// If the issuer is no `https` URL (`http` for one on this host), or TLS cannot be set up.
    pub fn new(options: OidcOptions) -> Result<Self, String> {
        signatures::install();
        for (name, value) in [("audience", &options.audience), ("grants claim", &options.grants_claim)] {
            if value.is_empty() {
                return Err(format!("the OIDC {name} is empty"));
            }
        }
        let keys = Arc::new(Keys::new(&options.issuer)?);
        Ok(Self { options, keys })
    }

    /// Fetches the issuer's keys, so that a wrong configuration shows at start.
    ///
    /// # Errors
    /// What was wrong; not final, since the issuer may only be away.
    pub async fn warm_up(&self) -> Result<(), String> {
        self.keys.refresh().await
    }

    /// Who sent this token.
    pub(super) async fn check(&self, token: &str, now: Time) -> Result<Principal, Problem> {
        let wrong = |why: &str| unauthenticated(&format!("this bearer token is not valid: {why}"));
        let header = decode_header(token).map_err(|_| wrong("it is no signed JWT of a known algorithm"))?;
        let family = signatures::family(header.alg).ok_or_else(|| {
            wrong(&format!("it is signed with {:?}; RS256, PS256, ES256 and EdDSA are accepted", header.alg))
        })?;
        if header.crit.is_some() {
            return Err(wrong("it has critical headers that are not understood"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg, family).await?;
        let mut validation = Validation::new(header.alg);
        validation.algorithms = vec![header.alg];
        validation.set_audience(&[&self.options.audience]);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Time is checked below: it comes from the clock that decisions use.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let claims: Claims = decode(token, &key, &validation)
            .map_err(|e| {
                wrong(&format!(
                    "{e}; expected issuer {} and audience {}",
                    self.options.issuer, self.options.audience
                ))
            })?
            .claims;
        // The library accepts a list of issuers; OIDC knows one.
        if claims.iss.as_ref().and_then(Value::as_str) != Some(self.options.issuer.as_str()) {
            return Err(wrong(&format!("expected issuer {}", self.options.issuer)));
        }
        let at = |seconds: f64| Time::from_timestamp_millis((seconds * 1000.0) as i64);
        let expires_at = claims.exp.and_then(at).ok_or_else(|| wrong("it has no readable expiry (exp)"))?;
        if expires_at + SKEW <= now {
            return Err(wrong(&format!(
                "it expired at {}; get another one from the issuer",
                expires_at.to_rfc3339()
            )));
        }
        if let Some(seconds) = claims.nbf {
            let from = at(seconds).ok_or_else(|| wrong("its nbf cannot be read"))?;
            if now + SKEW < from {
                return Err(wrong(&format!(
                    "it holds from {} on, and here it is {}; compare the clocks",
                    from.to_rfc3339(),
                    now.to_rfc3339()
                )));
            }
        }
        let name = claims.sub.filter(|s| !s.is_empty()).ok_or_else(|| wrong("it names nobody (sub)"))?;
        let grants = grants(&claims.rest, &self.options.grants_claim);
        Ok(Principal::new(Kind::Oidc, &name, grants, Some(expires_at)))
    }
}

/// The grants that a claim holds. What is none of ours (other roles of the same issuer) is passed over.
fn grants(claims: &serde_json::Map<String, Value>, name: &str) -> Vec<Grant> {
    let within = || {
        let mut path = name.split('.');
        let first = claims.get(path.next()?)?;
        path.try_fold(first, |value, step| value.get(step))
    };
    let values: Vec<&str> = match claims.get(name).or_else(within) {
        Some(Value::String(text)) => text.split([' ', ',']).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut grants: Vec<Grant> = values.into_iter().take(MAX_GRANTS).filter_map(|v| v.parse().ok()).collect();
    grants.sort();
    grants.dedup();
    grants
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn grants_are_found_where_the_claim_says() {
        let table = [
            (
                json!({"trueup": ["acme:viewer", "*:admin", "acme:viewer"]}),
                "trueup",
                vec!["*:admin", "acme:viewer"],
            ),
            (
                json!({"trueup": "acme:viewer globex:operator"}),
                "trueup",
                vec!["acme:viewer", "globex:operator"],
            ),
            (
                json!({"https://trueup.dev/grants": ["a:viewer"]}),
                "https://trueup.dev/grants",
                vec!["a:viewer"],
            ),
            (json!({"a": {"b": ["x:viewer", "offline_access", 7, null]}}), "a.b", vec!["x:viewer"]),
            (json!({"a": {"b": {"x": "y:admin"}}}), "a.b", vec![]),
            (json!({}), "trueup", vec![]),
        ];
        for (claims, name, expected) in table {
            let found = grants(claims.as_object().unwrap(), name);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{claims}");
        }
    }
}
