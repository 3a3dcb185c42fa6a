//! A plane that is a table: applications, and the scopes they are assigned to. For stories about thousands of intents,
//! which need no wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::observed::{AssignmentSeen, Assignments};
use trueup_model::target::{IntuneTarget, JamfTarget};
use trueup_model::{
    Action, Clock, EffectKey, Fault, Intent, IntentKey, ManualClock, Observed, PlaneKind, Receipt, Target,
    Time,
};
use trueup_planes::Plane;

/// What is assigned, what is gone, and what was done.
#[derive(Debug, Default)]
pub struct State {
    /// Scopes by application.
    pub assigned: BTreeMap<String, BTreeSet<Scope>>,
    /// Groups that were deleted: an assignment to one of them is not shown any more, and refused.
    pub gone: BTreeSet<Scope>,
    /// The answer to everything.
    pub trouble: Option<Fault>,
    /// Actions that were accepted: when, and under which key.
    pub writes: Vec<(Time, EffectKey)>,
}

#[derive(Debug)]
pub struct Table {
    clock: ManualClock,
    state: Mutex<State>,
}

impl Table {
    pub fn on(clock: &ManualClock) -> Self {
        Self { clock: clock.clone(), state: Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything is assigned as these intents mean it.
    pub fn carries_out(&self, intents: &[Intent]) {
        for intent in intents {
            let meant = intent.desired.assignment.iter().flat_map(|a| a.include.iter().cloned());
            self.lock().assigned.insert(app(&intent.target), meant.collect());
        }
    }

    fn seen(&self, check: &Check) -> Result<Observed, Fault> {
        let state = self.lock();
        if let Some(fault) = &state.trouble {
            return Err(fault.clone());
        }
        let app = app(&check.target);
        let scopes = state.assigned.get(&app).into_iter().flatten().filter(|s| !state.gone.contains(s));
        let here = scopes.map(|scope| AssignmentSeen {
            app: app.clone(),
            scope: scope.clone(),
            install: Install::Required,
            excluded: false,
        });
        let assignments = Some(Assignments { here: here.collect(), replaced: Vec::new() });
        Ok(Observed { at: self.clock.now(), assignments, versions: None, compliance: None })
    }
}

#[async_trait]
impl Plane for Table {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        checks.iter().map(|check| self.seen(check)).collect()
    }

    async fn apply(&self, _: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        let mut state = self.lock();
        if let Some(fault) = &state.trouble {
            return Err(fault.clone());
        }
        let Action::Assign { app, include, remove, .. } = action else {
            return Err(Fault::permanent("only assignments"));
        };
        if let Some(gone) = include.iter().find(|s| state.gone.contains(s)) {
            return Err(Fault::permanent(format!("400: {gone:?} does not exist")));
        }
        let assigned = state.assigned.entry(app.clone()).or_default();
        assigned.extend(include.iter().cloned());
        assigned.retain(|s| !remove.contains(s));
        state.writes.push((self.clock.now(), key.clone()));
        Ok(Receipt { note: "assigned".into(), changed: true })
    }

    async fn probe(&self) -> Result<String, Fault> {
        Ok("here".into())
    }
}

fn app(target: &Target) -> String {
    target.app().map(|app| app.id).unwrap_or_default()
}

pub fn group(name: &str) -> Scope {
    Scope::Group(name.to_owned())
}

/// Intent `n` of a tenant on a plane: an application of its own for this group. In the lab, critical, enforced.
pub fn member(tenant: &str, plane: PlaneKind, n: usize, scope: &Scope) -> Intent {
    let mut intent = super::world_graph::assigned(tenant, 0);
    intent.key = key(tenant, plane, n);
    intent.target = match plane {
        PlaneKind::Jamf => Target::Jamf(JamfTarget {
            policy_id: u32::try_from(n + 1).unwrap_or(u32::MAX),
            app_name: format!("App {n}.app"),
            bundle_id: None,
            replaces: Vec::new(),
            compliance: None,
        }),
        _ => Target::Intune(IntuneTarget {
            app_id: format!("00000000-0000-4000-8000-{n:012}"),
            app_name: format!("App {n}"),
            replaces: Vec::new(),
        }),
    };
    if let Some(assignment) = &mut intent.desired.assignment {
        assignment.include = BTreeSet::from([scope.clone()]);
    }
    intent
}

pub fn key(tenant: &str, plane: PlaneKind, n: usize) -> IntentKey {
    IntentKey::new(tenant, format!("{plane}-{n:05}"))
}
