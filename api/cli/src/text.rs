//! Text for people: cleaned of what could steer a terminal, and times as ages.

use trueup_model::Time;

/// Longest text shown from one field, in characters.
const MAX_SHOWN: usize = 500;

/// Text from outside (planes, manifests, other people) in one line, without escape sequences, control characters and
/// the marks that reorder text.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_SHOWN));
    let mut chars = text.chars().peekable();
    let mut shown = 0;
    while let Some(c) = chars.next() {
        if shown >= MAX_SHOWN {
            out.push('…');
            break;
        }
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: up to its final byte. OSC and other strings: up to BEL or the string terminator.
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}'
                            || c == '\u{9c}'
                            || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some())
                        {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\u{9b}' => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
            '\n' | '\r' | '\t' => {
                out.push(' ');
                shown += 1;
            }
            c if c.is_control() || is_reordering(c) => {}
            c => {
                out.push(c);
                shown += 1;
            }
        }
    }
    out
}

fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// JSON for a terminal or a program: what `serde_json` leaves as it is but a terminal may obey is escaped.
pub(crate) fn json(value: &serde_json::Value) -> String {
    harmless(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// The same in one line.
pub(crate) fn json_line(value: &serde_json::Value) -> String {
    harmless(&value.to_string())
}

fn harmless(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if (c.is_control() && c != '\n') || is_reordering(c) {
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// YAML of the same value. Where that would hold what a terminal may obey it is JSON, which is YAML too.
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    match serde_saphyr::to_string(value) {
        Ok(plain) if !plain.chars().any(|c| (c.is_control() && c != '\n') || is_reordering(c)) => {
            plain.trim_end().to_owned() + "\n"
        }
        _ => json(value) + "\n",
    }
}

/// `3m ago`, `in 2h`.
pub(crate) fn relative(at: Time, now: Time) -> String {
    let ms = (now - at).num_milliseconds();
    match ms {
        -999..=999 => "now".into(),
        1_000.. => format!("{} ago", span(ms.unsigned_abs())),
        _ => format!("in {}", span(ms.unsigned_abs())),
    }
}

/// Milliseconds in the two largest units that matter: `850ms`, `42s`, `3m`, `2h 5m`, `3d 4h`.
pub(crate) fn span(ms: u64) -> String {
    let (s, m, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    let two =
        |a: u64, x: &str, b: u64, y: &str| if b == 0 { format!("{a}{x}") } else { format!("{a}{x} {b}{y}") };
    match () {
        () if ms < 1_000 => format!("{ms}ms"),
        () if m == 0 => format!("{s}s"),
        () if h == 0 => format!("{m}m"),
        () if d == 0 => two(h, "h", m % 60, "m"),
        () => two(d, "d", h % 24, "h"),
    }
}

/// `1 intent`, `2 intents`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `missing_assignment` as `missing assignment`.
pub(crate) fn words(name: &str) -> String {
    clean(name).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::Duration;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        let table = [
            ("plain äöü 漢字", "plain äöü 漢字"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pdcs\u{9c}x", "x"),
            ("\u{9b}2Jx", "x"),
            ("a\nb\tc\rd", "a b c d"),
            ("nul\0bell\u{7}del\u{7f}", "nulbelldel"),
            ("left\u{202e}thgir", "leftthgir"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        assert_eq!(clean(&"x".repeat(9_999)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn json_is_the_same_value_and_harmless() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\u{7f}\u{1b}[31m\n"});
        let text = json(&value);
        assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || is_reordering(c))), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn yaml_is_the_same_value_and_harmless() {
        let read = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
        let plain = serde_json::json!({"a": [1, {"b": "yes"}, "1.0", null, "- x: #"], "empty": {}, "lines": "x\ny\n"});
        assert_eq!(read(&yaml(&plain)), plain, "{}", yaml(&plain));
        assert!(yaml(&plain).starts_with("a:"), "{}", yaml(&plain));
        let steering = serde_json::json!({"a": "\u{9b}2J\u{202e}\u{7f}\u{1b}[31m"});
        let text = yaml(&steering);
        assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || is_reordering(c))), "{text:?}");
        assert_eq!(read(&text), steering);
    }

    #[test]
    fn ages_are_short() {
        let now = trueup_model::DateTime::UNIX_EPOCH + Duration::days(10);
        let table = [
            (Duration::zero(), "now"),
            (Duration::seconds(42), "42s ago"),
            (Duration::seconds(200), "3m ago"),
            (Duration::minutes(125), "2h 5m ago"),
            (Duration::hours(48), "2d ago"),
            (Duration::minutes(-61), "in 1h 1m"),
        ];
        for (age, expected) in table {
            assert_eq!(relative(now - age, now), expected);
        }
        assert_eq!(span(850), "850ms");
    }
}
