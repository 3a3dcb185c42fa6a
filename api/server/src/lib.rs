//! The HTTP API: what people and programs may ask of Trueup.
//!
//! # Purpose
//! Reads the store, stores intents, asks for checks, operates queues. It never talks to a plane and never decides.
//!
//! # Guarantees
//! - Every answer but `/metrics`, pages and the stream of events is JSON, and all carry `x-correlation-id` and `x-trueup-time` (the clock that decisions use).
//! - Every error is an RFC 9457 problem document that says what to do; a panic in a handler is one too.
//! - Every body, list, scan and parameter has a limit.
//! - Off loopback nothing is open: everybody proves who they are, and one place decides what they may ([`identity`]). On
//!   loopback the API can serve without authentication; [`guard`] refuses what a web page in a local browser could have been
//!   made to send.

pub mod identity;
pub mod manifest;
pub mod params;
pub mod problem;
pub mod selector;

mod board;
mod described;
mod gauges;
mod guard;
mod idempotency;
mod live;
mod middleware;
mod openapi;
mod ownership;
mod paging;
mod reference;
mod routes;
mod serve;
mod state;
mod trace;

pub use problem::Problem;
pub use routes::{explain, jobs, queues, router, selection, workers};
pub use serve::{Limits, Serving, Tls, TlsFiles, loopback_only, may_serve, serve, serve_metrics, serve_with};
pub use state::ApiState;

/// Largest request body, in bytes.
pub const MAX_BODY: usize = 10 * 1024 * 1024;
/// Most items in one answer of a list.
pub const MAX_LIMIT: usize = 1_000;
/// Items in one answer of a list when nobody says how many.
pub const DEFAULT_LIMIT: usize = 100;
/// Longest time one request may take before it is answered with 503.
pub const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Links a request with everything it caused.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
/// The time by the clock that decisions use, RFC 3339; differs from `Date` where a demo's clock runs faster.
pub const TIME_HEADER: &str = "x-trueup-time";
