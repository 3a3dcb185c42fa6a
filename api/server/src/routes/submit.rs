//! `POST /v1/intents`: store manifests. One JSON object, an array of them, or NDJSON (one per line).
//!
//! # Guarantees
//! - Each item is judged by itself; invalid ones do not stop valid ones, unless `?atomic=true`, which stores nothing
//!   if any is invalid (storing itself is per item: what a lost connection cut short is finished by sending it again).
//! - `?dry_run=true` stores nothing and says what would change.
//! - An id that stands twice in one request is refused in both places: nobody can know which was meant.
//! - 200: all stored. 207: some. 422: none, since none was valid.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use trueup_engine::store::Applied;
use trueup_model::IntentKey;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use super::writing::{Meant, Writer};
use crate::described::Writing;
use crate::identity::{Access, Permission};
use crate::openapi::OneOrMany;
use crate::ownership::FieldChange;
use crate::problem::Flaw;
use crate::{ApiState, Problem, manifest, params::Params};

mod bulk;

/// Most manifests in one request.
const MAX_ITEMS: usize = 20_000;

/// What became of one item. `item` counts from 1; `line` is there for NDJSON.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemResult {
    item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum What {
    Applied {
        #[serde(flatten)]
        applied: Applied,
        /// With `dry_run`: field by field.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        diff: Vec<FieldChange>,
    },
    Wrong {
        /// JSON pointer into the manifest.
        pointer: String,
        error: String,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppliedManifests)]
pub(crate) struct Answer {
    /// One for each manifest, in order.
    results: Vec<ItemResult>,
    dry_run: bool,
}

/// One manifest as it came: where it stood, and what is meant or what is wrong with it.
struct Item {
    line: Option<usize>,
    meant: Result<Meant, Flaw>,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(submit))
}

/// Stores manifests: one, an array of them, or NDJSON with one in each line.
///
/// Each is judged by itself; invalid ones do not stop valid ones, unless `atomic=true`. One that stands twice is refused in both
/// places. With `field_manager`, fields belong to who writes them, and what belongs to others is refused.
#[utoipa::path(
    post,
    path = "/v1/intents",
    operation_id = "apply_intents",
    tag = "intents",
    params(
        ("atomic" = Option<bool>, Query, description = "Stores nothing if any is not valid"),
        Writing,
    ),
    request_body(content((OneOrMany = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = OK, description = "All are stored", body = Answer),
        (status = MULTI_STATUS, description = "Some are stored; the results say which", body = Answer),
        (status = CONFLICT, description = "Fields of all of them belong to others"),
    ),
)]
pub(crate) async fn submit(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    mut params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let atomic = params.flag("atomic").unwrap_or(false);
    let dry_run = params.flag("dry_run").unwrap_or(false);
    let writer = Writer::of(&mut params);
    params.finish()?;
    let mut items = read(&headers, &body, writer.manager().is_some())?;
    refuse_duplicates(&mut items);
    stop_if_wrong(&items, atomic)?;
    let tenants: BTreeSet<&str> =
        items.iter().filter_map(|i| i.meant.as_ref().ok()).map(|m| m.key().tenant.as_str()).collect();
    for tenant in tenants {
        access.require(Permission::WriteIntents, Some(tenant)).map_err(|mut problem| {
            problem.detail += "; nothing was stored";
            problem
        })?;
    }
    let by = state.by(&access, &correlation);
    let whats = if dry_run || writer.manager().is_some() {
        let mut planned = bulk::plan(&state, &mut items, &writer).await?;
        stop_if_wrong(&items, atomic)?;
        if dry_run {
            bulk::foresee(&planned)
        } else {
            bulk::store_planned(&state, &mut planned, &writer, &by).await?
        }
    } else {
        bulk::store_whole(&state, &items, &writer, &by).await?
    };
    let mut whats = whats.into_iter();
    let results = items.into_iter().enumerate().filter_map(|(n, item)| {
        let what = match item.meant {
            Ok(_) => whats.next()?,
            Err(flaw) => What::Wrong { pointer: flaw.pointer, error: flaw.detail },
        };
        Some(ItemResult { item: n + 1, line: item.line, what })
    });
    let results: Vec<ItemResult> = results.collect();
    let some_wrong = results.iter().any(|r| matches!(r.what, What::Wrong { .. }));
    let status = if some_wrong { StatusCode::MULTI_STATUS } else { StatusCode::OK };
    Ok((status, Json(Answer { results, dry_run })))
}

