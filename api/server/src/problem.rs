//! Errors as RFC 9457 problem documents.
//!
//! # Guarantees
//! Every problem says what was wrong and what to do about it. What only the log may know stays there.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use trueup_engine::EngineError;
use trueup_model::CorrelationId;
use utoipa::ToSchema;

/// One flaw of a request: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flaw {
    /// JSON pointer into the body (`/desired/version`), or `?name` for a query parameter.
    pub pointer: String,
    pub detail: String,
}

impl Flaw {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A problem document. `instance` and `correlation_id` are filled in on the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:trueup:problem:<name>`; programs may match on it.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub title: Box<str>,
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
    #[serde(default)]
    pub instance: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    #[serde(default, skip_serializing_if = "<[Flaw]>::is_empty")]
    pub errors: Box<[Flaw]>,
}

/// Prefix of every problem's `type`.
pub const TYPE_PREFIX: &str = "urn:trueup:problem:";
/// Content type of every problem.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// Flaws listed in one problem; the detail says how many there were.
pub const MAX_FLAWS: usize = 100;

impl Problem {
    pub fn new(status: StatusCode, name: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPE_PREFIX}{name}").into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: Box::default(),
            correlation_id: None,
            errors: Box::default(),
        }
    }

    #[must_use]
    pub fn with(mut self, mut flaws: Vec<Flaw>) -> Self {
        flaws.truncate(MAX_FLAWS);
        self.errors = flaws.into();
        self
    }

    /// 400: the request cannot be read.
    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", "The request cannot be read", detail)
    }

    /// 400: parameters are wrong.
    pub fn parameters(flaws: Vec<Flaw>) -> Self {
        let detail =
            flaws.iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect::<Vec<_>>().join("; ");
        Self::new(StatusCode::BAD_REQUEST, "parameters", "Wrong parameters", detail).with(flaws)
    }

    /// 422: it can be read, and it is not valid.
    pub fn invalid(detail: impl Into<String>, flaws: Vec<Flaw>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid", detail).with(flaws)
    }

    /// 404: there is no such thing.
    pub fn not_found(what: &str, name: &str) -> Self {
        let detail = format!("there is no {what} '{}'", name.escape_default());
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// For answers that no handler wrote: routing, limits, timeouts.
    pub(crate) fn of_status(status: StatusCode, method: &str, path: &str) -> Self {
        let (name, title, detail) = match status {
            StatusCode::NOT_FOUND => (
                "no-such-route",
                "No such route",
                format!(
                    "'{}' is not part of this API; below /v1 it has intents, reconciliations, runs, findings, causes, approvals, blast-radius, events, queues, jobs, workers, \
                     summary and health; /docs shows all of it",
                    path.escape_default()
                ),
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method",
                "Wrong method",
                format!("{method} is not possible here; the Allow header names the methods that are"),
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (
                "too-large",
                "The body is too large",
                format!("a body may have {} MiB; send it in parts", crate::MAX_BODY / (1024 * 1024)),
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "media-type",
                "Unsupported media type",
                "send application/json or application/x-ndjson, and say so in Content-Type".into(),
            ),
            StatusCode::BAD_REQUEST => (
                "unreadable",
                "The request cannot be read",
                "its path, parameters or body are not well formed; encode names in the path as UTF-8".into(),
            ),
            other => (
                "http",
                other.canonical_reason().unwrap_or("The request failed"),
                format!("the request ended with status {}", other.as_u16()),
            ),
        };
        Self::new(status, name, title, detail)
    }

    /// 500 for a panic in a handler; what it said is in the log only.
    pub(crate) fn bug() -> Self {
        let detail = "a bug in the server: nothing was necessarily stored; look up the correlation id in the server's log \
                      and report it, then ask again";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "bug", "Internal error", detail)
    }

    /// 503 when a request takes too long.
    pub(crate) fn too_slow() -> Self {
        let detail = format!(
            "no answer within {} s; ask for less (a smaller limit, a filter), or again when Redis is less busy",
            crate::REQUEST_TIMEOUT.as_secs()
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "The request took too long", detail)
    }

    /// Retry-After in seconds, where waiting helps.
    fn retry_after(&self) -> Option<&'static str> {
        (self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()).then_some("2")
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable(seen) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The store is not available",
                format!("{seen}; nothing that was accepted is lost, ask again after the time in Retry-After"),
            ),
            EngineError::Refused(why) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "store-refused",
                "The store refused",
                format!("{why}; this does not pass by itself: run `trueup doctor` and see the server's log"),
            ),
        }
    }
}

/// A problem document whose place in the request and correlation id are not known yet: the middleware renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after();
        let mut response = Response::new(Body::from(serde_json::to_vec(&self).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
