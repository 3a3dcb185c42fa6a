//! `Store` on Redis: one Lua script per atomic operation, plain reads for the rest.

mod archive;
mod blast;
mod budgets;
mod commit;
mod connection;
mod credentials;
mod flow;
mod inspect;
mod intents;
mod jobs;
mod liveness;
mod missing;
mod operate;
mod outbox;
mod preflight;
mod records;
mod requests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use redis::FromRedisValue;
use redis::aio::ConnectionManager;
use tokio::sync::Notify;
use trueup_model::commit::Committed;
use trueup_model::{
    Approval, ApprovalId, Caps, Event, Finding, FindingId, Intent, IntentKey, IntentRecord, JobId, Notice,
    Partition, PlaneKind, Queue, Reserved, ScaledClock, SharedClock, Time, Trip,
};

use crate::keys::{FLEET, Keys};
use crate::manifests::{Manifests as _, whole};
use crate::store::*;
use crate::{Census, EngineError};

pub use connection::shown;
use connection::{Call, meaning};

type Result<T> = std::result::Result<T, EngineError>;

macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: std::sync::LazyLock<redis::Script> =
            std::sync::LazyLock::new(|| redis::Script::new(include_str!(concat!("../lua/", $file, ".lua"))));
    };
}
use script;

/// How to reach Redis and what to expect there.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]`, `rediss://…`, `redis+unix:///path`.
    pub url: String,
    /// How many partitions there must be; created at the very first start, then fixed. `None`: what is there.
    pub partitions: Option<u16>,
    /// How many to create if there are none and `partitions` does not say. `None`: refuse.
    pub or_create: Option<u16>,
    /// For what has a meaning to the user (creation times of the engine's own events).
    pub clock: SharedClock,
    /// Silence after which a worker is dead (default 3 s, at heartbeats of 1 s).
    pub dead_after: Duration,
}

impl RedisOptions {
    pub fn new(url: impl Into<String>, clock: SharedClock) -> Self {
        Self {
            url: url.into(),
            partitions: None,
            or_create: Some(1),
            clock,
            dead_after: Duration::from_secs(3),
        }
    }
}

/// Deaths of its workers after which a job is worn out (E6).
pub const MAX_RESCUES: u32 = 5;

#[derive(Debug)]
pub struct RedisStore {
    connection: Connection,
    partitions: u16,
    clock: SharedClock,
    dead_after: Duration,
    /// Who has beaten where, so that a missing entry means "declared dead" and not "new"; and on which Redis process.
    beaten: Mutex<HashMap<(Partition, Incarnation), String>>,
    wake: Arc<Notify>,
    listener: tokio::task::JoinHandle<()>,
    flow: Arc<flow::Counted>,
    adder: tokio::task::JoinHandle<()>,
}

/// Debug without the connection's innards (and its password).
struct Connection(ConnectionManager);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.listener.abort();
        self.adder.abort();
    }
}

impl RedisStore {
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let (client, manager) = connection::open(&options.url).await?;
        let partitions = fix_partitions(&manager, options.partitions, options.or_create)
            .await
            .map_err(|e| connection::at(&options.url, e))?;
        let wake = Arc::new(Notify::new());
        let listener = tokio::spawn(liveness::listen(client, wake.clone()));
        let flow = Arc::new(flow::Counted::default());
        let adder = tokio::spawn(flow::keep_adding(flow.clone(), manager.clone()));
        Ok(Self {
            flow,
            adder,
            connection: Connection(manager),
            partitions,
            clock: options.clock,
            dead_after: options.dead_after,
            beaten: Mutex::default(),
            wake,
            listener,
        })
    }

    /// The clock this fleet shares, if one was set.
    pub async fn load_clock(url: &str) -> Result<Option<ScaledClock>> {
        let (_, manager) = connection::open(url).await?;
        let text: Option<String> = redis::cmd("HGET")
            .arg(FLEET)
            .arg("clock")
            .query_async(&mut manager.clone())
            .await
            .map_err(meaning)?;
        text.map(|t| {
            serde_json::from_str(&t)
                .map_err(|e| EngineError::Refused(format!("the fleet's stored clock: {e}")))
        })
        .transpose()
    }

    /// Sets the clock that every process of this fleet uses from its next start on.
    pub async fn save_clock(url: &str, clock: &ScaledClock) -> Result<()> {
        let (_, manager) = connection::open(url).await?;
        let text = serde_json::to_string(clock).map_err(|e| EngineError::Refused(e.to_string()))?;
        redis::cmd("HSET")
            .arg(FLEET)
            .arg("clock")
            .arg(text)
            .query_async::<()>(&mut manager.clone())
            .await
            .map_err(meaning)
    }

    async fn query<T: FromRedisValue>(&self, cmd: &redis::Cmd) -> Result<T> {
        cmd.query_async(&mut self.connection.0.clone()).await.map_err(meaning)
    }

    async fn pipe<T: FromRedisValue>(&self, pipe: &redis::Pipeline) -> Result<T> {
        pipe.query_async(&mut self.connection.0.clone()).await.map_err(meaning)
    }

    fn every_partition(&self) -> impl Iterator<Item = (Partition, Keys)> + use<> {
        (0..self.partitions).map(|p| (Partition(p), Keys(Partition(p))))
    }
}

