//! `$filter`: `eq ne gt ge lt le and or not ( )`, `startswith`, `endswith`, `contains`, on properties the class has.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::schema::{Class, Kind};

/// Deepest nesting of parentheses that is read.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare { field: String, op: String, value: Value },
    Text { function: String, field: String, part: String },
}

impl Filter {
    pub(crate) fn parse(name: &str, class: &Class, text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, name, class, depth: 0 };
        let filter = parser.either()?;
        match parser.next() {
            None => Ok(filter),
            Some(rest) => Err(format!("Syntax error in $filter at '{rest}'.")),
        }
    }

    pub(crate) fn fits(&self, row: &Map<String, Value>) -> bool {
        match self {
            Self::And(a, b) => a.fits(row) && b.fits(row),
            Self::Or(a, b) => a.fits(row) || b.fits(row),
            Self::Not(a) => !a.fits(row),
            Self::Compare { field, op, value } => {
                let order = compare(row.get(field).unwrap_or(&Value::Null), value);
                match op.as_str() {
                    "eq" => order == Some(Ordering::Equal),
                    "ne" => order != Some(Ordering::Equal),
                    "gt" => order == Some(Ordering::Greater),
                    "ge" => order.is_some_and(Ordering::is_ge),
                    "lt" => order == Some(Ordering::Less),
                    _ => order.is_some_and(Ordering::is_le),
                }
            }
            Self::Text { function, field, part } => {
                let text = row.get(field).and_then(Value::as_str).unwrap_or_default().to_lowercase();
                let part = part.to_lowercase();
                match function.as_str() {
                    "startswith" => text.starts_with(&part),
                    "endswith" => text.ends_with(&part),
                    _ => text.contains(&part),
                }
            }
        }
    }
}

/// As the site's database: text without regard to case.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Some(a.as_i64()?.cmp(&b.as_i64()?)),
        (Value::String(a), Value::String(b)) => Some(folded(a).cmp(folded(b))),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

/// Words, parentheses, commas; quoted text begins with a quote.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' => {}
            '(' | ')' | ',' => all.push(c.to_string()),
            '\'' => {
                let mut word = String::from("'");
                loop {
                    match rest.next() {
                        Some('\'') if rest.peek() == Some(&'\'') => {
                            rest.next();
                            word.push('\'');
                        }
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("There is an unterminated string literal in $filter.".into()),
                    }
                }
                all.push(word);
            }
            _ => {
                let mut word = c.to_string();
                while let Some(c) = rest.next_if(|c| !" (),'".contains(*c)) {
                    word.push(c);
                }
                all.push(word);
            }
        }
    }
    Ok(all)
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    name: &'a str,
    class: &'a Class,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|t| t == word);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(format!("Syntax error in $filter: '{word}' expected.")) }
    }

    fn either(&mut self) -> Result<Filter, String> {
        let mut left = self.both()?;
        while self.take("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, String> {
        let mut left = self.one()?;
        while self.take("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("$filter is nested too deeply.".into());
        }
        let filter = self.unnested();
        self.depth -= 1;
        filter
    }

    fn unnested(&mut self) -> Result<Filter, String> {
        if self.take("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take("(") {
            let inner = self.either()?;
            self.need(")")?;
            return Ok(inner);
        }
        let word = self.next().ok_or("$filter ends too early.")?;
        if ["startswith", "endswith", "contains"].contains(&word.as_str()) {
            self.need("(")?;
            let field = self.field(Some(Kind::Text))?;
            self.need(",")?;
            let part = self.next().unwrap_or_default();
            let part = part.strip_prefix('\'').ok_or("A text is expected in $filter.")?.to_owned();
            self.need(")")?;
            // `… eq true` is optional.
            if self.take("eq") {
                self.need("true")?;
            }
            return Ok(Filter::Text { function: word, field, part });
        }
        self.at -= 1;
        let field = self.field(None)?;
        let op = self.next().unwrap_or_default();
        if !["eq", "ne", "gt", "ge", "lt", "le"].contains(&op.as_str()) {
            return Err(format!("'{op}' is not an operator of $filter."));
        }
        let word = self.next().ok_or("$filter ends too early.")?;
        let value = self.literal(&field, &word)?;
        Ok(Filter::Compare { field, op, value })
    }

    fn field(&mut self, kind: Option<Kind>) -> Result<String, String> {
        let field = self.next().ok_or("$filter ends too early.")?;
        let property = self.class.property(self.name, &field)?;
        if property.list || kind.is_some_and(|k| k != property.kind) {
            return Err(format!("'{field}' cannot be used like this in $filter."));
        }
        Ok(field)
    }

    fn literal(&self, field: &str, word: &str) -> Result<Value, String> {
        let kind = self.class.property(self.name, field)?.kind;
        let quoted = word.strip_prefix('\'');
        let value = match (kind, quoted) {
            (_, None) if word == "null" => Some(Value::Null),
            (Kind::Text, Some(text)) => Some(text.into()),
            (Kind::Bool, None) => word.parse::<bool>().ok().map(Value::from),
            (Kind::Number(..), None) => word.parse::<i64>().ok().map(Value::from),
            (Kind::Time, None) if word.ends_with('Z') => Some(word.into()),
            _ => None,
        };
        value.ok_or_else(|| {
            format!("A binary operator with incompatible types was detected in $filter at '{field}'.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configmgr::schema::class;
    use serde_json::json;

    fn fits(text: &str) -> Result<bool, String> {
        let class = class("SMS_FullCollectionMembership").unwrap();
        let row = json!({"CollectionID": "ABC00001", "ResourceID": 7, "Name": "O'Hare", "IsDirect": true});
        let row = row.as_object().unwrap().clone();
        Filter::parse("SMS_FullCollectionMembership", class, text).map(|f| f.fits(&row))
    }

    #[test]
    fn what_fits() {
        for (text, expected) in [
            ("CollectionID eq 'ABC00001'", true),
            ("CollectionID eq 'abc00001' and IsDirect eq true", true),
            ("ResourceID gt 6 and ResourceID lt 8", true),
            ("ResourceID ge 8 or Name eq 'O''Hare'", true),
            ("not (ResourceID le 7)", false),
            ("(CollectionID eq 'x' or ResourceID ne 7) and IsDirect eq true", false),
            ("startswith(Name,'o''h') eq true", true),
            ("contains(Name,'zz')", false),
            ("Domain eq null", true),
        ] {
            assert_eq!(fits(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "collectionid eq 'ABC00001'",
            "CollectionID eq ABC00001",
            "CollectionID = 'ABC00001'",
            "ResourceID eq '7'",
            "ResourceID eq seven",
            "IsDirect eq 1",
            "CollectionID eq 'ABC00001' and",
            "CollectionID eq 'ABC",
            "CollectionID eq 'a' Name eq 'b'",
            "startswith(ResourceID,'1')",
            "length(Name) eq 3",
        ] {
            assert!(fits(text).is_err(), "{text}");
        }
        assert!(fits(&"(".repeat(10_000)).is_err());
    }
}
