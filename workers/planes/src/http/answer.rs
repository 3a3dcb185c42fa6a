//! What came back, and what it means to the caller.
//!
//! # Guarantees
//! Pure. Nothing of an answer gets into an error but a status and one bounded, plain line of its text.

use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use trueup_model::{DateTime, Duration, Fault, Time, Utc};

use crate::redact::one_line;

/// Characters of an answer that an error may quote.
pub(super) const QUOTED: usize = 120;
/// Nobody is believed who asks to wait longer than this.
const LONGEST_WAIT_S: f64 = 3600.0;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Until when the server asked to wait, if it did.
    pub wait: Option<Time>,
}

/// When the server wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryAfter(pub(crate) Time);

impl RetryAfter {
    /// Seconds, whole or not (Graph sends `2.128`), or an HTTP date. Nothing if it makes no sense.
    pub(crate) fn parse(text: &str, now: Time) -> Option<Self> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return (seconds.is_finite() && seconds >= 0.0).then(|| {
                Self(now + Duration::milliseconds((seconds.min(LONGEST_WAIT_S) * 1000.0).ceil() as i64))
            });
        }
        let date = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
        let longest = now + Duration::seconds(LONGEST_WAIT_S as i64);
        Some(Self(date.clamp(now, longest)))
    }
}

impl Answer {
    /// 429, or 503 with a time.
    pub fn asks_to_wait(&self) -> bool {
        self.status == 429 || (self.status == 503 && self.headers.contains_key("retry-after"))
    }

    pub(crate) fn retry_after(&self, now: Time) -> Option<RetryAfter> {
        RetryAfter::parse(self.headers.get("retry-after")?.to_str().ok()?, now)
    }
}

/// An answer's JSON. What is no JSON usually comes from something in between (a proxy, a portal, a cut connection) and
/// usually passes.
pub(crate) fn parse_json<T: DeserializeOwned>(call: &str, status: u16, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| {
        let quote = quote(body);
        if e.is_data() {
            Fault::permanent(format!(
                "{call} answered {status} with JSON of an unexpected shape ({e}): {quote}"
            ))
        } else {
            Fault::transient(format!("{call} answered {status} with something that is not JSON: {quote}"))
        }
    })
}

pub(super) fn quote(body: &[u8]) -> String {
    if body.is_empty() {
        return "(empty)".into();
    }
    let start = &body[..body.len().min(4 * QUOTED)];
    format!("'{}'", one_line(&String::from_utf8_lossy(start), QUOTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: &str) -> Time {
        s.parse().unwrap()
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = t("2026-11-21T10:00:00Z");
        for (text, expected) in [
            ("2", Some("2026-11-21T10:00:02Z")),
            ("2.128", Some("2026-11-21T10:00:02.128Z")),
            ("0", Some("2026-11-21T10:00:00Z")),
            ("99999999", Some("2026-11-21T11:00:00Z")),
            ("Sat, 21 Nov 2026 10:00:30 GMT", Some("2026-11-21T10:00:30Z")),
            ("Sat, 21 Nov 2020 10:00:30 GMT", Some("2026-11-21T10:00:00Z")),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(RetryAfter::parse(text, now).map(|r| r.0), expected.map(t), "{text}");
        }
    }

    #[test]
    fn errors_quote_what_is_safe() {
        let html = format!("<html>\u{1b}[31m{}</html>", "x".repeat(500));
        let e = parse_json::<serde_json::Value>("GET /apps", 200, html.as_bytes()).unwrap_err().to_string();
        assert!(
            e.starts_with("GET /apps answered 200 with something that is not JSON: '<html>[31mxxx"),
            "{e}"
        );
        assert!(e.len() < 250 && !e.contains('\u{1b}'), "{e}");
        let e = parse_json::<serde_json::Value>("GET /apps", 200, b"").unwrap_err().to_string();
        assert!(e.ends_with("(empty)"), "{e}");
    }
}