/// The number of partitions can never change, since it decides where everything lives.
async fn fix_partitions(c: &ConnectionManager, wanted: Option<u16>, or_create: Option<u16>) -> Result<u16> {
    if wanted == Some(0) {
        return Err(EngineError::Refused("partitions: must be at least 1".into()));
    }
    let mut c = c.clone();
    if let Some(n) = wanted.or(or_create) {
        redis::cmd("HSETNX")
            .arg(FLEET)
            .arg("partitions")
            .arg(n)
            .query_async::<()>(&mut c)
            .await
            .map_err(meaning)?;
    }
    let there: Option<u16> =
        redis::cmd("HGET").arg(FLEET).arg("partitions").query_async(&mut c).await.map_err(meaning)?;
    let Some(there) = there else {
        return Err(EngineError::Refused(
            "this Redis holds no fleet yet: start `trueup work` (or `trueup dev`) first".into(),
        ));
    };
    match wanted {
        Some(n) if n != there => Err(EngineError::Refused(format!(
            "this Redis holds a fleet of {there} partitions, not {n}: the number is fixed at the first start; leave it out"
        ))),
        _ => Ok(there),
    }
}

/// Seconds with milliseconds, as `scheduled` is scored.
fn seconds(t: Time) -> String {
    let ms = t.timestamp_millis();
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

fn from_seconds(text: &str) -> Option<Time> {
    let s: f64 = text.parse().ok()?;
    Time::from_timestamp_millis((s * 1000.0).round() as i64)
}

fn limit(what: &str, n: usize, max: usize) -> Result<()> {
    if n <= max {
        return Ok(());
    }
    Err(EngineError::Refused(format!("{n} {what} in one call; at most {max}")))
}

#[async_trait]
impl Store for RedisStore {
    fn partitions(&self) -> u16 {
        self.partitions
    }
    async fn enqueue(&self, p: Partition, jobs: &[NewJob]) -> Result<u64> {
        let new = self.do_enqueue(p, jobs).await?;
        self.flow.add(crate::passed::tally_enqueued(jobs, new));
        Ok(new)
    }
    async fn lease(
        &self,
        p: Partition,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
    ) -> Result<Leases> {
        self.do_lease(p, who, wanted, now).await
    }
    async fn commit(&self, p: Partition, who: &Incarnation, ended: &[Ended]) -> Result<Vec<Committed>> {
        let answers = self.do_commit(p, who, ended).await?;
        self.flow.add(crate::passed::tally_ended(ended, &answers));
        Ok(answers)
    }
    async fn give_back(&self, p: Partition, who: &Incarnation, jobs: &[(JobId, Queue)]) -> Result<()> {
        self.do_give_back(p, who, jobs).await
    }
    async fn beat(&self, p: Partition, who: &Incarnation) -> Result<Beat> {
        self.do_beat(p, who).await
    }
    async fn leave(&self, p: Partition, who: &Incarnation) -> Result<()> {
        self.do_leave(p, who).await
    }
    async fn held(&self, p: Partition, who: &Incarnation) -> Result<Vec<(JobId, Queue)>> {
        let (keys, mut pipe) = (Keys(p), redis::pipe());
        for q in Queue::all() {
            pipe.smembers(keys.inflight_of(q, who));
        }
        let held: Vec<Vec<String>> = self.pipe(&pipe).await?;
        let all = Queue::all().into_iter().zip(held);
        Ok(all.flat_map(|(q, ids)| ids.into_iter().map(move |id| (JobId::from_wire(id), q))).collect())
    }
    async fn woken(&self, at_most: Duration) {
        // An answer either way is fine: the caller looks again.
        let _ = tokio::time::timeout(at_most, self.wake.notified()).await;
    }
    async fn apply(&self, intents: &[Intent], by: &By) -> Result<Vec<Applied>> {
        self.put(&whole(intents), by).await
    }
    async fn delete(&self, keys: &[IntentKey], by: &By) -> Result<Vec<Applied>> {
        self.do_delete(keys, by).await
    }
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>> {
        self.do_intents(keys).await
    }
    async fn due(&self, p: Partition, now: Time, limit: usize) -> Result<(Vec<IntentKey>, Option<Time>)> {
        self.do_due(p, now, limit).await
    }
    async fn list_intents(&self, cursor: Option<&str>, limit: usize) -> Result<Page<IntentRecord>> {
        self.do_list_intents(cursor, limit).await
    }
    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>> {
        let keys = Keys(intent.partition(self.partitions));
        self.documents(keys.findings_of(intent)).await
    }
    async fn finding(&self, id: &FindingId) -> Result<Option<Finding>> {
        self.document_anywhere(|k| k.finding(id)).await
    }
    async fn list_findings(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Finding>> {
        self.newest(cursor, limit, |k| k.findings(), |k, id| k.finding(&FindingId::from_wire(id))).await
    }
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>> {
        let keys = Keys(intent.partition(self.partitions));
        let ids: Vec<String> = self.query(redis::cmd("SMEMBERS").arg(keys.approvals_of(intent))).await?;
        let mut all: Vec<Approval> =
            self.documents(ids.iter().map(|id| keys.approval(&ApprovalId::from_wire(id))).collect()).await?;
        all.sort_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
        Ok(all)
    }
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>> {
        self.document_anywhere(|k| k.approval(id)).await
    }
    async fn list_approvals(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Approval>> {
        self.newest(cursor, limit, |k| k.approvals(), |k, id| k.approval(&ApprovalId::from_wire(id))).await
    }
    async fn events(
        &self,
        filter: &EventFilter,
        after: &BTreeMap<u16, u64>,
        limit: usize,
    ) -> Result<Vec<(Partition, Event)>> {
        self.do_events(filter, after, limit).await
    }
    async fn last_events(&self, filter: &EventFilter, limit: usize) -> Result<Vec<(Partition, Event)>> {
        self.do_last_events(filter, limit).await
    }
    async fn depths(&self) -> Result<Vec<QueueDepth>> {
        self.do_depths().await
    }
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64> {
        let k = Keys(p);
        let (ready, scheduled): (u64, u64) =
            self.pipe(redis::pipe().llen(k.active(queue)).zcard(k.scheduled(queue))).await?;
        Ok(ready + scheduled)
    }
    async fn jobs(&self, queue: Queue, state: JobState, limit: usize) -> Result<Vec<JobView>> {
        self.do_jobs(queue, state, limit).await
    }
    async fn job(&self, id: &JobId) -> Result<Option<JobView>> {
        self.do_job(id).await
    }
    async fn workers(&self) -> Result<Vec<WorkerView>> {
        self.do_workers().await
    }
    async fn admin(&self, queue: Queue, what: &Admin, by: &By) -> Result<u64> {
        self.do_admin(queue, what, by).await
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>> {
        self.do_notices(limit).await
    }
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        member: &str,
        now: Time,
    ) -> Result<Reserved> {
        self.do_reserve(tenant, plane, caps, member, now).await
    }
    async fn rearm(&self, tenant: &str, plane: PlaneKind, by: &By) -> Result<bool> {
        self.do_rearm(tenant, plane, by).await
    }
    async fn trips(&self) -> Result<Vec<Trip>> {
        self.do_trips().await
    }
    async fn census(&self) -> Result<Census> {
        self.do_census().await
    }
    async fn preflight(&self) -> Result<Preflight> {
        self.do_preflight().await
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
    fn event_log(&self) -> Option<&dyn crate::archive::EventLog> {
        Some(self)
    }
}
