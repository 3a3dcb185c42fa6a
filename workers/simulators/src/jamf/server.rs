//! The HTTP side: which server a request is for, faults on demand, and the wire.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use trueup_model::SharedClock;

use super::tenant::JamfTenant;
use super::token::{Login, is_login};
use super::trouble::JamfTrouble;
use super::wire::{Asked, Reply, html, refused};
use super::{JamfOptions, classic};

/// Largest body that is read, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// What ties a client to a node of the cluster.
const COOKIE: &str = "APBALANCEID";

#[derive(Debug)]
struct World {
    options: JamfOptions,
    tenants: RwLock<BTreeMap<String, Arc<JamfTenant>>>,
}

/// Any number of Jamf Pros behind one address: `http://host/{tenant}` is the URL of one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JamfSimulator(Arc<World>);

impl JamfSimulator {
    pub fn new(clock: SharedClock) -> Self {
        Self::with(JamfOptions::new(clock))
    }

    pub fn with(options: JamfOptions) -> Self {
        Self(Arc::new(World { options, tenants: RwLock::default() }))
    }

    /// The server of that tenant, empty at first.
    pub fn tenant(&self, name: &str) -> Arc<JamfTenant> {
        if let Some(tenant) = self.find(name) {
            return tenant;
        }
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(JamfTenant::new(name, self.0.options.clone()));
        tenants.entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<JamfTenant>> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// `/{tenant}/JSSResource/…`, `/{tenant}/api/…`, and the control, `/_sim/…`.
    pub fn router(&self) -> Router {
        Router::new().nest("/_sim", super::control::router()).fallback(answer).with_state(self.clone())
    }

    /// Serves until `shutdown` ends.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await
    }

    /// Serves on a free port of this host for as long as the process lives; gives the address, without a tenant.
    pub async fn start(&self) -> std::io::Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let simulator = self.clone();
        tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
        Ok(origin)
    }
}

/// Gives the connection back, also when the client goes away.
struct Connection(Arc<JamfTenant>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

async fn answer(State(simulator): State<JamfSimulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    let (tenant, path) = path.split_once('/').unwrap_or((path, ""));
    let Some(tenant) = simulator.find(tenant) else { return wire(classic::not_found(), None) };
    if !tenant.connect() {
        return wire(html(503, "Service Unavailable", "Too many connections."), None);
    }
    let connection = Connection(tenant.clone());
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return wire(html(413, "Request Entity Too Large", "The request is too large."), None);
    };
    let cookie =
        header("cookie").split(';').find_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix("=node"));
    let node = tenant.node(cookie.and_then(|n| n.parse().ok()));
    let path = format!("/{path}");
    let query = parts.uri.query().unwrap_or_default();
    let login = is_login(&path);
    let url = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
    let trouble = tenant.take_trouble(&format!("{} {url}", parts.method), login);
    let asked = Asked {
        method: parts.method.as_str(),
        path: &path,
        query,
        content_type: header("content-type"),
        accept: header("accept"),
        body: &body,
        node,
        now: tenant.now(),
    };
    let authorization = header("authorization");
    let lie = if let Some(JamfTrouble::LyingTotal(lie)) = trouble { lie } else { 0 };
    let good =
        tenant.is_good(authorization.strip_prefix("Bearer ")) && trouble != Some(JamfTrouble::Unauthorized);
    let reply = if login {
        let Asked { method, path, content_type, body, .. } = asked;
        tenant.login(&Login { path, method, content_type, authorization, body })
    } else if good {
        tenant.serve(&asked, lie)
    } else {
        refusal(&path, 401, "Unauthorized", "INVALID_TOKEN")
    };
    let mut response = troubled(trouble, reply, &path).await;
    let cookie = format!("{COOKIE}=node{node}; Path=/");
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().insert("set-cookie", cookie);
    }
    drop(connection);
    response
}

/// A refusal in the shape of the API that was asked.
fn refusal(path: &str, status: u16, title: &str, code: &str) -> Reply {
    if path.starts_with("/api/") {
        return refused(status, code, "", title);
    }
    html(status, title, "The request requires user authentication or cannot be served.")
}

async fn troubled(trouble: Option<JamfTrouble>, mut reply: Reply, path: &str) -> Response {
    match trouble {
        Some(JamfTrouble::Status(status)) => {
            wire(refusal(path, status, "An error has occurred", "ERROR"), None)
        }
        Some(JamfTrouble::Throttle { status, retry_after }) => {
            let refusal = refusal(path, status, "Too many requests", "TOO_MANY_REQUESTS");
            wire(Reply { retry_after, ..refusal }, None)
        }
        Some(JamfTrouble::Answer { status, content_type, body }) => {
            wire(Reply { status, content_type, body: body.into_bytes(), retry_after: None }, None)
        }
        Some(JamfTrouble::EmptyInventory) => {
            wire(Reply::json(200, serde_json::json!({"totalCount": 0, "results": []})), None)
        }
        Some(JamfTrouble::Half) => {
            reply.body.truncate(reply.body.len() / 2);
            wire(reply, None)
        }
        Some(JamfTrouble::Big(bytes)) => {
            let piece = Bytes::from(vec![b' '; 64 * 1024]);
            let pieces =
                (0..bytes.div_ceil(piece.len())).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
            wire(reply, Some(Body::from_stream(futures::stream::iter(pieces))))
        }
        Some(JamfTrouble::Drop) => {
            let pieces = [Ok(Bytes::from_static(b"<")), Err(std::io::Error::other("dropped on demand"))];
            wire(reply, Some(Body::from_stream(futures::stream::iter(pieces))))
        }
        Some(JamfTrouble::Delay(ms)) => {
            wait(Duration::from_millis(ms)).await;
            wire(reply, None)
        }
        Some(JamfTrouble::Unauthorized | JamfTrouble::LyingTotal(_)) | None => wire(reply, None),
    }
}

#[expect(clippy::disallowed_methods, reason = "being late is what was asked for")]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

fn wire(reply: Reply, instead: Option<Body>) -> Response {
    let mut response = Response::new(instead.unwrap_or_else(|| Body::from(reply.body)));
    *response.status_mut() = reply.status.try_into().unwrap_or_default();
    let headers = [("content-type", Some(reply.content_type)), ("retry-after", reply.retry_after)];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|v| v.parse().ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
