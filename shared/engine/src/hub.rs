//! The hub: one per process. Leases jobs for free slots and hands them to the lanes.
//!
//! # Expected flow
//! `Hub::start` gives a lane per step; the runner puts an apalis worker on each. `Stop::stop` ends leasing; lanes end
//! when what they started has ended; `Hub::leave` then gives back what was never started and signs off.
//!
//! # Guarantees
//! Never holds more jobs of a queue than it has slots for. Bytes that do not decode go to the dead letters (E7); a
//! payload of a newer version is given back with a delay. Redis away: waits and goes on (E12).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use trueup_model::commit::Committed;
use trueup_model::event::LOOP;
use trueup_model::job::{Undecodable, tick_id};
use trueup_model::{CorrelationId, Job, Outcome, Partition, Queue, SharedClock, StepName, Time, job::Sweep};

use crate::committer::Committer;
use crate::heart::{self, Identity};
use crate::lane::{Lane, Leased};
use crate::slots::Slots;
use crate::store::{Admin, By, Ended, JobState, LeasedJob, NewJob, Store};
use crate::waiting::{Patience, pause};
use crate::{EngineError, store::Leases};

/// Looks at Redis at least this often, should a wake-up be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Freed slots are gathered this long, so that a busy process leases dozens at a time.
const GATHER: Duration = Duration::from_millis(1);
/// Time between two audits of what we hold.
const AUDIT_EVERY: Duration = Duration::from_secs(5);
/// Delay of a job that a newer version wrote.
const NEWER_DELAY: TimeDelta = TimeDelta::seconds(5);
/// Deaths of its workers after which a job is suspected of having caused them (as in `lease.lua`).
const SUSPECT: u32 = 2;
/// How long a suspect waits for another one to end.
const SUSPECT_DELAY: TimeDelta = TimeDelta::seconds(1);

/// Where a process is between running and gone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<u8>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Stop {
    /// Lease no more.
    pub fn stop(&self) {
        self.0.send_if_modified(|s| std::mem::replace(s, (*s).max(1)) == 0);
    }
    /// All work is over: the heart may stop too.
    pub fn finish(&self) {
        self.0.send_replace(2);
    }
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() > 0
    }
    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow() > 1
    }
    /// Waits until leasing shall end.
    pub async fn stopping(&self) {
        let _ = self.0.subscribe().wait_for(|s| *s > 0).await;
    }
    pub(crate) async fn stopped_within(&self, d: Duration) {
        let mut state = self.0.subscribe();
        let _ = tokio::time::timeout(d, state.wait_for(|s| *s > 1)).await;
    }
}

/// What a process serves.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Slots per queue; queues that are absent are not served.
    pub slots: BTreeMap<Queue, usize>,
    /// Keep one tick per partition alive. Off for tests and benches that drive jobs of their own.
    pub ticks: bool,
}

/// What the rest of the process needs of a started hub.
#[derive(Debug)]
pub struct Started {
    pub lanes: Vec<Lane>,
    pub committer: Committer,
    pub identity: Identity,
    pub stop: Stop,
    store: Arc<dyn Store>,
    unstarted: mpsc::UnboundedReceiver<Leased>,
    hub: tokio::task::JoinHandle<()>,
    heart: tokio::task::JoinHandle<()>,
}

struct Hub {
    store: Arc<dyn Store>,
    clock: SharedClock,
    identity: Identity,
    committer: Committer,
    slots: Slots,
    lanes: HashMap<StepName, mpsc::UnboundedSender<Leased>>,
    stop: Stop,
    ticks: bool,
    /// Shared with the one suspect this process works on, if any.
    suspect: Arc<()>,
    /// Rounds so far.
    turn: AtomicU16,
}

/// Begins to lease.
pub fn start(store: Arc<dyn Store>, clock: SharedClock, options: HubOptions) -> Started {
    let stop = Stop::default();
    let identity = Identity::new();
    let committer = Committer::start(store.clone());
    let (unstarted_tx, unstarted) = mpsc::unbounded_channel();
    let (mut senders, mut lanes) = (HashMap::new(), Vec::new());
    for step in StepName::ALL {
        if options.slots.iter().any(|(q, n)| q.step() == step && *n > 0) {
            let (tx, rx) = mpsc::unbounded_channel();
            senders.insert(step, tx);
            lanes.push(Lane::new(step, rx, unstarted_tx.clone(), stop.clone()));
        }
    }
    let slots = Slots::new(&options.slots);
    let me = heart::Myself { started_at: clock.now(), clock: clock.clone(), held: Box::new(slots.gauge()) };
    let hub = Hub {
        store: store.clone(),
        clock,
        identity: identity.clone(),
        committer: committer.clone(),
        slots,
        lanes: senders,
        stop: stop.clone(),
        ticks: options.ticks,
        suspect: Arc::default(),
        turn: AtomicU16::new(0),
    };
    let heart = tokio::spawn(heart::run(store.clone(), identity.clone(), stop.clone(), me));
    Started { lanes, committer, identity, stop, store, unstarted, hub: tokio::spawn(hub.run()), heart }
}

