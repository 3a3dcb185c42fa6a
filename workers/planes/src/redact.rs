//! What outsiders wrote, made fit to be shown: secrets replaced, control characters taken out, length bounded.

use crate::Secret;

/// Put in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Secrets shorter than this are not looked for: replacing them would garble everything.
const MIN_SECRET: usize = 4;

/// A list of texts that must not appear in anything kept or shown.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Longest first, so that a secret that contains another is replaced whole.
    needles: Vec<Secret>,
}

impl Redaction {
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets {
            if secret.expose().len() < MIN_SECRET {
                continue;
            }
            // As it looks inside a JSON string.
            let json = serde_json::Value::from(secret.expose()).to_string();
            let json = json.trim_matches('"');
            if json != secret.expose() {
                needles.push(Secret::new(json));
            }
            needles.push(secret);
        }
        needles.sort_by_key(|s| std::cmp::Reverse(s.expose().len()));
        Self { needles }
    }

    pub fn apply(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for needle in &self.needles {
            if out.contains(needle.expose()) {
                out = out.replace(needle.expose(), REDACTED);
            }
        }
        out
    }

    /// The longest secret, in bytes: that much at the end of a cut text may be the beginning of one.
    pub fn longest(&self) -> usize {
        self.needles.first().map_or(0, |s| s.expose().len())
    }
}

/// One line of at most `max` characters, without control characters (terminal escapes, line breaks, bidi overrides).
pub fn one_line(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut count = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = !out.is_empty();
            continue;
        }
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        {
            continue;
        }
        let width = 1 + usize::from(gap);
        if count + width > max {
            out.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        out.push(c);
        count += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_and_bounded() {
        for (input, max, expected) in [
            ("", 10, ""),
            ("  a\r\n\tb  ", 10, "a b"),
            ("\u{1b}[31mred\u{1b}[0m", 20, "[31mred[0m"),
            ("abcdef", 3, "abc…"),
            ("ab cd", 3, "ab…"),
            ("x\u{202e}y\u{0}z", 9, "xyz"),
        ] {
            assert_eq!(one_line(input, max), expected, "{input:?}");
        }
    }

    #[test]
    fn secrets_are_replaced_also_in_json() {
        let r = Redaction::new(
            ["pa\"ss\nword".into(), "pass".into(), "ab".into()].map(|s: String| Secret::new(s)),
        );
        assert_eq!(
            r.apply(r#"{"x":"pa\"ss\nword","y":"ab pass"}"#),
            r#"{"x":"[redacted]","y":"ab [redacted]"}"#
        );
        assert_eq!(r.apply("pa\"ss\nword"), "[redacted]");
    }
}
