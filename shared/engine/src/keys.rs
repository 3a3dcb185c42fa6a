//! Every key name. Nothing else in the system composes one.
//!
//! Every key of partition 3 carries the hash tag `{tu:3}`, so one script can touch all of it and a cluster can spread
//! partitions over nodes. Queues use apalis-redis's layout (`apalis_redis::Config`) under the queue name
//! `{tu:3}:query.intune`. Prefixes of keys whose ids are only known inside a script (`…:meta:<job>`,
//! `…:inflight:<incarnation>`) are passed in KEYS in their stead; the hash tag keeps them in the same slot.

use trueup_model::{
    ApprovalId, DriftKind, Finding, FindingId, IntentKey, Partition, PlaneKind, Queue, ReconciliationId,
};

use crate::store::Incarnation;

/// Pub/sub channel on which partitions with new work are named.
pub const WAKE: &str = "tu:wake";

/// Fleet-wide settings: partitions, and the clock that all processes share.
pub const FLEET: &str = "{tu}:fleet";

/// Field of [`FLEET`]: the id of the one archive that may trim events.
pub const ARCHIVE_ID: &str = "archive_id";

/// The connections that processes have, by name.
pub const CONNECTIONS: &str = "{tu}:connections";

/// Prefix; what passed through the queues in one measurement is `<this>:<n>`.
pub const FLOW: &str = "{tu}:flow";

/// The budget of a connection, for the whole fleet; `<this>:waiting` and `<this>:slots` belong to it.
pub fn limits(connection: &str) -> String {
    format!("{{tu}}:limits:{connection}")
}

/// Names of one partition's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys(pub Partition);

impl Keys {
    fn key(self, rest: &str) -> String {
        format!("{{tu:{}}}:{rest}", self.0)
    }

    /// The name of a queue as apalis-redis knows it (`Config::queue`).
    pub fn queue(self, q: Queue) -> String {
        self.key(&q.to_string())
    }
    pub fn active(self, q: Queue) -> String {
        self.key(&format!("{q}:active"))
    }
    pub fn scheduled(self, q: Queue) -> String {
        self.key(&format!("{q}:scheduled"))
    }
    pub fn data(self, q: Queue) -> String {
        self.key(&format!("{q}:data"))
    }
    /// Prefix; a job's own hash is `<this>:<job>`.
    pub fn meta(self, q: Queue) -> String {
        self.key(&format!("{q}:meta"))
    }
    /// Jobs that have a past (retries, rescues); only they have a meta hash of ours.
    pub fn troubled(self, q: Queue) -> String {
        self.key(&format!("{q}:troubled"))
    }
    pub fn dead(self, q: Queue) -> String {
        self.key(&format!("{q}:dead"))
    }
    /// Prefix; a worker's own set is `<this>:<incarnation>`.
    pub fn inflight(self, q: Queue) -> String {
        self.key(&format!("{q}:inflight"))
    }
    pub fn inflight_of(self, q: Queue, who: &Incarnation) -> String {
        format!("{}:{who}", self.inflight(q))
    }

    /// Where the partition's tick waits for its time. No later than the first due intent, whoever changes that.
    pub fn ticks(self) -> String {
        self.key("sweep:scheduled")
    }
    /// Keeps the earliest time at which the tick is wanted while it is at work.
    pub fn nudge(self) -> String {
        self.key("nudge")
    }
    pub fn workers(self) -> String {
        self.key("workers")
    }
    /// Only in partition 0, where the audit events of drains go: what workers say of themselves.
    pub fn reports(self) -> String {
        self.key("workers:reports")
    }
    /// Only in partition 0: workers that were asked to leave, by when.
    pub fn drains(self) -> String {
        self.key("workers:drains")
    }
    pub fn paused(self) -> String {
        self.key("paused")
    }
    pub fn due(self) -> String {
        self.key("due")
    }
    pub fn events(self) -> String {
        self.key("events")
    }
    /// Names of all intents, in lexical order.
    pub fn names(self) -> String {
        self.key("intents")
    }
    pub fn findings(self) -> String {
        self.key("findings")
    }
    pub fn approvals(self) -> String {
        self.key("approvals")
    }
    /// Notices by id; `<this>:order` has their ids by time, `<this>:told` the ids that were told by when.
    pub fn outbox(self) -> String {
        self.key("outbox")
    }
    /// Only in partition 0: ids of notices that deliveries have taken, by when.
    pub fn taken(self) -> String {
        self.key("outbox:taken")
    }
    /// Counts by row; `<this>:findings` has the row of each open finding.
    pub fn census(self) -> String {
        self.key("census")
    }
    /// Only in partition 0, where the audit event of a rearming goes: the places taken on a plane, by time.
    pub fn places(self, tenant: &str, plane: PlaneKind) -> String {
        self.key(&format!("blast:{tenant}.{plane}"))
    }
    /// Only in partition 0: the switches that are tripped.
    pub fn trips(self) -> String {
        self.key("blast")
    }
    /// Only in partition 0, where the audit events of keys go: API keys by id.
    pub fn credentials(self) -> String {
        self.key("credentials")
    }
    /// Only in partition 0: when each API key was used last, in milliseconds.
    pub fn credentials_used(self) -> String {
        self.key("credentials:used")
    }
    /// Prefix; the head of a reconciliation is `<this>:<id>`, its intents are in `<this>:<id>:parts`.
    pub fn request(self) -> String {
        self.key("request")
    }
    pub fn request_of(self, id: &ReconciliationId) -> String {
        self.key(&format!("request:{id}"))
    }
    /// Ids of reconciliations by when they came; `<this>:sizes` has how many intents each names.
    pub fn requests(self) -> String {
        self.key("requests")
    }
    /// Prefix; what became of an idempotency key is in `<this>:<scope>`.
    pub fn once(self) -> String {
        self.key("once")
    }
    /// Scopes of idempotency keys by when they were claimed; `<this>:sizes` has the bytes of each answer.
    pub fn onces(self) -> String {
        self.key("onces")
    }
    /// Which archive and process moves events out of the stream; ends if it is not renewed.
    pub fn archiver(self) -> String {
        self.key("archiver")
    }

    pub fn intent(self, i: &IntentKey) -> String {
        self.key(&format!("intent:{i}"))
    }
    /// Ids of an intent's open approvals.
    pub fn approvals_of(self, i: &IntentKey) -> String {
        self.key(&format!("intent:{i}:approvals"))
    }
    pub fn finding(self, id: &FindingId) -> String {
        self.key(&format!("finding:{id}"))
    }
    /// The findings an intent can have: one per kind.
    pub fn findings_of(self, i: &IntentKey) -> Vec<String> {
        DriftKind::ALL.iter().map(|k| self.finding(&Finding::id_of(i, *k))).collect()
    }
    pub fn approval(self, id: &ApprovalId) -> String {
        self.key(&format!("approval:{id}"))
    }
}
