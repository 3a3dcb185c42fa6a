//! What the tests of the API share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod broken;
pub mod fleet;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

/// One answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    /// Asserts the form that every error has.
    #[track_caller]
    pub fn is_problem(&self, status: u16, name: &str) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], format!("urn:trueup:problem:{name}"), "{self:?}");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["correlation_id"], self.header("x-correlation-id"));
        for field in ["title", "detail", "instance"] {
            assert!(self.body[field].as_str().is_some_and(|t| !t.is_empty()), "{field}: {self:?}");
        }
        self
    }
    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        assert!(
            self.body["detail"].as_str().unwrap_or_default().contains(part),
            "{part:?} is not in {}",
            self.body
        );
        self
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub async fn ask(router: &Router, method: Method, path: &str) -> Answer {
    send(router, Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

pub async fn post(router: &Router, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", content_type).body(body.into()).unwrap();
    send(router, request).await
}
