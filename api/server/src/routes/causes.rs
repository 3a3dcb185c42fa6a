//! `GET /v1/causes`: open drift grouped by what caused it, so that 400 drifted intents are one line.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_model::cause::{CauseGroup, groups};
use trueup_model::{Finding, PlaneKind};

use crate::{ApiState, Problem, params::Params};

/// Findings read for one answer, the newest first. What is open was seen newly, so it comes before what is not.
const MAX_READ: usize = 50_000;
/// Findings read in one go.
const PAGE: usize = 1_000;

/// The groups, and of how many findings.
#[derive(Debug, Serialize)]
pub(crate) struct Causes {
    /// The largest first.
    items: Vec<CauseGroup>,
    /// Open findings that were grouped.
    findings: usize,
    /// There are more findings than were read: groups may be larger, or missing. Ask for one tenant or plane.
    cut: bool,
}

/// `?tenant=&plane=`
pub(crate) async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Causes>, Problem> {
    let tenant = params.text("tenant");
    let plane: Option<PlaneKind> = params.word("plane");
    params.finish()?;
    let keep = |f: &Finding| {
        f.open && tenant.as_ref().is_none_or(|t| f.intent.tenant == *t) && plane.is_none_or(|p| f.plane == p)
    };
    let (mut open, mut read, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let page = state.store.list_findings(cursor.as_deref(), PAGE).await?;
        read += page.items.len();
        open.extend(page.items.into_iter().filter(keep).map(without_history));
        cursor = page.next;
        if cursor.is_none() || read >= MAX_READ {
            break;
        }
    }
    Ok(Json(Causes { items: groups(&open), findings: open.len(), cut: cursor.is_some() }))
}

/// Grouping needs no history, which is most of what a finding weighs.
fn without_history(mut f: Finding) -> Finding {
    (f.facts, f.delta) = (Vec::new(), Vec::new());
    f
}
