//! Bodies that do not come: a client that sends nothing more is not waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use futures::StreamExt as _;

/// Longest pause within a body.
pub(super) const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Whether the request still waits for its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(Arc<AtomicBool>);

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
        request.map(|body| {
            let chunks = futures::stream::unfold(Some(body.into_data_stream()), move |stream| {
                let waiting = waiting.clone();
                async move {
                    let mut stream = stream?;
                    waiting.store(true, Ordering::Relaxed);
                    let next = tokio::time::timeout(BODY_PAUSE, stream.next()).await;
                    match next {
                        Ok(chunk) => {
                            waiting.store(false, Ordering::Relaxed);
                            chunk.map(|chunk| (chunk.map_err(std::io::Error::other), Some(stream)))
                        }
                        // Stays marked as waiting: that is what went wrong.
                        Err(_) => Some((Err(std::io::ErrorKind::TimedOut.into()), None)),
                    }
                }
            });
            Body::from_stream(chunks)
        })
    }
}
