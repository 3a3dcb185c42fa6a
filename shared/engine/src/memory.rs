//! `MemoryStore`: the in-memory twin of the Redis store, for fast tests.
//!
//! # Guarantees
//! The same contract, shown by the same suite (`tests/src/contract`). Every operation runs under one lock and contains
//! no await, so it is atomic as a script is. Its lease clock can be a `ManualClock`, so that the death of a worker is
//! steered and not waited for.
//!
//! # Deliberately absent
//! Durability, and any care for speed beyond ordered maps.

mod blast;
mod budgets;
mod commit;
mod credentials;
mod events;
mod inspect;
mod intents;
mod operate;
mod outbox;
mod part;
mod queue;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use trueup_model::commit::Committed;
use trueup_model::{
    Approval, ApprovalId, ApprovalState, Caps, Event, Finding, FindingId, Intent, IntentKey, IntentRecord,
    JobId, Notice, Partition, PlaneKind, Queue, Reserved, SharedClock, SystemClock, Time, Trip,
};

use crate::blast::{Limits, MAX_MEMBER};
use crate::manifests::{Expect, Manifests as _, whole};
use crate::store::{
    Admin, Applied, Beat, By, Ended, EventFilter, Incarnation, JobState, JobView, Leases, NewJob, Page,
    Preflight, QueueDepth, Store, WorkerView,
};
use crate::{Census, EngineError};

use part::{Now, Part};

type Result<T> = std::result::Result<T, EngineError>;

/// Silence of a worker that means its death (E5).
pub const DEAD_AFTER: Duration = Duration::from_secs(3);
/// Bound on jobs, and on intents, in one call.
const MAX_JOBS: usize = 256;
/// Bound on executions ended in one call.
const MAX_ENDED: usize = 64;

#[derive(Debug)]
pub struct MemoryStore {
    partitions: u16,
    parts: Mutex<Vec<Part>>,
    lease_clock: SharedClock,
    event_clock: SharedClock,
    woke: Notify,
    limits: budgets::Limits,
    measured: Mutex<operate::Measured>,
    reports: Mutex<operate::Reports>,
    credentials: credentials::Ring,
    ledger: requests::Ledger,
}

impl MemoryStore {
    /// An empty store of at least one partition, on the host's clock.
    pub fn new(partitions: u16) -> Self {
        Self::with_clocks(partitions, Arc::new(SystemClock), Arc::new(SystemClock))
    }

