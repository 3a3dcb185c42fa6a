//! Trueup's vocabulary: what every part knows, and nothing that does anything.
//!
//! Guarantees: no I/O, no clock but the one passed in, no randomness. Every id is derived, every wire form is
//! versioned and has a snapshot test (`tests/wire.rs`).

pub mod approval;
pub mod clock;
pub mod commit;
pub mod drift;
pub mod event;
pub mod fault;
pub mod ids;
pub mod intent;
pub mod job;
pub mod ladder;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod run;
pub mod target;

pub use approval::{Approval, ApprovalKind, ApprovalState};
pub use chrono::{DateTime, Duration, Utc};
pub use clock::{Clock, ManualClock, ScaledClock, SharedClock, SystemClock};
pub use commit::{Commit, Next, Outcome, Write};
pub use drift::{Delta, Drift, DriftKind, Fact, Finding, Severity};
pub use event::{Event, EventKind};
pub use fault::Fault;
pub use ids::{
    ApprovalId, CorrelationId, Digest, EffectKey, EventId, FindingId, IntentKey, JobId, Partition, RunId,
    TraceParent,
};
pub use intent::{Criticality, Intent, Mode, Ring, Status};
pub use job::{Job, Queue, StepName};
pub use ladder::{Ladder, Rung};
pub use observed::{Observation, Observed};
pub use plan::{Action, Plan, Receipt};
pub use policy::{Decision, Reason, Verdict};
pub use run::{ActiveRun, Attempts, Condition, IntentRecord, IntentState, Trigger};
pub use target::{PlaneKind, Target};

/// A point in time as this product stores it: UTC, to the millisecond.
pub type Time = DateTime<Utc>;
