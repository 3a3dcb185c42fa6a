//! What happens around every handler: correlation, guard, timeout, panics, and the final form of errors.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;
use trueup_model::CorrelationId;

use crate::{ApiState, CORRELATION_HEADER, Problem, REQUEST_TIMEOUT, TIME_HEADER, guard, problem};

/// Wraps the whole router. The handler finds its [`CorrelationId`] in the request's extensions.
pub(crate) async fn around(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let correlation = request
        .headers()
        .get(CORRELATION_HEADER)
        .and_then(|v| v.to_str().ok())
        .and_then(CorrelationId::parse)
        .unwrap_or_else(|| state.next_correlation());
    request.extensions_mut().insert(correlation.clone());
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", %method, path, correlation_id = %correlation);

    let response = async {
        let response = match guard::check(request.headers()) {
            Err(problem) => problem.into_response(),
            Ok(()) => guarded(next.run(request)).await,
        };
        let response = finish(response, &method, &path, &correlation);
        log(&response);
        response
    }
    .instrument(span)
    .await;
    stamp(response, &state, &correlation)
}

/// The handler's answer, or a problem if it panics or takes too long.
async fn guarded(run: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let said =
                panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(panic = said.unwrap_or("(not text)"), "a handler panicked");
            Problem::bug().into_response()
        }
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// Gives every error its final form, also those that no handler of ours wrote.
fn finish(mut response: Response, method: &str, path: &str, correlation: &CorrelationId) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let mut problem = response
        .extensions_mut()
        .remove::<Problem>()
        .unwrap_or_else(|| Problem::of_status(status, method, path));
    problem.instance = path.into();
    problem.correlation_id = Some(correlation.clone());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response.extensions_mut().insert(problem);
    response
}

fn log(response: &Response) {
    let status = response.status().as_u16();
    let detail = response.extensions().get::<Problem>().map(|p| p.detail.as_str());
    match detail {
        Some(detail) if status >= 500 => tracing::warn!(status, detail, "request failed"),
        Some(detail) => tracing::debug!(status, detail, "request refused"),
        None => tracing::debug!(status, "request answered"),
    }
}

fn stamp(mut response: Response, state: &ApiState, correlation: &CorrelationId) -> Response {
    let now = state.clock.now().to_rfc3339();
    let headers = response.headers_mut();
    for (name, value) in [(CORRELATION_HEADER, correlation.as_str()), (TIME_HEADER, now.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    // Answers are state, and state changes.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
