//! What the archive needs of the store: the event streams, a lock and a place for its id.

use async_trait::async_trait;
use trueup_model::Partition;

use crate::EngineError;

/// What of a stream is in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Sequence number of the oldest event there; 0: none is.
    pub first: u64,
    /// Sequence number given last, whether or not that event is still there.
    pub last: u64,
}

/// The event streams of a store that can hand them over.
#[async_trait]
pub trait EventLog: Send + Sync {
    fn partitions(&self) -> u16;
    /// The id of the fleet's archive: the one given if it had none.
    async fn archive_of_fleet(&self, id: &str) -> Result<String, EngineError>;
    /// Takes or renews a partition's lock for `ms` milliseconds. `None`: another holds it.
    async fn hold(&self, p: Partition, holder: &str, ms: u64) -> Result<Option<Extent>, EngineError>;
    /// Events `from..=to` as stored, oldest first, up to `limit`.
    async fn read(
        &self,
        p: Partition,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError>;
    /// Removes what is older than `first_kept`; returns how many. `None`: the lock is not ours (any more).
    async fn trim(&self, p: Partition, holder: &str, first_kept: u64) -> Result<Option<u64>, EngineError>;
}
