//! ETags of intents: `"<generation>-<version>"`.
//!
//! # Guarantees
//! A tag stands for what was meant (the manifest and its owners), not for what was seen: checks do not change it, so that
//! nobody loses an edit to a check. It never comes again, not even when an intent is deleted and applied anew.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use trueup_model::IntentRecord;

use crate::Problem;
use crate::problem::Flaw;

/// What a request relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// `If-Match`: one of these, or whatever is there (`*`).
    Is(Option<Vec<String>>),
    /// `If-None-Match: *`.
    Absent,
}

pub(super) fn of(generation: u64, version: u64) -> String {
    format!("\"{generation}-{version}\"")
}

/// As a header.
pub(super) fn header_of(generation: u64, version: u64) -> [(header::HeaderName, HeaderValue); 1] {
    // Digits, '-' and '"' always are a header's value.
    let value = HeaderValue::try_from(of(generation, version)).unwrap_or(HeaderValue::from_static("\"\""));
    [(header::ETAG, value)]
}

impl Condition {
    /// Reads `If-Match` and `If-None-Match`.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let wrong = |name: &str, why: &str| Problem::parameters(vec![Flaw::new(name, why)]);
        let text = |name: header::HeaderName| {
            let all: Vec<_> = headers.get_all(&name).iter().map(|v| v.to_str().unwrap_or("?")).collect();
            (!all.is_empty()).then(|| all.join(", "))
        };
        match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
            (None, None) => Ok(Self::None),
            (None, Some(none)) if none.trim() == "*" => Ok(Self::Absent),
            (_, Some(_)) => Err(wrong("If-None-Match", "only * is possible, and not beside If-Match")),
            (Some(text), None) if text.trim() == "*" => Ok(Self::Is(None)),
            (Some(text), None) => {
                let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
                let quoted = |tag: &String| {
                    let tag = tag.strip_prefix("W/").unwrap_or(tag);
                    tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"')
                };
                if tags.iter().all(quoted) {
                    return Ok(Self::Is(Some(tags)));
                }
                Err(wrong(
                    "If-Match",
                    "expected * or the ETag of an earlier answer, with its quotes: \"3-1767686400000\"",
                ))
            }
        }
    }

    /// 412 if what is there is not what the request relies on.
    pub(super) fn check(&self, live: Option<&IntentRecord>) -> Result<(), Problem> {
        let failed = |detail: String| {
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", "Not as expected", detail))
        };
        match (self, live) {
            (Self::None, _) | (Self::Absent, None) | (Self::Is(None), Some(_)) => Ok(()),
            (Self::Absent, Some(live)) => failed(format!("{} is there already", live.intent.key)),
            (Self::Is(_), None) => {
                failed("there is no such intent (any more); leave If-Match out to create it".into())
            }
            (Self::Is(Some(tags)), Some(live)) => {
                let now = of(live.generation, live.version);
                // Weak tags never match here (RFC 9110, strong comparison).
                if tags.contains(&now) {
                    return Ok(());
                }
                failed(format!("{} was changed meanwhile and is {now} now; read it again", live.intent.key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_or_refused() {
        let is = |tags: &[&str]| Ok(Condition::Is(Some(tags.iter().map(|t| (*t).to_owned()).collect())));
        let table = [
            (vec![], Ok(Condition::None)),
            (vec![("if-match", "*")], Ok(Condition::Is(None))),
            (vec![("if-match", "\"1-2\"")], is(&["\"1-2\""])),
            (vec![("if-match", "\"1-2\", W/\"3-4\"")], is(&["\"1-2\"", "W/\"3-4\""])),
            (vec![("if-none-match", "*")], Ok(Condition::Absent)),
            (vec![("if-match", "1-2")], Err("with its quotes")),
            (vec![("if-match", "\"1-2\",")], Err("with its quotes")),
            (vec![("if-none-match", "\"1-2\"")], Err("only * is possible")),
            (vec![("if-match", "*"), ("if-none-match", "*")], Err("not beside If-Match")),
        ];
        for (headers, expected) in table {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, value.parse().unwrap());
            }
            match (Condition::of(&map), expected) {
                (Ok(condition), Ok(expected)) => assert_eq!(condition, expected, "{headers:?}"),
                (Err(problem), Err(part)) => assert!(problem.detail.contains(part), "{problem:?}"),
                (other, _) => panic!("{headers:?}: {other:?}"),
            }
        }
    }
}
