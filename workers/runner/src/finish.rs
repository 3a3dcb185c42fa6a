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
            match self.commit(&leased, ended, began).await {
                Committed::Yes => {
                    trace::record_beginning(&leased, self.clock.now());
                    return;
                }
                Committed::LeaseLost => {
                    tracing::info!(job = %leased.id, queue = %leased.queue, "lease lost; somebody else has this job");
                    return;
                }
                Committed::Conflict => {}
                Committed::Malformed => {
                    let because = "its commit was refused as malformed".to_owned();
                    tracing::error!(job = %leased.id, queue = %leased.queue, "to the dead letters: {because}");
                    let ended = Ended { outcome: Outcome::Dead { because }, traceparent: String::new() };
                    self.commit(&leased, ended, began).await;
                    return;
                }
            }
        }
        let at = self.clock.now() + TimeDelta::seconds(1);
        let because =
            Some("what it wrote was changed by others each time it tried; it tries again".to_owned());
        let outcome = Outcome::Defer { at, because };
        self.commit(&leased, Ended { outcome, traceparent: String::new() }, self.clock.now()).await;
    }

    /// A panic or a timeout: ours to mend, but the job is not lost.
    fn failed(&self, leased: &Leased, e: BoxDynError) -> Ended {
        let outcome = after(&Fault::bug(e.to_string()), leased, self.clock.now());
        Ended { outcome, traceparent: leased.traceparent.clone().unwrap_or_default() }
    }

    async fn commit(&self, leased: &Leased, ended: Ended, began: Time) -> Committed {
        let pending = Pending::of(leased, &ended.outcome);
        let ended = trueup_engine::Ended {
            job: leased.id.clone(),
            queue: leased.queue,
            outcome: ended.outcome,
            traceparent: Some(ended.traceparent),
        };
        let answer = self.committer.commit(leased.partition, &leased.who, ended).await;
        self.metrics.committed(leased, &pending, answer, began, self.clock.now());
        answer
    }
}
