//! `GET /metrics`: everything there is to measure, as Prometheus reads it.
//!
//! `trueup serve` shows what this process counts and what the store holds; `trueup work --metrics-listen` shows what that
//! worker counts. Prometheus scrapes both (`deploy/prometheus`).

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use trueup_boot::metrics::{CONTENT_TYPE, of_process};

use crate::{ApiState, guard};

/// How often the store is looked at for a collector when nobody scrapes.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

pub(crate) async fn metrics(State(state): State<ApiState>) -> Response {
    let ours = of_process().text();
    let stores = state.gauges.text(state.store.as_ref(), state.clock.now()).await;
    text(ours + &stores)
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

/// Keeps what is sent over OTLP up to date. Returns at once if nothing is.
pub(crate) async fn keep_looking(state: ApiState) {
    if !state.gauges.exports() {
        return;
    }
    let mut often = tokio::time::interval(LOOK_EVERY);
    loop {
        often.tick().await;
        state.gauges.look(state.store.as_ref(), state.clock.now()).await;
    }
}

/// Serves `/metrics` of a process without an API until `shutdown` resolves. On a loopback address only programs of this
/// host are answered; on another one everybody is.
///
/// # Errors
/// What the socket says.
pub async fn serve_metrics(
    listener: tokio::net::TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let addr: SocketAddr = listener.local_addr()?;
    tracing::info!(%addr, "serving metrics");
    let router = Router::new().route("/metrics", get(|| async { text(of_process().text()) }));
    let local = addr.ip().to_canonical().is_loopback();
    let router = if local { router.layer(from_fn(only_local)) } else { router };
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn only_local(request: Request, next: Next) -> Response {
    match guard::check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