impl Started {
    /// Signs off after the lanes have ended: gives back what never started, then whatever is still held.
    pub async fn leave(mut self, within: Duration) -> Result<(), EngineError> {
        self.stop.stop();
        let who = self.identity.current();
        let work = async {
            let _ = (&mut self.hub).await;
            let mut by_partition: BTreeMap<Partition, Vec<_>> = BTreeMap::new();
            while let Ok(leased) = self.unstarted.try_recv() {
                by_partition.entry(leased.partition).or_default().push((leased.id, leased.queue));
            }
            for (p, jobs) in by_partition {
                for chunk in jobs.chunks(256) {
                    self.store.give_back(p, &who, chunk).await?;
                }
            }
            self.stop.finish();
            let _ = (&mut self.heart).await;
            for p in 0..self.store.partitions() {
                self.store.leave(Partition(p), &who).await?;
            }
            self.store.operations().forget(&who).await
        };
        match tokio::time::timeout(within, work).await {
            Ok(result) => result,
            Err(_) => {
                self.stop.finish();
                Err(EngineError::Unavailable(
                    "did not sign off in time; the heartbeat will tell the others".into(),
                ))
            }
        }
    }
}

impl Hub {
    async fn run(self) {
        let mut patience = Patience::default();
        let mut since_tick: Option<Time> = None;
        let mut audits = tokio::time::interval(AUDIT_EVERY);
        while !self.stop.is_stopping() {
            if audits.tick().now_or_never().is_some()
                && let Err(e) = self.reclaim().await
            {
                audits.reset_immediately();
                patience.after("audit", &e).await;
                continue;
            }
            match self.round(&mut since_tick).await {
                Ok(wait) => {
                    patience.over("lease");
                    self.rest(wait).await;
                }
                Err(e) => {
                    // The lease may have happened, and its answer been lost.
                    audits.reset_immediately();
                    patience.after("lease", &e).await;
                }
            }
        }
        // Dropping the senders ends the lanes.
    }

