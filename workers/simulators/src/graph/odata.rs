//! The query options of OData, as far as Graph has them here, and pages.

use serde_json::{Map, Value};

use super::{Asked, LinkStyle};

/// Query options of a request. Unknown ones are refused when it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) top: Option<usize>,
    pub(crate) select: Option<Vec<String>>,
    pub(crate) expand: Option<String>,
    pub(crate) filter: Option<String>,
    /// Where the page begins.
    pub(crate) skip: usize,
}

impl Options {
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |t: &str| decode(&t.replace('+', " ")).ok_or("The query is not UTF-8.");
            let (name, value) = (plain(name)?, plain(value)?);
            if seen.contains(&name) {
                return Err(format!("Query option '{}' was specified more than once.", brief(&name)));
            }
            match name.as_str() {
                "$top" => {
                    let top = value.parse().ok().filter(|n| (1..=1000).contains(n));
                    options.top =
                        Some(top.ok_or_else(|| format!("Invalid value '{}' for $top.", brief(&value)))?);
                }
                "$select" => options.select = Some(value.split(',').map(|f| f.trim().to_owned()).collect()),
                "$expand" => options.expand = Some(value),
                "$filter" => options.filter = Some(value),
                "$skiptoken" => options.skip = read_token(&value).ok_or("Invalid $skiptoken.")?,
                _ => return Err(format!("The query parameter '{}' is not supported.", brief(&name))),
            }
            seen.push(name);
        }
        Ok(options)
    }

    /// Refuses what this resource does not have.
    pub(crate) fn allow(
        &self,
        top: bool,
        fields: Option<&[&str]>,
        expand: &[&str],
        filter: bool,
    ) -> Result<(), String> {
        if self.top.is_some() && !top {
            return Err("The query specified in the URI is not valid: $top is not allowed.".into());
        }
        if let Some(unknown) =
            self.select.iter().flatten().find(|f| !fields.is_some_and(|all| all.contains(&f.as_str())))
        {
            return Err(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{}'.",
                brief(unknown)
            ));
        }
        if let Some(other) = self.expand.as_deref().filter(|e| !expand.contains(e)) {
            return Err(format!(
                "Parsing OData Select and Expand failed: '{}' cannot be expanded here.",
                brief(other)
            ));
        }
        if self.filter.is_some() && !filter {
            return Err("The query specified in the URI is not valid: $filter is not allowed.".into());
        }
        Ok(())
    }

    pub(crate) fn wants(&self, field: &str) -> bool {
        self.select.as_ref().is_none_or(|all| all.iter().any(|f| f == field))
    }

    /// The text in `displayName eq '…'`, the only filter there is.
    pub(crate) fn display_name(&self) -> Result<Option<String>, String> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let literal = filter.strip_prefix("displayName eq '").and_then(|rest| rest.strip_suffix('\''));
        let fine = literal.filter(|t| t.replace("''", "").find('\'').is_none());
        fine.map(|t| Some(t.replace("''", "'")))
            .ok_or_else(|| format!("Invalid filter clause: '{}'.", brief(filter)))
    }
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

/// An object with only the wanted properties.
pub(crate) fn project<'a>(
    options: &Options,
    fields: impl IntoIterator<Item = (&'a str, Value)>,
) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(name, _)| options.wants(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A page as Graph sends it. `next`: where the one after it begins.
pub(crate) fn page(
    asked: &Asked<'_>,
    context: &str,
    options: &Options,
    value: Vec<Value>,
    next: Option<usize>,
) -> Value {
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{context}", asked.origin).into());
    body.insert("value".into(), value.into());
    let next = match asked.link {
        LinkStyle::Right => next,
        LinkStyle::Foreign => Some(next.unwrap_or(0)),
        LinkStyle::Circular => Some(options.skip),
        LinkStyle::Looping => Some(if options.skip == 0 { 1 } else { 0 }),
    };
    if let Some(next) = next {
        let origin =
            if asked.link == LinkStyle::Foreign { "https://graph.microsoft.example" } else { asked.origin };
        let kept: Vec<&str> =
            asked.query.split('&').filter(|p| !p.is_empty() && !p.starts_with("$skiptoken")).collect();
        let and = if kept.is_empty() { "" } else { "&" };
        let link =
            format!("{origin}/v1.0{}?{}{and}$skiptoken={}", asked.path, kept.join("&"), write_token(next));
        body.insert("@odata.nextLink".into(), link.into());
    }
    Value::Object(body)
}

const KEY: u64 = 0x5bd1_e995_9e37_79b9;

/// Nobody is meant to read it, or to make one.
fn write_token(place: usize) -> String {
    format!("{:016x}{:04x}", place as u64 ^ KEY, (place as u64).wrapping_mul(40_503) & 0xffff)
}

fn read_token(text: &str) -> Option<usize> {
    let place = usize::try_from(u64::from_str_radix(text.get(..16)?, 16).ok()? ^ KEY).ok()?;
    (write_token(place) == text).then_some(place)
}

/// Percent-decodes; nothing if the result is no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok())?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        for (query, fine) in [
            ("", true),
            ("$top=5&$expand=assignments", true),
            ("$filter=displayName%20eq%20%27a%27", true),
            ("$top=0", false),
            ("$top=1001", false),
            ("$top=5&$top=5", false),
            ("$Top=5", false),
            ("top=5", false),
            ("$skip=5", false),
            ("$skiptoken=abc", false),
            ("$filter=%zz", false),
        ] {
            assert_eq!(Options::parse(query).is_ok(), fine, "{query}");
        }
    }

    #[test]
    fn the_one_filter() {
        let name = |f: &str| Options { filter: Some(f.into()), ..Options::default() }.display_name();
        assert_eq!(name("displayName eq 'O''Hare'"), Ok(Some("O'Hare".into())));
        for wrong in [
            "DisplayName eq 'a'",
            "displayName Eq 'a'",
            "displayName eq a",
            "displayName eq 'a'b'",
            "version eq '1'",
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_opaque_and_checked() {
        for place in [0, 1, 100, 123_456] {
            assert_eq!(read_token(&write_token(place)), Some(place));
        }
        assert_eq!(read_token("00000000000000640000"), None);
    }
}
