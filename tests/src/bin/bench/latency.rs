//! (d) From enqueue to commit on an idle fleet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use tokio::sync::mpsc;
use trueup_engine::{Committer, Ended, HubOptions, Leased, NewJob, RedisOptions, RedisStore, Store};
use trueup_model::job::Sweep;
use trueup_model::{Commit, Job, JobId, Outcome, Partition, Queue, StepName, SystemClock};
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::redis;

use crate::RUNS;
use crate::report::{Report, median};

const JOBS: usize = 1_000;

pub(crate) async fn figures(report: &mut Report) -> anyhow::Result<()> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut times = run().await?;
        times.sort_by(f64::total_cmp);
        p50.push(times[times.len() / 2]);
        p99.push(times[times.len() * 99 / 100]);
    }
    let settings =
        "1,000 jobs one at a time, 1 process, 1 partition, AOF everysec, committed = answered by the script";
    report.below("enqueue to commit, idle, p50".into(), median(p50), "ms", 5.0, settings);
    report.below("enqueue to commit, idle, p99".into(), median(p99), "ms", 50.0, settings);
    Ok(())
}

struct Shared {
    committer: Committer,
    done: mpsc::UnboundedSender<()>,
}

async fn run() -> anyhow::Result<Vec<f64>> {
    let server = redis().await?;
    let clock = Arc::new(SystemClock);
    let store: Arc<dyn Store> =
        Arc::new(RedisStore::connect(RedisOptions::new(server.url(), clock.clone())).await?);
    let Some(queue) = Queue::new(StepName::Sweep, None) else { anyhow::bail!("no queue") };
    let hub = HubOptions { slots: BTreeMap::from([(queue, 16)]), ticks: false };
    let mut started = trueup_engine::start(store.clone(), clock, hub);
    let (done, mut committed) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared { committer: started.committer.clone(), done });
    let mut workers = Vec::new();
    for lane in std::mem::take(&mut started.lanes) {
        let worker = WorkerBuilder::new("latency").backend(lane).data(shared.clone()).build(commit);
        workers.push(tokio::spawn(worker.run()));
    }
    let mut times = Vec::with_capacity(JOBS);
    for n in 0..JOBS {
        let job = Job::Sweep(Sweep { partition: Partition(0), only: Some(Vec::new()), correlation_id: None });
        let new = NewJob::of(JobId::derive(&["latency", &n.to_string()]), queue, &job, None);
        let watch = Stopwatch::start();
        store.enqueue(Partition(0), &[new]).await?;
        committed.recv().await;
        times.push(watch.seconds() * 1e3);
    }
    started.stop.stop();
    for worker in workers {
        worker.await??;
    }
    started.leave(Duration::from_secs(10)).await?;
    Ok(times)
}

async fn commit(leased: Leased, shared: Data<Arc<Shared>>) -> Result<(), BoxDynError> {
    let outcome = Outcome::Done(Commit::default());
    let ended = Ended { job: leased.id.clone(), queue: leased.queue, outcome, traceparent: None };
    shared.committer.commit(leased.partition, &leased.who, ended).await;
    shared.done.send(())?;
    Ok(())
}
