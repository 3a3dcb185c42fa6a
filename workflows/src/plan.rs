//! From drifts to a plan: which actions mend them, in which order. Nothing is done here.

use std::collections::BTreeSet;

use trueup_model::{
    Action, Delta, Drift, DriftKind, Ignored, Intent, Plan, Target,
    intent::{Assignment, Scope},
    plan::Planned,
    target::AppRef,
};

use crate::compare::{install_text, parse_scope, scope, version::REPLACES};

/// The plan for these drifts of one intent, out of `all` that it has, beside what was `ignored`. Empty where nothing that
/// Trueup can do mends them.
pub fn plan(intent: &Intent, generation: u64, drifts: &[&Drift], all: &[Drift], ignored: &[Ignored]) -> Plan {
    // What is ignored is let alone: no remedy of another kind may overwrite it in passing.
    let kinds = all.iter().map(|d| d.kind).chain(ignored.iter().map(|i| i.kind));
    let contested = kinds.into_iter().any(|kind| kind == DriftKind::ScopeMismatch);
    let mut actions: Vec<Planned> = Vec::new();
    for drift in drifts {
        for planned in remedies(intent, drift, contested) {
            add(&mut actions, planned);
        }
    }
    let digests: Vec<_> = drifts.iter().map(|d| &d.digest).collect();
    Plan::new(generation, &digests, actions)
}

/// Two assignments of one application are one action.
fn add(actions: &mut Vec<Planned>, new: Planned) {
    if let Action::Assign { app, include, exclude, remove, .. } = &new.action {
        for known in actions.iter_mut() {
            if let Action::Assign { app: same, include: i, exclude: e, remove: r, .. } = &mut known.action
                && same == app
            {
                i.extend(include.iter().cloned());
                e.extend(exclude.iter().cloned());
                r.extend(remove.iter().cloned());
                return;
            }
        }
    }
    if !actions.iter().any(|known| known.action == new.action) {
        actions.push(new);
    }
}

/// The actions for one drift, in order: what is missing is given before what is old is taken away.
fn remedies(intent: &Intent, drift: &Drift, contested: bool) -> Vec<Planned> {
    let kind = drift.kind;
    match (&intent.target, kind, &intent.desired.assignment) {
        (Target::Ansible(t), DriftKind::ComplianceDrift, _) => {
            let summary = format!("run playbook {}", t.playbook);
            vec![Planned { action: Action::Comply { devices: Vec::new() }, kind, summary }]
        }
        (Target::Ansible(_), _, _) => Vec::new(),
        (_, DriftKind::ComplianceDrift, _) if drift.devices.is_empty() => Vec::new(),
        (target, DriftKind::ComplianceDrift, _) => {
            let remedy = match target {
                Target::Jamf(_) => "run the compliance policy on",
                Target::ConfigMgr(_) => "run the compliance remedy on",
                Target::Intune(_) | Target::Ansible(_) => "sync",
            };
            let summary = format!("{remedy} {} devices that do not comply", drift.devices.len());
            vec![Planned { action: Action::Comply { devices: drift.devices.clone() }, kind, summary }]
        }
        (target, _, Some(meant)) => {
            let Some(app) = target.app() else { return Vec::new() };
            let mut meant = meant.clone();
            if kind == DriftKind::VersionMismatch && contested {
                // Who gets the application is for the scope mismatch, and its policy, to decide: just move what moves.
                meant.include.retain(|s| drift.delta.iter().any(|d| carried(d) == Some(s.clone())));
                meant.exclude.clear();
            }
            if meant.include.is_empty() {
                return Vec::new();
            }
            let mut actions = vec![assign(&app, &meant, drift)];
            actions.extend(unassign(&app, &meant, drift));
            actions
        }
        (_, _, None) => Vec::new(),
    }
}

/// The scope that an older application still reaches, if that is what the delta says.
fn carried(delta: &Delta) -> Option<Scope> {
    delta.path.strip_prefix(REPLACES).and_then(|_| parse_scope(&delta.observed))
}

fn assign(app: &AppRef<'_>, meant: &Assignment, drift: &Drift) -> Planned {
    let extra = drift.delta.iter().filter(|d| d.path == scope::EXTRA || d.path == scope::EXTRA_EXCLUSION);
    let named = |s: &Scope| meant.include.contains(s) || meant.exclude.contains(s);
    let remove: BTreeSet<Scope> =
        extra.filter_map(|d| parse_scope(&d.observed)).filter(|s| !named(s)).collect();
    let (name, install, scopes) = (app.name, install_text(meant.install), meant.include.len());
    let mut summary = format!("assign {name} ({}) as {install} to {scopes} scopes", app.id);
    if !remove.is_empty() {
        summary.push_str(&format!(", take it away from {} others", remove.len()));
    }
    let action = Action::Assign {
        app: app.id.clone(),
        install: meant.install,
        include: meant.include.clone(),
        exclude: meant.exclude.clone(),
        remove,
    };
    Planned { action, kind: drift.kind, summary }
}

/// One action for each older application that still has an assignment.
fn unassign(app: &AppRef<'_>, meant: &Assignment, drift: &Drift) -> Vec<Planned> {
    let carries = |app: &&String| drift.delta.iter().any(|d| d.path.strip_prefix(REPLACES) == Some(app));
    let older = app.replaces.iter().filter(carries);
    let planned = older.map(|app| Planned {
        action: Action::Unassign { app: app.clone(), remove: meant.include.clone() },
        kind: drift.kind,
        summary: format!("take the older application {app} away from {} scopes", meant.include.len()),
    });
    planned.collect()
}
