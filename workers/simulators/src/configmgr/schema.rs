//! What a class is made of: read from the documentation's own tables (`data/*.json`), never written down twice.
//!
//! # Guarantees
//! A property is known with its type and qualifiers, or the class does not have it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

const CLASSES: &str = include_str!("data/classes.json");
const MORE: &str = include_str!("data/more-classes.json");

/// Read-only according to the documentation, and yet part of every creation that was observed to work.
const OBSERVED_ON_CREATE: [&str; 3] = ["ApplicationName", "CollectionName", "SourceSite"];
/// Newer than the documentation, and part of a creation that was observed to work.
const UNDOCUMENTED_ON_CREATE: [&str; 1] = ["SoftDeadlineEnabled"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    Time,
    /// From, to.
    Number(i64, i64),
    /// An embedded class; not looked into here.
    Embedded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) kind: Kind,
    pub(crate) list: bool,
    pub(crate) read_only: bool,
    pub(crate) not_null: bool,
    /// A parameter that may be left out.
    optional: bool,
    /// Allowed values of an enumeration, by number.
    allowed: Option<Vec<i64>>,
    /// Allowed bits, where they are documented.
    bits: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) properties: BTreeMap<String, Property>,
    pub(crate) keys: Vec<String>,
}

type Classes = BTreeMap<String, Class>;

/// A class or the parameters of a method (`Class.Method`), by its exact name.
pub(crate) fn class(name: &str) -> Option<&'static Class> {
    all().get(name)
}

/// Every class and method that is known.
pub fn known_classes() -> impl Iterator<Item = &'static str> {
    all().keys().map(String::as_str)
}

fn all() -> &'static Classes {
    static ALL: OnceLock<Classes> = OnceLock::new();
    ALL.get_or_init(|| {
        let files = [CLASSES, MORE].map(|text| serde_json::from_str::<Value>(text).unwrap_or_default());
        files.iter().flat_map(read).collect()
    })
}

fn read(file: &Value) -> Classes {
    let enums = &file["enums"];
    let named = file.as_object().into_iter().flatten().filter(|(name, _)| *name != "enums");
    named.map(|(name, body)| (name.clone(), read_class(body, enums))).collect()
}

fn read_class(body: &Value, enums: &Value) -> Class {
    let properties = body["properties"].as_object().or(body["in"].as_object());
    let keys = match &body["key"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    let read = |(name, words): (&String, &Value)| {
        let words = words.as_str().unwrap_or_default();
        (name.clone(), read_property(name, words, enums))
    };
    Class { properties: properties.into_iter().flatten().map(read).collect(), keys }
}

fn read_property(name: &str, words: &str, enums: &Value) -> Property {
    let mut words = words.split(' ');
    let kind = words.next().unwrap_or_default();
    let list = kind.ends_with("[]");
    let kind = match kind.trim_end_matches("[]") {
        "String" => Kind::Text,
        "Boolean" => Kind::Bool,
        "DateTime" => Kind::Time,
        "UInt32" => Kind::Number(0, i64::from(u32::MAX)),
        "SInt32" => Kind::Number(i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => Kind::Embedded,
    };
    let words: Vec<&str> = words.collect();
    let has = |word: &str| words.contains(&word);
    let numbers = |values: &Value| -> Option<Vec<i64>> {
        Some(values.as_object()?.keys().filter_map(|k| k.parse().ok()).collect())
    };
    Property {
        kind,
        list,
        read_only: has("RO") || has("key"),
        not_null: has("not_null"),
        optional: has("optional"),
        allowed: has("enum").then(|| numbers(&enums[name])).flatten(),
        bits: has("bits")
            .then(|| numbers(&enums[format!("{name}(bits)")]))
            .flatten()
            .map(|bits| bits.iter().fold(0, |all, bit| all | bit)),
    }
}

impl Class {
    /// Holds the body of a creation against the class; says what is refused.
    pub(crate) fn check_new(&self, name: &str, body: &Map<String, Value>) -> Result<(), String> {
        for (field, value) in body {
            if UNDOCUMENTED_ON_CREATE.contains(&field.as_str()) {
                continue;
            }
            let property = self.property(name, field)?;
            if property.read_only && !OBSERVED_ON_CREATE.contains(&field.as_str()) {
                return Err(format!("The property '{field}' of '{name}' is read-only."));
            }
            property.check(field, value)?;
        }
        let missing = |(field, p): &(&String, &Property)| {
            p.not_null && !p.read_only && body.get(*field).is_none_or(Value::is_null)
        };
        match self.properties.iter().find(missing) {
            Some((field, _)) => Err(format!("The property '{field}' of '{name}' must not be null.")),
            None => Ok(()),
        }
    }

    /// Holds the parameters of a method against it.
    pub(crate) fn check_call(&self, name: &str, body: &Map<String, Value>) -> Result<(), String> {
        for (field, value) in body {
            self.property(name, field)?.check(field, value)?;
        }
        let missing = |(field, p): &(&String, &Property)| !p.optional && !body.contains_key(*field);
        match self.properties.iter().find(missing) {
            Some((field, _)) => Err(format!("The parameter '{field}' of '{name}' is missing.")),
            None => Ok(()),
        }
    }

    pub(crate) fn property(&self, name: &str, field: &str) -> Result<&Property, String> {
        self.properties.get(field).ok_or_else(|| {
            let field: String = field.chars().take(80).collect();
            format!("Could not find a property named '{field}' on type 'AdminService.{name}'.")
        })
    }
}

impl Property {
    fn check(&self, field: &str, value: &Value) -> Result<(), String> {
        if self.list {
            let list = value.as_array().ok_or_else(|| format!("'{field}' must be a collection."))?;
            return list.iter().try_for_each(|one| self.check_one(field, one));
        }
        if value.is_null() && !self.not_null {
            return Ok(());
        }
        self.check_one(field, value)
    }

    fn check_one(&self, field: &str, value: &Value) -> Result<(), String> {
        let fits = match self.kind {
            Kind::Text => value.is_string(),
            Kind::Bool => value.is_boolean(),
            Kind::Time => value.as_str().is_some_and(is_time),
            Kind::Number(from, to) => value.as_i64().is_some_and(|n| (from..=to).contains(&n)),
            Kind::Embedded => value.is_object(),
        };
        if !fits {
            return Err(format!("Cannot convert the value of '{field}' to the expected type."));
        }
        let number = value.as_i64().unwrap_or_default();
        let foreign = self.allowed.as_ref().is_some_and(|all| !all.contains(&number))
            || self.bits.is_some_and(|all| number & !all != 0);
        if foreign { Err(format!("{number} is not a value of '{field}'.")) } else { Ok(()) }
    }
}

fn is_time(text: &str) -> bool {
    trueup_model::DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read() {
        let assignment = class("SMS_ApplicationAssignment").unwrap();
        assert_eq!(assignment.keys, ["AssignmentID"]);
        assert_eq!(assignment.properties.len(), 46);
        let p = |name: &str| assignment.properties[name].clone();
        assert!(p("ApplicationName").read_only && p("AssignmentID").read_only);
        assert_eq!(p("DesiredConfigType").allowed, Some(vec![1, 2]));
        assert_eq!((p("OfferFlags").bits, p("DPLocality").bits), (Some(63), None));
        assert!(p("AssignedCIs").list && p("AssignedCIs").not_null);
        assert!(class("sms_applicationassignment").is_none(), "casing counts");
        assert!(class("enums").is_none());
    }
}
