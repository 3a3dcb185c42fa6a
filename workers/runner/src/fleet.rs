//! A running fleet process.

use std::sync::Arc;

use apalis::layers::catch_panic::{CatchPanicLayer, PanicError};
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::timeout::TimeoutLayer;
use trueup_engine::{Archive, EngineError, HubOptions, Leased, Started, Stop, Store};
use trueup_model::SharedClock;
use trueup_planes::Planes;
use trueup_planes::channels::Channels;
use trueup_workflows::Chain;

use crate::execute::{Executor, execute};
use crate::finish::Finish;
use crate::metrics::Metrics;
use crate::options::{Options, time_limit};
use crate::ports::FleetPorts;

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("this Redis is not safe to use:\n  - {}", .0.join("\n  - "))]
    Unsafe(Vec<String>),
    #[error("{0}")]
    Config(String),
    #[error("a worker ended by itself: {0}")]
    Worker(String),
}

/// One process' share of the fleet, working until it is stopped.
pub struct Fleet {
    started: Started,
    workers: JoinSet<Result<(), WorkerError>>,
    /// At most one: moves events out of Redis.
    archivers: JoinSet<()>,
    /// Ends jobs that outlive the grace period, before others are given them.
    ending: CancellationToken,
    options: Options,
}

impl Fleet {
    /// Checks that the store is safe to use, then begins to work.
    pub async fn start(
        store: Arc<dyn Store>,
        planes: Planes,
        channels: Channels,
        chain: Chain,
        clock: SharedClock,
        options: Options,
    ) -> Result<Self, FleetError> {
        let preflight = store.preflight().await?;
        if !preflight.refused.is_empty() {
            return Err(FleetError::Unsafe(preflight.refused));
        }
        for warning in &preflight.warnings {
            tracing::warn!(server = %preflight.server, "{warning}");
        }
        let hub = HubOptions { slots: options.by_queue(), ticks: true };
        let mut started = trueup_engine::start(store.clone(), clock.clone(), hub);
        let metrics = Arc::new(Metrics::new(&trueup_boot::metrics::of_process().meter()));
        planes.all().iter().for_each(|(tenant, plane, _)| metrics.expect(tenant, *plane));
        let executor =
            Arc::new(Executor { chain, ports: FleetPorts { store, planes, channels }, clock: clock.clone() });
        let finish = Finish { committer: started.committer.clone(), clock, metrics };
        let mut workers = JoinSet::new();
        let ending = CancellationToken::new();
        for lane in std::mem::take(&mut started.lanes) {
            let step = lane.step();
            let worker = WorkerBuilder::new(format!("{}-{step}", started.identity.current()))
                .backend(lane)
                .parallelize(spawner(ending.clone()))
                .layer(finish.clone())
                .layer(CatchPanicLayer::with_panic_handler(panicked as fn(&_) -> _))
                .layer(TimeoutLayer::new(time_limit(step)))
                .data(executor.clone())
                .build(job);
            workers.spawn(worker.run());
        }
        tracing::info!(incarnation = %started.identity.current(), planes = ?options.planes, "working");
        Ok(Self { started, workers, archivers: JoinSet::new(), ending, options })
    }

    /// Moves events into an archive, beside the work and until it stops.
    pub(crate) fn archive(&mut self, archive: Archive, store: Arc<dyn Store>) {
        self.archivers.spawn(trueup_engine::archive::run(archive, store, self.stop_switch()));
    }

    /// The switch that ends leasing.
    pub fn stop_switch(&self) -> Stop {
        self.started.stop.clone()
    }

    /// Works until the switch is thrown, then ends what has started and signs off.
    pub async fn run(mut self) -> Result<(), FleetError> {
        tokio::select! {
            biased;
            () = self.started.stop.stopping() => {}
            Some(ended) = self.workers.join_next() => {
                let what = match ended {
                    // A lane may see the switch a moment before it wakes us.
                    Ok(Ok(())) if self.started.stop.is_stopping() => return self.end().await,
                    Ok(Ok(())) => "no reason given".to_owned(),
                    Ok(Err(e)) => e.to_string(),
                    Err(e) => e.to_string(),
                };
                self.started.stop.stop();
                self.started.leave(self.options.grace).await?;
                return Err(FleetError::Worker(what));
            }
        }
        self.end().await
    }

    /// Lets what has started end, and signs off.
    async fn end(mut self) -> Result<(), FleetError> {
        tracing::info!("stopping: no new jobs; what has started may end");
        let all = async {
            while self.workers.join_next().await.is_some() {}
            while self.archivers.join_next().await.is_some() {}
        };
        if tokio::time::timeout(self.options.grace, all).await.is_err() {
            tracing::warn!(grace = ?self.options.grace, "some jobs did not end in time; others will run them again");
            self.ending.cancel();
            self.workers.abort_all();
        }
        self.started.leave(self.options.grace).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Runs each job as a task of its own, until `ending`.
fn spawner<F>(
    ending: CancellationToken,
) -> impl Fn(F) -> tokio::task::JoinHandle<F::Output> + Clone + Send + 'static
where
    F: Future<Output = Result<(), BoxDynError>> + Send + 'static,
{
    move |job| {
        let ending = ending.clone();
        tokio::spawn(async move {
            ending.run_until_cancelled(job).await.unwrap_or_else(|| Err("ended with the grace period".into()))
        })
    }
}

fn panicked(payload: &Box<dyn std::any::Any + Send>) -> PanicError {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    PanicError(format!("panicked: {text}"))
}

async fn job(
    leased: Leased,
    executor: Data<Arc<Executor>>,
) -> Result<crate::execute::Ended, apalis_core::error::BoxDynError> {
    execute(leased, Arc::clone(&executor)).await
}
