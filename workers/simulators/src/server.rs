//! The HTTP side: which tenant a request belongs to, faults on demand, and the wire.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use trueup_model::SharedClock;

use crate::graph::{self, Asked, Reply};
use crate::tenant::Tenant;
use crate::trouble::Trouble;
use crate::{Options, control, login};

/// Largest body that is read, in bytes (Graph's own limit for JSON).
const MAX_BODY: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct World {
    options: Options,
    tenants: RwLock<BTreeMap<String, Arc<Tenant>>>,
}

/// A login, a Graph, and any number of tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Simulator(Arc<World>);

impl Simulator {
    pub fn new(clock: SharedClock) -> Self {
        Self::with(Options::new(clock))
    }

    pub fn with(options: Options) -> Self {
        Self(Arc::new(World { options, tenants: RwLock::default() }))
    }

    /// The tenant of that name, empty at first.
    pub fn tenant(&self, name: &str) -> Arc<Tenant> {
        if let Some(tenant) = self.find(name) {
            return tenant;
        }
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Tenant::new(name, self.0.options.clone()));
        tenants.entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Tenant>> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// `/v1.0/…` is Graph, `/{tenant}/oauth2/v2.0/token` the login, `/_sim/…` the control.
    pub fn router(&self) -> Router {
        Router::new().nest("/_sim", control::router()).fallback(answer).with_state(self.clone())
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

/// A request, read whole.
struct Incoming {
    method: String,
    path: String,
    query: String,
    host: String,
    content_type: String,
    bearer: Option<String>,
    request_id: Option<String>,
    body: Bytes,
}

async fn answer(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return wire(graph::refuse(413, "RequestEntityTooLarge", "The request is too large."), None);
    };
    let request = Incoming {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        host: header("host").unwrap_or_else(|| "localhost".into()),
        content_type: header("content-type").unwrap_or_default(),
        bearer: header("authorization").and_then(|a| a.strip_prefix("Bearer ").map(str::to_owned)),
        request_id: header("client-request-id"),
        body,
    };
    if let Some(name) = request.path.strip_suffix("/oauth2/v2.0/token") {
        return login(&simulator, name.trim_start_matches('/'), &request).await;
    }
    if request.path == "/v1.0" || request.path.starts_with("/v1.0/") {
        return serve_graph(&simulator, &request).await;
    }
    wire(graph::refuse(400, "BadRequest", "Invalid version."), None)
}

async fn login(simulator: &Simulator, name: &str, request: &Incoming) -> Response {
    let Some(tenant) = simulator.find(name) else {
        let (status, body) = login::unknown_tenant(name);
        return wire(Reply::json(status, body), None);
    };
    let asked = format!("{} {}", request.method, request.path);
    let trouble = tenant.take_trouble(&asked, false, true);
    let reply = if request.method == "POST" {
        let (status, body) = login::token(&tenant, &request.content_type, &request.body);
        Reply::json(status, body)
    } else {
        graph::refuse(405, "MethodNotAllowed", "POST only.")
    };
    troubled(trouble, reply).await
}

async fn serve_graph(simulator: &Simulator, request: &Incoming) -> Response {
    // Tokens name their tenant; that is how one address serves all of them.
    let owner =
        request.bearer.as_deref().and_then(|t| t.strip_prefix("sim.")?.split('.').next().map(str::to_owned));
    let tenant = owner.and_then(|name| simulator.find(&name));
    let Some(tenant) = tenant else {
        return wire(graph::unauthorized("Access token is empty or malformed."), None);
    };
    tenant.count_request();
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let asked = format!("{} {}{query}", request.method, request.path);
    let trouble = tenant.take_trouble(&asked, false, false);
    let reply = match request.bearer.as_deref().and_then(|t| tenant.client_of(t)) {
        _ if trouble == Some(Trouble::Unauthorized) => graph::unauthorized("Lifetime validation failed."),
        None => graph::unauthorized("Lifetime validation failed, the token is expired."),
        Some(client) => graph::serve(
            &tenant,
            &Asked {
                method: &request.method,
                path: request.path.strip_prefix("/v1.0").unwrap_or_default(),
                query: &request.query,
                origin: &format!("http://{}", request.host),
                content_type: &request.content_type,
                body: &request.body,
                client: &client,
                key: request.request_id.as_deref(),
                in_batch: false,
                link: match trouble {
                    Some(Trouble::ForeignNextLink) => graph::LinkStyle::Foreign,
                    Some(Trouble::CircularNextLink) => graph::LinkStyle::Circular,
                    Some(Trouble::LoopingNextLink) => graph::LinkStyle::Looping,
                    _ => graph::LinkStyle::Right,
                },
            },
        ),
    };
    let mut response = match trouble {
        Some(Trouble::Huge(bytes)) => huge(bytes, tenant.huge.clone()),
        trouble => troubled(trouble, reply).await,
    };
    if let Some(id) = request.request_id.as_deref().and_then(|id| id.parse().ok()) {
        response.headers_mut().insert("client-request-id", id);
    }
    response
}

async fn troubled(trouble: Option<Trouble>, reply: Reply) -> Response {
    match trouble {
        Some(Trouble::Html) => {
            let page =
                "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>";
            wire(reply, Some((200, "text/html", page.as_bytes().to_vec())))
        }
        Some(Trouble::Empty) => wire(reply, Some((200, "application/json", Vec::new()))),
        Some(Trouble::HalfJson) => {
            let whole = reply.body.as_ref().map(ToString::to_string).unwrap_or_default().into_bytes();
            let half = whole[..whole.len() / 2].to_vec();
            wire(reply, Some((200, "application/json", half)))
        }
        Some(Trouble::Throttle { retry_after }) => wire(graph::too_many(retry_after), None),
        Some(Trouble::Status(status)) => {
            wire(graph::refuse(status, "UnknownError", "An error has occurred."), None)
        }
        Some(Trouble::Delay(ms)) => {
            wait(Duration::from_millis(ms)).await;
            wire(reply, None)
        }
        Some(Trouble::Drop) => {
            let pieces =
                [Ok(Bytes::from_static(b"{\"value\":[")), Err(std::io::Error::other("dropped on demand"))];
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        _ => wire(reply, None),
    }
}

/// A page that is right JSON, made while it is taken.
fn huge(bytes: u64, taken: Arc<AtomicU64>) -> Response {
    const PIECE: &[u8] = &[b' '; 64 * 1024];
    let pieces = (0..bytes.div_ceil(PIECE.len() as u64)).map(move |_| {
        taken.fetch_add(PIECE.len() as u64, Ordering::Relaxed);
        Bytes::from_static(PIECE)
    });
    let (first, last) = (Bytes::from_static(b"{\"value\":["), Bytes::from_static(b"]}"));
    let all = std::iter::once(first).chain(pieces).chain(std::iter::once(last));
    let mut response =
        Response::new(Body::from_stream(futures::stream::iter(all.map(Ok::<_, std::io::Error>))));
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    response
}

#[expect(clippy::disallowed_methods, reason = "being late is what was asked for")]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A reply as it goes over the wire, or something else in its place.
fn wire(reply: Reply, instead: Option<(u16, &'static str, Vec<u8>)>) -> Response {
    let (status, kind, body) = instead.unwrap_or_else(|| {
        let body = reply.body.as_ref().and_then(|b| serde_json::to_vec(b).ok()).unwrap_or_default();
        (reply.status, "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8", body)
    });
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status.try_into().unwrap_or_default();
    if status != 204 {
        response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static(kind));
    }
    for (name, value) in reply.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
