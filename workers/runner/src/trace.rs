//! Traces: one per run, across all its jobs and workers; and one per request with the runs that it asked for.
//!
//! `sweep`, `query` and `compare` serve many runs at once, so they have spans of their own in the trace of their batch.
//! When a run goes on beyond them, its own trace begins: the root and the batch steps are recorded in it with the times
//! they took, linked to the batch's spans; `emit`, `remediate` and `escalate` are children as they happen.
//!
//! Where few were asked for, their batch is a part of the trace of whoever asked, and `emit` just follows from it. A look that
//! is to judge an attempt goes on in the trace in which the attempt was made. So a request, what it found, what was done
//! about it and the look that verified it are one trace, if nothing else is asked in between.
//!
//! # Guarantees
//! A fault or an escalation is exported, also of a run that was sampled out (`boot::telemetry::sampler`).

use tracing::Span;
use tracing::field::{Empty, display};
use trueup_boot::telemetry::spans::{self as telemetry, KEEP};
use trueup_engine::Leased;
use trueup_model::job::Emit;
use trueup_model::{EventKind, Job, Outcome, RunId, StepName, Time, TraceParent};

/// `messaging.system` of our queues.
const SYSTEM: &str = "trueup";

/// The root of a run's trace: known before its first span, on every worker.
fn root(run: &RunId) -> TraceParent {
    TraceParent::root(&[run.as_str()])
}

fn is_tick(job: &Job) -> bool {
    matches!(job, Job::Sweep(sweep) if sweep.only.is_none())
}

/// Where a run's own spans belong.
#[derive(Debug, PartialEq)]
enum Place {
    /// In a trace of the run: this is its root.
    Own(TraceParent),
    /// Below the comparison of its batch, which is a part of the same request.
    Asked(TraceParent),
    /// In the trace of the attempt that it is to judge: the run's span, and the span it is under.
    GoesOn { run: TraceParent, under: TraceParent },
}

impl Place {
    /// `batch`: the span of the comparison.
    fn of(emit: &Emit, batch: Option<&str>) -> Self {
        let own = root(&emit.run);
        let Some(under) = emit.trace.as_ref().and_then(|t| telemetry::parse(t.as_str())) else {
            return Self::Own(own);
        };
        if batch.and_then(telemetry::parse).is_some_and(|b| b.trace_id() == under.trace_id()) {
            return Self::Asked(under);
        }
        let (Some(trace), Some(span), Some(flags)) =
            (under.trace_id(), own.span_id(), under.as_str().get(53..55))
        else {
            return Self::Own(own);
        };
        Self::GoesOn { run: TraceParent::from_wire(format!("00-{trace}-{span}-{flags}")), under }
    }

    /// What the run's jobs are under.
    fn parent(self) -> TraceParent {
        match self {
            Self::Own(run) | Self::Asked(run) | Self::GoesOn { run, .. } => run,
        }
    }
}

/// What the span of this execution is under; nothing where a trace begins with it.
fn parent(leased: &Leased) -> Option<TraceParent> {
    let came_from = leased.traceparent.as_deref();
    match leased.job.as_ref() {
        // The first step that belongs to one run alone.
        Job::Emit(emit) => Some(Place::of(emit, came_from).parent()),
        // The tick follows from the tick before it, for ever: each begins a trace of its own.
        job if is_tick(job) => None,
        job => came_from.map(TraceParent::from_wire).or_else(|| job.run().map(root)),
    }
}

/// The span of one execution, and the `traceparent` for what follows from it.
pub(crate) fn begin(leased: &Leased) -> (Span, TraceParent) {
    let step = leased.job.step();
    let span = tracing::info_span!(
        "job",
        otel.name = step.as_str(),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = SYSTEM,
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = %leased.queue,
        messaging.message.id = %leased.id,
        error.type = Empty,
        trueup.keep = Empty,
        job = %leased.id,
        attempt = leased.attempt,
        run = Empty,
        intent = Empty,
        correlation_id = Empty,
    );
    let parent = parent(leased);
    if let Some(parent) = &parent {
        telemetry::set_parent(&span, parent.as_str());
    }
    let same = |batch: &TraceParent| parent.as_ref().is_some_and(|p| p.trace_id() == batch.trace_id());
    let came_from = leased.traceparent.as_deref().and_then(telemetry::parse);
    if let Some(batch) = came_from.filter(|batch| leased.attempt > 1 || !same(batch))
        && !is_tick(&leased.job)
    {
        telemetry::link(&span, batch.as_str());
    }
    if let Some(run) = leased.job.run() {
        // Its correlation id is known when its record has been read (`ports`): a request may have brought one.
        span.record("run", run.as_str());
    }
    match leased.job.as_ref() {
        Job::Emit(Emit { intent, .. })
        | Job::Remediate(trueup_model::job::Remediate { intent, .. })
        | Job::Escalate(trueup_model::job::Escalate { intent, .. }) => {
            span.record("intent", display(intent));
        }
        Job::Sweep(sweep) => {
            if let Some(id) = &sweep.correlation_id {
                span.record("correlation_id", id.as_str());
            }
        }
        _ => {}
    }
    let onward = match telemetry::traceparent_of(&span) {
        Some(text) => TraceParent::from_wire(text),
        // Nothing is exported: keep the trace id all the same, for events and logs.
        None => parent.unwrap_or_else(|| {
            TraceParent::root(&[leased.traceparent.as_deref().unwrap_or(leased.id.as_str())])
        }),
    };
    telemetry::name_in_logs(&span, onward.as_str());
    (span, onward)
}

