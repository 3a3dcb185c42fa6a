//! Whether who follows may still read: asked anew as long as they do.
//!
//! # Guarantees
//! - A stream ends when the proof it was opened with ends: at its expiry, and within [`super::ASK`] and the time that keys are
//!   remembered ([`crate::identity::REMEMBERED`]) when it is revoked, its secret was replaced, or its grants are others.
//! - It is judged as a request would be. Keys are remembered, and few ask at once ([`super::ASKING`]), so that thousands who follow
//!   with one key cost one look at the store.
//! - While the store does not answer, whoever was let in stays, but not beyond the expiry.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use trueup_engine::store::Store;
use trueup_model::SharedClock;

use super::Live;
use crate::ApiState;
use crate::identity::{Access, Identity, Kind};

/// The proof that a stream was opened with.
pub(crate) struct Standing {
    identity: Arc<Identity>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    /// Only what proves who asks.
    proof: HeaderMap,
    access: Access,
}

impl Standing {
    pub(crate) fn of(state: &ApiState, headers: &HeaderMap, access: Access) -> Self {
        let mut proof = HeaderMap::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            proof.append(header::AUTHORIZATION, value.clone());
        }
        let (identity, store) = (state.identity.clone(), state.store.clone());
        Self { identity, store, clock: state.clock.clone(), proof, access }
    }

    /// Comes back when they may not read any more, with why.
    pub(super) async fn lost(mut self, live: &Live) -> String {
        // A program on this host proves nothing.
        if self.access.principal().kind == Kind::Local {
            return std::future::pending().await;
        }
        loop {
            let _ = tokio::time::timeout(self.pause(live.pace.ask), std::future::pending::<()>()).await;
            if let Some(why) = self.look(live).await {
                return why;
            }
        }
    }

    /// Until the next look: at the expiry, if that is sooner.
    fn pause(&self, ask: Duration) -> Duration {
        let left = self.access.principal().expires_at.and_then(|at| (at - self.clock.now()).to_std().ok());
        left.filter(|left| !left.is_zero()).map_or(ask, |left| left.min(ask))
    }

    async fn look(&mut self, live: &Live) -> Option<String> {
        let now = self.clock.now();
        let (kind, expires_at) = (self.access.principal().kind, self.access.principal().expires_at);
        let expired = expires_at.filter(|at| *at <= now);
        // All that a token says stands in it.
        if kind == Kind::Oidc && expired.is_none() {
            return None;
        }
        let _turn = live.asking.acquire().await;
        // On the heap, and only now: what waits between two looks is small.
        match Box::pin(self.identity.authenticate(&self.proof, &self.store, now)).await {
            Ok(access) if access.principal().grants != self.access.principal().grants => {
                Some("what this proof grants has changed".into())
            }
            Ok(access) => {
                // Its expiry may be another one.
                self.access = access;
                None
            }
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED.as_u16() => Some(problem.detail),
            Err(problem) => {
                tracing::debug!(actor = self.access.actor(), why = problem.detail, "not asked anew");
                expired.map(|at| format!("the proof expired at {}", at.to_rfc3339()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
