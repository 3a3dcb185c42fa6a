//! The queues as apalis's own board sees them (`apalis_core::backend::Expose`): a view, and nothing else.
//!
//! # Guarantees
//! - It hands out no job, and takes none: there is one way to enqueue, and it is not this one. Pushing ends in
//!   [`ExposeError::ReadOnly`].
//! - What it shows is what `Store` says at that moment. A board knows fewer states: ready and scheduled jobs are *pending*, those
//!   in flight are *running*, the dead are *killed*. Nothing is ever *queued*, *failed* or *done*, since none of that is kept.
//! - Pages are bounded: [`MAX_PAGE`] jobs, within the first [`MAX_DEPTH`] of a queue and state.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apalis_core::backend::codec::Codec;
use apalis_core::backend::finalize::Durable;
use apalis_core::backend::{
    Backend, BackendConfig, FetchById, Filter, ListAllTasks, ListQueues, ListTasks, ListWorkers, Metrics,
    QueueInfo, RunningWorker, StatType, Statistic, WireFormatBackend,
};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::status::Status;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use futures::Sink;
use serde_json::Value;
use tower::layer::util::Identity;
use trueup_model::{JobId, Queue, SharedClock};

use crate::EngineError;
use crate::store::{JobState, JobView, QueueDepth, Store};

/// Jobs on one page.
pub const MAX_PAGE: usize = 100;
/// How far into a queue pages go.
pub const MAX_DEPTH: usize = 1_000;

/// Why the board did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ExposeError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("this board only shows: jobs are enqueued by intents, schedules and `POST /v1/reconciliations`")]
    ReadOnly,
}

/// One queue of a store, as a board registers it.
#[derive(Debug, Clone)]
pub struct Exposed {
    store: Arc<dyn Store>,
    clock: SharedClock,
    queue: Queue,
    codec: AsItIs,
}

impl Exposed {
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, queue: Queue) -> Self {
        Self { store, clock, queue, codec: AsItIs }
    }

    async fn depths(&self, all: bool) -> Result<Vec<QueueDepth>, ExposeError> {
        let mine = self.queue.to_string();
        Ok(self.store.depths().await?.into_iter().filter(|d| all || d.queue == mine).collect())
    }

    /// The jobs of these queues that a page shows.
    async fn page(&self, queues: &[Queue], filter: &Filter) -> Result<Vec<Task<Value>>, ExposeError> {
        let size = (filter.limit() as usize).clamp(1, MAX_PAGE);
        let from = (filter.page.max(1) as usize - 1).saturating_mul(size);
        let to = from.saturating_add(size).min(MAX_DEPTH);
        let states: &[JobState] = match filter.status {
            None => &[JobState::InFlight, JobState::Ready, JobState::Scheduled, JobState::Dead],
            Some(Status::Pending) => &[JobState::Ready, JobState::Scheduled],
            Some(Status::Running) => &[JobState::InFlight],
            Some(Status::Killed) => &[JobState::Dead],
            Some(_) => &[],
        };
        let mut jobs = Vec::new();
        for queue in queues {
            for state in states {
                if jobs.len() < to {
                    jobs.extend(self.store.jobs(*queue, *state, to - jobs.len()).await?);
                }
            }
        }
        Ok(jobs.into_iter().skip(from).map(|j| self.task(j)).collect())
    }

    fn task(&self, job: JobView) -> Task<Value> {
        let seconds = |t: trueup_model::Time| u64::try_from(t.timestamp()).unwrap_or_default();
        let status = match job.state {
            JobState::Ready | JobState::Scheduled => Status::Pending,
            JobState::InFlight => Status::Running,
            JobState::Dead => Status::Killed,
        };
        let enqueued = job.age_ms.and_then(|ms| chrono::TimeDelta::try_milliseconds(i64::try_from(ms).ok()?));
        let at = job.at.or_else(|| Some(self.clock.now() - enqueued?));
        let dead = job.at.filter(|_| job.state == JobState::Dead).map(seconds);
        TaskBuilder::new(job.payload)
            .task_id(TaskId::from_string(job.id.as_str()))
            .queue(apalis_core::backend::queue::Queue::from(job.queue))
            .attempt(job.attempts as usize)
            .status(status)
            .run_at_timestamp(at.map(seconds).unwrap_or_default())
            .done_at(dead)
            .lock_by(job.held_by.map(|w| w.0))
            .build()
    }

    async fn workers(&self, all: bool) -> Result<Vec<RunningWorker>, ExposeError> {
        let mine = self.queue.to_string();
        let now = self.clock.now().timestamp_millis().unsigned_abs();
        let mut reports = self.store.operations().reports().await?;
        let workers = self.store.workers().await?;
        let view = workers.into_iter().filter_map(|w| {
            let report = reports.remove(&w.incarnation).map(|(report, _)| report).unwrap_or_default();
            let served: Vec<&str> = report.queues.keys().map(String::as_str).collect();
            let started = report.started_at.map_or(0, |t| t.timestamp().unsigned_abs());
            (all || served.contains(&mine.as_str())).then(|| RunningWorker {
                id: w.incarnation.0,
                queue: if all { served.join(" ") } else { mine.clone() },
                backend: "trueup".into(),
                started_at: started,
                last_heartbeat: now.saturating_sub(w.last_beat_ms) / 1_000,
                layers: format!("{} {} pid {}", report.version, report.host, report.pid),
            })
        });
        Ok(view.collect())
    }
}