/// Why a run is to be kept for having come to this.
pub(crate) fn keep(outcome: &Outcome) -> Option<&'static str> {
    use EventKind as K;
    let commit = match outcome {
        Outcome::Retry { .. } | Outcome::Dead { .. } => return Some("fault"),
        // The plane asked to wait, or somebody else was first.
        Outcome::Defer { .. } => return None,
        Outcome::Done(commit) => commit,
    };
    let any = |kinds: &[K]| commit.events.iter().any(|e| kinds.contains(&e.event_type));
    if any(&[K::Escalated]) {
        Some("escalation")
    } else {
        any(&[K::RemediationRefused, K::RemediationFailed, K::RunAbandoned]).then_some("fault")
    }
}

/// Notes what an execution came to.
pub(crate) fn ended(span: &Span, outcome: &Outcome) {
    let error = match outcome {
        Outcome::Retry { .. } => Some("retry"),
        Outcome::Dead { .. } => Some("dead_letter"),
        _ => None,
    };
    if let Some(error) = error {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error);
    }
    if let Some(keep) = keep(outcome) {
        span.record(KEEP, keep);
    }
}

/// The fault or the escalation by itself, where the span of the execution is not exported.
pub(crate) fn record_kept(leased: &Leased, traceparent: &str, keep: &str, from: Time, to: Time) {
    let mut attributes = vec![
        ("messaging.system", SYSTEM.to_owned()),
        ("messaging.destination.name", leased.queue.to_string()),
        ("messaging.message.id", leased.id.to_string()),
    ];
    attributes.extend(leased.job.run().map(|run| ("run", run.to_string())));
    telemetry::record_kept(traceparent, leased.job.step().as_str(), keep, from, to, &attributes);
}

/// The span in which an outcome is committed, and with it the jobs that follow; only if somebody will see it.
pub(crate) fn publish(span: &Span, outcome: &Outcome) -> Option<Span> {
    let Outcome::Done(commit) = outcome else { return None };
    let first = commit.next.first().filter(|_| telemetry::exporting())?;
    let same = commit.next.iter().all(|next| next.queue == first.queue);
    let publish = tracing::info_span!(
        parent: span,
        "publish",
        otel.kind = "producer",
        messaging.system = SYSTEM,
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = Empty,
        messaging.batch.message_count = commit.next.len(),
    );
    if same {
        publish.record("messaging.destination.name", display(first.queue));
    }
    Some(publish)
}

/// Called once an `emit` is committed: the part of the run's trace that happened before it.
pub(crate) fn record_beginning(leased: &Leased, now: Time) {
    let Job::Emit(emit) = leased.job.as_ref() else { return };
    let (run, under) = match Place::of(emit, leased.traceparent.as_deref()) {
        Place::Own(run) => (run, None),
        // It is there already: the batch's own spans.
        Place::Asked(_) => return,
        Place::GoesOn { run, under } => (run, Some(under)),
    };
    let attributes = [
        ("run", emit.run.to_string()),
        ("intent", emit.intent.to_string()),
        ("condition", emit.condition.as_str().to_owned()),
    ];
    for (step, passed) in [StepName::Sweep, StepName::Query, StepName::Compare].iter().zip(&emit.passed) {
        telemetry::record_past(
            run.as_str(),
            step.as_str(),
            passed.from,
            passed.to,
            passed.link.as_deref(),
            &attributes,
        );
    }
    let under = under.as_ref().map(TraceParent::as_str);
    telemetry::record_named(run.as_str(), under, "reconcile", emit.passed[0].from, now, &attributes);
}

#[cfg(test)]
mod tests;
