//! What a request wants to be looked at, read from its body.

use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use trueup_model::{IntentKey, ReconciliationId};
use utoipa::ToSchema;

use super::{Reason, Refused};
use crate::Problem;
use crate::problem::Flaw;
use crate::selector::Selector;

/// Most intents in one JSON body.
pub(super) const MAX_NAMED: usize = 10_000;
/// Most lines of NDJSON.
pub(super) const MAX_LINES: usize = 100_000;
/// Characters of a name that are shown when it is refused.
const SHOWN: usize = 300;
/// Bytes of a selector.
const MAX_SELECTOR: usize = 512;

pub(super) enum Wanted {
    One(IntentKey),
    Named {
        /// In the order in which they came.
        names: Vec<Result<IntentKey, Refused>>,
        /// The line of each, where lines were sent.
        lines: Option<Vec<usize>>,
    },
    Tenant {
        tenant: String,
        /// As it was written, and what it means.
        selector: Option<(String, Selector)>,
    },
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReconciliationLine)]
pub(crate) struct Line {
    /// From 1.
    line: usize,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    intent: Option<String>,
    intents: Option<Vec<String>>,
    tenant: Option<String>,
    selector: Option<String>,
}

pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Wanted, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => json(body),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => ndjson(body),
        _ => Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "POST", "/v1/reconciliations")),
    }
}

fn invalid(at: &str, why: impl Into<String>) -> Problem {
    let why = why.into();
    Problem::invalid(format!("{at}: {why}"), vec![Flaw::new(at, why)])
}

fn json(body: &[u8]) -> Result<Wanted, Problem> {
    let expected = "name what is to be looked at: 'intent', 'intents' or 'tenant'";
    let Some(body) = crate::routes::json_body::<Body>(body)? else { return Err(invalid("", expected)) };
    if body.selector.is_some() && body.tenant.is_none() {
        return Err(invalid(
            "/selector",
            "a selector chooses among a tenant's intents: name the 'tenant' too",
        ));
    }
    match body {
        Body { intent: Some(name), intents: None, tenant: None, .. } => {
            key(&name).map(Wanted::One).map_err(|why| invalid("/intent", why))
        }
        Body { intent: None, intents: Some(names), tenant: None, .. } => {
            if names.is_empty() {
                return Err(invalid("/intents", "empty; name at least one"));
            }
            too_many(names.len(), MAX_NAMED)?;
            let names = names.iter().enumerate().map(|(n, name)| named(n, name)).collect();
            Ok(Wanted::Named { names, lines: None })
        }
        Body { intent: None, intents: None, tenant: Some(tenant), selector } => {
            // As in an intent's full name: what no tenant can be called has no intents.
            key(&format!("{tenant}/x")).map_err(|_| invalid("/tenant", "no tenant can be called that"))?;
            let selector = selector.map(|text| {
                if text.len() > MAX_SELECTOR {
                    return Err(invalid("/selector", format!("longer than {MAX_SELECTOR} bytes")));
                }
                let read = Selector::parse(&text).map_err(|why| invalid("/selector", why))?;
                Ok((text, read))
            });
            Ok(Wanted::Tenant { tenant, selector: selector.transpose()? })
        }
        _ => Err(invalid("", format!("{expected}, and only one of them"))),
    }
}

fn ndjson(body: &[u8]) -> Result<Wanted, Problem> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Bare(String),
        Named { intent: String },
    }
    let filled = body.split(|b| *b == b'\n').enumerate();
    let filled = filled.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    // One more than allowed, so that too many are noticed without reading all of them.
    for (n, line) in filled.take(MAX_LINES + 1) {
        let item = names.len();
        names.push(match serde_json::from_slice(line) {
            Ok(Entry::Bare(name) | Entry::Named { intent: name }) => named(item, &name),
            Err(_) => {
                let why = "expected \"TENANT/ID\" or {\"intent\": \"TENANT/ID\"}".to_owned();
                Err(refused(item, &String::from_utf8_lossy(line), Reason::Invalid, why))
            }
        });
        lines.push(n + 1);
    }
    if names.is_empty() {
        return Err(invalid("", "the body holds no line; send one \"TENANT/ID\" per line"));
    }
    too_many(names.len(), MAX_LINES)?;
    Ok(Wanted::Named { names, lines: Some(lines) })
}

