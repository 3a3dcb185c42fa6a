//! `POST /v1/intents`: store manifests. One JSON object, an array of them, or NDJSON (one per line).
//!
//! # Guarantees
//! - Each item is judged by itself; invalid ones do not stop valid ones, unless `?atomic=true`, which stores nothing
//!   if any is invalid (storing itself is per item: what a lost connection cut short is finished by sending it again).
//! - `?dry_run=true` stores nothing and says what would change.
//! - An id that stands twice in one request is refused in both places: nobody can know which was meant.
//! - 200: all stored. 207: some. 422: none, since none was valid.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use trueup_engine::store::{Applied, By, Change};
use trueup_model::{Intent, IntentKey};

use super::Correlation;
use crate::identity::Access;
use crate::problem::Flaw;
use crate::{ApiState, Problem, manifest, params::Params};

/// Most manifests in one request.
const MAX_ITEMS: usize = 20_000;
/// Manifests handed to the store at once.
const CHUNK: usize = 256;

/// What became of one item. `item` counts from 1; `line` is there for NDJSON.
#[derive(Debug, Serialize)]
struct ItemResult {
    item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Applied(Applied),
    Wrong { pointer: String, error: String },
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    results: Vec<ItemResult>,
    dry_run: bool,
}

/// One manifest as it came: where it stood, and the intent or what is wrong with it.
struct Item {
    line: Option<usize>,
    intent: Result<Intent, Flaw>,
}

/// `?atomic=&dry_run=`
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
    params.finish()?;
    let mut items = read(&headers, &body)?;
    refuse_duplicates(&mut items);

    let wrong = items.iter().filter(|i| i.intent.is_err()).count();
    if wrong > 0 && (atomic || wrong == items.len()) {
        let detail = format!("{wrong} of {} manifests are not valid; nothing was stored", items.len());
        return Err(Problem::invalid(detail, flaws(&items)));
    }
    let intents: Vec<Intent> = items.iter().filter_map(|i| i.intent.as_ref().ok()).cloned().collect();
    let applied = if dry_run {
        preview(&state, &intents).await?
    } else {
        store(&state, &intents, &state.by(&access, &correlation)).await?
    };
    let mut applied = applied.into_iter();
    let results = items.into_iter().enumerate().filter_map(|(n, item)| {
        let what = match item.intent {
            Ok(_) => What::Applied(applied.next()?),
            Err(flaw) => What::Wrong { pointer: flaw.pointer, error: flaw.detail },
        };
        Some(ItemResult { item: n + 1, line: item.line, what })
    });
    let status = if wrong > 0 { StatusCode::MULTI_STATUS } else { StatusCode::OK };
    Ok((status, Json(Answer { results: results.collect(), dry_run })))
}

/// Splits the body into items by its content type.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Item>, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let items = match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => json(body)?,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => ndjson(body),
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

fn json(body: &[u8]) -> Result<Vec<Item>, Problem> {
    let tree: Value = serde_json::from_slice(body).map_err(|e| {
        let place = format!("line {} column {}", e.line(), e.column());
        Problem::unreadable(format!("the body is not JSON: {e}")).with(vec![Flaw::new("", place)])
    })?;
    let trees = match tree {
        Value::Array(trees) => trees,
        tree => vec![tree],
    };
    Ok(trees.iter().map(|tree| Item { line: None, intent: manifest::read(tree) }).collect())
}

fn ndjson(body: &[u8]) -> Vec<Item> {
    let lines =
        body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.iter().all(u8::is_ascii_whitespace));
    // One more than allowed, so that too many are noticed without reading all of them.
    lines
        .take(MAX_ITEMS + 1)
        .map(|(n, line)| {
            let tree: Result<Value, Flaw> = serde_json::from_slice(line).map_err(|e| {
                Flaw::new("", format!("not JSON: {} at column {}", first_words(&e), e.column()))
            });
            Item { line: Some(n + 1), intent: tree.and_then(|tree| manifest::read(&tree)) }
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
        if let Ok(intent) = &item.intent {
            places.entry(intent.key.clone()).or_default().push(n);
        }
    }
    for (key, twice) in places.into_iter().filter(|(_, p)| p.len() > 1) {
        let shown = twice.iter().take(8).map(|n| match items[*n].line {
            Some(line) => format!("line {line}"),
            None => format!("item {}", n + 1),
        });
        let shown = shown.collect::<Vec<_>>().join(" and ");
        for n in twice {
            items[n].intent =
                Err(Flaw::new("/id", format!("{key} stands more than once: {shown}; keep one")));
        }
    }
}

fn flaws(items: &[Item]) -> Vec<Flaw> {
    let place = |n: usize, item: &Item| item.line.map_or(format!("/{n}"), |line| format!("/line {line}"));
    let wrong =
        items.iter().enumerate().filter_map(|(n, i)| i.intent.as_ref().err().map(|f| (place(n, i), f)));
    let one = items.len() == 1;
    wrong
        .map(|(at, f)| Flaw::new(format!("{}{}", if one { "" } else { &at }, f.pointer), &f.detail))
        .collect()
}

async fn store(state: &ApiState, intents: &[Intent], by: &By) -> Result<Vec<Applied>, Problem> {
    let mut applied: Vec<Applied> = Vec::with_capacity(intents.len());
    for chunk in intents.chunks(CHUNK) {
        match state.store.apply(chunk, by).await {
            Ok(more) => applied.extend(more),
            Err(e) => {
                let mut problem = Problem::from(e);
                let (done, all) = (applied.len(), intents.len());
                problem.detail +=
                    &format!(" ({done} of {all} were stored; sending all of them again is safe)");
                return Err(problem);
            }
        }
    }
    Ok(applied)
}

/// What storing them would do now.
async fn preview(state: &ApiState, intents: &[Intent]) -> Result<Vec<Applied>, Problem> {
    let mut found = Vec::with_capacity(intents.len());
    for chunk in intents.chunks(CHUNK) {
        let keys: Vec<IntentKey> = chunk.iter().map(|i| i.key.clone()).collect();
        found.extend(state.store.intents(&keys).await?);
    }
    let compare = |(new, old): (&Intent, Option<trueup_model::IntentRecord>)| {
        let (change, generation) = match old {
            None => (Change::Created, 1),
            Some(old) if old.intent == *new => (Change::Unchanged, old.generation),
            Some(old) => {
                let grows = old.intent.desired != new.desired || old.intent.target != new.target;
                (Change::Changed, old.generation + u64::from(grows))
            }
        };
        Applied { intent: new.key.clone(), change, generation }
    };
    Ok(intents.iter().zip(found).map(compare).collect())
}
