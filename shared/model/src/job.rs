//! The jobs, their payloads and their queues.
//!
//! The wire form is JSON with a version: `{"v":1,"step":"query",…}`. A reader that meets a newer version gives the job
//! back; an older one is upgraded by a pure function (there is none yet: version 1 is the first).

use serde::{Deserialize, Serialize};

use crate::{
    CorrelationId, Delivery, Drift, EffectKey, IntentKey, JobId, Observation, Partition, Plan, PlaneKind,
    RunId, Target, Time, TraceParent, Trigger,
};

/// The version this build writes, and the newest it reads.
pub const VERSION: u16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    Sweep,
    Query,
    Compare,
    Emit,
    Remediate,
    Escalate,
    /// Collects notices into deliveries, and delivers them.
    Notify,
}

impl StepName {
    /// In the order of the chain.
    pub const ALL: [Self; 7] =
        [Self::Sweep, Self::Query, Self::Compare, Self::Emit, Self::Remediate, Self::Escalate, Self::Notify];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Query => "query",
            Self::Compare => "compare",
            Self::Emit => "emit",
            Self::Remediate => "remediate",
            Self::Escalate => "escalate",
            Self::Notify => "notify",
        }
    }
    /// Whether its queue is split by plane, so that one plane's trouble delays nobody else.
    pub fn touches_plane(self) -> bool {
        matches!(self, Self::Query | Self::Remediate)
    }
}

impl std::fmt::Display for StepName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A queue: jobs of one step, for one plane where the step touches a plane. Shown as `query.intune`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    step: StepName,
    plane: Option<PlaneKind>,
}

impl Queue {
    /// `None` where step and plane do not go together.
    pub fn new(step: StepName, plane: Option<PlaneKind>) -> Option<Self> {
        (step.touches_plane() == plane.is_some()).then_some(Self { step, plane })
    }
    /// Every queue there is, in the order in which a free worker serves them: what ends runs comes before what begins
    /// new ones, so that a backlog drains before it grows.
    pub fn all() -> Vec<Self> {
        use StepName::{Compare, Emit, Escalate, Notify, Query, Remediate, Sweep};
        let mut all = Vec::new();
        for step in [Notify, Escalate, Remediate, Emit, Compare, Query, Sweep] {
            if step.touches_plane() {
                all.extend(PlaneKind::ALL.map(|p| Self { step, plane: Some(p) }));
            } else {
                all.push(Self { step, plane: None });
            }
        }
        all
    }
    pub fn step(self) -> StepName {
        self.step
    }
    pub fn plane(self) -> Option<PlaneKind> {
        self.plane
    }
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.plane {
            None => self.step.fmt(f),
            Some(plane) => write!(f, "{}.{plane}", self.step),
        }
    }
}

impl std::str::FromStr for Queue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().into_iter().find(|q| q.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = Self::all().iter().map(ToString::to_string).collect();
            format!("unknown queue '{text}' (known: {})", known.join(", "))
        })
    }
}

/// One unit of work. The variants are the whole chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Job {
    Sweep(Sweep),
    Query(Query),
    Compare(Compare),
    Emit(Emit),
    Remediate(Remediate),
    Escalate(Escalate),
    Notify(Notify),
}

/// Find the intents that are due and begin their runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    pub partition: Partition,
    /// Absent: the tick, which looks for everything due and sets the next tick. Present: just these, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<IntentKey>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
}

/// One run's part in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub intent: IntentKey,
    pub run: RunId,
    pub target: Target,
    /// An answer the plane gave before this time does not count (an action came between).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<Time>,
}

/// Observe a batch of targets of one tenant through one plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub tenant: String,
    pub plane: PlaneKind,
    /// Sorted by target, then intent.
    pub checks: Vec<Check>,
    pub swept: Span,
}

/// Compare what was meant with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub plane: PlaneKind,
    pub seen: Vec<Seen>,
    pub swept: Span,
    pub queried: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub intent: IntentKey,
    pub run: RunId,
    pub observation: Observation,
}

/// When a batch step worked for this run, so that the run's own trace can show it although the step served many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: Time,
    pub to: Time,
    /// `traceparent` of the batch's own span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Record drift, ask policy, decide what follows for ONE intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emit {
    pub intent: IntentKey,
    pub run: RunId,
    /// Of the intent that was compared: drift from an older one is not acted upon.
    pub generation: u64,
    /// Sorted by kind; empty when everything that was drifted is mended.
    pub drifts: Vec<Drift>,
    /// Why some aspects could not be judged, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<String>,
    /// Kinds that could not be judged: their findings stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged_kinds: Vec<crate::DriftKind>,
    /// Differences that ignore rules hid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<crate::Ignored>,
    pub condition: crate::Condition,
    /// sweep, query and compare of this run.
    pub passed: [Span; 3],
    /// `traceparent` that the run goes on under: of the request that asked for it, or of the attempt that it is to judge.
    /// Absent: the run has a trace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
}

