//! A hundred thousand jobs that become due in the same second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use tokio::sync::mpsc;
use trueup_engine::{Committer, Ended, HubOptions, Leased, NewJob, RedisOptions, RedisStore, Store};
use trueup_model::commit::Committed;
use trueup_model::job::Sweep;
use trueup_model::{
    Clock, Commit, Job, JobId, ManualClock, Outcome, Partition, Queue, StepName, SystemClock,
};
use trueup_tests::fleet::wait::wait_until;
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::redis;

use crate::{alone, percentile};

const JOBS: usize = 100_000;
const P: Partition = Partition(0);

struct Shared {
    committer: Committer,
    burst: Queue,
    committed: AtomicUsize,
    rejected: AtomicUsize,
    other: mpsc::UnboundedSender<()>,
}

/// Guards: promotion by at most 256 a call (Lua cannot unpack more than some 8,000: stock apalis-redis is stuck for good
/// from there on), and slots per queue, so that one queue's backlog does not stand before another's jobs. The other queue
/// is the one that is served last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_jobs_due_in_one_second() {
    let _alone = alone().await;
    let server = redis().await.expect("a private Redis");
    let now = SystemClock.now();
    let clock = ManualClock::at(now);
    let options = RedisOptions::new(server.url(), Arc::new(clock.clone()));
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(options).await.expect("a store"));
    let burst = Queue::new(StepName::Compare, None).expect("a queue");
    let other = Queue::new(StepName::Sweep, None).expect("a queue");
    let at = now + trueup_model::Duration::seconds(60);
    let payload = Job::Compare(trueup_model::job::Compare {
        plane: trueup_model::PlaneKind::Intune,
        seen: Vec::new(),
        swept: span(),
        queried: span(),
    })
    .encode();
    let jobs: Vec<NewJob> = (0..JOBS)
        .map(|n| NewJob {
            id: JobId::derive(&["burst", &n.to_string()]),
            queue: burst,
            payload: payload.clone(),
            at: Some(at),
            traceparent: None,
        })
        .collect();
    for chunk in jobs.chunks(256) {
        assert_eq!(store.enqueue(P, chunk).await.expect("enqueued"), chunk.len() as u64);
    }

    let hub = HubOptions { slots: BTreeMap::from([(burst, 256), (other, 16)]), ticks: false };
    let mut started = trueup_engine::start(store.clone(), Arc::new(clock.clone()), hub);
    let (tx, mut others) = mpsc::unbounded_channel();
    let (committed, rejected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shared =
        Arc::new(Shared { committer: started.committer.clone(), burst, committed, rejected, other: tx });
    let mut workers = Vec::new();
    for lane in std::mem::take(&mut started.lanes) {
        let worker = WorkerBuilder::new("due").backend(lane).data(shared.clone()).build(commit);
        workers.push(tokio::spawn(worker.run()));
    }
    let mut n = 0;
    let idle = latencies(&*store, other, &mut others, &mut n, |done| done == 200).await;
    assert_eq!(shared.committed.load(Ordering::SeqCst), 0, "none of the burst is due yet");

    clock.advance(trueup_model::Duration::seconds(60));
    let watch = Stopwatch::start();
    let busy = latencies(&*store, other, &mut others, &mut n, |_| {
        assert!(watch.seconds() < 240.0, "stuck at {} of {JOBS}", shared.committed.load(Ordering::SeqCst));
        shared.committed.load(Ordering::SeqCst) >= JOBS
    })
    .await;
    let seconds = watch.seconds();
    wait_until(Duration::from_secs(10), "every queue is empty", async || {
        let depths = store.depths().await.unwrap_or_default();
        !depths.is_empty() && depths.iter().all(|d| d.ready + d.scheduled + d.in_flight + d.dead == 0)
    })
    .await;
    assert_eq!(shared.committed.load(Ordering::SeqCst), JOBS, "each once");
    assert_eq!(shared.rejected.load(Ordering::SeqCst), 0);
    let ms = |times: &[f64], share| percentile(times, share) * 1e3;
    println!(
        "{JOBS} jobs due at once drained in {seconds:.1} s ({:.0}/s); another queue's jobs, enqueue to commit: idle p50 {:.1} \
         ms, meanwhile p50 {:.1} ms, p99 {:.1} ms ({} of them)",
        JOBS as f64 / seconds,
        ms(&idle, 0.5),
        ms(&busy, 0.5),
        ms(&busy, 0.99),
        busy.len()
    );
    assert!(busy.len() >= 20, "too few to tell");
    let (idle, busy) = (percentile(&idle, 0.5), percentile(&busy, 0.5));
    assert!(
        busy < 1.0 && busy < 50.0 * idle.max(0.001),
        "another queue waits {busy:.3} s, {idle:.3} s when idle"
    );
    started.stop.stop();
    for worker in workers {
        worker.await.expect("joined").expect("no worker fails");
    }
    started.leave(Duration::from_secs(10)).await.expect("signed off");
}

fn span() -> trueup_model::job::Span {
    let at = trueup_model::Time::UNIX_EPOCH;
    trueup_model::job::Span { from: at, to: at, link: None }
}

/// Seconds from enqueue to commit of jobs of a queue, one after the other, sorted, until enough.
async fn latencies(
    store: &dyn Store,
    queue: Queue,
    committed: &mut mpsc::UnboundedReceiver<()>,
    n: &mut usize,
    enough: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let mut times = Vec::new();
    while !enough(times.len()) {
        *n += 1;
        let job = Job::Sweep(Sweep { partition: P, only: Some(Vec::new()), correlation_id: None });
        let new = NewJob::of(JobId::derive(&["other", &n.to_string()]), queue, &job, None);
        let watch = Stopwatch::start();
        store.enqueue(P, &[new]).await.expect("enqueued");
        let answer = tokio::time::timeout(Duration::from_secs(60), committed.recv()).await;
        assert!(matches!(answer, Ok(Some(()))), "a job of another queue is not worked on");
        times.push(watch.seconds());
    }
    times.sort_by(f64::total_cmp);
    times
}

async fn commit(leased: Leased, shared: Data<Arc<Shared>>) -> Result<(), BoxDynError> {
    let ended = Ended {
        job: leased.id.clone(),
        queue: leased.queue,
        outcome: Outcome::Done(Commit::default()),
        traceparent: None,
    };
    if shared.committer.commit(leased.partition, &leased.who, ended).await != Committed::Yes {
        shared.rejected.fetch_add(1, Ordering::SeqCst);
    } else if leased.queue == shared.burst {
        shared.committed.fetch_add(1, Ordering::SeqCst);
    } else {
        shared.other.send(())?;
    }
    Ok(())
}
