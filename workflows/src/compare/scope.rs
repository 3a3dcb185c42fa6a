//! Scope mismatch: it is assigned, but not to whom, or not how, it was meant (seed 000, "Drift Types" 3).
//!
//! A scope still reached through an application that the target replaces is a version mismatch, not this. Assignments
//! to others are drift only where the intent says `exclusive`, since other intents may share the application.

use trueup_model::{
    Delta, DriftKind, Observed, Target,
    intent::{Assignment, Desired, Scope},
    observed::Assignments,
};

use super::{Freshness, Judgement, drift, install_text, reaches, scope_text};

/// Path of an assignment that must go; its `observed` is the scope, as [`scope_text`] writes it.
pub const EXTRA: &str = "assignment.extra";
/// The same for an exclusion that must go.
pub const EXTRA_EXCLUSION: &str = "assignment.extra_exclusion";

pub fn judge(desired: &Desired, observed: &Observed, _target: &Target, fresh: &Freshness) -> Judgement {
    let Some(meant) = &desired.assignment else { return Judgement::NotAsked };
    let Some(seen) = &observed.assignments else {
        return Judgement::Unknown("the plane did not tell assignments".into());
    };
    let at = match fresh.of_answer(observed.at) {
        Ok(at) => at,
        Err(why) => return Judgement::Stale(why),
    };
    if !meant.include.iter().any(|s| reaches(&seen.here, s)) {
        return Judgement::InSync; // nothing of it is assigned: missing assignment, or version mismatch
    }
    let delta = differences(meant, seen);
    if delta.is_empty() {
        return Judgement::InSync;
    }
    Judgement::Drifted(drift(DriftKind::ScopeMismatch, delta, at))
}

fn differences(meant: &Assignment, seen: &Assignments) -> Vec<Delta> {
    let excluded = |scope: &Scope| seen.here.iter().any(|a| a.excluded && a.scope == *scope);
    let delta =
        |path: &str, desired: String, observed: String| Delta { path: path.into(), desired, observed };
    let mut out = Vec::new();
    for scope in &meant.include {
        let installs: Vec<&str> = (seen.here.iter())
            .filter(|a| !a.excluded && a.scope == *scope)
            .map(|a| install_text(a.install))
            .collect();
        let wanted = format!("{} {}", scope_text(scope), install_text(meant.install));
        if installs.is_empty() && !reaches(&seen.replaced, scope) {
            out.push(delta("assignment.include", wanted, "absent".into()));
        } else if !installs.is_empty() && !installs.contains(&install_text(meant.install)) {
            let mut installs = installs;
            installs.sort_unstable();
            let observed = format!("{} {}", scope_text(scope), installs.join("+"));
            out.push(delta("assignment.include", wanted, observed));
        }
        if excluded(scope) {
            out.push(delta(EXTRA_EXCLUSION, "absent".into(), scope_text(scope)));
        }
    }
    for scope in meant.exclude.iter().filter(|s| !excluded(s)) {
        out.push(delta("assignment.exclude", scope_text(scope), "absent".into()));
    }
    if meant.exclusive {
        for extra in &seen.here {
            let (known, path) =
                if extra.excluded { (&meant.exclude, EXTRA_EXCLUSION) } else { (&meant.include, EXTRA) };
            if !known.contains(&extra.scope) {
                out.push(delta(path, "absent".into(), scope_text(&extra.scope)));
            }
        }
    }
    out
}
