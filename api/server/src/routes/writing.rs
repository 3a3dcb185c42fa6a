//! Storing manifests: what they become together with what is there, and storing that if it is still there.
//!
//! # Guarantees
//! What is stored was made from the very version it replaces: a change in between is seen, and the manifest is made anew.

use axum::http::StatusCode;
use serde_json::Value;
use trueup_engine::manifests::{Expect, Put};
use trueup_engine::store::{Applied, By, Change};
use trueup_model::owners::{MAX_MANAGER, is_manager};
use trueup_model::{Intent, IntentKey, IntentRecord};

use super::etag::Condition;
use crate::ownership::{self, FieldChange, Manager, Outcome, Refusal};
use crate::params::Params;
use crate::{ApiState, Problem};

/// Manifests handed to the store at once.
pub(super) const CHUNK: usize = 256;
/// Times that somebody else may come in between.
const MAX_TRIES: usize = 8;

/// `?field_manager=&force=`: who writes, if they say so.
#[derive(Debug, Default)]
pub(super) struct Writer {
    name: Option<String>,
    force: bool,
}

impl Writer {
    pub(super) fn of(params: &mut Params) -> Self {
        let why = format!("expected 1 to {MAX_MANAGER} letters, digits and - _ . @ / :");
        let name =
            params.parsed("field_manager", |t| if is_manager(t) { Ok(t.to_owned()) } else { Err(why) });
        Self { name, force: params.flag("force").unwrap_or(false) }
    }

    pub(super) fn manager(&self) -> Option<Manager<'_>> {
        self.name.as_deref().map(|name| Manager { name, force: self.force })
    }
}

/// How a manifest is meant.
#[derive(Debug, Clone)]
pub(super) enum Meant {
    /// In place of what is there.
    Whole(Box<Intent>),
    /// As a part of what is there, of which its manager owns the fields.
    Part { key: IntentKey, tree: Value },
    /// Changes of what is there (RFC 7396).
    Patch { key: IntentKey, tree: Value },
}

impl Meant {
    pub(super) fn key(&self) -> &IntentKey {
        match self {
            Self::Whole(intent) => &intent.key,
            Self::Part { key, .. } | Self::Patch { key, .. } => key,
        }
    }

    /// What it becomes together with what is there.
    pub(super) fn over(
        &self,
        live: Option<&IntentRecord>,
        by: Option<Manager<'_>>,
    ) -> Result<Outcome, Refusal> {
        match (self, by, live) {
            (Self::Whole(intent), by, live) => ownership::replace(live, (**intent).clone(), by),
            (Self::Patch { tree, .. }, by, Some(live)) => ownership::patch(live, tree, by),
            (Self::Part { tree, .. }, Some(by), live) => ownership::apply(live, tree, by),
            (Self::Part { tree, .. } | Self::Patch { tree, .. }, ..) => {
                let intent = crate::manifest::read(tree).map_err(Refusal::Invalid)?;
                ownership::replace(live, intent, by)
            }
        }
    }
}

/// What is to be stored, and over which version.
pub(super) fn put(live: Option<&IntentRecord>, outcome: &Outcome) -> Put {
    Put {
        intent: outcome.intent.clone(),
        expect: live.map_or(Expect::Absent, |r| Expect::Version(r.version)),
        owners: Some(outcome.owners.clone()),
    }
}

/// The records of many intents, in order.
pub(super) async fn records(
    state: &ApiState,
    keys: &[IntentKey],
) -> Result<Vec<Option<IntentRecord>>, Problem> {
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        found.extend(state.store.intents(chunk).await?);
    }
    Ok(found)
}

/// What storing it would answer.
pub(super) fn foreseen(live: Option<&IntentRecord>, intent: &Intent) -> Applied {
    let (change, generation) = match live {
        None => (Change::Created, 1),
        Some(live) if live.intent == *intent => (Change::Unchanged, live.generation),
        Some(live) => {
            let grows = live.intent.desired != intent.desired || live.intent.target != intent.target;
            (Change::Changed, live.generation + u64::from(grows))
        }
    };
    Applied { intent: intent.key.clone(), change, generation, version: live.map_or(0, |r| r.version) }
}

/// Stores one manifest over what is there, or says what that would do.
pub(super) async fn write(
    state: &ApiState,
    meant: &Meant,
    writer: &Writer,
    condition: &Condition,
    by: Option<&By>,
) -> Result<(Applied, Vec<FieldChange>), Problem> {
    let key = meant.key();
    for _ in 0..MAX_TRIES {
        let live = super::intents::record(state, key).await?;
        condition.check(live.as_ref())?;
        if live.is_none() && matches!(meant, Meant::Patch { .. }) {
            return Err(Problem::not_found("intent", &key.to_string()));
        }
        let outcome = meant.over(live.as_ref(), writer.manager()).map_err(refused)?;
        let Some(by) = by else {
            return Ok((foreseen(live.as_ref(), &outcome.intent), outcome.diff));
        };
        let stored = state.store.manifests().put(&[put(live.as_ref(), &outcome)], by).await?;
        match stored.into_iter().next() {
            Some(applied) if applied.change != Change::Conflict => return Ok((applied, outcome.diff)),
            _ => {}
        }
    }
    Err(busy(key))
}

/// 409: others write it all the time.
pub(super) fn busy(key: &IntentKey) -> Problem {
    let detail = format!("{key} was changed {MAX_TRIES} times while this was to be stored; try again");
    Problem::new(StatusCode::CONFLICT, "busy", "Others change it too", detail)
}

/// 409 for somebody else's fields, 422 for what is not valid.
pub(super) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Invalid(flaw) => Problem::invalid(format!("{}: {}", flaw.pointer, flaw.detail), vec![flaw]),
        Refusal::Conflicts(flaws) => {
            let named: Vec<String> =
                flaws.iter().take(8).map(|f| format!("{} is {}", f.pointer, f.detail)).collect();
            let detail = format!(
                "{} field(s) belong to others: {}; leave them out, agree with their owners, or take them with force=true",
                flaws.len(),
                named.join("; ")
            );
            Problem::new(StatusCode::CONFLICT, "field-conflict", "Somebody else's fields", detail).with(flaws)
        }
    }
}
