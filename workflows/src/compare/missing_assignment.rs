//! Missing assignment: nothing reaches any of the scopes that were meant (seed 000, "Drift Types" 1).
//!
//! Not reported while an application that the target replaces still reaches one of them: that is a version mismatch.

use trueup_model::{Delta, DriftKind, Observed, Target, intent::Desired};

use super::{Freshness, Judgement, drift, install_text, reaches, scope_text};

pub fn judge(desired: &Desired, observed: &Observed, _target: &Target, fresh: &Freshness) -> Judgement {
    let Some(meant) = &desired.assignment else { return Judgement::NotAsked };
    let Some(seen) = &observed.assignments else {
        return Judgement::Unknown("the plane did not tell assignments".into());
    };
    let at = match fresh.of_answer(observed.at) {
        Ok(at) => at,
        Err(why) => return Judgement::Stale(why),
    };
    if meant.include.iter().any(|s| reaches(&seen.here, s) || reaches(&seen.replaced, s)) {
        return Judgement::InSync;
    }
    let absent = |scope| Delta {
        path: "assignment.include".into(),
        desired: format!("{} {}", scope_text(scope), install_text(meant.install)),
        observed: "absent".into(),
    };
    Judgement::Drifted(drift(DriftKind::MissingAssignment, meant.include.iter().map(absent).collect(), at))
}
