//! Manifests, stored on a condition.
//!
//! # Guarantees
//! The condition is judged and the manifest stored in one atomic step. What does not fit is answered with
//! [`Change::Conflict`](crate::Change::Conflict) and leaves everything as it is, without an event.

use async_trait::async_trait;
use trueup_model::owners::Owners;
use trueup_model::{Intent, IntentKey};

use crate::EngineError;
use crate::store::{Applied, By};

type Result<T> = std::result::Result<T, EngineError>;

/// What must be there for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there; but fields with owners are changed only by who names what becomes of the owners.
    Anything,
    /// No such intent.
    Absent,
    /// This version (`IntentRecord::version`).
    Version(u64),
}

/// A manifest to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub intent: Intent,
    pub expect: Expect,
    /// Who owns which field from then on; nothing leaves them as they are.
    pub owners: Option<Owners>,
}

/// Whole manifests, whatever is there.
pub(crate) fn whole(intents: &[Intent]) -> Vec<Put> {
    let put = |intent: &Intent| Put { intent: intent.clone(), expect: Expect::Anything, owners: None };
    intents.iter().map(put).collect()
}

#[async_trait]
pub trait Manifests: Send + Sync {
    /// Stores up to 256 manifests. A new or changed one is due at once (through `dirty` if a run is active). One answer
    /// each, in order.
    async fn put(&self, puts: &[Put], by: &By) -> Result<Vec<Applied>>;
    /// Forgets an intent with its findings and approvals; a run still active finds nothing and ends.
    async fn forget(&self, key: &IntentKey, expect: Expect, by: &By) -> Result<Applied>;
}