    /// `lease_clock` stands for the Redis server's: a `ManualClock` makes a worker die when a test says. `event_clock`
    /// times the engine's own events.
    pub fn with_clocks(partitions: u16, lease_clock: SharedClock, event_clock: SharedClock) -> Self {
        let partitions = partitions.max(1);
        let parts = (0..partitions).map(|p| Part::new(Partition(p))).collect();
        Self {
            partitions,
            parts: Mutex::new(parts),
            lease_clock,
            event_clock,
            woke: Notify::new(),
            limits: Default::default(),
            measured: Mutex::default(),
            reports: Mutex::default(),
            credentials: Default::default(),
            ledger: Default::default(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One atomic operation on one partition.
    fn on<R>(&self, p: Partition, operation: impl FnOnce(&mut Part) -> R) -> Result<R> {
        let mut parts = self.parts();
        let part = parts.get_mut(usize::from(p.0)).ok_or_else(|| {
            EngineError::Refused(format!("there is no partition {p}; there are {}", self.partitions))
        })?;
        let result = operation(part);
        if part.take_woke() {
            // Those who wait, and the next one to come if nobody does.
            self.woke.notify_waiters();
            self.woke.notify_one();
        }
        Ok(result)
    }

    fn on_intent<R>(&self, key: &IntentKey, operation: impl FnOnce(&mut Part) -> R) -> Result<R> {
        self.on(key.partition(self.partitions), operation)
    }

    fn now(&self) -> Now {
        Now { lease: self.lease_clock.now(), event: self.event_clock.now() }
    }
}

fn at_most(limit: usize, n: usize, what: &str) -> Result<()> {
    if n <= limit {
        return Ok(());
    }
    Err(EngineError::Refused(format!("{n} {what} in one call; at most {limit} are allowed")))
}

/// One page of what is sorted by `key`: what comes after the cursor, which is the key of the last item seen.
fn page<T>(sorted: impl Iterator<Item = (String, T)>, cursor: Option<&str>, limit: usize) -> Page<T> {
    let mut rest = sorted.skip_while(|(key, _)| cursor.is_some_and(|c| key.as_str() <= c)).peekable();
    let (mut items, mut next) = (Vec::new(), None);
    while items.len() < limit.max(1)
        && let Some((key, item)) = rest.next()
    {
        items.push(item);
        next = Some(key);
    }
    Page { items, next: next.filter(|_| rest.peek().is_some()), missing: Vec::new() }
}

/// Milliseconds, of 18 digits.
const LATEST: i64 = 999_999_999_999_999_999;

/// A text that sorts later times first.
fn newest_first(at: Time, id: &str) -> String {
    format!("{:018}:{id}", LATEST - at.timestamp_millis().clamp(0, LATEST))
}

#[async_trait]
impl Store for MemoryStore {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn enqueue(&self, p: Partition, jobs: &[NewJob]) -> Result<u64> {
        at_most(MAX_JOBS, jobs.len(), "jobs")?;
        let new = self.on(p, |part| part.enqueue(jobs, self.now()))?;
        self.count(crate::passed::tally_enqueued(jobs, new));
        Ok(new)
    }
    async fn lease(
        &self,
        p: Partition,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
    ) -> Result<Leases> {
        self.on(p, |part| part.lease(who, wanted, now, self.now()))
    }
    async fn commit(&self, p: Partition, who: &Incarnation, ended: &[Ended]) -> Result<Vec<Committed>> {
        at_most(MAX_ENDED, ended.len(), "executions")?;
        let answers: Vec<Committed> =
            self.on(p, |part| ended.iter().map(|e| part.end(who, e, self.now())).collect())?;
        self.count(crate::passed::tally_ended(ended, &answers));
        Ok(answers)
    }
    async fn give_back(&self, p: Partition, who: &Incarnation, jobs: &[(JobId, Queue)]) -> Result<()> {
        at_most(MAX_JOBS, jobs.len(), "jobs")?;
        self.on(p, |part| part.give_back(who, jobs))
    }
    async fn beat(&self, p: Partition, who: &Incarnation) -> Result<Beat> {
        self.on(p, |part| part.beat(who, self.now()))
    }
    async fn leave(&self, p: Partition, who: &Incarnation) -> Result<()> {
        self.on(p, |part| part.leave(who))
    }
    async fn held(&self, p: Partition, who: &Incarnation) -> Result<Vec<(JobId, Queue)>> {
        self.on(p, |part| part.held_by(who))
    }
    async fn woken(&self, at_most: Duration) {
        // Both ends of the wait mean the same to the caller: look again.
        let _ = tokio::time::timeout(at_most, self.woke.notified()).await;
    }

    async fn apply(&self, intents: &[Intent], by: &By) -> Result<Vec<Applied>> {
        self.put(&whole(intents), by).await
    }
    async fn delete(&self, keys: &[IntentKey], by: &By) -> Result<Vec<Applied>> {
        at_most(MAX_JOBS, keys.len(), "intents")?;
        keys.iter().map(|key| self.on_intent(key, |part| part.forget(key, Expect::Anything, by))).collect()
    }
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>> {
        let record = |part: &mut Part, key| part.intents.get(key).map(|kept| kept.record.clone());
        keys.iter().map(|key| self.on_intent(key, |part| record(part, key))).collect()
    }
    async fn due(&self, p: Partition, now: Time, limit: usize) -> Result<(Vec<IntentKey>, Option<Time>)> {
        self.on(p, |part| part.due(now, limit))
    }
    async fn list_intents(&self, cursor: Option<&str>, limit: usize) -> Result<Page<IntentRecord>> {
        Ok(intents::list(&self.parts(), cursor, limit))
    }

    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>> {
        let found =
            |part: &mut Part| part.intents.get(intent).map(|k| k.findings.values().cloned().collect());
        Ok(self.on_intent(intent, found)?.unwrap_or_default())
    }
    async fn finding(&self, id: &FindingId) -> Result<Option<Finding>> {
        let parts = self.parts();
        Ok(parts.iter().flat_map(|p| p.intents.values()).find_map(|kept| kept.findings.get(id).cloned()))
    }
    async fn list_findings(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Finding>> {
        let parts = self.parts();
        let all = parts.iter().flat_map(|p| p.intents.values()).flat_map(|k| k.findings.values());
        let sorted: BTreeMap<_, _> = all.map(|f| (newest_first(f.last_seen_at, f.id.as_str()), f)).collect();
        Ok(page(sorted.into_iter().map(|(key, f)| (key, f.clone())), cursor, limit))
    }
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>> {
        let open = |a: &&Approval| a.state == ApprovalState::Open;
        let found = |part: &mut Part| {
            part.intents.get(intent).map(|k| k.approvals.values().filter(open).cloned().collect())
        };
        Ok(self.on_intent(intent, found)?.unwrap_or_default())
    }
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>> {
        let parts = self.parts();
        Ok(parts.iter().flat_map(|p| p.intents.values()).find_map(|kept| kept.approvals.get(id).cloned()))
    }
    async fn list_approvals(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Approval>> {
        let parts = self.parts();
        let all = parts.iter().flat_map(|p| p.intents.values()).flat_map(|k| k.approvals.values());
        let sorted: BTreeMap<_, _> = all.map(|a| (newest_first(a.opened_at, a.id.as_str()), a)).collect();
        Ok(page(sorted.into_iter().map(|(key, a)| (key, a.clone())), cursor, limit))
    }
    async fn events(
        &self,
        filter: &EventFilter,
        after: &BTreeMap<u16, u64>,
        limit: usize,
    ) -> Result<Vec<(Partition, Event)>> {
        Ok(events::after(&self.parts(), filter, after, limit))
    }
    async fn last_events(&self, filter: &EventFilter, limit: usize) -> Result<Vec<(Partition, Event)>> {
        Ok(events::newest(&self.parts(), filter, limit))
    }

    async fn depths(&self) -> Result<Vec<QueueDepth>> {
        Ok(inspect::depths(&self.parts(), self.now().lease))
    }
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64> {
        let waiting = [JobState::Ready, JobState::Scheduled];
        self.on(p, |part| waiting.iter().map(|state| part.queue(queue).count(*state) as u64).sum())
    }
    async fn jobs(&self, queue: Queue, state: JobState, limit: usize) -> Result<Vec<JobView>> {
        Ok(inspect::jobs(&self.parts(), queue, state, limit, self.now()))
    }
    async fn job(&self, id: &JobId) -> Result<Option<JobView>> {
        Ok(self.parts().iter().find_map(|part| part.job(id, self.now())))
    }
    async fn workers(&self) -> Result<Vec<WorkerView>> {
        let mut newest: BTreeMap<Incarnation, Time> = BTreeMap::new();
        for (who, last) in self.parts().iter().flat_map(|part| &part.workers) {
            let seen = newest.entry(who.clone()).or_insert(*last);
            *seen = (*last).max(*seen);
        }
        let now = self.now().lease;
        let ago = |last: Time| u64::try_from((now - last).num_milliseconds()).unwrap_or_default();
        let view = |(incarnation, last)| WorkerView { incarnation, last_beat_ms: ago(last) };
        Ok(newest.into_iter().map(view).collect())
    }
    async fn admin(&self, queue: Queue, what: &Admin, by: &By) -> Result<u64> {
        (0..self.partitions)
            .map(|p| self.on(Partition(p), |part| part.admin(queue, what, by, self.now())))
            .sum()
    }

    async fn notices(&self, limit: usize) -> Result<Vec<Notice>> {
        let now = self.now().lease;
        Ok(outbox::notices(&mut self.parts(), limit, now))
    }
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        member: &str,
        now: Time,
    ) -> Result<Reserved> {
        at_most(MAX_MEMBER, member.len(), "bytes in the name of a member")?;
        let mut parts = self.parts();
        let intents = outbox::census(&parts).intents_of(tenant, plane);
        let limits = Limits::of(caps, intents);
        Ok(parts.first_mut().map_or(Reserved::Granted, |p| p.reserve(tenant, plane, &limits, member, now)))
    }
    async fn rearm(&self, tenant: &str, plane: PlaneKind, by: &By) -> Result<bool> {
        self.on(Partition(0), |part| part.rearm(tenant, plane, by))
    }
    async fn trips(&self) -> Result<Vec<Trip>> {
        self.on(Partition(0), |part| part.trips())
    }
    async fn census(&self) -> Result<Census> {
        Ok(outbox::census(&self.parts()))
    }

    fn budgets(&self) -> &dyn crate::Budgets {
        self
    }
    fn manifests(&self) -> &dyn crate::Manifests {
        self
    }
    fn credentials(&self) -> &dyn crate::Credentials {
        self
    }
    fn requests(&self) -> &dyn crate::Requests {
        self
    }
    fn operations(&self) -> &dyn crate::Operations {
        self
    }
    async fn preflight(&self) -> Result<Preflight> {
        let warning =
            "state is kept in memory only and is gone when the process ends; use Redis for anything real";
        Ok(Preflight { server: "memory".into(), warnings: vec![warning.into()], ..Preflight::default() })
    }
}
