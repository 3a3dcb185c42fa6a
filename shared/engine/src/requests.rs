//! What callers asked for through the API, and what they were answered.
//!
//! # Expected flow
//! A reconciliation is a handle on checks that somebody asked for: which intents, and how many runs each had begun by then. Its
//! parts are stored first, with the sweeps that carry them out; its head last, with the audit event. Only then is it
//! accepted. How far it is, is read from the intents' own state.
//!
//! A caller that sends an idempotency key first claims it. Who gets the claim carries the request out and leaves the answer;
//! who comes later gets that answer.
//!
//! # Guarantees
//! - [`Requests::accept`] is one atomic operation. The same id again, once its head is there, changes nothing.
//! - What is here is a record beside the jobs: forgetting it early loses a handle or an answer, never a check.
//! - Nothing here grows: everything ends after [`KEPT_FOR`], and beyond the `MAX_…` bounds the oldest is forgotten.
//!
//! # Assumptions
//! An intent's runs are counted up by its state, and begin again when it is deleted and applied anew.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::{
    Condition, CorrelationId, Event, IntentKey, IntentState, Partition, ReconciliationId, Time, Trigger,
};

use crate::EngineError;
use crate::store::{NewJob, Page};

type Result<T> = std::result::Result<T, EngineError>;

/// How long a reconciliation, and an answer, is remembered, by the store's clock.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a claim lasts that no answer follows: its process has died.
pub const CLAIMED_FOR: Duration = Duration::from_secs(60);
/// Reconciliations remembered, fleet-wide: about 500 bytes each beside their intents.
pub const MAX_RECONCILIATIONS: usize = 100_000;
/// Intents remembered in all of them: about 50 bytes each.
pub const MAX_ASKED: usize = 2_000_000;
/// Answers remembered, fleet-wide.
pub const MAX_ANSWERS: usize = 100_000;
/// Bytes of all answers.
pub const MAX_ANSWERS_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one answer.
pub const MAX_ANSWER: usize = 1024 * 1024;
/// Intents of one chunk: what one sweep takes.
pub const CHUNK: usize = 256;
/// Chunks in one call.
pub const MAX_CHUNKS: usize = 64;
/// Sweeps that may be ready in a partition; beyond, nothing more is accepted until workers have caught up (E11).
pub const MAX_READY: usize = 100_000;

/// An intent that was asked for, and the runs it had begun by then. On the wire a pair, for there are many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked(pub IntentKey, pub u64);

/// What there is to know about an intent's checks, without its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub runs: u64,
    pub active: Option<Trigger>,
    pub condition: Condition,
    pub reconciled: bool,
}

impl Standing {
    pub(crate) fn of(state: &IntentState, reconciled: bool) -> Self {
        let active = state.run.as_ref().map(|r| r.trigger);
        Self { runs: state.runs, active, condition: state.condition, reconciled }
    }
}

/// How far an intent is that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    Waiting,
    Running,
    /// A run that began after it was asked for has ended.
    Done(Condition),
    /// Deleted meanwhile, or deleted and applied anew.
    Gone,
    /// Paused or retired meanwhile.
    NotReconciled,
}

impl Asked {
    /// Judges by the count of runs, not by clocks. A run that was under way when it was asked for does not count: it may
    /// have looked before. One that was given up does not either.
    pub fn progress(&self, now: Option<&Standing>) -> Progress {
        let Some(now) = now.filter(|s| s.runs >= self.1) else { return Progress::Gone };
        let unfinished = match now.active {
            None => 0,
            Some(Trigger::Recovery) => 2,
            Some(_) => 1,
        };
        if now.runs.saturating_sub(unfinished) > self.1 {
            Progress::Done(now.condition)
        } else if now.runs > self.1 {
            Progress::Running
        } else if now.reconciled {
            Progress::Waiting
        } else {
            Progress::NotReconciled
        }
    }
}

/// The head of a reconciliation: there once all of it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reconciliation {
    pub id: ReconciliationId,
    /// Where it is stored.
    pub home: Partition,
    /// Sorted.
    pub tenants: Vec<String>,
    /// As it was written, if somebody asked by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub accepted: u64,
    /// Named or found, and not accepted.
    pub refused: u64,
    /// Chunks that its intents are stored in, from 0.
    pub chunks: u32,
    pub actor: String,
    pub requested_at: Time,
    pub correlation_id: CorrelationId,
}

/// A part of a reconciliation on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub id: ReconciliationId,
    pub home: Partition,
    /// Number of the first of `chunks`.
    pub first: u32,
    /// At most [`MAX_CHUNKS`], each of at most [`CHUNK`].
    pub chunks: Vec<Vec<Asked>>,
    /// A sweep of the home partition that is stored with it.
    pub sweep: Option<NewJob>,
    /// With the last part.
    pub head: Option<(Reconciliation, Event)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    Yes,
    /// It was accepted as a whole before; nothing was changed.
    Before,
    /// [`MAX_READY`] sweeps wait already; nothing was changed.
    Full,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn size(&self) -> usize {
        self.body.len() + self.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
    }
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Carry it out, and leave the answer.
    Yours,
    /// Somebody else is carrying it out.
    Running,
    /// The key was used for another request.
    Other,
    Answered(Answer),
}

/// An idempotency key on its way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed<'a> {
    /// Who, where and which key: at most [`MAX_SCOPE`] bytes.
    pub scope: &'a str,
    /// What is asked.
    pub fingerprint: &'a str,
    /// Who has the claim.
    pub token: &'a str,
}

/// Bytes of a scope, a fingerprint or a token.
pub const MAX_SCOPE: usize = 128;

