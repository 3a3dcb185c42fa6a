//! Span ids that are known before the span: a run's root span has the ids its `traceparent` was derived with, so that
//! children exported earlier, on other workers, have their parent.
//!
//! The SDK asks its id generator on the thread that starts the span, within that call; so a thread-local is enough.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static FORCED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
pub(super) struct ForcedIds(RandomIdGenerator);

impl IdGenerator for ForcedIds {
    fn new_trace_id(&self) -> TraceId {
        FORCED.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }
    fn new_span_id(&self) -> SpanId {
        FORCED.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Runs `start`, in which a span started without a parent gets these ids.
pub(super) fn with_ids<T>(trace: TraceId, span: SpanId, start: impl FnOnce() -> T) -> T {
    /// Also when `start` panics.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            FORCED.set(None);
        }
    }
    FORCED.set(Some((trace, span)));
    let _reset = Reset;
    start()
}
