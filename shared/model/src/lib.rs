//! Trueup's vocabulary: what every part knows, and nothing that does anything.
//!
//! Guarantees: no I/O, no clock but the one passed in, no randomness. Every id is derived, every wire form is
//! versioned and has a snapshot test (`tests/wire.rs`).

pub mod approval;
pub mod blast;
pub mod budget;
pub mod cause;
pub mod clock;
pub mod commit;
pub mod drift;
pub mod event;
pub mod fault;
pub mod ids;
pub mod intent;
pub mod job;
pub mod label;
pub mod ladder;
pub mod notice;
pub mod observed;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod owners;
pub mod plan;
pub mod policy;
pub mod run;
pub mod target;

pub use approval::{Approval, ApprovalKind, ApprovalState};
pub use blast::{Caps, Reserved, Trip};
pub use budget::{Budget, Lane};
pub use chrono::{DateTime, Duration, Utc};
pub use clock::{Clock, ManualClock, ScaledClock, SharedClock, SystemClock};
pub use commit::{Commit, Next, Outcome, Write};
pub use drift::{Delta, Drift, DriftKind, Fact, Finding, Ignored, Severity};
pub use event::{Event, EventKind};
pub use fault::Fault;
pub use ids::{
    ApprovalId, CorrelationId, Digest, EffectKey, EventId, FindingId, IntentKey, JobId, NoticeId, Partition,
    ReconciliationId, RunId, TraceParent,
};
pub use intent::{Criticality, Intent, Mode, Ring, Status};
pub use job::{Job, Queue, StepName};
pub use ladder::{Ladder, Rung};
pub use notice::{Delivery, Notice, Route, Topic};
pub use observed::{Observation, Observed};
pub use plan::{Action, Plan, Receipt};
pub use policy::{Decision, Reason, Verdict};
pub use run::{ActiveRun, Attempts, Condition, IntentRecord, IntentState, Trigger};
pub use target::{PlaneKind, Target};

/// A point in time as this product stores it: UTC, to the millisecond.
pub type Time = DateTime<Utc>;
