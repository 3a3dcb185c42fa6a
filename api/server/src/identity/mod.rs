//! Who asks, and what they may.
//!
//! # Guarantees
//! - A handler that concerns a tenant asks [`Access`] before it reads or changes anything of that tenant; what somebody may
//!   not see is not there for them: it is not found, and not counted.
//! - Every route has a rule (`rules.rs`) that is enforced before its handler runs; a route without one is refused.
//! - One place decides: the Cedar policies in `policies.cedar` and those that were added at start.
//! - Who cannot be known is refused: 401 if the proof is wrong or missing, 503 if it cannot be checked now.

mod access;
mod keys;
mod oidc;
mod permission;
mod policies;
mod principal;
pub mod rules;
mod signatures;
mod source;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use trueup_engine::store::Store;
use trueup_model::Time;

use crate::Problem;

pub use access::Access;
pub use keys::{Bootstrap, PREFIX as KEY_PREFIX, REMEMBERED};
pub(crate) use keys::{generate, generate_for};
pub use oidc::{Oidc, OidcOptions};
pub use permission::Permission;
pub use policies::{Policies, SCHEMA, SHIPPED, Verdict};
pub use principal::{Kind, Principal};

/// Beside an answer that holds a secret: it is for the caller alone, so nobody keeps it to give it again (`idempotency::SECRET`
/// says why there are two marks).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secret;

/// Bytes of a token.
const MAX_TOKEN: usize = 16 * 1024;

/// How this process knows who asks.
#[derive(Debug)]
pub struct Identity {
    policies: Arc<Policies>,
    ring: keys::KeyRing,
    bootstrap: Option<Bootstrap>,
    oidc: Option<Oidc>,
    /// Who sends nothing is a program on this host and may do everything.
    open: Option<Access>,
}

impl Identity {
    /// For loopback: who proves nothing may do everything.
    pub fn open(policies: Arc<Policies>) -> Self {
        let open = Some(Access::new(Principal::local(), policies.clone()));
        Self { policies, ring: Default::default(), bootstrap: None, oidc: None, open }
    }

    /// Everybody proves who they are.
    pub fn required(policies: Arc<Policies>) -> Self {
        Self { open: None, ..Self::open(policies) }
    }

    #[must_use]
    pub fn with_bootstrap(mut self, key: Option<Bootstrap>) -> Self {
        self.bootstrap = key;
        self
    }

    #[must_use]
    pub fn with_oidc(mut self, oidc: Option<Oidc>) -> Self {
        self.oidc = oidc;
        self
    }

    /// Whether who proves nothing is let in.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Looks at a key anew at its next use.
    pub(crate) fn forget(&self, key: &str) {
        self.ring.forget(key);
    }

    /// Who sends this request.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        store: &Arc<dyn Store>,
        now: Time,
    ) -> Result<Access, Problem> {
        let Some(token) = token(headers)? else {
            return self.open.clone().ok_or_else(|| {
                unauthenticated("send an API key or a bearer token: `Authorization: Bearer …` (make a key with `trueup key create`)")
            });
        };
        if let Some(principal) = self.bootstrap.as_ref().and_then(|b| b.check(&token)) {
            return Ok(Access::new(principal, self.policies.clone()));
        }
        if token.starts_with(KEY_PREFIX) {
            return self.ring.check(store, &self.policies, &token, now).await;
        }
        match &self.oidc {
            Some(oidc) => Ok(Access::new(oidc.check(&token, now).await?, self.policies.clone())),
            None => Err(unauthenticated(
                "this is no API key (they begin with tuk_), and this server takes no OIDC tokens (`serve --oidc-issuer`)",
            )),
        }
    }
}

/// What was sent as proof: a bearer token, or an API key as the password of Basic authentication, which is how a browser asks
/// for one.
fn token(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let wrong =
        |why: &str| Err(unauthenticated(&format!("the Authorization header {why}; expected `Bearer …`")));
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return wrong("stands twice");
    }
    let Some((scheme, rest)) = value.to_str().ok().and_then(|v| v.trim().split_once(' ')) else {
        return wrong("cannot be read");
    };
    let rest = rest.trim();
    if rest.is_empty() || rest.len() > MAX_TOKEN {
        return wrong("is empty or too long");
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return wrong("has an unknown scheme");
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok();
    let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((_, key)) => Ok(Some(key.to_owned())),
        None => wrong("cannot be read"),
    }
}

/// 401: who asks is not known.
fn unauthenticated(why: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Who asks is not known", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_or_refused() {
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        let table = [
            (vec![], Ok(None)),
            (vec!["Bearer abc".to_owned()], Ok(Some("abc"))),
            (vec!["bearer   abc ".to_owned()], Ok(Some("abc"))),
            (vec![basic("me:tuk_1_2")], Ok(Some("tuk_1_2"))),
            (vec![basic("no colon")], Err(())),
            (vec!["Bearer".to_owned()], Err(())),
            (vec!["Bearer ".to_owned()], Err(())),
            (vec!["Digest abc".to_owned()], Err(())),
            (vec!["Basic ???".to_owned()], Err(())),
            (vec![format!("Bearer {}", "x".repeat(MAX_TOKEN + 1))], Err(())),
            (vec!["Bearer a".to_owned(), "Bearer b".to_owned()], Err(())),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let found = token(&headers).map_err(|p| assert_eq!(p.status, 401));
            assert_eq!(found, expected.map(|t: Option<&str>| t.map(str::to_owned)), "{values:?}");
        }
    }
}
