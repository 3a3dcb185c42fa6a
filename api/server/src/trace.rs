//! Traces of requests: the caller's goes on here, and from here to the jobs that a request enqueues.
//!
//! # Expected flow
//! [`begin`] as soon as the request has its correlation id, [`Traced::around`] for all that answers it. Whoever enqueues jobs
//! does it with [`enqueue`]: their runs are then in the trace of the request.
//!
//! # Guarantees
//! - A W3C `traceparent` that is one is taken up; anything else is ignored. Every answer gives one back, also where nothing is
//!   exported: it is the trace id that the events and the log lines of the request carry.
//! - Names of spans and labels of metrics come from the routes and from fixed lists, never from a request.
//! - What is asked every few seconds (health, metrics) makes no spans.
//!
//! Attributes and the histogram's name are those of the OpenTelemetry conventions for HTTP servers (1.23 and later).

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use trueup_boot::metrics::{KeyValue, Latency, of_process};
use trueup_boot::telemetry::spans;
use trueup_engine::EngineError;
use trueup_engine::store::NewJob;
use trueup_model::{Clock as _, CorrelationId, Partition, SystemClock, Time, TraceParent};

use crate::ApiState;
use crate::serve::Arrived;

const TRACEPARENT: &str = "traceparent";
/// Seconds of a request, as the conventions advise.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Asked every few seconds by machines.
const QUIET: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

static DURATION: LazyLock<Latency> = LazyLock::new(|| {
    let what = "Duration of HTTP server requests.";
    Latency::new(&of_process().meter(), "http.server.request.duration", what, &BOUNDS)
});

tokio::task_local! {
    static ONWARD: TraceParent;
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Traced {
    span: Span,
    onward: TraceParent,
    method: &'static str,
    route: Option<String>,
    began: Time,
}

/// Takes up the caller's trace.
pub(crate) fn begin(request: &Request, correlation: &CorrelationId) -> Traced {
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|m| m.as_str().to_owned());
    let name = route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let path = request.uri().path();
    let quiet = route.as_deref().is_some_and(|r| QUIET.contains(&r));
    let span = if quiet {
        // Below what is exported.
        tracing::debug_span!("request", method, path, correlation_id = %correlation)
    } else {
        tracing::info_span!(
            "request",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            url.path = path,
            url.scheme = scheme(request),
            client.address = Empty,
            error.type = Empty,
            correlation_id = %correlation,
        )
    };
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        span.record("client.address", tracing::field::display(peer.ip()));
    }
    let given = given(request.headers());
    if let Some(given) = &given {
        spans::set_parent(&span, given.as_str());
    }
    let made = || given.unwrap_or_else(|| TraceParent::root(&["request", correlation.as_str()]));
    let exported = if quiet { None } else { spans::traceparent_of(&span) };
    let onward = exported.and_then(|text| spans::parse(&text)).unwrap_or_else(made);
    spans::name_in_logs(&span, onward.as_str());
    Traced { span, onward, method, route, began: SystemClock.now() }
}

/// The caller's `traceparent`: exactly one, and well formed.
fn given(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let one = all.next().filter(|_| all.next().is_none())?;
    spans::parse(one.to_str().ok()?)
}

impl Traced {
    /// Answers within the span; notes the answer on it, counts it, and gives the `traceparent` back.
    pub(crate) async fn around(self, answering: impl Future<Output = Response>) -> Response {
        let Self { span, onward, method, route, began } = self;
        let mut response = ONWARD.scope(onward.clone(), answering).instrument(span.clone()).await;
        let status = response.status();
        span.record("http.response.status_code", status.as_u16());
        let failed = status.is_server_error().then(|| status.as_u16().to_string());
        if let Some(failed) = &failed {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", failed.as_str());
        }
        let mut labels = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", status.as_u16().to_string()),
        ];
        labels.extend(route.map(|route| KeyValue::new("http.route", route)));
        let took = (SystemClock.now() - began).to_std().unwrap_or_default();
        DURATION.record(took.as_secs_f64(), &labels, Some(onward.as_str()));
        if let Ok(value) = HeaderValue::from_str(onward.as_str()) {
            response.headers_mut().insert(TRACEPARENT, value);
        }
        response
    }
}

/// `traceparent` for what the request being answered causes; nothing outside of one.
pub(crate) fn onward() -> Option<String> {
    ONWARD.try_with(|onward| onward.as_str().to_owned()).ok()
}

/// Enqueues jobs as a part of the request's trace. How many were new.
pub(crate) async fn enqueue(
    state: &ApiState,
    partition: Partition,
    mut jobs: Vec<NewJob>,
) -> Result<u64, EngineError> {
    let span = if spans::exporting() {
        tracing::info_span!(
            "publish",
            otel.kind = "producer",
            otel.status_code = Empty,
            messaging.system = "trueup",
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
            messaging.destination.name = jobs.first().map(|j| j.queue.to_string()),
            messaging.batch.message_count = jobs.len(),
        )
    } else {
        Span::none()
    };
    let traceparent = spans::traceparent_of(&span).filter(|t| spans::parse(t).is_some()).or_else(onward);
    jobs.iter_mut().for_each(|job| job.traceparent.clone_from(&traceparent));
    let answer = state.store.enqueue(partition, &jobs).instrument(span.clone()).await;
    if answer.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

/// As the connection is, whatever the request says.
fn scheme(request: &Request) -> &'static str {
    if request.extensions().get::<Arrived>().is_some_and(|arrived| arrived.tls) { "https" } else { "http" }
}

/// One of the conventions' list; anything else is `_OTHER`.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_one_well_formed_traceparent_is_taken_up() {
        let upper = GIVEN.to_uppercase();
        for (values, expected) in [
            (vec![], None),
            (vec![GIVEN], Some(GIVEN)),
            (vec![GIVEN, GIVEN], None),
            (vec![""], None),
            (vec![upper.as_str()], None),
            (vec!["00-00000000000000000000000000000000-b7ad6b7169203331-01"], None),
            (vec!["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], None),
            // A later version may say more; what is handed on is what we know of.
            (vec!["02-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"], Some(GIVEN)),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(TRACEPARENT, value.parse().unwrap());
            }
            assert_eq!(given(&headers).as_ref().map(TraceParent::as_str), expected, "{values:?}");
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_connection() {
        for (arrived, uri, expected) in [
            (None, "/v1/intents", "http"),
            (Some(Arrived { tls: false }), "https://liar.example/v1/intents", "http"),
            (Some(Arrived { tls: true }), "/v1/intents", "https"),
        ] {
            let mut request = Request::get(uri).body(axum::body::Body::empty()).unwrap();
            arrived.map(|arrived| request.extensions_mut().insert(arrived));
            assert_eq!(scheme(&request), expected, "{uri}");
        }
    }

    #[test]
    fn methods_are_of_a_short_list() {
        assert_eq!(method(&Method::PATCH), "PATCH");
        assert_eq!(method(&Method::from_bytes(b"EVIL-1").unwrap()), "_OTHER");
    }
}
