//! The HTTP side: which site a request belongs to, faults on demand, the login, the control, and the wire.
//!
//! `/AdminService/…` is the service, `/{tenant}/oauth2/v2.0/token` the login, `/_sim/tenants/{t}/{mischief|troubles}`
//! the control.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, post};
use axum::{Json, Router};
use trueup_model::SharedClock;

use super::mischief::ConfigMgrMischief;
use super::route::{Asked, Link, Reply, refuse};
use super::site::ConfigMgrSite;
use super::{ConfigMgrOptions, login};
use crate::trouble::{Planned, Trouble};

/// Largest body that is read, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct World {
    options: ConfigMgrOptions,
    sites: RwLock<BTreeMap<String, Arc<ConfigMgrSite>>>,
}

/// A login, an AdminService, and any number of sites, one per tenant. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConfigMgrSimulator(Arc<World>);

impl ConfigMgrSimulator {
    pub fn new(clock: SharedClock) -> Self {
        Self::with(ConfigMgrOptions::new(clock))
    }

    pub fn with(options: ConfigMgrOptions) -> Self {
        Self(Arc::new(World { options, sites: RwLock::default() }))
    }

    /// The site of that tenant, empty at first.
    pub fn tenant(&self, name: &str) -> Arc<ConfigMgrSite> {
        let mut sites = self.0.sites.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(ConfigMgrSite::new(name, self.0.options.clone()));
        sites.entry(name.to_owned()).or_insert_with(new).clone()
    }

    fn find(&self, name: &str) -> Option<Arc<ConfigMgrSite>> {
        self.0.sites.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/_sim/tenants/{tenant}/mischief", post(mischief))
            .route("/_sim/tenants/{tenant}/troubles", post(trouble).delete(no_trouble))
            .route("/_sim/tenants/{tenant}/tokens", delete(revoke))
            .fallback(answer)
            .with_state(self.clone())
    }

    /// Serves until `shutdown` ends.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await
    }
}

type Refused = (StatusCode, String);

fn site(simulator: &ConfigMgrSimulator, name: &str) -> Result<Arc<ConfigMgrSite>, Refused> {
    simulator
        .find(name)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("no tenant '{}'", name.escape_default())))
}

async fn mischief(
    State(simulator): State<ConfigMgrSimulator>,
    Path(name): Path<String>,
    Json(what): Json<ConfigMgrMischief>,
) -> Result<StatusCode, Refused> {
    let done = site(&simulator, &name)?.mischief(&what);
    done.map(|()| StatusCode::NO_CONTENT).map_err(|why| (StatusCode::NOT_FOUND, why))
}

async fn trouble(
    State(simulator): State<ConfigMgrSimulator>,
    Path(name): Path<String>,
    Json(planned): Json<Planned>,
) -> Result<StatusCode, Refused> {
    site(&simulator, &name)?.trouble(planned);
    Ok(StatusCode::NO_CONTENT)
}

async fn no_trouble(
    State(simulator): State<ConfigMgrSimulator>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refused> {
    site(&simulator, &name)?.no_more_trouble();
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(
    State(simulator): State<ConfigMgrSimulator>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refused> {
    site(&simulator, &name)?.revoke_tokens();
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(State(simulator): State<ConfigMgrSimulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return wire(refuse(413, "The request is too large."));
    };
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let asked = format!("{} {path}{}{query}", parts.method, if query.is_empty() { "" } else { "?" });
    if let Some(name) = path.strip_suffix("/oauth2/v2.0/token") {
        return login(&simulator, name.trim_start_matches('/'), &asked, &header("content-type"), &body).await;
    }
    let Some(path) = path.strip_prefix("/AdminService/") else { return wire(Reply::empty(404)) };
    // Tokens name their site; that is how one address serves all of them.
    let bearer = header("authorization");
    let bearer = bearer.strip_prefix("Bearer ").unwrap_or_default();
    let owner = bearer.strip_prefix("sim-cm.").and_then(|t| t.rsplit_once('.')).map(|(name, _)| name);
    let Some(site) = owner.and_then(|name| simulator.find(name)) else { return wire(Reply::empty(401)) };
    let good = site.is_good(bearer);
    if let Some((status, body)) = site.instead(&asked) {
        return raw(status, body);
    }
    let trouble = site.take_trouble(&asked, false);
    let reply = if !good || trouble == Some(Trouble::Unauthorized) {
        Reply::empty(401)
    } else {
        site.serve(&Asked {
            method: parts.method.as_str(),
            path,
            query,
            origin: &format!("{}://{}", simulator.0.options.scheme, header("host")),
            content_type: &header("content-type"),
            body: &body,
            page: simulator.0.options.page,
            link: match trouble {
                Some(Trouble::ForeignNextLink) => Link::Foreign,
                Some(Trouble::CircularNextLink) => Link::Circular,
                Some(Trouble::LoopingNextLink) => Link::Looping,
                _ => Link::Right,
            },
        })
    };
    troubled(trouble, reply).await
}

async fn login(simulator: &ConfigMgrSimulator, name: &str, asked: &str, kind: &str, body: &[u8]) -> Response {
    let Some(site) = simulator.find(name) else {
        return wire(login::refuse(400, "invalid_request", "AADSTS90002: Tenant not found."));
    };
    let trouble = site.take_trouble(asked, true);
    troubled(trouble, login::token(&site, kind, body)).await
}

async fn troubled(trouble: Option<Trouble>, reply: Reply) -> Response {
    match trouble {
        Some(Trouble::Html) => raw(200, b"<!DOCTYPE html><html><body>Please sign in.</body></html>".to_vec()),
        Some(Trouble::Empty) => raw(200, Vec::new()),
        Some(Trouble::Huge(bytes)) => raw(200, vec![b' '; usize::try_from(bytes).unwrap_or_default()]),
        Some(Trouble::HalfJson) => {
            let whole = reply.body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
            raw(200, whole[..whole.len() / 2].to_vec())
        }
        Some(Trouble::Throttle { retry_after }) => {
            let mut response = wire(Reply::empty(429));
            if let Some(value) = retry_after.and_then(|t| t.parse().ok()) {
                response.headers_mut().insert("retry-after", value);
            }
            response
        }
        Some(Trouble::Status(status @ (401 | 403))) => wire(Reply::empty(status)),
        Some(Trouble::Status(status)) => wire(refuse(status, "An error has occurred.")),
        Some(Trouble::Delay(ms)) => {
            wait(std::time::Duration::from_millis(ms)).await;
            wire(reply)
        }
        Some(Trouble::Drop) => {
            let pieces =
                [Ok(Bytes::from_static(b"{\"value\":[")), Err(std::io::Error::other("dropped on demand"))];
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        _ => wire(reply),
    }
}

#[expect(clippy::disallowed_methods, reason = "being late is what was asked for")]
async fn wait(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

fn wire(reply: Reply) -> Response {
    raw(reply.status, reply.body.map(|b| b.to_string().into_bytes()).unwrap_or_default())
}

fn raw(status: u16, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status.try_into().unwrap_or_default();
    let kind = axum::http::HeaderValue::from_static("application/json; odata.metadata=minimal");
    response.headers_mut().insert("content-type", kind);
    response
}
