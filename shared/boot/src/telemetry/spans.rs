//! Spans of jobs: one trace per run, across workers, retries and time.
//!
//! A run's `traceparent` is derived, so everybody knows trace and root span before either exists. A job's span is put under
//! the `traceparent` from the job's metadata ([`set_parent`]) and points at what else caused it ([`link`]). What happened
//! before the run was known (its batch's sweep, query and compare) is added to its trace afterwards ([`record_past`]), and
//! the root itself when the run has ended ([`record_root`]).
//!
//! # Guarantees
//! A `traceparent` that is none is ignored, here and nowhere else. Without an exporter, nothing is done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::SCOPE;
use super::forced_ids::with_ids;

const TRACEPARENT: &str = "traceparent";

static EXPORTING: AtomicBool = AtomicBool::new(false);

pub(super) fn set_exporting(on: bool) {
    EXPORTING.store(on, Ordering::Relaxed);
}

/// Whether spans go anywhere; if not, do not bother to make them.
pub fn exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// The context that `traceparent` names; an empty one if it names none.
pub fn remote_parent(traceparent: &str) -> Context {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

fn span_context(traceparent: &str) -> Option<SpanContext> {
    let context = remote_parent(traceparent).span().span_context().clone();
    context.is_valid().then_some(context)
}

/// Puts `span` under `traceparent`. Must come before the span is entered or asked for its own `traceparent`.
pub fn set_parent(span: &Span, traceparent: &str) {
    if exporting() && span_context(traceparent).is_some() {
        // The errors are: no exporter, or a span that is filtered out. Neither matters to the work.
        let _ = span.set_parent(remote_parent(traceparent));
    }
}

/// Notes on `span` that `traceparent` caused it too.
pub fn link(span: &Span, traceparent: &str) {
    if exporting()
        && let Some(other) = span_context(traceparent)
    {
        span.add_link(other);
    }
}

/// What to hand to the jobs that follow `span`; nothing if it is not part of a trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    if !exporting() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Emits a span that has already ended, from `from` to `to`, under `trace_parent`: "this was a part of it too".
pub fn record_past(
    trace_parent: &str,
    name: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    link: Option<&str>,
    attributes: &[(&str, String)],
) {
    if !exporting() || span_context(trace_parent).is_none() {
        return;
    }
    let links = link.and_then(span_context).map(Link::with_context).into_iter().collect();
    let tracer = global::tracer_provider().tracer(SCOPE);
    let span = builder(name, from, attributes).with_links(links);
    tracer.build_with_context(span, &remote_parent(trace_parent)).end_with_timestamp(to.max(from).into());
}

/// Emits the span that `traceparent` names: its trace id and its span id are the ones in there, and it has no parent.
/// Nothing if `traceparent` says "not sampled".
pub fn record_root(
    traceparent: &str,
    name: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    attributes: &[(&str, String)],
) {
    let Some(own) = exporting().then(|| span_context(traceparent)).flatten().filter(SpanContext::is_sampled)
    else {
        return;
    };
    let tracer = global::tracer_provider().tracer(SCOPE);
    let span = builder(name, from, attributes);
    let mut span =
        with_ids(own.trace_id(), own.span_id(), || tracer.build_with_context(span, &Context::new()));
    span.end_with_timestamp(to.max(from).into());
}

fn builder(name: &str, from: DateTime<Utc>, attributes: &[(&str, String)]) -> SpanBuilder {
    let attributes = attributes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    SpanBuilder::from_name(name.to_owned())
        .with_kind(SpanKind::Internal)
        .with_start_time(from)
        .with_attributes(attributes.collect::<Vec<_>>())
}