/// Under the titles that the board knows.
fn statistics(depths: &[QueueDepth]) -> Vec<Statistic> {
    let sum = |of: fn(&QueueDepth) -> u64| depths.iter().map(of).sum::<u64>();
    let waiting = sum(|d| d.ready + d.scheduled);
    let (running, dead) = (sum(|d| d.in_flight), sum(|d| d.dead));
    let rows = [
        ("TOTAL_JOBS", waiting + running + dead),
        ("PENDING_JOBS", waiting),
        ("QUEUE_BACKLOG", sum(|d| d.ready)),
        ("RUNNING_JOBS", running),
        ("KILLED_JOBS", dead),
    ];
    let row = |(n, (title, value)): (usize, (&str, u64))| Statistic {
        title: title.into(),
        stat_type: StatType::Number,
        value: value.to_string(),
        priority: Some(n as u64),
    };
    rows.into_iter().enumerate().map(row).collect()
}

impl Backend for Exposed {
    type Task = Task<Value>;
    type Error = ExposeError;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), ExposeError>> {
        Poll::Ready(Ok(()))
    }
    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, ExposeError>>> {
        Poll::Ready(None)
    }
    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), ExposeError>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Exposed {
    type Args = Value;
    type Id = JobId;
    type Kind = Durable;
    type Config = Queue;
    type Layer = Identity;

    fn config(&self) -> &Queue {
        &self.queue
    }
    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Payloads as they are shown are what the board gets.
#[derive(Debug, Clone, Copy)]
pub struct AsItIs;

impl Codec<Value> for AsItIs {
    type Error = ExposeError;
    type Compact = Value;

    fn encode(&self, value: &Value) -> Result<Value, ExposeError> {
        Ok(value.clone())
    }
    fn decode(&self, value: &Value) -> Result<Value, ExposeError> {
        Ok(value.clone())
    }
}

impl WireFormatBackend for Exposed {
    type Codec = AsItIs;
    type Compact = Value;

    fn codec(&self) -> &AsItIs {
        &self.codec
    }
}

/// What a `TaskSink` is made of; it takes nothing.
impl Sink<Task<Value>> for Exposed {
    type Error = ExposeError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ExposeError>> {
        Poll::Ready(Err(ExposeError::ReadOnly))
    }
    fn start_send(self: Pin<&mut Self>, _: Task<Value>) -> Result<(), ExposeError> {
        Err(ExposeError::ReadOnly)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ExposeError>> {
        Poll::Ready(Err(ExposeError::ReadOnly))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ExposeError>> {
        Poll::Ready(Ok(()))
    }
}

impl FetchById for Exposed {
    async fn fetch_by_id(&mut self, id: &TaskId) -> Result<Option<Task<Value>>, ExposeError> {
        let job = self.store.job(&JobId::from_wire(id.to_string())).await?;
        let mine = self.queue.to_string();
        Ok(job.filter(|j| j.queue == mine).map(|j| self.task(j)))
    }
}

impl ListQueues for Exposed {
    async fn list_queues(&self) -> Result<Vec<QueueInfo>, ExposeError> {
        let reports = self.store.operations().reports().await?;
        let info = |d: QueueDepth| QueueInfo {
            workers: reports
                .iter()
                .filter(|(_, (report, _))| report.queues.contains_key(&d.queue))
                .map(|(who, _)| who.0.clone())
                .collect(),
            stats: statistics(std::slice::from_ref(&d)),
            name: d.queue,
            // Of seven days; what passed through is kept for five minutes.
            activity: Vec::new(),
        };
        Ok(self.depths(true).await?.into_iter().map(info).collect())
    }
}

impl ListWorkers for Exposed {
    async fn list_workers(&self) -> Result<Vec<RunningWorker>, ExposeError> {
        self.workers(false).await
    }
    async fn list_all_workers(&self) -> Result<Vec<RunningWorker>, ExposeError> {
        self.workers(true).await
    }
}

impl ListTasks for Exposed {
    async fn list_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, ExposeError> {
        self.page(&[self.queue], filter).await
    }
}

impl ListAllTasks for Exposed {
    async fn list_all_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, ExposeError> {
        let queues: Vec<Queue> = Queue::all().into_iter().rev().collect();
        self.page(&queues, filter).await
    }
}

impl Metrics for Exposed {
    async fn global(&self) -> Result<Vec<Statistic>, ExposeError> {
        Ok(statistics(&self.depths(true).await?))
    }
    async fn fetch_by_queue(&self) -> Result<Vec<Statistic>, ExposeError> {
        Ok(statistics(&self.depths(false).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apalis_core::backend::{Expose, TaskSink as _};
    use trueup_model::SystemClock;

    fn is_exposed<B: Expose<Value, Durable>>(_: &B) {}

    #[tokio::test]
    async fn it_shows_and_takes_nothing() {
        let store: Arc<dyn Store> = Arc::new(crate::memory::MemoryStore::new(1));
        let queue: Queue = "emit".parse().unwrap();
        let mut exposed = Exposed::new(store.clone(), Arc::new(SystemClock), queue);
        is_exposed(&exposed);
        assert_eq!(exposed.list_queues().await.unwrap().len(), Queue::all().len());
        let pushed = exposed.push(Value::Null).await.unwrap_err();
        assert!(pushed.to_string().contains("only shows"), "{pushed}");
        assert!(exposed.push_task(Task::new(Value::Null)).await.is_err());
        assert!(exposed.push_bulk(vec![Value::Null]).await.is_err());
        assert!(store.depths().await.unwrap().iter().all(|d| d.ready + d.scheduled == 0));
        let far = Filter { status: None, page: u32::MAX, page_size: Some(u32::MAX) };
        assert!(exposed.list_all_tasks(&far).await.unwrap().is_empty());
    }
}
