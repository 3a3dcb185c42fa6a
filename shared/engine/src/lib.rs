//! The durable core: jobs that run at least once and commit exactly once, on Redis.
//!
//! `Store` is what durable state can do; `RedisStore` and `MemoryStore` do it. Around it, inside a worker process:
//!
//! ```text
//! Hub (one per process) ── lease ──► Lane per step ─► apalis Worker ─► Committer ── commit (batched)
//!    ▲ free slots, wake-ups                                          Heart ── beat every second
//! ```
//!
//! Nothing else in the system talks to Redis.

pub mod about;
pub mod archive;
mod blast;
pub mod budgets;
pub mod census;
pub mod committer;
pub mod credentials;
pub mod expose;
pub mod heart;
pub mod hub;
pub mod keys;
pub mod lane;
pub mod manifests;
pub mod memory;
pub mod operate;
mod passed;
mod redis_store;
pub mod requests;
mod slots;
pub mod store;
mod view;
mod waiting;

pub use about::About;
pub use archive::{Archive, ArchiveError};
pub use budgets::Budgets;
pub use census::{Census, FindingCount, IntentCount};
pub use committer::Committer;
pub use credentials::{Credential, Credentials, Grant, KeyChange, Role, SecretHash};
pub use hub::{HubOptions, Started, Stop, start};
pub use lane::{Lane, Leased};
pub use manifests::{Expect, Manifests, Put};
pub use operate::{Act, Drain, Flow, JobFilter, Looked, Operations, Passed, WorkerReport};
pub use redis_store::{MAX_RESCUES, RedisOptions, RedisStore, shown};
pub use requests::Requests;
pub use store::*;
pub use waiting::Patience;

/// Why the engine could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// Redis is away, loading, full or failing over. May pass; says what was seen.
    #[error("Redis is not available: {0}")]
    Unavailable(String),
    /// Will not pass by itself: wrong password, wrong data in a key, not our database.
    #[error("{0}")]
    Refused(String),
}
