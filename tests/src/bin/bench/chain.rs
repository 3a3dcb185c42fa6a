//! (a) Durable chained steps a second: four queues, one after the other, 300-byte payloads; each of our steps also
//! appends an event and writes a state. Beside it: stock apalis-redis, and what Redis itself can do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use tokio::sync::Notify;
use trueup_engine::{By, Ended, HubOptions, Leased, NewJob, RedisOptions, RedisStore, Store};
use trueup_model::commit::Committed;
use trueup_model::job::{Escalate, Sweep};
use trueup_model::{
    Commit, CorrelationId, Event, EventId, EventKind, Intent, IntentState, Job, JobId, Next, Outcome,
    Partition, Queue, StepName, SystemClock, Write,
};

use crate::report::{Report, median};
use crate::{RUNS, limit, stock};
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::{intent, redis};

const SETTINGS: &str = "1 process, 1 partition, AOF everysec, 300 B payloads, ours writes an event and a state a step; stock with a heartbeat of 20 ms";

pub(crate) async fn figures(report: &mut Report, steps: usize) -> anyhow::Result<()> {
    let (mut ours, mut stocks, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(engine(steps).await?);
        stocks.push(stock::chain(steps).await?);
        limits.push(limit::chain(steps).await?);
        eprintln!(
            "  {steps} steps: ours {:.0?}, stock {:.0?}, limit {:.0?}",
            ours.last(),
            stocks.last(),
            limits.last()
        );
    }
    let (ours, stocks, limits) = (median(ours), median(stocks), median(limits));
    report.faster(format!("chained steps, {steps}"), ours, "steps/s", "stock apalis-redis", stocks, SETTINGS);
    report.faster(format!("chained steps, {steps}"), ours, "steps/s", "Redis: batched Lua", limits, SETTINGS);
    Ok(())
}

pub(crate) async fn alone(steps: usize) -> anyhow::Result<()> {
    for _ in 0..RUNS {
        println!("{:.0} steps/s, limit {:.0}", engine(steps).await?, limit::chain(steps).await?);
    }
    Ok(())
}

struct Chain {
    committer: trueup_engine::Committer,
    steps: usize,
    done: AtomicUsize,
    finished: Notify,
}

/// The four queues in the order of the chain; none of them belongs to a plane.
const STEPS: [StepName; 4] = [StepName::Sweep, StepName::Compare, StepName::Emit, StepName::Escalate];

/// A job of the given step with about 300 bytes of payload.
fn job(step: usize, of: &Intent) -> Job {
    let run = IntentState::default().next_run(of);
    match STEPS[step] {
        StepName::Sweep => Job::Sweep(Sweep {
            partition: Partition(0),
            only: Some(vec![of.key.clone(); 7]),
            correlation_id: Some(CorrelationId::derive(&[run.as_str()])),
        }),
        StepName::Compare => Job::Compare(trueup_model::job::Compare {
            plane: of.plane(),
            seen: Vec::new(),
            swept: span(),
            queried: span(),
        }),
        StepName::Emit => Job::Emit(trueup_model::job::Emit {
            intent: of.key.clone(),
            run,
            generation: 1,
            drifts: Vec::new(),
            unjudged: Vec::new(),
            unjudged_kinds: Vec::new(),
            ignored: Vec::new(),
            condition: trueup_model::Condition::InSync,
            passed: [span(), span(), span()],
            trace: None,
        }),
        _ => Job::Escalate(Escalate {
            intent: of.key.clone(),
            run,
            drifts: Vec::new(),
            attempts: 3,
            plan: trueup_model::Plan::new(1, &[], Vec::new()),
        }),
    }
}

fn span() -> trueup_model::job::Span {
    let at = trueup_model::Time::UNIX_EPOCH;
    trueup_model::job::Span { from: at, to: at, link: None }
}

fn id(chain: usize, step: usize) -> JobId {
    JobId::from_wire(format!("job_{chain:010}-{step}"))
}

