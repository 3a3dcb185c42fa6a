//! What a job decided. The engine carries out all of it or none of it, once, and only for the holder of the lease.

use serde::{Deserialize, Serialize};

use crate::{Approval, Event, Finding, IntentKey, IntentState, Job, JobId, Notice, NoticeId, Queue, Time};

/// Bound on each list of a commit, so that one script call stays short (`engine.md`, "Scripts").
pub const MAX_PARTS: usize = 512;

/// Everything in one commit concerns the job's own partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// In order.
    pub events: Vec<Event>,
    pub writes: Vec<Write>,
    pub next: Vec<Next>,
}

/// A change of state. Waiting is a part of it: `State::due` and `Next::at` are the timers.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The intent's state, if its `rev` is still the one the job saw (else the whole commit is refused as a conflict).
    State {
        intent: IntentKey,
        rev: u64,
        state: Box<IntentState>,
        /// When a sweep must look at it. While a run holds it: the run's deadline, so that a lost run is noticed.
        /// `None`: never (it is not reconciled).
        due: Option<Time>,
        /// The write ends a run: if triggers arrived meanwhile, the intent is due at once instead.
        ends_run: bool,
    },
    /// A trigger arrived while a run was active: remember it (E9).
    Dirty {
        intent: IntentKey,
    },
    Finding(Box<Finding>),
    Approval(Box<Approval>),
    /// Something to tell people, into the outbox of the job's partition. Writing the same id again changes nothing.
    Notice(Box<Notice>),
    /// These notices, of any partition, are in deliveries now: never collect them again. Only in partition 0.
    Taken(Vec<NoticeId>),
}

/// A job that follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    pub id: JobId,
    pub queue: Queue,
    pub job: Job,
    /// Not before this time; `None`: at once.
    pub at: Option<Time>,
}

/// How an execution of a job ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Finished: carry out the commit and forget the job.
    Done(Commit),
    /// Back into its queue at a later time. Costs no attempt. `because` is shown to whoever asks what it waits for; without
    /// one, the reason it had before stays.
    Defer { at: Time, because: Option<String> },
    /// As `Defer`, and it costs an attempt.
    Retry { at: Time, because: String },
    /// To the dead letters, with the reason; its bytes are kept.
    Dead { because: String },
}

/// What the engine answered to an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committed {
    Yes,
    /// Somebody else has the job, or has finished it: drop the result.
    LeaseLost,
    /// State changed since it was read: gather again. The lease is kept.
    Conflict,
    /// The commit cannot be carried out as it is; nothing was changed and the lease is kept.
    Malformed,
}
