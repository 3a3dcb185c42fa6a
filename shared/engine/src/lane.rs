//! A lane: the apalis `Backend` of one step.
//!
//! `poll_next` reads a channel that the hub fills: no I/O in `poll`, and nothing that happens to Redis can end the
//! apalis worker (E12).

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::mpsc;
use tower::layer::util::Identity;
use trueup_model::{Job, JobId, Partition, Queue, StepName};

use crate::slots::Slot;
use crate::store::Incarnation;

/// A job in a worker's hands. Dropping the last copy frees its slot.
#[derive(Debug, Clone)]
pub struct Leased {
    pub id: JobId,
    pub queue: Queue,
    pub partition: Partition,
    pub job: Arc<Job>,
    /// Which try this is, from 1.
    pub attempt: u32,
    pub rescued: u32,
    pub traceparent: Option<String>,
    /// The name under which it was leased, hence the only one that can commit it.
    pub who: Incarnation,
    pub(crate) _slot: Arc<Slot>,
    /// Held while a job is worked on that may have killed its workers: a process has one such at a time.
    pub(crate) _suspect: Option<Arc<()>>,
}

/// All jobs of one step that this process leases.
#[derive(Debug)]
pub struct Lane {
    step: StepName,
    jobs: mpsc::UnboundedReceiver<Leased>,
    /// Where jobs go that had not started when the process began to stop.
    unstarted: mpsc::UnboundedSender<Leased>,
    stop: crate::hub::Stop,
}

impl Lane {
    pub(crate) fn new(
        step: StepName,
        jobs: mpsc::UnboundedReceiver<Leased>,
        unstarted: mpsc::UnboundedSender<Leased>,
        stop: crate::hub::Stop,
    ) -> Self {
        Self { step, jobs, unstarted, stop }
    }
    pub fn step(&self) -> StepName {
        self.step
    }
}

impl Backend for Lane {
    type Task = Task<Leased>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        loop {
            // The hub closes the channel when the process stops.
            let Some(leased) = ready!(self.jobs.poll_recv(cx)) else {
                // An apalis worker whose stream ended waits until it is also told to stop. It has been started, or it
                // would not poll, so this cannot fail.
                let _ = worker.stop();
                return Poll::Ready(None);
            };
            if self.stop.is_stopping() {
                // Nobody receives only after the hub has gone, and then `leave` takes everything back.
                let _ = self.unstarted.send(leased);
                continue;
            }
            let task = TaskBuilder::new(leased.clone())
                .task_id(TaskId::from_string(leased.id.as_str()))
                .attempt(leased.attempt as usize)
                .build();
            return Poll::Ready(Some(Ok(task)));
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Lane {
    type Args = Leased;
    type Id = JobId;
    // Decoded by the hub already, so that bytes nobody can read never reach apalis (E7).
    type Kind = Ephemeral;
    type Config = StepName;
    type Layer = Identity;

    fn config(&self) -> &StepName {
        &self.step
    }
    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
