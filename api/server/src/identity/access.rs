//! What the one who asks may do. The middleware puts it beside the request; a handler takes it as an extractor.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Permission;
use crate::{ApiState, Problem};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    actor: Arc<str>,
}

impl Access {
    /// Somebody on this host, where the API serves without authentication.
    pub fn local() -> Self {
        Self { actor: "api:local".into() }
    }

    /// As it stands in events: who, and from where.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Refuses with the missing permission. For the fleet as a whole, the tenant is `None`.
    pub fn require(&self, _permission: Permission, _tenant: Option<&str>) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether they may read what is of this tenant. Lists leave out the rest.
    pub fn sees(&self, tenant: &str) -> bool {
        self.require(Permission::Read, Some(tenant)).is_ok()
    }
}

impl FromRequestParts<ApiState> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::local))
    }
}
