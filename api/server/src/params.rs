//! Query parameters: typed, limited, and all flaws reported at once.
//!
//! # Guarantees
//! A parameter that is unknown, given twice, too long or of the wrong form is an error, never ignored.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use trueup_model::intent::check_name;
use trueup_model::{IntentKey, Time};

use crate::problem::{Flaw, Problem};
use crate::{DEFAULT_LIMIT, MAX_LIMIT, manifest::closest};

/// Longest value of a parameter, in bytes.
const MAX_VALUE: usize = 4_096;
/// What a cursor is not.
pub(crate) const NO_CURSOR: &str = "expected `next` of an earlier answer of this list";

/// Longest name in a cursor, in bytes: a tenant, a slash and an id.
const MAX_CURSOR: usize = 257;

/// The parameters of one request. Take each that the route knows, then call [`Params::finish`].
#[derive(Debug, Default)]
pub struct Params {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
    flaws: Vec<Flaw>,
}

impl Params {
    pub fn of(query: &str) -> Self {
        let mut params = Self::default();
        let pairs: Vec<(String, String)> = match serde_urlencoded(query) {
            Ok(pairs) => pairs,
            Err(why) => {
                params.flaws.push(Flaw::new("?", why));
                Vec::new()
            }
        };
        for (name, value) in pairs {
            let shown = format!("?{}", name.chars().take(64).collect::<String>().escape_default());
            if value.len() > MAX_VALUE {
                params.flaws.push(Flaw::new(shown, format!("longer than {MAX_VALUE} bytes")));
            } else if params.given.insert(name, value).is_some() {
                params.flaws.push(Flaw::new(shown, "given twice"));
            }
        }
        params
    }

    /// The text of a parameter, which is not empty.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let text = self.given.remove(name)?;
        if text.is_empty() {
            self.flaws.push(Flaw::new(format!("?{name}"), "empty; give a value or leave it out"));
            return None;
        }
        Some(text)
    }

    /// `?tenant=`: something that a tenant could be called.
    pub fn tenant(&mut self) -> Option<String> {
        let fine = |text: &str| match check_name("tenant", text) {
            Ok(()) => Ok(text.to_owned()),
            Err(_) => Err("must be 1 to 128 of a-z 0-9 - _ . and begin with a letter or digit"),
        };
        self.parsed("tenant", fine)
    }

    /// `?intent=TENANT/ID`.
    pub fn intent(&mut self) -> Option<IntentKey> {
        self.parsed("intent", |text| {
            let key: IntentKey = text.parse()?;
            check_name("tenant", &key.tenant)?;
            check_name("id", &key.id).map(|()| key)
        })
    }

    /// A point in time.
    pub fn time(&mut self, name: &'static str) -> Option<Time> {
        self.parsed(name, |text| {
            text.parse::<Time>().map_err(|_| "expected a time like 2026-01-06T00:00:00Z")
        })
    }

    /// The text of a parameter that may be empty, which is the same as absent: what an answer gives may be.
    pub fn text_or_nothing(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name).filter(|text| !text.is_empty())
    }

    /// A parameter in the form its type has elsewhere on the wire.
    pub fn word<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let text = self.text(name)?;
        match serde_json::from_value(serde_json::Value::String(text)) {
            Ok(value) => Some(value),
            Err(e) => {
                let said = e.to_string();
                self.flaws.push(Flaw::new(format!("?{name}"), crate::manifest::with_suggestion(&said)));
                None
            }
        }
    }

    /// A parameter with a parser of its own.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.noted(name, parse(&text))
    }

    /// What was read, or a flaw.
    pub fn noted<T, E: std::fmt::Display>(&mut self, name: &'static str, read: Result<T, E>) -> Option<T> {
        read.map_err(|e| self.flaws.push(Flaw::new(format!("?{name}"), e.to_string()))).ok()
    }

    /// `true` or `false`; absent is `None`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.parsed(name, |text| text.parse::<bool>().map_err(|_| "expected true or false"))
    }

    /// A number in a range.
    pub fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let wrong = format!("expected a number from {} to {}", range.start(), range.end());
        self.parsed(name, |text| text.parse().ok().filter(|n| range.contains(n)).ok_or(wrong))
    }

    /// `?cursor=`: what an answer gave as `next`.
    pub fn cursor(&mut self) -> Option<String> {
        let form = |text: &str| {
            let (number, rest) = text.split_once(':')?;
            let digits = (1..=18).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            (digits && rest.len() <= MAX_CURSOR && rest.bytes().all(|b| b.is_ascii_graphic()))
                .then(|| text.to_owned())
        };
        self.parsed("cursor", |text| form(text).ok_or(NO_CURSOR))
    }

    /// How many items are wanted.
    pub fn limit(&mut self) -> usize {
        self.number("limit", 1..=MAX_LIMIT).unwrap_or(DEFAULT_LIMIT)
    }

    /// Refuses what was wrong and what nobody asked for.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in self.given.keys() {
            let mut why = format!("unknown; known here: {}", self.known.join(", "));
            if let Some(best) = closest(name, self.known.iter().copied()) {
                why = format!("unknown; did you mean '{best}'? (known here: {})", self.known.join(", "));
            }
            self.flaws.push(Flaw::new(format!("?{}", name.escape_default()), why));
        }
        if self.flaws.is_empty() { Ok(()) } else { Err(Problem::parameters(self.flaws)) }
    }
}

