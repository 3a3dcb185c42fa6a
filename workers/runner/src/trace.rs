//! Traces: one per run, across all its jobs and workers.
//!
//! `sweep`, `query` and `compare` serve many runs at once, so they have spans of their own in the trace of their batch.
//! When a run goes on beyond them, its own trace begins: the root and the batch steps are recorded in it with the times
//! they took, linked to the batch's spans; `emit`, `remediate` and `escalate` are children as they happen.

use tracing::Span;
use trueup_boot::telemetry::spans as telemetry;
use trueup_engine::Leased;
use trueup_model::{Job, RunId, StepName, Time, TraceParent};

/// The root of a run's trace: known before its first span, on every worker.
fn root(run: &RunId) -> TraceParent {
    TraceParent::root(&[run.as_str()])
}

fn is_tick(job: &Job) -> bool {
    matches!(job, Job::Sweep(sweep) if sweep.only.is_none())
}

/// The span of one execution.
pub(crate) fn span(leased: &Leased) -> Span {
    let step = leased.job.step();
    let span = tracing::info_span!(
        "job",
        otel.name = step.as_str(),
        otel.kind = "consumer",
        messaging.system = "redis",
        messaging.operation.type = "process",
        messaging.destination.name = %leased.queue,
        messaging.message.id = %leased.id,
        job = %leased.id,
        attempt = leased.attempt,
        run = tracing::field::Empty,
        intent = tracing::field::Empty,
        correlation_id = tracing::field::Empty,
    );
    let came_from = leased.traceparent.as_deref();
    match leased.job.as_ref() {
        // The first step that belongs to one run alone.
        Job::Emit(emit) => {
            telemetry::set_parent(&span, root(&emit.run).as_str());
            if let Some(batch) = came_from {
                telemetry::link(&span, batch);
            }
        }
        // The tick follows from the tick before it, for ever: each begins a trace of its own.
        job if is_tick(job) => {}
        _ => {
            if let Some(parent) = came_from {
                telemetry::set_parent(&span, parent);
            }
        }
    }
    if let Some(run) = leased.job.run() {
        span.record("run", run.as_str());
        span.record("correlation_id", trueup_model::job::correlation_of(run).as_str());
    }
    if let Job::Emit(trueup_model::job::Emit { intent, .. })
    | Job::Remediate(trueup_model::job::Remediate { intent, .. })
    | Job::Escalate(trueup_model::job::Escalate { intent, .. }) = leased.job.as_ref()
    {
        span.record("intent", tracing::field::display(intent));
    }
    if leased.attempt > 1
        && let Some(before) = came_from
    {
        telemetry::link(&span, before);
    }
    span
}

/// `traceparent` for what follows from this execution.
pub(crate) fn onward(span: &Span, leased: &Leased) -> TraceParent {
    match telemetry::traceparent_of(span) {
        Some(text) => TraceParent::from_wire(text),
        // Nothing is exported: keep the run's or the batch's trace id all the same, for events and logs.
        None => match (leased.job.run(), &leased.traceparent) {
            (Some(run), _) => root(run),
            (None, Some(text)) if is_tick(&leased.job) => TraceParent::root(&[text]),
            (None, Some(text)) => TraceParent::from_wire(text.clone()),
            (None, None) => TraceParent::root(&[leased.id.as_str()]),
        },
    }
}

/// Called once an `emit` is committed: the part of the run's trace that happened before it.
pub(crate) fn record_beginning(leased: &Leased, now: Time) {
    let Job::Emit(emit) = leased.job.as_ref() else { return };
    let root = root(&emit.run);
    let attributes = [
        ("run", emit.run.to_string()),
        ("intent", emit.intent.to_string()),
        ("condition", emit.condition.as_str().to_owned()),
    ];
    for (step, passed) in [StepName::Sweep, StepName::Query, StepName::Compare].iter().zip(&emit.passed) {
        telemetry::record_past(
            root.as_str(),
            step.as_str(),
            passed.from,
            passed.to,
            passed.link.as_deref(),
            &attributes,
        );
    }
    telemetry::record_root(root.as_str(), "reconcile", emit.passed[0].from, now, &attributes);
}
