//! Reading TOML so that everything that is wrong is found at once, each with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use trueup_model::{DateTime, Duration, Time};

use super::flaws::{Flaw, Flaws, Place};

/// Longest text of one field, in bytes.
const MAX_TEXT: usize = 1_000;
/// Most items of one list.
const MAX_LIST: usize = 500;
/// Most sections of one kind.
const MAX_SECTIONS: usize = 1_000;
/// Most flaws that are told.
const MAX_FLAWS: usize = 50;

/// A file being read.
pub(super) struct Reader<'t> {
    text: &'t str,
    flaws: Vec<Flaw>,
}

/// A text and where it stands.
pub(super) type Item = (String, Range<usize>);

impl<'t> Reader<'t> {
    /// The top of the file; nothing if it is no TOML.
    pub(super) fn open(text: &'t str) -> Result<(Self, DeTable<'t>), Flaws> {
        let (top, errors) = DeTable::parse_recoverable(text);
        let mut reader = Self { text, flaws: Vec::new() };
        for e in &errors {
            reader.flaw(e.span().unwrap_or(0..0), e.message().replace('\n', ", "));
        }
        if reader.flaws.is_empty() { Ok((reader, top.into_inner())) } else { Err(reader.close()) }
    }

    pub(super) fn flaw(&mut self, span: Range<usize>, what: impl Into<String>) {
        self.flaw_at(self.place(&span), what);
    }

    pub(super) fn flaw_at(&mut self, place: Place, what: impl Into<String>) {
        self.flaws.push(Flaw { place, what: what.into() });
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.text, span.start)
    }

    pub(super) fn is_fine(&self) -> bool {
        self.flaws.is_empty()
    }

    pub(super) fn close(mut self) -> Flaws {
        self.flaws.sort();
        self.flaws.dedup();
        self.flaws.truncate(MAX_FLAWS);
        Flaws(self.flaws)
    }

    /// Takes all sections `[[what]]` out of the top and reads each.
    pub(super) fn sections<T>(
        &mut self,
        top: &mut DeTable<'t>,
        what: &'static str,
        read: impl Fn(&mut Section<'_, 't>) -> T,
    ) -> Vec<(T, Place)> {
        let Some(value) = top.remove(what) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            self.flaw(span, format!("{what}: write it as [[{what}]]"));
            return Vec::new();
        };
        if array.len() > MAX_SECTIONS {
            self.flaw(span, format!("{what}: more than {MAX_SECTIONS} sections"));
            return Vec::new();
        }
        let mut all = Vec::new();
        for (n, value) in array.into_iter().enumerate() {
            let span = value.span();
            let DeValue::Table(table) = value.into_inner() else {
                self.flaw(span, format!("{what}: write it as [[{what}]]"));
                continue;
            };
            let mut section = Section::new(self, format!("{what} no. {}", n + 1), table, span.clone());
            let got = read(&mut section);
            section.finish();
            all.push((got, self.place(&span)));
        }
        all
    }

    /// Takes the one table `[what]` out of the top, if it is there, and reads it.
    pub(super) fn table<T>(
        &mut self,
        top: &mut DeTable<'t>,
        what: &'static str,
        read: impl Fn(&mut Section<'_, 't>) -> T,
    ) -> Option<T> {
        let value = top.remove(what)?;
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.flaw(span, format!("{what}: write it as [{what}]"));
            return None;
        };
        let mut section = Section::new(self, what.to_owned(), table, span);
        let got = read(&mut section);
        section.finish();
        Some(got)
    }
}

/// One table of the file, whose fields are taken one after the other; what is left is unknown.
pub(super) struct Section<'r, 't> {
    reader: &'r mut Reader<'t>,
    label: String,
    fields: BTreeMap<String, (Range<usize>, Spanned<DeValue<'t>>)>,
    known: Vec<&'static str>,
    span: Range<usize>,
}

impl<'r, 't> Section<'r, 't> {
    fn new(reader: &'r mut Reader<'t>, label: String, table: DeTable<'t>, span: Range<usize>) -> Self {
        let fields = table.into_iter().map(|(k, v)| (k.get_ref().to_string(), (k.span(), v))).collect();
        Self { reader, label, fields, known: Vec::new(), span }
    }

    pub(super) fn place(&self) -> Place {
        self.reader.place(&self.span)
    }

    /// How the section is called in what is said about it.
    pub(super) fn call(&mut self, label: String) {
        self.label = label;
    }

    pub(super) fn flaw(&mut self, span: Range<usize>, field: &str, what: &str) {
        let what = format!("{}: {field}: {what}", self.label);
        self.reader.flaw(span, what);
    }