/// Perform ONE action of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remediate {
    pub intent: IntentKey,
    pub run: RunId,
    pub plan: Plan,
    /// Which action, from 0.
    pub index: usize,
    /// Which attempt of the ladder, from 1.
    pub attempt: u8,
    pub generation: u64,
}

/// Collect what people are to be told, or tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Absent: collect what is in the outboxes into deliveries. Present: make this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Delivery>,
    /// All tries of the delivery were in vain, and that was told. It is tried once more, under this key, and then stays
    /// with the dead letters until somebody retries or discards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<EffectKey>,
}

/// The end of the ladder: hand it to people, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalate {
    pub intent: IntentKey,
    pub run: RunId,
    pub drifts: Vec<Drift>,
    pub attempts: u8,
    pub plan: Plan,
}

impl Job {
    pub fn step(&self) -> StepName {
        match self {
            Self::Sweep(_) => StepName::Sweep,
            Self::Query(_) => StepName::Query,
            Self::Compare(_) => StepName::Compare,
            Self::Emit(_) => StepName::Emit,
            Self::Remediate(_) => StepName::Remediate,
            Self::Escalate(_) => StepName::Escalate,
            Self::Notify(_) => StepName::Notify,
        }
    }

    /// The run it works for; batch steps work for many.
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::Sweep(_) | Self::Query(_) | Self::Compare(_) | Self::Notify(_) => None,
            Self::Emit(j) => Some(&j.run),
            Self::Remediate(j) => Some(&j.run),
            Self::Escalate(j) => Some(&j.run),
        }
    }

    /// The queue it waits in. `plane` is the intent's, for steps that touch it.
    pub fn queue(&self, plane: Option<PlaneKind>) -> Option<Queue> {
        let step = self.step();
        Queue::new(step, plane.filter(|_| step.touches_plane()))
    }

    /// The bytes that go into the queue.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Wire<'a> {
            v: u16,
            #[serde(flatten)]
            job: &'a Job,
        }
        serde_json::to_vec(&Wire { v: VERSION, job: self }).unwrap_or_default()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        #[derive(Deserialize)]
        struct Version {
            v: u16,
        }
        // Read as a tree first: serde's flatten would lose which field was wrong.
        let mut tree: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| Undecodable::Broken(e.to_string()))?;
        let Version { v } = Version::deserialize(&tree).map_err(|e| Undecodable::Broken(e.to_string()))?;
        if v > VERSION {
            return Err(Undecodable::Newer(v));
        }
        if let Some(map) = tree.as_object_mut() {
            map.remove("v");
        }
        serde_json::from_value(tree).map_err(|e| Undecodable::Broken(e.to_string()))
    }
}

/// Why bytes are not a job for this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A newer build wrote it: give it back.
    #[error("written by a newer version of the payload ({0}; this build reads up to {VERSION})")]
    Newer(u16),
    /// Nobody can read it: dead letter.
    #[error("not a job: {0}")]
    Broken(String),
}

/// The tick of a partition has one fixed id, so that there is never more than one (E8).
pub fn tick_id(partition: Partition) -> JobId {
    JobId::derive(&["tick", &partition.to_string()])
}

/// Collecting has one fixed id in partition 0, so that there is never more than one (E8).
pub fn collect_id() -> JobId {
    JobId::derive(&["collect"])
}

/// What a job is told about itself. Everything `decide` may know besides its facts.
#[derive(Debug, Clone)]
pub struct Cx {
    pub now: Time,
    pub job: JobId,
    pub partition: Partition,
    /// Which try of this job, from 1 (transient faults and panics; not the ladder's attempt).
    pub attempt: u32,
    /// When this execution began.
    pub started_at: Time,
    /// `traceparent` of the span of this execution.
    pub trace: crate::TraceParent,
}

impl Cx {
    /// Id of the `n`th job that follows from this one.
    pub fn next_id(&self, n: usize) -> JobId {
        JobId::derive(&[self.job.as_str(), &n.to_string()])
    }
    pub fn effect(&self) -> EffectKey {
        EffectKey::of(&self.job)
    }
    /// The span of this execution, as the trace of a run will show it.
    pub fn span(&self) -> Span {
        Span { from: self.started_at, to: self.now, link: Some(self.trace.as_str().to_owned()) }
    }
}

/// A run's correlation id, derived when nobody brought one.
pub fn correlation_of(run: &RunId) -> CorrelationId {
    CorrelationId::derive(&[run.as_str()])
}

/// For callers that ask for a check: one sweep of these intents, named by who asked and when, so that asking twice
/// with the same key is asking once.
pub fn request(partition: Partition, only: Vec<IntentKey>, correlation_id: CorrelationId) -> (JobId, Job) {
    let id = JobId::derive(&["request", &partition.to_string(), correlation_id.as_str()]);
    (id, Job::Sweep(Sweep { partition, only: Some(only), correlation_id: Some(correlation_id) }))
}

/// The trigger recorded for a run begun by a sweep.
pub fn trigger_of(sweep: &Sweep, verification: bool) -> Trigger {
    match (&sweep.only, verification) {
        (Some(_), _) => Trigger::Request,
        (None, true) => Trigger::Verification,
        (None, false) => Trigger::Schedule,
    }
}
