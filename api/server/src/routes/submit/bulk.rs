//! Storing many manifests: as few calls as there are chunks, and one by one only where somebody else came in between.

use trueup_engine::manifests::Put;
use trueup_engine::store::{Applied, By, Change};
use trueup_model::{Intent, IntentKey, IntentRecord};

use super::{Item, What};
use crate::ownership::{Outcome, Refusal};
use crate::problem::Flaw;
use crate::routes::etag::Condition;
use crate::routes::writing::{CHUNK, Meant, Writer, foreseen, put, records, write};
use crate::{ApiState, Problem};

/// How an item's flaw begins if the field is somebody else's.
pub(super) const OWNED: &str = "owned by ";

/// A manifest, what was there, and what it becomes.
pub(super) struct Planned {
    meant: Meant,
    live: Option<IntentRecord>,
    outcome: Outcome,
}

/// What the valid items become together with what is there. Those that cannot be are marked as wrong.
pub(super) async fn plan(
    state: &ApiState,
    items: &mut [Item],
    writer: &Writer,
) -> Result<Vec<Planned>, Problem> {
    let keys: Vec<IntentKey> =
        items.iter().filter_map(|i| i.meant.as_ref().ok()).map(|m| m.key().clone()).collect();
    let mut live = records(state, &keys).await?.into_iter();
    let mut planned = Vec::with_capacity(keys.len());
    for item in items {
        let Ok(meant) = &item.meant else { continue };
        let live = live.next().flatten();
        match meant.over(live.as_ref(), writer.manager()) {
            Ok(outcome) => planned.push(Planned { meant: meant.clone(), live, outcome }),
            Err(Refusal::Invalid(flaw)) => item.meant = Err(flaw),
            Err(Refusal::Conflicts(flaws)) => {
                let first = flaws.into_iter().next();
                item.meant = Err(first.unwrap_or_else(|| Flaw::new("", format!("{OWNED}others"))));
            }
        }
    }
    Ok(planned)
}

/// What storing them would do.
pub(super) fn foresee(planned: &[Planned]) -> Vec<What> {
    let foresee = |p: &Planned| What::Applied {
        applied: foreseen(p.live.as_ref(), &p.outcome.intent),
        diff: p.outcome.diff.clone(),
    };
    planned.iter().map(foresee).collect()
}

pub(super) async fn store_planned(
    state: &ApiState,
    planned: &mut [Planned],
    writer: &Writer,
    by: &By,
) -> Result<Vec<What>, Problem> {
    let mut whats = Vec::with_capacity(planned.len());
    let all = planned.len();
    for chunk in planned.chunks(CHUNK) {
        let puts: Vec<Put> = chunk.iter().map(|p| put(p.live.as_ref(), &p.outcome)).collect();
        let stored = state.store.manifests().put(&puts, by).await;
        let stored = stored.map_err(|e| cut_short(e.into(), whats.len(), all))?;
        for (applied, planned) in stored.into_iter().zip(chunk) {
            whats.push(settled(state, applied, &planned.meant, writer, by).await);
        }
    }
    Ok(whats)
}

/// Whole manifests of nobody in particular: what is there need not be read, unless its fields belong to somebody.
pub(super) async fn store_whole(
    state: &ApiState,
    items: &[Item],
    writer: &Writer,
    by: &By,
) -> Result<Vec<What>, Problem> {
    let meant: Vec<&Meant> = items.iter().filter_map(|i| i.meant.as_ref().ok()).collect();
    let mut whats = Vec::with_capacity(meant.len());
    for chunk in meant.chunks(CHUNK) {
        let whole = |m: &&Meant| if let Meant::Whole(intent) = m { Some((**intent).clone()) } else { None };
        let intents: Vec<Intent> = chunk.iter().filter_map(whole).collect();
        let stored = state.store.apply(&intents, by).await;
        let stored = stored.map_err(|e| cut_short(e.into(), whats.len(), meant.len()))?;
        for (applied, meant) in stored.into_iter().zip(chunk) {
            whats.push(settled(state, applied, meant, writer, by).await);
        }
    }
    Ok(whats)
}

/// The answer about one, after as many tries as it takes.
async fn settled(state: &ApiState, applied: Applied, meant: &Meant, writer: &Writer, by: &By) -> What {
    if applied.change != Change::Conflict {
        return What::Applied { applied, diff: Vec::new() };
    }
    match write(state, meant, writer, &Condition::None, Some(by)).await {
        Ok((applied, _)) => What::Applied { applied, diff: Vec::new() },
        Err(problem) => {
            let flaw =
                problem.errors.first().cloned().unwrap_or_else(|| Flaw::new("", problem.detail.clone()));
            What::Wrong { pointer: flaw.pointer, error: flaw.detail }
        }
    }
}

fn cut_short(mut problem: Problem, done: usize, all: usize) -> Problem {
    problem.detail += &format!(" ({done} of {all} were stored; sending all of them again is safe)");
    problem
}