    pub(super) fn lacks(&mut self, field: &str, what: &str) {
        let span = self.span.clone();
        self.flaw(span, field, what);
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Names fields that the section may have although nobody asked for them.
    pub(super) fn expect(&mut self, fields: &[&'static str]) {
        for field in fields {
            self.known.push(field);
            self.fields.remove(*field);
        }
    }

    fn take(&mut self, field: &'static str) -> Option<(Range<usize>, DeValue<'t>)> {
        self.known.push(field);
        let (_, value) = self.fields.remove(field)?;
        Some((value.span(), value.into_inner()))
    }

    pub(super) fn text(&mut self, field: &'static str) -> Option<Item> {
        let (span, value) = self.take(field)?;
        self.as_text(span, value, field)
    }

    fn as_text(&mut self, span: Range<usize>, value: DeValue<'_>, field: &str) -> Option<Item> {
        match value {
            DeValue::String(s) if s.trim().is_empty() => self.flaw(span, field, "empty"),
            DeValue::String(s) if s.len() > MAX_TEXT => {
                self.flaw(span, field, &format!("longer than {MAX_TEXT} bytes"));
            }
            DeValue::String(s) if s.chars().any(|c| c.is_control() && c != '\n') => {
                self.flaw(span, field, "contains control characters");
            }
            DeValue::String(s) => return Some((s.into_owned(), span)),
            other => self.flaw(span, field, &format!("expected a text, found {}", kind(&other))),
        }
        None
    }

    /// A text that must be there; a stand-in if it is not, since the file is refused then.
    pub(super) fn needed(&mut self, field: &'static str) -> Item {
        if !self.has(field) {
            self.known.push(field);
            self.lacks(field, "is missing");
        }
        self.text(field).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Option<bool> {
        let (span, value) = self.take(field)?;
        if let DeValue::Boolean(flag) = value {
            return Some(flag);
        }
        self.flaw(span, field, &format!("expected true or false, found {}", kind(&value)));
        None
    }

    pub(super) fn number(&mut self, field: &'static str) -> Option<u32> {
        let (span, value) = self.take(field)?;
        let number = match &value {
            DeValue::Integer(n) => u32::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.flaw(span, field, "expected a whole number, 0 or more");
        }
        number
    }

    /// Above 0, at most 100.
    pub(super) fn percent(&mut self, field: &'static str) -> Option<f64> {
        let (span, value) = self.take(field)?;
        let number: Option<f64> = match &value {
            DeValue::Integer(n) => n.as_str().parse().ok(),
            DeValue::Float(n) => n.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|n| *n > 0.0 && *n <= 100.0);
        if number.is_none() {
            self.flaw(span, field, "expected a number above 0 and at most 100");
        }
        number
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        field: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let (text, span) = self.text(field)?;
        match duration(&text) {
            Some(d) if d >= least && d <= most => return Some(d),
            Some(_) => {
                let why = format!("'{text}' is not between {} and {}", shown(least), shown(most));
                self.flaw(span, field, &why);
            }
            None => {
                let why = format!("'{text}' is not a duration like 45s, 30m, 4h, 2d or 1h30m");
                self.flaw(span, field, &why);
            }
        }
        None
    }

    /// A point in time with its offset, written as a TOML time or as a text.
    pub(super) fn time(&mut self, field: &'static str) -> Option<Time> {
        let (span, value) = self.take(field)?;
        let text = match &value {
            DeValue::Datetime(t) => t.to_string(),
            DeValue::String(s) => s.to_string(),
            _ => String::new(),
        };
        let time = DateTime::parse_from_rfc3339(&text).ok().map(|t| t.to_utc());
        if time.is_none() {
            self.flaw(span, field, "expected a time with its offset, like 2026-01-06T08:00:00Z");
        }
        time
    }

    /// Texts; an empty list would never hold anything, so it is refused.
    pub(super) fn list(&mut self, field: &'static str) -> Option<Vec<Item>> {
        let (span, value) = self.take(field)?;
        let DeValue::Array(array) = value else {
            self.flaw(span, field, &format!("expected a list like [\"…\"], found {}", kind(&value)));
            return None;
        };
        if array.is_empty() {
            self.flaw(span, field, "an empty list never holds; leave the field out, or name something");
            return None;
        }
        if array.len() > MAX_LIST {
            self.flaw(span, field, &format!("more than {MAX_LIST} items"));
            return None;
        }
        Some(
            array
                .into_iter()
                .filter_map(|v| {
                    let span = v.span();
                    self.as_text(span, v.into_inner(), field)
                })
                .collect(),
        )
    }

    fn finish(mut self) {
        let unknown: Vec<_> = std::mem::take(&mut self.fields).into_iter().collect();
        self.known.sort_unstable();
        self.known.dedup();
        for (field, (span, _)) in unknown {
            let known = self.known.join(", ");
            let what = format!("{}: unknown field '{}' (known: {known})", self.label, field.escape_default());
            self.reader.flaw(span, what);
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// `45s`, `30m`, `4h`, `2d`, `1h30m`: whole numbers, each with its unit, the larger unit first.
pub fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds, mut units) = (text.trim(), 0_i64, &UNITS[..]);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let at = units.iter().position(|(u, _)| *u == unit)?;
        seconds = seconds.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = &rest[digits + unit.len_utf8()..];
    }
    Duration::try_seconds(seconds)
}

/// The reverse of [`duration`].
pub(super) fn shown(d: Duration) -> String {
    let (mut rest, mut out) = (d.num_seconds(), String::new());
    for (unit, seconds) in UNITS {
        if rest >= seconds {
            out.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [
            ("0s", Some(0)),
            ("45s", Some(45)),
            ("30m", Some(1_800)),
            ("1h30m", Some(5_400)),
            ("2d", Some(172_800)),
        ] {
            assert_eq!(duration(text).map(|d| d.num_seconds()), seconds, "{text}");
            assert_eq!(shown(duration(text).unwrap()), text);
        }
        for wrong in
            ["", "4", "h", "30m1h", "1h1h", "-1h", "1.5h", "4 h", "99999999999999999999s", "1y", "1ä"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn places_count_as_editors_do() {
        let text = "a = 1\nä = 'x' y\n";
        for (offset, line, column) in [(0, 1, 1), (6, 2, 1), (8, 2, 2), (999, 3, 1)] {
            assert_eq!(Place::of(text, offset), Place { line, column }, "{offset}");
        }
    }
}
