//! A store that fails in one way, whatever it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use trueup_engine::manifests::{Expect, Manifests, Put};
use trueup_engine::{
    Admin, Applied, Beat, By, Census, Ended, EngineError, EventFilter, Incarnation, JobState, JobView,
    Leases, NewJob, Page, Preflight, QueueDepth, Store, WorkerView,
};
use trueup_model::commit::Committed;
use trueup_model::{
    Approval, ApprovalId, Caps, Event, Finding, FindingId, Intent, IntentKey, IntentRecord, JobId, Notice,
    Partition, PlaneKind, Queue, Reserved, Time, Trip,
};

type Result<T> = std::result::Result<T, EngineError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Away,
    Refuses,
    Panics,
    Hangs,
}

impl Broken {
    async fn fail<T>(self) -> Result<T> {
        match self {
            Self::Away => Err(EngineError::Unavailable("connection refused".into())),
            Self::Refuses => Err(EngineError::Refused("WRONGPASS: wrong password for user 'trueup'".into())),
            Self::Panics => panic!("secret words of a panic"),
            Self::Hangs => std::future::pending().await,
        }
    }
}

macro_rules! all_fail {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl Store for Broken {
            fn partitions(&self) -> u16 { 4 }
            async fn woken(&self, _: Duration) {}
            fn manifests(&self) -> &dyn Manifests { self }
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out> { $(let _ = $arg;)* self.fail().await })*
        }
    };
}

all_fail! {
    fn enqueue(p: Partition, jobs: &[NewJob]) -> u64;
    fn lease(p: Partition, who: &Incarnation, wanted: &[(Queue, usize)], now: Time) -> Leases;
    fn commit(p: Partition, who: &Incarnation, ended: &[Ended]) -> Vec<Committed>;
    fn give_back(p: Partition, who: &Incarnation, jobs: &[(JobId, Queue)]) -> ();
    fn beat(p: Partition, who: &Incarnation) -> Beat;
    fn leave(p: Partition, who: &Incarnation) -> ();
    fn held(p: Partition, who: &Incarnation) -> Vec<(JobId, Queue)>;
    fn apply(intents: &[Intent], by: &By) -> Vec<Applied>;
    fn delete(keys: &[IntentKey], by: &By) -> Vec<Applied>;
    fn intents(keys: &[IntentKey]) -> Vec<Option<IntentRecord>>;
    fn due(p: Partition, now: Time, limit: usize) -> (Vec<IntentKey>, Option<Time>);
    fn list_intents(cursor: Option<&str>, limit: usize) -> Page<IntentRecord>;
    fn findings(intent: &IntentKey) -> Vec<Finding>;
    fn finding(id: &FindingId) -> Option<Finding>;
    fn list_findings(cursor: Option<&str>, limit: usize) -> Page<Finding>;
    fn approvals(intent: &IntentKey) -> Vec<Approval>;
    fn approval(id: &ApprovalId) -> Option<Approval>;
    fn list_approvals(cursor: Option<&str>, limit: usize) -> Page<Approval>;
    fn events(filter: &EventFilter, after: &BTreeMap<u16, u64>, limit: usize) -> Vec<(Partition, Event)>;
    fn last_events(filter: &EventFilter, limit: usize) -> Vec<(Partition, Event)>;
    fn depths() -> Vec<QueueDepth>;
    fn backlog(p: Partition, queue: Queue) -> u64;
    fn jobs(queue: Queue, state: JobState, limit: usize) -> Vec<JobView>;
    fn job(id: &JobId) -> Option<JobView>;
    fn workers() -> Vec<WorkerView>;
    fn admin(queue: Queue, what: &Admin, by: &By) -> u64;
    fn notices(limit: usize) -> Vec<Notice>;
    fn reserve(tenant: &str, plane: PlaneKind, caps: &Caps, member: &str, now: Time) -> Reserved;
    fn rearm(tenant: &str, plane: PlaneKind, by: &By) -> bool;
    fn trips() -> Vec<Trip>;
    fn census() -> Census;
    fn preflight() -> Preflight;
}

#[async_trait]
impl Manifests for Broken {
    async fn put(&self, _: &[Put], _: &By) -> Result<Vec<Applied>> {
        self.fail().await
    }
    async fn forget(&self, _: &IntentKey, _: Expect, _: &By) -> Result<Applied> {
        self.fail().await
    }
}