/// 422 if none is valid, or if any is not and it is all or nothing; 409 if that is since fields belong to others.
fn stop_if_wrong(items: &[Item], atomic: bool) -> Result<(), Problem> {
    let wrong = items.iter().filter(|i| i.meant.is_err()).count();
    if wrong == 0 || (!atomic && wrong < items.len()) {
        return Ok(());
    }
    let all = items.len();
    let owned = |i: &Item| i.meant.as_ref().is_err_and(|f| f.detail.starts_with(bulk::OWNED));
    if items.iter().filter(|i| i.meant.is_err()).all(owned) {
        let detail = format!(
            "{wrong} of {all} manifests set fields that belong to others; nothing was stored: leave them out, or take them \
             with force=true"
        );
        let problem = Problem::new(StatusCode::CONFLICT, "field-conflict", "Somebody else's fields", detail);
        return Err(problem.with(flaws(items)));
    }
    let detail = format!("{wrong} of {all} manifests are not valid; nothing was stored");
    Err(Problem::invalid(detail, flaws(items)))
}

/// Splits the body into items by its content type.
fn read(headers: &HeaderMap, body: &[u8], managed: bool) -> Result<Vec<Item>, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let items = match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => json(body, managed)?,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => ndjson(body, managed),
        _ => return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "POST", "/v1/intents")),
    };
    if items.is_empty() {
        return Err(Problem::unreadable(
            "the body holds no manifest; send one object, an array of them, or NDJSON",
        ));
    }
    if items.len() > MAX_ITEMS {
        let detail =
            format!("{} manifests in one request, at most {MAX_ITEMS}; send them in parts", items.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many", "Too many manifests", detail));
    }
    Ok(items)
}

/// A manifest is whole in either case; only its manager makes a difference between what it names and what it does not.
fn meant(tree: Value, managed: bool) -> Result<Meant, Flaw> {
    let intent = manifest::read(&tree)?;
    Ok(if managed { Meant::Part { key: intent.key, tree } } else { Meant::Whole(Box::new(intent)) })
}

fn json(body: &[u8], managed: bool) -> Result<Vec<Item>, Problem> {
    let tree: Value = serde_json::from_slice(body).map_err(|e| {
        let place = format!("line {} column {}", e.line(), e.column());
        Problem::unreadable(format!("the body is not JSON: {e}")).with(vec![Flaw::new("", place)])
    })?;
    let trees = match tree {
        Value::Array(trees) => trees,
        tree => vec![tree],
    };
    Ok(trees.into_iter().map(|tree| Item { line: None, meant: meant(tree, managed) }).collect())
}

fn ndjson(body: &[u8], managed: bool) -> Vec<Item> {
    let lines =
        body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.iter().all(u8::is_ascii_whitespace));
    // One more than allowed, so that too many are noticed without reading all of them.
    lines
        .take(MAX_ITEMS + 1)
        .map(|(n, line)| {
            let tree: Result<Value, Flaw> = serde_json::from_slice(line).map_err(|e| {
                Flaw::new("", format!("not JSON: {} at column {}", first_words(&e), e.column()))
            });
            Item { line: Some(n + 1), meant: tree.and_then(|tree| meant(tree, managed)) }
        })
        .collect()
}

/// serde_json's message without its own position, which counts from the line's begin.
fn first_words(e: &serde_json::Error) -> String {
    let said = e.to_string();
    said.split(" at line ").next().unwrap_or_default().to_owned()
}

fn refuse_duplicates(items: &mut [Item]) {
    let mut places: BTreeMap<IntentKey, Vec<usize>> = BTreeMap::new();
    for (n, item) in items.iter().enumerate() {
        if let Ok(meant) = &item.meant {
            places.entry(meant.key().clone()).or_default().push(n);
        }
    }
    for (key, twice) in places.into_iter().filter(|(_, p)| p.len() > 1) {
        let shown = twice.iter().take(8).map(|n| match items[*n].line {
            Some(line) => format!("line {line}"),
            None => format!("item {}", n + 1),
        });
        let shown = shown.collect::<Vec<_>>().join(" and ");
        for n in twice {
            items[n].meant = Err(Flaw::new("/id", format!("{key} stands more than once: {shown}; keep one")));
        }
    }
}

fn flaws(items: &[Item]) -> Vec<Flaw> {
    let place = |n: usize, item: &Item| item.line.map_or(format!("/{n}"), |line| format!("/line {line}"));
    let wrong =
        items.iter().enumerate().filter_map(|(n, i)| i.meant.as_ref().err().map(|f| (place(n, i), f)));
    let one = items.len() == 1;
    wrong
        .map(|(at, f)| Flaw::new(format!("{}{}", if one { "" } else { &at }, f.pointer), &f.detail))
        .collect()
}
