//! The peer: stock apalis-redis, the same four queues, 300-byte payloads, a push to the next queue as the step's work.
//!
//! Its worker stops looking when a fetch comes back empty, until its heartbeat (30 s by default) wakes it. That would
//! measure the heartbeat, so it gets one of 20 ms here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis_core::backend::TaskSink;
use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, RedisStorage};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::redis;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payload {
    step: usize,
    filler: String,
}

struct Chain {
    queues: Vec<RedisStorage<Payload>>,
    steps: usize,
    done: AtomicUsize,
    finished: Notify,
    /// Jobs in the first queue, so that the seeding never lets more than 4,000 wait: above 7,999 every fetch fails.
    waiting: AtomicUsize,
    drained: Notify,
}

pub(crate) async fn chain(steps: usize) -> anyhow::Result<f64> {
    let server = redis().await?;
    let conn = apalis_redis::connect(server.url()).await?;
    let queue = |n: usize| {
        let config = Config::default()
            .queue(format!("bench:{n}"))
            .batch_size(100)
            .heartbeat_interval(Duration::from_millis(20))
            .missed_heartbeats(500);
        RedisStorage::<Payload>::new(conn.clone()).with_config(config)
    };
    let chain = Arc::new(Chain {
        queues: (0..4).map(queue).collect(),
        steps,
        done: AtomicUsize::new(0),
        finished: Notify::new(),
        waiting: AtomicUsize::new(0),
        drained: Notify::new(),
    });
    let (mut first, chains) = (queue(0), steps / 4);
    let payload = Payload { step: 0, filler: "x".repeat(270) };
    let ahead = chains.min(4_000);
    for _ in 0..ahead / 500 {
        first.push_bulk(vec![payload.clone(); 500]).await?;
    }
    chain.waiting.store(ahead, Ordering::SeqCst);

    let watch = Stopwatch::start();
    let mut workers = Vec::new();
    for n in 0..4 {
        let worker =
            WorkerBuilder::new(format!("stock-{n}")).backend(queue(n)).data(chain.clone()).build(step);
        workers.push(tokio::spawn(async move {
            if let Err(e) = worker.run().await {
                eprintln!("  a stock worker ended by itself: {e:?}");
            }
        }));
    }
    let seeding = {
        let chain = chain.clone();
        tokio::spawn(async move {
            let mut seeded = ahead;
            while seeded < chains {
                while chain.waiting.load(Ordering::SeqCst) > 3_500 {
                    chain.drained.notified().await;
                }
                let n = 500.min(chains - seeded);
                chain.waiting.fetch_add(n, Ordering::SeqCst);
                if first.push_bulk(vec![payload.clone(); n]).await.is_err() {
                    return;
                }
                seeded += n;
            }
        })
    };
    let rate = progress(&chain, watch).await;
    seeding.abort();
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(rate)
}

/// Steps a second up to the end, or up to the moment after which nothing happened for five seconds: it sometimes stalls
/// for good, and what it did before is its speed all the same.
async fn progress(chain: &Chain, watch: Stopwatch) -> f64 {
    let (mut last, mut at) = (0, 0.0);
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            () = chain.finished.notified() => return chain.steps as f64 / watch.seconds(),
            _ = looks.tick() => {}
        }
        let done = chain.done.load(Ordering::Relaxed);
        if done > last {
            (last, at) = (done, watch.seconds());
        } else if watch.seconds() - at > 5.0 {
            eprintln!("  stock stalled after {last} of {} steps", chain.steps);
            return last as f64 / at;
        }
    }
}

async fn step(mut job: Payload, chain: Data<Arc<Chain>>) -> Result<(), BoxDynError> {
    if job.step == 0 {
        chain.waiting.fetch_sub(1, Ordering::SeqCst);
        chain.drained.notify_one();
    }
    job.step += 1;
    if job.step < 4 {
        let mut next = chain.queues[job.step].clone();
        next.push(job).await?;
    }
    if chain.done.fetch_add(1, Ordering::Relaxed) + 1 == chain.steps {
        chain.finished.notify_one();
    }
    Ok(())
}
