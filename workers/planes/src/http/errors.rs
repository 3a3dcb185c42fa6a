//! Refusals as faults, in the words of whoever refused.
//!
//! # Guarantees
//! Pure. Of an answer's text one bounded, plain line gets into an error.

use serde_json::Value;
use trueup_model::{Fault, Time};

use super::answer::{QUOTED, quote};
use crate::redact::one_line;

/// What to check, per plane, when it refuses us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// 401: `check client_id and …`
    pub unauthorized: &'static str,
    /// 403: `check that …`
    pub forbidden: &'static str,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            unauthorized: "check the connection's credential, and that it has not expired",
            forbidden: "check that the connection's credential has the permission",
        }
    }
}

pub(super) fn refusal(call: &str, status: u16, body: &[u8], wait: Option<Time>, hints: &Hints) -> Fault {
    let what = format!("{call} answered {status}: {}", said(body));
    match (status, wait) {
        (_, Some(until)) => Fault::Throttled { until, what },
        (401, _) => Fault::permanent(format!("{what}; {}", hints.unauthorized)),
        (403, _) => Fault::permanent(format!("{what}; {}", hints.forbidden)),
        (408 | 424 | 425 | 500..=599, _) => Fault::transient(what),
        (300..=399, _) => {
            Fault::permanent(format!("{what}; redirects are not followed, check the connection's URLs"))
        }
        _ => Fault::permanent(what),
    }
}

/// What an error answer says, in the forms that planes use; else a quote.
fn said(body: &[u8]) -> String {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(json) => from_json(&json),
        Err(_) => from_html(&String::from_utf8_lossy(&body[..body.len().min(HTML)])),
    };
    let said: Vec<String> = said.into_iter().filter(|s| !s.trim().is_empty()).collect();
    if said.is_empty() { quote(body) } else { one_line(&said.join(": "), 2 * QUOTED) }
}

/// Graph and ConfigMgr `{error: {code, message}}`, the login `{error, error_description}`, Jamf Pro
/// `{httpStatus, errors: [{code, field, description}]}`.
fn from_json(json: &Value) -> Vec<String> {
    let texts = |of: &Value, keys: &[&str]| -> Vec<String> {
        keys.iter().filter_map(|k| Some(of.get(*k)?.as_str()?.to_owned())).collect()
    };
    if let Some(errors) = json["errors"].as_array() {
        return errors
            .iter()
            .take(3)
            .map(|e| {
                let mut said = texts(e, &["code", "field", "description"]);
                said.retain(|t| !t.is_empty());
                said.join(" ")
            })
            .collect();
    }
    match &json["error"] {
        error @ Value::Object(_) => texts(error, &["code", "message"]),
        Value::String(_) => texts(json, &["error", "error_description"]),
        _ => Vec::new(),
    }
}

/// Bytes of a page in which an error is looked for.
const HTML: usize = 16 * 1024;

/// The paragraphs of a page that is an error of Jamf Classic: `<p>Error: Problem with name</p>`.
fn from_html(page: &str) -> Vec<String> {
    let lower = page.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut at = 0;
    while found.len() < 3
        && let Some(start) = lower[at..].find("<p")
    {
        let open = at + start + 2;
        let is_p = lower[open..].starts_with(['>', ' ', '\n', '\t']);
        let Some(end) = lower[open..].find('>') else { break };
        let text = open + end + 1;
        let close = lower[text..].find("</p").map_or(page.len(), |n| text + n);
        at = if is_p { close } else { text };
        if is_p && !lower[open..text].contains("href") {
            found.push(without_tags(&page[text..close]));
        }
    }
    // The last of Jamf's paragraphs sends the reader elsewhere.
    found.retain(|p| !p.starts_with("You can get technical details"));
    found
}

fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut tag = false;
    for c in html.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => tag = false,
            c if !tag => text.push(c),
            _ => {}
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, body: &str) -> Fault {
        refusal("GET /x", status, body.as_bytes(), None, &Hints::default())
    }

    #[test]
    fn statuses_become_faults() {
        let kind = |status| match fault(status, "") {
            Fault::Transient { .. } => 't',
            Fault::Permanent { .. } => 'p',
            other => panic!("{other}"),
        };
        for (statuses, expected) in
            [([301, 400, 401, 403, 404, 409], 'p'), ([408, 424, 500, 502, 503, 504], 't')]
        {
            for status in statuses {
                assert_eq!(kind(status), expected, "{status}");
            }
        }
        let hints = Hints { unauthorized: "check A", forbidden: "check B" };
        for (status, hint) in [(401, "check A"), (403, "check B")] {
            let e = refusal("GET /x", status, b"", None, &hints).to_string();
            assert!(e.ends_with(hint), "{e}");
        }
    }

    #[test]
    fn errors_say_what_the_plane_said() {
        let classic = "<html>\n<head>\n   <title>Status page</title>\n</head>\n<body style=\"font-family: sans-serif;\">\n\
            <p style=\"font-size: 1.2em;font-weight: bold;margin: 1em 0px;\">Conflict</p>\n<p>Error: Duplicate <b>name</b></p>\n\
            <p>You can get technical details <a href=\"http://www.w3.org/Protocols/\">here</a>.<br>\nPlease continue.</p>\n</body>\n</html>";
        for (body, expected) in [
            (r#"{"error":{"code":"Forbidden","message":"no\nway"}}"#, "answered 400: Forbidden: no way"),
            (r#"{"error":{"code":"","message":"m"}}"#, "answered 400: m"),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215"}"#,
                "invalid_client: AADSTS7000215",
            ),
            (r#"{"error":7}"#, "'{\"error\":7}'"),
            (
                r#"{"httpStatus":400,"errors":[{"code":"INVALID_FIELD","field":"filter","description":"bad RSQL","id":"0"},{"code":"X"}]}"#,
                "answered 400: INVALID_FIELD filter bad RSQL: X",
            ),
            (r#"{"httpStatus":401,"errors":[]}"#, "'{\"httpStatus\":401,\"errors\":[]}'"),
            (classic, "answered 400: Conflict: Error: Duplicate name"),
            ("<html><pre>no paragraph</pre><p", "'<html><pre>no paragraph</pre><p'"),
            ("", "(empty)"),
        ] {
            let e = fault(400, body).to_string();
            assert!(e.ends_with(expected), "{e}");
        }
        let long = fault(400, &format!("<p>{}</p>", "ä\u{1b}".repeat(20_000))).to_string();
        assert!(long.chars().count() < 300 && !long.contains('\u{1b}'), "{long}");
    }

    proptest::proptest! {
        #[test]
        fn no_page_is_too_odd(page in "(<p>|<P class=a>|</p>|<|>|p|ß|\u{0130}| |x){0,60}") {
            proptest::prop_assert!(fault(400, &page).to_string().chars().count() < 300);
        }
    }
}