async fn engine(steps: usize) -> anyhow::Result<f64> {
    let server = redis().await?;
    let clock = Arc::new(SystemClock);
    let store: Arc<dyn Store> =
        Arc::new(RedisStore::connect(RedisOptions::new(server.url(), clock.clone())).await?);
    let chains = steps / STEPS.len();
    let intents: Vec<Intent> = (0..chains).map(|n| intent("bench", &format!("i{n:07}"))).collect();
    let by = By {
        actor: "bench".into(),
        correlation_id: CorrelationId::derive(&["bench"]),
        now: trueup_model::Time::UNIX_EPOCH,
    };
    for chunk in intents.chunks(256) {
        store.apply(chunk, &by).await?;
    }
    let Some(first) = Queue::new(STEPS[0], None) else { anyhow::bail!("no queue") };
    let jobs: Vec<NewJob> =
        intents.iter().enumerate().map(|(n, i)| NewJob::of(id(n, 0), first, &job(0, i), None)).collect();
    for chunk in jobs.chunks(256) {
        store.enqueue(Partition(0), chunk).await?;
    }

    let watch = Stopwatch::start();
    let slots: BTreeMap<Queue, usize> =
        STEPS.iter().filter_map(|s| Queue::new(*s, None)).map(|q| (q, 256)).collect();
    let started = trueup_engine::start(store, clock, HubOptions { slots, ticks: false });
    let mut started = started;
    let chain = Arc::new(Chain {
        committer: started.committer.clone(),
        steps,
        done: AtomicUsize::new(0),
        finished: Notify::new(),
    });
    let intents = Arc::new(intents);
    let mut workers = Vec::new();
    for lane in std::mem::take(&mut started.lanes) {
        let worker = WorkerBuilder::new(format!("bench-{}", lane.step()))
            .backend(lane)
            .data(chain.clone())
            .data(intents.clone())
            .build(step);
        workers.push(tokio::spawn(worker.run()));
    }
    chain.finished.notified().await;
    let rate = steps as f64 / watch.seconds();
    if std::env::var("CPU").is_ok() {
        let mut c = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut c).await?;
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut c).await?;
        println!("{info}{stats}");
    }
    started.stop.stop();
    for worker in workers {
        worker.await??;
    }
    started.leave(Duration::from_secs(10)).await?;
    Ok(rate)
}

async fn step(
    leased: Leased,
    chain: Data<Arc<Chain>>,
    intents: Data<Arc<Vec<Intent>>>,
) -> Result<(), BoxDynError> {
    let (n, step) = leased
        .id
        .as_str()
        .trim_start_matches("job_")
        .split_once('-')
        .and_then(|(n, s)| Some((n.parse::<usize>().ok()?, s.parse::<usize>().ok()?)))
        .ok_or("not a bench job")?;
    let intent = &intents[n];
    let event = Event {
        event_id: EventId::derive(&[leased.id.as_str()]),
        seq: 0,
        schema: 1,
        event_type: EventKind::ConditionChanged,
        tenant: intent.key.tenant.clone(),
        intent: intent.key.id.clone(),
        correlation_id: CorrelationId::derive(&[intent.key.id.as_str()]),
        causation_id: Some(leased.id.clone()),
        trace_id: None,
        actor: "bench".into(),
        created_at: trueup_model::Time::UNIX_EPOCH,
        event_data: serde_json::json!({"step": step}),
    };
    let next = Queue::new(STEPS[(step + 1) % STEPS.len()], None)
        .filter(|_| step + 1 < STEPS.len())
        .map(|queue| Next { id: id(n, step + 1), queue, job: job(step + 1, intent), at: None });
    let commit = Commit {
        events: vec![event],
        writes: vec![Write::State {
            intent: intent.key.clone(),
            rev: step as u64,
            state: Box::default(),
            due: None,
            ends_run: false,
        }],
        next: next.into_iter().collect(),
    };
    let ended = Ended {
        job: leased.id.clone(),
        queue: leased.queue,
        outcome: Outcome::Done(commit),
        traceparent: None,
    };
    let answer = chain.committer.commit(leased.partition, &leased.who, ended).await;
    if answer != Committed::Yes {
        return Err(format!("{} was not committed: {answer:?}", leased.id).into());
    }
    if chain.done.fetch_add(1, Ordering::Relaxed) + 1 == chain.steps {
        chain.finished.notify_one();
    }
    Ok(())
}
