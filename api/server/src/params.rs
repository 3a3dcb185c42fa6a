//! Query parameters: typed, limited, and all flaws reported at once.
//!
//! # Guarantees
//! A parameter that is unknown, given twice, too long or of the wrong form is an error, never ignored.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{Flaw, Problem};
use crate::{DEFAULT_LIMIT, MAX_LIMIT, manifest::closest};

/// Longest value of a parameter, in bytes.
const MAX_VALUE: usize = 512;

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

    /// The text of a parameter; empty counts as absent.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name).filter(|v| !v.is_empty())
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
        parse(&text).map_err(|e| self.flaws.push(Flaw::new(format!("?{name}"), e.to_string()))).ok()
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
        let mut p = Params::of("limit=7&condition=in_sync&open=true&tenant=a%20b&cursor=");
        assert_eq!(p.limit(), 7);
        assert_eq!(p.word("condition"), Some(Condition::InSync));
        assert_eq!(p.flag("open"), Some(true));
        assert_eq!(p.text("tenant").as_deref(), Some("a b"));
        assert_eq!(p.text("cursor"), None);
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
            (long.as_str(), "?tenant: longer than 512 bytes"),
        ];
        for (query, expected) in table {
            let mut p = Params::of(query);
            p.limit();
            p.flag("open");
            p.text("tenant");
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
