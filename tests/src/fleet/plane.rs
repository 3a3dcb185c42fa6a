//! A plane whose answers depend on nothing but the target, and that writes down every call it gets.
//!
//! # Guarantees
//! A call is one line in `calls`, appended before the plane does anything, in one write: a process that is killed loses
//! no line of it. `Q <first run> <pid>` is one `query` job, `A <effect key> <pid> <intent's target>` one effect.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::observed::{AssignmentSeen, Assignments};
use trueup_model::{
    Action, Clock, Criticality, EffectKey, Fault, Intent, Observed, Receipt, Ring, SystemClock, Target,
};
use trueup_planes::Plane;

use crate::world;

/// The file of calls, in the fleet's directory.
pub const CALLS: &str = "calls";

const GROUPS: [&str; 2] = ["11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"];

/// What the plane says of a target; its `app_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Assigned to one of two groups: a scope mismatch, which goes to a review.
    Scope,
    /// Not assigned: remediated at once.
    Missing,
    InSync,
    /// Looking at it aborts the process.
    Abort,
}

impl Behaviour {
    fn name(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Missing => "missing",
            Self::InSync => "in-sync",
            Self::Abort => "abort",
        }
    }
    fn of(target: &Target) -> Option<Self> {
        let Target::Intune(t) = target else { return None };
        [Self::Scope, Self::Missing, Self::InSync, Self::Abort].into_iter().find(|b| b.name() == t.app_name)
    }
    /// Of ten intents six are scope mismatches, three are remediated, one is in sync.
    pub fn nth(n: usize) -> Self {
        match n % 10 {
            0..6 => Self::Scope,
            6..9 => Self::Missing,
            _ => Self::InSync,
        }
    }
}

/// The `n`th intent of a tenant, with the given behaviour.
pub fn intent(tenant: &str, n: usize, behaviour: Behaviour) -> Intent {
    let mut intent = world::intent(tenant, &format!("i{n:06}"));
    if let Target::Intune(t) = &mut intent.target {
        t.app_id = format!("{n:08x}-0000-4000-8000-000000000001");
        t.app_name = behaviour.name().into();
    }
    intent.desired.version = None;
    intent.desired.compliant = false;
    if let Some(assignment) = &mut intent.desired.assignment {
        assignment.include = GROUPS.map(|g| Scope::Group(g.into())).into();
    }
    (intent.ring, intent.criticality) = match behaviour {
        Behaviour::Missing => (Ring::Lab, Criticality::Critical),
        _ => (Ring::Global, Criticality::Low),
    };
    intent
}

#[derive(Debug)]
pub struct ChaosPlane {
    calls: File,
    observe: Duration,
    apply: Duration,
}

impl ChaosPlane {
    /// `observe` and `apply` are how long each call takes.
    pub fn new(dir: &Path, observe: Duration, apply: Duration) -> std::io::Result<Self> {
        let calls = File::options().create(true).append(true).open(dir.join(CALLS))?;
        Ok(Self { calls, observe, apply })
    }

    fn write_down(&self, line: &str) -> Result<(), Fault> {
        (&self.calls).write_all(line.as_bytes()).map_err(|e| Fault::bug(e.to_string()))
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a system that takes its time to answer")]
async fn takes(time: Duration) {
    tokio::time::sleep(time).await;
}

fn seen(check: &Check) -> Observed {
    let Target::Intune(target) = &check.target else { return observed(Vec::new()) };
    let groups = match Behaviour::of(&check.target) {
        Some(Behaviour::Scope) => &GROUPS[..1],
        Some(Behaviour::Missing) => &[],
        _ => &GROUPS[..],
    };
    let assigned = |group: &&str| AssignmentSeen {
        app: target.app_id.clone(),
        scope: Scope::Group((*group).into()),
        install: Install::Required,
        excluded: false,
    };
    observed(groups.iter().map(assigned).collect())
}

fn observed(here: Vec<AssignmentSeen>) -> Observed {
    let assignments = Some(Assignments { here, replaced: Vec::new() });
    Observed { at: SystemClock.now(), assignments, versions: None, compliance: None }
}

#[async_trait]
impl Plane for ChaosPlane {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let first = checks.first().map_or("", |c| c.run.as_str());
        let written = self.write_down(&format!("Q {first} {}\n", std::process::id()));
        if checks.iter().any(|c| Behaviour::of(&c.target) == Some(Behaviour::Abort)) {
            std::process::abort();
        }
        takes(self.observe).await;
        checks.iter().map(|c| written.clone().map(|()| seen(c))).collect()
    }

    async fn apply(&self, target: &Target, _: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        let Target::Intune(t) = target else { return Err(Fault::permanent("not a target of this plane")) };
        self.write_down(&format!("A {key} {} {}\n", std::process::id(), t.app_id))?;
        takes(self.apply).await;
        Ok(Receipt { note: "assigned".into(), changed: true })
    }

    async fn probe(&self) -> Result<String, Fault> {
        Ok("here".into())
    }
}

/// Whether the plane's answer to this intent is drift.
pub fn drifts(intent: &Intent) -> bool {
    Behaviour::of(&intent.target) != Some(Behaviour::InSync)
}