impl Claimed<'_> {
    pub(crate) fn check(&self) -> Result<()> {
        let fine = |t: &str| !t.is_empty() && t.len() <= MAX_SCOPE && t.bytes().all(|b| b.is_ascii_graphic());
        if [self.scope, self.fingerprint, self.token].into_iter().all(fine) {
            return Ok(());
        }
        Err(EngineError::Refused(format!("an idempotency claim has texts of 1 to {MAX_SCOPE} bytes")))
    }

    /// Where it is kept.
    pub(crate) fn home(&self, partitions: u16) -> Partition {
        IntentKey::new("idempotency", self.scope).partition(partitions)
    }
}

/// One partition's share of a bound of the fleet.
pub(crate) fn share(bound: usize, partitions: u16) -> usize {
    bound.div_ceil(usize::from(partitions.max(1)))
}

#[async_trait]
pub trait Requests: Send + Sync {
    /// Names of a tenant's intents in one partition, in order, behind `after`.
    async fn names_of(
        &self,
        p: Partition,
        tenant: &str,
        after: Option<&IntentKey>,
        limit: usize,
    ) -> Result<Vec<IntentKey>>;
    /// In the order asked for; at most 1,024.
    async fn standings(&self, keys: &[IntentKey]) -> Result<Vec<Option<Standing>>>;

    async fn accept(&self, part: &Part) -> Result<Accepted>;
    /// By id; looks in every partition.
    async fn reconciliation(&self, id: &ReconciliationId) -> Result<Option<Reconciliation>>;
    /// Newest first.
    async fn reconciliations(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Reconciliation>>;
    /// Chunks `from..from + n` of one, as far as it has so many; at most 16. One that is lost is empty.
    async fn asked(&self, of: &Reconciliation, from: u32, n: u32) -> Result<Vec<Vec<Asked>>>;

    /// Sequence number of the newest event of each partition that has one: where a caller who wants to follow them begins.
    async fn event_ends(&self) -> Result<BTreeMap<u16, u64>>;

    async fn claim(&self, claim: Claimed<'_>) -> Result<Claim>;
    /// Leaves the answer of a claim; false if the claim is not ours any more, or the answer larger than [`MAX_ANSWER`].
    async fn answer(&self, claim: Claimed<'_>, answer: &Answer) -> Result<bool>;
    /// Gives a claim up: the next one may carry the request out.
    async fn release(&self, claim: Claimed<'_>) -> Result<()>;
}

pub(crate) fn check_part(part: &Part) -> Result<()> {
    let sizes = part.chunks.iter().all(|c| c.len() <= CHUNK);
    if part.chunks.len() <= MAX_CHUNKS && sizes {
        return Ok(());
    }
    Err(EngineError::Refused(format!("at most {MAX_CHUNKS} chunks of at most {CHUNK} intents in one call")))
}

/// For stores that keep none.
pub(crate) struct NoRequests;

macro_rules! refused {
    () => {
        Err(EngineError::Unavailable("this store keeps no requests".into()))
    };
}

#[async_trait]
impl Requests for NoRequests {
    async fn names_of(
        &self,
        _: Partition,
        _: &str,
        _: Option<&IntentKey>,
        _: usize,
    ) -> Result<Vec<IntentKey>> {
        refused!()
    }
    async fn standings(&self, _: &[IntentKey]) -> Result<Vec<Option<Standing>>> {
        refused!()
    }
    async fn accept(&self, _: &Part) -> Result<Accepted> {
        refused!()
    }
    async fn reconciliation(&self, _: &ReconciliationId) -> Result<Option<Reconciliation>> {
        refused!()
    }
    async fn reconciliations(&self, _: Option<&str>, _: usize) -> Result<Page<Reconciliation>> {
        refused!()
    }
    async fn asked(&self, _: &Reconciliation, _: u32, _: u32) -> Result<Vec<Vec<Asked>>> {
        refused!()
    }
    async fn event_ends(&self) -> Result<BTreeMap<u16, u64>> {
        refused!()
    }
    async fn claim(&self, _: Claimed<'_>) -> Result<Claim> {
        refused!()
    }
    async fn answer(&self, _: Claimed<'_>, _: &Answer) -> Result<bool> {
        refused!()
    }
    async fn release(&self, _: Claimed<'_>) -> Result<()> {
        refused!()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_judged_by_runs() {
        let standing = |runs, active, reconciled| {
            Some(Standing { runs, active, condition: Condition::InSync, reconciled })
        };
        let done = Progress::Done(Condition::InSync);
        let table = [
            // Nothing ran when it was asked for, after the third run.
            (standing(3, None, true), Progress::Waiting),
            (standing(4, Some(Trigger::Request), true), Progress::Running),
            (standing(4, None, true), done),
            // The third was under way: only the fourth counts.
            (standing(3, Some(Trigger::Schedule), true), Progress::Waiting),
            (standing(4, Some(Trigger::Coalesced), true), Progress::Running),
            // The fourth was given up, the fifth is made in its place.
            (standing(5, Some(Trigger::Recovery), true), Progress::Running),
            (standing(5, None, true), done),
            (standing(5, Some(Trigger::Schedule), true), done),
            (standing(3, None, false), Progress::NotReconciled),
            (standing(4, None, false), done),
            (standing(2, None, true), Progress::Gone),
            (None, Progress::Gone),
        ];
        for (now, expected) in table {
            assert_eq!(
                Asked(IntentKey::new("a", "b"), 3).progress(now.as_ref()),
                expected,
                "{now:?} after the third"
            );
        }
    }
}
