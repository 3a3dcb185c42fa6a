//! Label selectors, as Kubernetes has them: `env=prod,tier!=gold,region in (a,b),!old`.
//!
//! # Guarantees
//! All requirements must hold. `!=` and `notin` also hold where the label is absent, as in Kubernetes. Whatever is no
//! selector is refused with the character at which it ceases to be one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a selector looks like, for the OpenAPI document: [`Selector::parse`] takes these texts and no others.
pub const PATTERN: &str = "^ *(! *[A-Za-z0-9._/-]+|[A-Za-z0-9._/-]+( *(==?|!=) *[A-Za-z0-9._/-]*| +(in|notin) *\\( *[A-Za-z0-9._/-]* *(, *[A-Za-z0-9._/-]* *)*\\))?) *(, *(! *[A-Za-z0-9._/-]+|[A-Za-z0-9._/-]+( *(==?|!=) *[A-Za-z0-9._/-]*| +(in|notin) *\\( *[A-Za-z0-9._/-]* *(, *[A-Za-z0-9._/-]* *)*\\))?) *)*$";

/// Something that labels must fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
}

/// Requirements that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Where it is wrong, counted from 1, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let mut all = vec![reader.requirement()?];
        while reader.eat(",") {
            all.push(reader.requirement()?);
        }
        if reader.at < text.len() {
            return Err(reader.wrong("',' or the end"));
        }
        Ok(Self(all))
    }

    /// Whether these labels fulfil all of it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
        for (n, requirement) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::Exists(key) => write!(f, "{key}")?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", list(values))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", list(values))?,
            }
        }
        Ok(())
    }
}

fn plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-')
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes; always between two characters.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, expected: &str) -> String {
        let place = self.text[..self.at].chars().count() + 1;
        match self.rest().chars().next() {
            Some(c) => format!("at character {place} ('{}'): expected {expected}", c.escape_default()),
            None => format!("at its end: expected {expected}"),
        }
    }

    fn spaces(&mut self) {
        self.at += self.rest().bytes().take_while(|b| *b == b' ').count();
    }

    /// Takes the token if it is next, with the spaces behind it.
    fn eat(&mut self, token: &str) -> bool {
        let is = self.rest().starts_with(token);
        if is {
            self.at += token.len();
            self.spaces();
        }
        is
    }

    /// A key or value, maybe empty. Spaces behind it stay.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.bytes().take_while(|b| plain(*b)).count()];
        self.at += word.len();
        word
    }

    fn key(&mut self) -> Result<String, String> {
        let key = self.word();
        if key.is_empty() {
            return Err(self.wrong("the name of a label (letters, digits, - _ . /)"));
        }
        Ok(key.to_owned())
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        self.spaces();
        if self.eat("!") {
            let key = self.key()?;
            self.spaces();
            return Ok(Requirement::Absent(key));
        }
        let key = self.key()?;
        self.spaces();
        if self.eat("!=") {
            return Ok(Requirement::NotIn(key, BTreeSet::from([self.value()])));
        }
        if self.eat("==") || self.eat("=") {
            return Ok(Requirement::In(key, BTreeSet::from([self.value()])));
        }
        if self.eat("notin") {
            return Ok(Requirement::NotIn(key, self.values()?));
        }
        if self.eat("in") {
            return Ok(Requirement::In(key, self.values()?));
        }
        match self.rest().bytes().next() {
            None | Some(b',') => Ok(Requirement::Exists(key)),
            Some(_) => Err(self.wrong("one of = == != in notin, ',' or the end")),
        }
    }

    fn value(&mut self) -> String {
        let value = self.word().to_owned();
        self.spaces();
        value
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        if !self.eat("(") {
            return Err(self.wrong("'(' and a list of values"));
        }
        let mut values = BTreeSet::from([self.value()]);
        while self.eat(",") {
            values.insert(self.value());
        }
        if !self.eat(")") {
            return Err(self.wrong("',' or ')'"));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn selects_as_kubernetes_does() {
        let table = [
            ("env=prod", "env=prod", true),
            ("env==prod", "env=prod", true),
            ("env=prod", "env=test", false),
            ("env=prod", "", false),
            ("env!=prod", "env=test", true),
            ("env!=prod", "", true),
            ("env", "env=", true),
            ("env", "team=a", false),
            ("!env", "team=a", true),
            ("!env", "env=", false),
            ("env=", "env=", true),
            ("region in (a,b)", "region=b", true),
            ("region in (a, b )", "region=c", false),
            ("region in (a)", "", false),
            ("region notin (a,b)", "region=c", true),
            ("region notin (a,b)", "", true),
            ("region notin (a,b)", "region=a", false),
            (" env = prod , tier != gold,region in (a,b) , ! old ", "env=prod,region=a", true),
            ("env=prod,tier!=gold,region in (a,b),!old", "env=prod,region=a,old=", false),
            ("in in (in)", "in=in", true),
            ("notin", "notin=x", true),
            ("example.com/team=a", "example.com/team=a", true),
        ];
        for (selector, of, expected) in table {
            assert_eq!(
                Selector::parse(selector).unwrap().matches(&labels(of)),
                expected,
                "{selector} on {of}"
            );
        }
    }

    #[test]
    fn what_is_none_says_where() {
        let table = [
            ("", "at its end: expected the name of a label"),
            ("env=prod,", "at its end: expected the name"),
            ("=prod", "at character 1 ('='): expected the name"),
            ("env prod", "at character 5 ('p'): expected one of = =="),
            ("env in a", "at character 8 ('a'): expected '('"),
            ("env in (a", "at its end: expected ',' or ')'"),
            ("env in (a b)", "at character 11 ('b'): expected ',' or ')'"),
            ("env=a b", "at character 7 ('b'): expected ',' or the end"),
            ("é=1", "at character 1 ('\\u{e9}')"),
            ("env=é", "at character 5 ('\\u{e9}'): expected ',' or the end"),
            ("!", "at its end: expected the name"),
            ("env>1", "at character 4 ('>')"),
        ];
        for (selector, expected) in table {
            let said = Selector::parse(selector).unwrap_err();
            assert!(said.contains(expected), "{selector}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "[a-c!=, ()in]{0,24}|\\PC{0,40}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
            }
        }

        #[test]
        fn a_requirement_and_its_opposite_never_agree(
            key in "[a-c]",
            values in prop::collection::btree_set("[x-z]{1,2}", 1..4),
            of in prop::collection::btree_map("[a-c]", "[x-z]{1,2}", 0..3),
        ) {
            let list = values.into_iter().collect::<Vec<_>>().join(",");
            for (one, other) in [
                (format!("{key} in ({list})"), format!("{key} notin ({list})")),
                (key.clone(), format!("!{key}")),
            ] {
                let holds = |s: &str| Selector::parse(s).unwrap().matches(&of);
                prop_assert_ne!(holds(&one), holds(&other));
            }
        }

        #[test]
        fn all_requirements_must_hold(
            parts in prop::collection::vec("[ab](=x|!=x|)|![ab]", 1..4),
            of in prop::collection::btree_map("[ab]", "[xy]", 0..3),
        ) {
            let each = parts.iter().all(|p| Selector::parse(p).unwrap().matches(&of));
            prop_assert_eq!(Selector::parse(&parts.join(",")).unwrap().matches(&of), each);
        }
    }
}
