//! A typed client of Trueup's HTTP API.
//!
//! ```no_run
//! # async fn example() -> Result<(), trueup_client::Error> {
//! use trueup_client::{Ask, Client, GetReconciliation, RequestReconciliation};
//!
//! let client = Client::builder("https://trueup.example").key("tuk_…").build()?;
//! let ask = Ask::Selected { tenant: "acme".into(), selector: Some("ring=prod".into()) };
//! let once = RequestReconciliation { idempotency_key: Some("release-4711".into()) };
//! let handle = client.request_reconciliation(&ask, &once).await?.body;
//! let until_done = GetReconciliation { wait: Some("25s".into()) };
//! let seen = client.get_reconciliation(&handle.id.to_string(), &until_done).await?.body;
//! println!("{} of {} are done", seen.progress.finished.in_sync, handle.accepted);
//! # Ok(())
//! # }
//! ```
//!
//! Types and methods are written from the API's OpenAPI document when the crate is built: each `operationId` is a method of
//! [`Client`], each schema a type in [`types`], or the vocabulary's own where there is one.
//!
//! # Guarantees
//! - No proxy and no redirect: a key is sent to the host that was named, and to no other; unencrypted only to this host.
//! - What may be asked twice (reads, and requests with an `Idempotency-Key`) is asked again when the API says that it cannot
//!   answer now (429, 503), after the time it names, at most [`Builder::retries`] times.
//! - Answers are bounded in size and time. What is no answer of the API is an [`Error::Foreign`].

mod bodies;
mod error;
mod request;
mod setup;
mod stream;

/// The document's schemas.
pub mod types {
    #![allow(
        clippy::all,
        clippy::unwrap_used,
        unreachable_pub,
        missing_docs,
        rustdoc::all,
        reason = "written by typify"
    )]
    include!(concat!(env!("OUT_DIR"), "/types.rs"));
}

include!(concat!(env!("OUT_DIR"), "/operations.rs"));

pub use bodies::{Ask, ManifestPart, OneOrMany};
pub use reqwest::Method;

pub use error::{Error, Flaw, Problem, Setting};
pub use request::{Answer, Items, MAX_PAGE, Request};
pub use setup::{Builder, Client};
pub use stream::{EventStream, Message};

/// Header of the correlation id, on requests and answers.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
/// Header with the time by the clock that decisions use.
pub const TIME_HEADER: &str = "x-trueup-time";