fn too_many(n: usize, most: usize) -> Result<(), Problem> {
    if n <= most {
        return Ok(());
    }
    let detail = format!(
        "more than {most} intents in one request; send them in parts, up to {MAX_LINES} as NDJSON, or ask for a whole tenant"
    );
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many", "Too many intents", detail))
}

fn key(name: &str) -> Result<IntentKey, String> {
    super::super::intent_param(name)
}

fn named(item: usize, name: &str) -> Result<IntentKey, Refused> {
    key(name).map_err(|why| refused(item, name, Reason::Invalid, why))
}

/// `item` counts from 0 here, and from 1 for people.
pub(super) fn refused(item: usize, name: &str, reason: Reason, detail: impl Into<String>) -> Refused {
    let intent = name.chars().take(SHOWN).collect();
    Refused { item: item + 1, intent, reason, detail: detail.into() }
}

/// A result for each line; `refused` is sorted by item.
pub(super) fn results(lines: &[usize], refused: &[Refused]) -> Vec<Line> {
    let mut refused = refused.iter().peekable();
    let result = |(item, line): (usize, &usize)| {
        let why = refused.next_if(|r| r.item == item + 1);
        Line { line: *line, accepted: why.is_none(), reason: why.map(|r| r.reason) }
    };
    lines.iter().enumerate().map(result).collect()
}

/// The id that asking for this, by this caller, in this operation always has.
pub(super) fn id_of(actor: &str, operation: &str, body: &str) -> ReconciliationId {
    ReconciliationId::derive(&[actor, operation, body])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(media: &str, text: &str) -> Result<Wanted, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
        read(&headers, text.as_bytes())
    }

    #[test]
    fn a_body_that_says_nothing_clear_is_refused_where_it_is_wrong() {
        let many = format!("{{\"intents\": [{}]}}", vec!["\"a/b\""; MAX_NAMED + 1].join(","));
        let table = [
            ("{}", 422, "name what is to be looked at"),
            ("", 422, "name what is to be looked at"),
            ("{", 400, "not JSON"),
            ("[]", 422, ""),
            (r#"{"intent": "a/b", "tenant": "a"}"#, 422, "only one of them"),
            (r#"{"intent": "a"}"#, 422, "/intent"),
            (r#"{"intents": []}"#, 422, "/intents: empty"),
            (r#"{"tenant": "a b"}"#, 422, "/tenant"),
            (r#"{"tenant": "a", "selector": "env in (a"}"#, 422, "/selector"),
            (r#"{"intent": "a/b", "selector": "x"}"#, 422, "/selector"),
            (r#"{"intnet": "a/b"}"#, 422, "intnet"),
            (many.as_str(), 413, "more than 10000"),
        ];
        for (text, status, part) in table {
            let Err(problem) = body("application/json", text) else { panic!("{text} was read") };
            let shown = &text[..text.len().min(80)];
            assert_eq!(problem.status, status, "{shown}: {problem:?}");
            assert!(problem.detail.contains(part), "{shown}: {}", problem.detail);
        }
        assert_eq!(body("text/plain", "\"a/b\"").err().unwrap().status, 415);
        assert_eq!(body("application/x-ndjson", "\n \n").err().unwrap().status, 422);
    }

    #[test]
    fn each_line_has_its_result() {
        let text = "\"a/b\"\n\n{\"intent\": \"a/c\"}\nnot json\n\"nonsense\"\n\"a/d\"";
        let Ok(Wanted::Named { names, lines: Some(lines) }) = body("application/x-ndjson", text) else {
            panic!("not read");
        };
        assert_eq!(lines, [1, 3, 4, 5, 6]);
        let refused: Vec<Refused> = names.iter().filter_map(|n| n.as_ref().err().cloned()).collect();
        assert_eq!(refused.iter().map(|r| r.item).collect::<Vec<_>>(), [3, 4]);
        let told = results(&lines, &refused);
        let fine: Vec<(usize, bool)> = told.iter().map(|l| (l.line, l.accepted)).collect();
        assert_eq!(fine, [(1, true), (3, true), (4, false), (5, false), (6, true)]);
    }
}
