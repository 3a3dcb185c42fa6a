//! Runs and reconciliations in tables.

use serde::Deserialize;
use trueup_engine::requests::Reconciliation;
use trueup_model::{Time, Trigger};

use super::wire;
use crate::table::Table;
use crate::text::{relative, span};

/// A run that goes on, as the API lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    id: String,
    intent: String,
    plane: String,
    trigger: Trigger,
    correlation_id: String,
    age_ms: u64,
}

pub(crate) fn runs(runs: &[Run], _: Time) -> Table {
    let mut table = Table::new(&["RUN", "INTENT", "PLANE", "TRIGGER", "AGE", "CORRELATION"]);
    for r in runs {
        table.row([
            r.id.as_str().into(),
            r.intent.as_str().into(),
            r.plane.as_str().into(),
            wire(&r.trigger).into(),
            span(r.age_ms).into(),
            r.correlation_id.as_str().into(),
        ]);
    }
    table
}

pub(crate) fn reconciliations(asked: &[Reconciliation], now: Time) -> Table {
    let mut table = Table::new(&[
        "RECONCILIATION",
        "ASKED",
        "BY",
        "TENANTS",
        "SELECTOR",
        "ACCEPTED",
        "REFUSED",
        "CORRELATION",
    ]);
    for r in asked {
        table.row([
            r.id.as_str().into(),
            relative(r.requested_at, now).into(),
            r.actor.as_str().into(),
            r.tenants.join(",").into(),
            r.selector.as_deref().unwrap_or_default().into(),
            r.accepted.to_string().into(),
            r.refused.to_string().into(),
            r.correlation_id.as_str().into(),
        ]);
    }
    table
}
