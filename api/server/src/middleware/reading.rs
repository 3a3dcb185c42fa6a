//! Bodies that do not come, and bodies that nobody wants.
//!
//! # Guarantees
//! - A client that sends nothing more is not waited for.
//! - What is answered before its body is read to the end still reaches who sends it: the rest is read and thrown away, up to
//!   [`REST_BYTES`] and for [`REST_TIME`]. Otherwise the connection (HTTP/1.1) or the stream (HTTP/2) would be reset under the answer.
//! - Who asks before sending (`Expect: 100-continue`) is not told to go on by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::http::header;
use futures::StreamExt as _;
use tokio::runtime::Handle;

/// Longest pause within a body.
pub(super) const BODY_PAUSE: Duration = Duration::from_secs(10);
/// How much of a body that nobody wants is read, and for how long.
const REST_BYTES: usize = 2 * crate::MAX_BODY;
const REST_TIME: Duration = Duration::from_secs(5);

/// Whether the request still waits for its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(Arc<AtomicBool>);

/// What has not come yet.
struct Rest {
    /// Nothing once it has ended, broken off or paused too long.
    body: Option<BodyDataStream>,
    /// Whether the other side sends it without being asked to go on.
    comes: bool,
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|_| self.comes) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(REST_TIME, async move {
            let mut left = REST_BYTES;
            while let Some(Ok(chunk)) = body.next().await {
                let Some(less) = left.checked_sub(chunk.len()) else { return };
                left = less;
            }
        }));
    }
}

impl Reading {
    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The request, with a body that ends in an error when it pauses too long.
    pub(super) fn watch(&self, request: Request) -> Request {
        if request.body().is_end_stream() {
            return request;
        }
        let waiting = self.0.clone();
        let comes = !request.headers().contains_key(header::EXPECT);
        request.map(|body| {
            let rest = Rest { body: Some(body.into_data_stream()), comes };
            Body::from_stream(futures::stream::unfold(rest, move |mut rest| {
                let waiting = waiting.clone();
                async move {
                    let body = rest.body.as_mut()?;
                    rest.comes = true;
                    waiting.store(true, Ordering::Relaxed);
                    let next = match tokio::time::timeout(BODY_PAUSE, body.next()).await {
                        Ok(next) => {
                            waiting.store(false, Ordering::Relaxed);
                            next.map(|chunk| chunk.map_err(std::io::Error::other))
                        }
                        // Stays marked as waiting: that is what went wrong.
                        Err(_) => Some(Err(std::io::ErrorKind::TimedOut.into())),
                    };
                    if !matches!(next, Some(Ok(_))) {
                        rest.body = None;
                    }
                    next.map(|chunk| (chunk, rest))
                }
            }))
        })
    }
}
