//! The outermost layer of every worker: commits what an execution came to, also when it panicked or took too long.
//!
//! A conflict (state changed since it was read) means: execute again, now. Each time around reads fresh state, so it
//! ends as soon as nobody interferes; after a few the job steps back for a second.

use std::sync::Arc;
use std::task::{Context, Poll};

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use chrono::TimeDelta;
use futures::FutureExt;
use futures::future::BoxFuture;
use tower::{Layer, Service, ServiceExt};
use tracing::{Instrument as _, Span};
use trueup_boot::telemetry::spans;
use trueup_engine::{Committer, Leased};
use trueup_model::commit::Committed;
use trueup_model::{Fault, Outcome, SharedClock, Time};

use crate::execute::{Ended, after};
use crate::metrics::{Metrics, Pending};
use crate::trace;

/// Executions of one job in a row that may end in a conflict.
const CONFLICTS: usize = 5;

#[derive(Clone)]
pub(crate) struct Finish {
    pub(crate) committer: Committer,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Finish {
    type Service = Finishing<S>;
    fn layer(&self, inner: S) -> Finishing<S> {
        Finishing { inner, finish: Arc::new(self.clone()) }
    }
}

#[derive(Clone)]
pub(crate) struct Finishing<S> {
    inner: S,
    finish: Arc<Finish>,
}

impl<S> Service<Task<Leased>> for Finishing<S>
where
    S: Service<Task<Leased>, Response = Ended> + Clone + Send + 'static,
    S::Error: Into<BoxDynError>,
    S::Future: Send,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, task: Task<Leased>) -> Self::Future {
        let (inner, finish) = (self.inner.clone(), self.finish.clone());
        async move {
            finish.run(inner, task).await;
            Ok(())
        }
        .boxed()
    }
}

impl Finish {
    async fn run<S>(&self, inner: S, task: Task<Leased>)
    where
        S: Service<Task<Leased>, Response = Ended> + Clone + Send,
        S::Error: Into<BoxDynError>,
        S::Future: Send,
    {
        let leased = task.args.clone();
        for _ in 0..CONFLICTS {
            let began = self.clock.now();
            let ended = match inner.clone().oneshot(task.clone()).await {
                Ok(ended) => ended,
                Err(e) => self.failed(&leased, e.into()),
            };
            let span = ended.span.clone();
            match self.commit(&leased, ended, began).await {
                Committed::Yes => {
                    trace::record_beginning(&leased, self.clock.now());
                    return;
                }
                Committed::LeaseLost => {
                    let _in = span.enter();
                    tracing::info!(queue = %leased.queue, "lease lost; somebody else has this job");
                    return;
                }
                Committed::Conflict => {}
                Committed::Malformed => {
                    let because = "its commit was refused as malformed".to_owned();
                    span.in_scope(
                        || tracing::error!(queue = %leased.queue, "to the dead letters: {because}"),
                    );
                    let ended = without_span(Outcome::Dead { because });
                    self.commit(&leased, ended, began).await;
                    return;
                }
            }
        }
        let at = self.clock.now() + TimeDelta::seconds(1);
        let because =
            Some("what it wrote was changed by others each time it tried; it tries again".to_owned());
        let outcome = Outcome::Defer { at, because };
        self.commit(&leased, without_span(outcome), self.clock.now()).await;
    }

    /// A panic or a timeout: ours to mend, but the job is not lost.
    fn failed(&self, leased: &Leased, e: BoxDynError) -> Ended {
        // The execution's own span has ended with it.
        let (span, onward) = trace::begin(leased);
        let outcome = span.in_scope(|| after(&Fault::bug(e.to_string()), leased, self.clock.now()));
        trace::ended(&span, &outcome);
        Ended { outcome, traceparent: onward.as_str().to_owned(), span }
    }

    async fn commit(&self, leased: &Leased, ended: Ended, began: Time) -> Committed {
        let pending = Pending::of(leased, &ended.outcome);
        let Ended { outcome, traceparent, span } = ended;
        let keep = trace::keep(&outcome).filter(|_| spans::sampled_ids(&traceparent).is_none());
        let within = trace::publish(&span, &outcome).unwrap_or_else(|| span.clone());
        let ended = trueup_engine::Ended {
            job: leased.id.clone(),
            queue: leased.queue,
            outcome,
            traceparent: Some(traceparent.clone()),
        };
        let answer = self.committer.commit(leased.partition, &leased.who, ended).instrument(within).await;
        let now = self.clock.now();
        if let Some(keep) = keep.filter(|_| answer == Committed::Yes && spans::exporting()) {
            trace::record_kept(leased, &traceparent, keep, began, now);
        }
        self.metrics.committed(leased, &pending, answer, (began, now), &traceparent);
        answer
    }
}

/// What is decided here rather than by an execution.
fn without_span(outcome: Outcome) -> Ended {
    Ended { outcome, traceparent: String::new(), span: Span::none() }
}
