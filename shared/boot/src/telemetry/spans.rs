//! Spans of jobs: one trace per run, across workers, retries and time.
//!
//! A run's `traceparent` is derived, so everybody knows trace and root span before either exists. A job's span is put under
//! the `traceparent` from the job's metadata ([`set_parent`]) and points at what else caused it ([`link`]). What happened
//! before the run was known (its batch's sweep, query and compare) is added to its trace afterwards ([`record_past`]), and
//! the root itself when the run has ended ([`record_named`]).
//!
//! Every span that [`name_in_logs`] was told about is named by the log lines within it, exported or not.
//!
//! # Guarantees
//! A `traceparent` that is none is ignored, here and nowhere else. Without an exporter, nothing is done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceId, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan as _, SpanData as _};
use trueup_model::TraceParent;

use super::SCOPE;
use super::forced_ids::with_ids;

const TRACEPARENT: &str = "traceparent";
/// Marks spans that are to be kept whatever becomes of the rest of their trace: `fault` or `escalation`. The collector's tail
/// sampling goes by it (`deploy/collector`), and so does [`super::sampler`].
pub const KEEP: &str = "trueup.keep";

static EXPORTING: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_exporting(on: bool) {
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

/// The trace and the span that log lines name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

/// Has the log lines within `span` name the trace and the span of `traceparent`, whether or not they are exported.
pub fn name_in_logs(span: &Span, traceparent: &str) {
    let Some(named) = span_context(traceparent) else { return };
    span.with_subscriber(|(id, dispatch)| {
        if let Some(data) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span_data(id)) {
            data.extensions_mut().replace(Ids { trace: named.trace_id(), span: named.span_id() });
        }
    });
}

/// Trace id and span id of `traceparent`, if it is one and its trace is kept, as far as anybody knows yet.
pub fn sampled_ids(traceparent: &str) -> Option<(String, String)> {
    let cx = span_context(traceparent).filter(SpanContext::is_sampled)?;
    Some((cx.trace_id().to_string(), cx.span_id().to_string()))
}

/// A `traceparent` from outside in the form of version 00, if it is one.
pub fn parse(text: &str) -> Option<TraceParent> {
    let cx = span_context(text)?;
    let sampled = u8::from(cx.is_sampled());
    Some(TraceParent::from_wire(format!("00-{}-{}-{sampled:02x}", cx.trace_id(), cx.span_id())))
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

/// Emits a span that is to be kept although its trace is not: the one thing of a run that was sampled out which somebody
/// will look for. `keep` says why. Nothing under the samplers that keep nothing.
pub fn record_kept(
    trace_parent: &str,
    name: &str,
    keep: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    attributes: &[(&str, String)],
) {
    let attributes: Vec<_> = attributes.iter().cloned().chain([(KEEP, keep.to_owned())]).collect();
    record_past(trace_parent, name, from, to, None, &attributes);
}

/// Emits the span that `traceparent` names: its trace id and its span id are the ones in there. It is under `parent`, which
/// is of the same trace; or it is the root. Nothing if `traceparent` says "not sampled".
pub fn record_named(
    traceparent: &str,
    parent: Option<&str>,
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
    let parent = parent.map_or_else(Context::new, remote_parent);
    let mut span = with_ids(own.trace_id(), own.span_id(), || tracer.build_with_context(span, &parent));
    span.end_with_timestamp(to.max(from).into());
}

fn builder(name: &str, from: DateTime<Utc>, attributes: &[(&str, String)]) -> SpanBuilder {
    let attributes = attributes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    SpanBuilder::from_name(name.to_owned())
        .with_kind(SpanKind::Internal)
        .with_start_time(from)
        .with_attributes(attributes.collect::<Vec<_>>())
}