    /// Asks every partition once; returns how long nothing will be due.
    async fn round(&self, since_tick: &mut Option<Time>) -> Result<Rest, EngineError> {
        let now = self.clock.now();
        if self.ticks && since_tick.is_none_or(|t| self.clock.real_until(t).is_zero()) {
            for p in 0..self.store.partitions() {
                self.keep_ticking(Partition(p)).await?;
            }
            // By the shown clock; a tick is missing only if somebody discarded it.
            *since_tick = Some(now + TimeDelta::minutes(1));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let partitions = self.store.partitions();
        let mut rest = Rest { leased: false, more: false, until: LOOK_EVERY };
        // Another partition first each time, so that a backlog in one does not keep all slots from the others.
        for p in (0..partitions).map(|n| Partition((n + turn % partitions) % partitions)) {
            let wanted = self.slots.free();
            let who = self.identity.current();
            let Leases { jobs, next_due, more } = self.store.lease(p, &who, &wanted, now).await?;
            rest.leased |= !jobs.is_empty();
            rest.more |= more;
            if let Some(due) = next_due {
                rest.until = rest.until.min(self.clock.real_until(due));
            }
            for job in jobs {
                self.hand_out(p, job, &who);
            }
        }
        Ok(rest)
    }

    /// Gives back what Redis says we hold and we do not know of: the answer to a lease was lost on the way, or an end could
    /// not be committed. No lease is under way here, and a slot is freed only after its end was answered.
    async fn reclaim(&self) -> Result<(), EngineError> {
        let who = self.identity.current();
        for p in (0..self.store.partitions()).map(Partition) {
            let held = self.store.held(p, &who).await?;
            let lost: Vec<_> = held.into_iter().filter(|(id, _)| !self.slots.holds(p, id)).collect();
            if !lost.is_empty() {
                tracing::warn!(partition = %p, jobs = lost.len(), "giving back jobs that were leased to us and never arrived");
            }
            for chunk in lost.chunks(256) {
                self.store.give_back(p, &who, chunk).await?;
            }
        }
        Ok(())
    }

    fn hand_out(&self, partition: Partition, job: LeasedJob, who: &crate::Incarnation) {
        let slot = self.slots.take(job.queue, (partition, job.id.clone()));
        let suspect = (job.rescued >= SUSPECT).then(|| self.suspect.clone());
        // The field, this one, and another job's: those that only died with the guilty one must not do so again (E6).
        if suspect.is_some() && Arc::strong_count(&self.suspect) > 2 {
            let at = self.clock.now() + SUSPECT_DELAY;
            let because =
                Some("suspected of having killed its workers; waits for another suspect to end".to_owned());
            return self.end(partition, job, who, slot, Outcome::Defer { at, because });
        }
        match Job::decode(&job.payload) {
            Ok(decoded) if decoded.step() == job.queue.step() => {
                let leased = Leased {
                    id: job.id,
                    queue: job.queue,
                    partition,
                    job: Arc::new(decoded),
                    attempt: job.attempts + 1,
                    rescued: job.rescued,
                    traceparent: job.traceparent,
                    who: who.clone(),
                    _slot: slot,
                    _suspect: suspect,
                };
                if let Some(lane) = self.lanes.get(&job.queue.step()) {
                    // A closed lane means the process stops; `leave` gives the job back.
                    let _ = lane.send(leased);
                }
            }
            Ok(decoded) => {
                let because = format!("a job of step {} in queue {}", decoded.step(), job.queue);
                self.end(partition, job, who, slot, Outcome::Dead { because });
            }
            Err(e @ Undecodable::Broken(_)) => {
                self.end(partition, job, who, slot, Outcome::Dead { because: e.to_string() });
            }
            Err(e @ Undecodable::Newer(_)) => {
                tracing::warn!(job = %job.id, queue = %job.queue, "given back: {e}; upgrade this worker");
                let at = self.clock.now() + NEWER_DELAY;
                let because = Some(format!("{e}; upgrade the workers"));
                self.end(partition, job, who, slot, Outcome::Defer { at, because });
            }
        }
    }

    fn end(
        &self,
        p: Partition,
        job: LeasedJob,
        who: &crate::Incarnation,
        slot: Arc<crate::slots::Slot>,
        outcome: Outcome,
    ) {
        if let Outcome::Dead { because } = &outcome {
            tracing::error!(job = %job.id, queue = %job.queue, "to the dead letters: {because}");
        }
        let (committer, who) = (self.committer.clone(), who.clone());
        tokio::spawn(async move {
            let ended = Ended { job: job.id, queue: job.queue, outcome, traceparent: None };
            if committer.commit(p, &who, ended).await == Committed::Malformed {
                tracing::error!("a job could not be moved to the dead letters");
            }
            drop(slot);
        });
    }

    /// Makes sure that the partition's tick exists, wherever it is in its life (its id is fixed).
    async fn keep_ticking(&self, p: Partition) -> Result<(), EngineError> {
        let job = Job::Sweep(Sweep { partition: p, only: None, correlation_id: None });
        let Some(queue) = Queue::new(StepName::Sweep, None) else { return Ok(()) };
        self.store.enqueue(p, &[NewJob::of(tick_id(p), queue, &job, None)]).await?;
        // Whatever killed it: without its tick a partition is never looked at again.
        if self.store.job(&tick_id(p)).await?.is_some_and(|tick| tick.state == JobState::Dead) {
            tracing::error!(partition = %p, "the tick was among the dead letters; it is tried again");
            let correlation_id = CorrelationId::derive(&[tick_id(p).as_str()]);
            let by = By { actor: LOOP.into(), correlation_id, now: self.clock.now() };
            self.store.admin(queue, &Admin::Retry(Some(tick_id(p))), &by).await?;
        }
        Ok(())
    }

    /// Waits for a reason to look again: a freed slot while more is ready, a wake-up, a timer.
    async fn rest(&self, rest: Rest) {
        let freed = self.slots.freed();
        if rest.more && rest.leased && self.slots.roomy() {
            return;
        }
        let until = rest.until.max(GATHER);
        if rest.more {
            // The queue that has more is full: a freed slot helps; gather a few of them.
            tokio::select! {
                () = freed.notified() => pause(GATHER).await,
                () = self.store.woken(until) => {}
                () = self.stop.stopping() => {}
            }
        } else if !rest.leased || self.slots.in_use() > 0 {
            tokio::select! {
                () = self.store.woken(until) => {}
                () = self.stop.stopping() => {}
            }
        }
    }
}

/// What a round found.
struct Rest {
    leased: bool,
    more: bool,
    until: Duration,
}