/// Percent-decoding of `a=b&c=d`, by the crate that axum uses for it.
fn serde_urlencoded(query: &str) -> Result<Vec<(String, String)>, String> {
    let uri =
        axum::http::Uri::builder().path_and_query(format!("/?{query}")).build().map_err(|e| e.to_string())?;
    axum::extract::Query::try_from_uri(&uri).map(|q| q.0).map_err(|e| e.to_string())
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::{Condition, Severity};

    #[test]
    fn takes_what_is_right() {
        let mut p = Params::of(
            "limit=7&condition=in_sync&open=true&tenant=a%2Db&intent=a/b&since=2026-01-06T00:00:00Z&cursor=3:a/b",
        );
        assert_eq!(p.limit(), 7);
        assert_eq!(p.word("condition"), Some(Condition::InSync));
        assert_eq!(p.flag("open"), Some(true));
        assert_eq!(p.tenant().as_deref(), Some("a-b"));
        assert_eq!(p.intent(), Some(IntentKey::new("a", "b")));
        assert!(p.time("since").is_some());
        assert_eq!(p.cursor().as_deref(), Some("3:a/b"));
        p.finish().unwrap();
    }

    #[test]
    fn reports_every_flaw() {
        let long = format!("tenant={}", "x".repeat(MAX_VALUE + 1));
        let table = [
            ("limit=0", "?limit: expected a number from 1 to 1000"),
            ("limit=1001", "?limit: expected a number"),
            ("limit=-1", "?limit: expected a number"),
            ("open=yes", "?open: expected true or false"),
            ("severity=hihg", "did you mean 'high'?"),
            ("limit=1&limit=2", "?limit: given twice"),
            ("limt=1", "did you mean 'limit'?"),
            ("nonsense=1", "?nonsense: unknown; known here:"),
            ("tenant=", "?tenant: empty; give a value or leave it out"),
            ("tenant=a%20b", "?tenant: must be 1 to 128 of"),
            ("intent=a", "?intent: 'a' is not an intent's name"),
            ("intent=a/B", "?intent: id: 'B' must be 1 to 128"),
            ("cursor=x", "?cursor: expected `next`"),
            ("since=yesterday", "?since: expected a time like"),
            (long.as_str(), "?tenant: longer than 4096 bytes"),
        ];
        for (query, expected) in table {
            let mut p = Params::of(query);
            p.limit();
            p.flag("open");
            p.tenant();
            p.intent();
            p.time("since");
            p.cursor();
            p.word::<Severity>("severity");
            let problem = p.finish().unwrap_err();
            assert!(problem.detail.contains(expected), "{query}: {}", problem.detail);
        }
        let mut p = Params::of("limit=x&open=y&z=1");
        p.limit();
        p.flag("open");
        assert_eq!(p.finish().unwrap_err().errors.len(), 3);
    }
}
