//! What happens around every handler: correlation, identity, timeouts, panics, security headers, and the final form of errors.

mod admission;
mod reading;

use std::panic::AssertUnwindSafe;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use trueup_model::CorrelationId;

use crate::{ApiState, CORRELATION_HEADER, MAX_BODY, Problem, REQUEST_TIMEOUT, TIME_HEADER, problem, trace};

/// What an answer that is no page may load: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// What our pages (reference, board) may load: what this server serves, and what stands in the page itself. No other host.
const PAGES: &str = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; \
                     form-action 'self'; frame-ancestors 'none'";

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
    let traced = trace::begin(&request, &correlation);

    let response = async {
        let reading = reading::Reading::default();
        let announced = request.body().size_hint().lower();
        let mut request = reading.watch(request);
        let run = async {
            if announced > MAX_BODY as u64 {
                return too_large();
            }
            match admission::admit(&state, &mut request).await {
                Ok(()) => next.run(request).await,
                Err(refusal) => refusal,
            }
        };
        let response = guarded(run, &reading).await;
        let response = finish(response, &method, &path, &correlation);
        log(&response);
        response
    };
    let response = traced.around(response).await;
    stamp(response, &state, &correlation)
}

/// The handler's answer, or a problem if it panics or takes too long.
async fn guarded(run: impl Future<Output = Response>, reading: &reading::Reading) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, AssertUnwindSafe(run).catch_unwind()).await {
        // The handler only saw a body that broke off.
        Ok(Ok(response)) if reading.is_waiting() && response.status().is_client_error() => slow_body(),
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let said =
                panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(panic = said.unwrap_or("(not text)"), "a handler panicked");
            Problem::bug().into_response()
        }
        Err(_) if reading.is_waiting() => slow_body(),
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// 413, by what the head announces: nothing of such a body is asked for.
fn too_large() -> Response {
    let mut response = StatusCode::PAYLOAD_TOO_LARGE.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 408: whoever asks does not send what they announced.
fn slow_body() -> Response {
    let detail = format!(
        "the body did not come: no more than {} s without a byte and {} s in all are waited for; send it in smaller parts",
        reading::BODY_PAUSE.as_secs(),
        REQUEST_TIMEOUT.as_secs()
    );
    let mut response =
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not come", detail)
            .into_response();
    // The rest of it would be taken for the next request.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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
    // Of all tries of one operation, where an idempotency key names it.
    let operation = response.extensions_mut().remove::<CorrelationId>();
    let correlation = operation.as_ref().unwrap_or(correlation);
    let now = state.clock.now().to_rfc3339();
    let headers = response.headers_mut();
    for (name, value) in [(CORRELATION_HEADER, correlation.as_str()), (TIME_HEADER, now.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    // Answers are state, and state changes.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    let policy = if page { PAGES } else { NOTHING };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if state.tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}
