//! Who set which field, and what becomes of a manifest when somebody applies a part of it: server-side apply, as in
//! Kubernetes, on JSON trees. Pure.
//!
//! # Guarantees
//! - A field is a leaf of the manifest (`/desired/version`, `/labels/team`); a list is one field. `id` and `tenant` are nobody's.
//! - Who applies a part owns the fields it names, and gives up those it named before and names no longer: what nobody owns
//!   then is taken out of the manifest.
//! - Another value for somebody else's field is a conflict that names the field and its owners, unless it is forced; the same
//!   value is shared.
//! - Who writes without saying who they are takes nothing into possession; what they change is nobody's afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use trueup_model::intent::Manifest;
use trueup_model::owners::{MAX_MANAGERS, Owners};
use trueup_model::{Intent, IntentRecord};
use utoipa::ToSchema;

use crate::manifest;
use crate::problem::Flaw;

/// How one field changes. `null` is absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldChange {
    /// JSON pointer into the manifest.
    pub field: String,
    pub before: Value,
    pub after: Value,
    /// Who owns it before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
}

/// Why a write cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid(Flaw),
    /// Fields that belong to others.
    Conflicts(Vec<Flaw>),
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manager<'a> {
    pub name: &'a str,
    /// Takes fields that belong to others.
    pub force: bool,
}

/// What is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub intent: Intent,
    pub owners: Owners,
    pub diff: Vec<FieldChange>,
}

type Leaves = BTreeMap<String, Value>;

/// Applies a part of a manifest to what is there.
pub(crate) fn apply(live: Option<&IntentRecord>, part: &Value, by: Manager<'_>) -> Result<Outcome, Refusal> {
    let named = leaves(part);
    let mut owners = live.map(|r| r.owners.clone()).unwrap_or_default();
    let mut tree = live.map_or_else(|| Value::Object(Map::new()), tree_of);
    let given_up: Vec<String> = owners
        .fields()
        .filter(|f| owners.of(f).any(|m| m == by.name) && !named.contains_key(*f))
        .map(str::to_owned)
        .collect();
    for field in &given_up {
        if owners.release(field, by.name) {
            remove(&mut tree, field);
        }
    }
    for (field, value) in identity(part).chain(&named) {
        set(&mut tree, field, value.clone());
    }
    let intent = manifest::read(&tree).map_err(Refusal::Invalid)?;
    settle(live, intent, owners, named.keys(), Some(by))
}

/// Changes fields of what is there (RFC 7396: `null` removes one).
pub(crate) fn patch(live: &IntentRecord, patch: &Value, by: Option<Manager<'_>>) -> Result<Outcome, Refusal> {
    let mut tree = tree_of(live);
    merge(&mut tree, patch);
    let intent = manifest::read(&tree).map_err(Refusal::Invalid)?;
    replace(Some(live), intent, by)
}

/// A whole manifest in place of what is there. Only fields that change are touched.
pub(crate) fn replace(
    live: Option<&IntentRecord>,
    intent: Intent,
    by: Option<Manager<'_>>,
) -> Result<Outcome, Refusal> {
    let owners = live.map(|r| r.owners.clone()).unwrap_or_default();
    let changed: Vec<String> = diff(live, &intent).into_iter().map(|c| c.field).collect();
    settle(live, intent, owners, changed.iter(), by)
}

/// Gives the fields that somebody wrote to their new owner, and takes from owners what they lost.
fn settle<'a>(
    live: Option<&IntentRecord>,
    intent: Intent,
    mut owners: Owners,
    written: impl Iterator<Item = &'a String>,
    by: Option<Manager<'_>>,
) -> Result<Outcome, Refusal> {
    let diff = diff(live, &intent);
    let changed: BTreeSet<&str> = diff.iter().map(|c| c.field.as_str()).collect();
    let there = leaves(&tree(&intent));
    let mut conflicts = Vec::new();
    for field in written {
        let Some(by) = by else {
            owners.forget(field);
            continue;
        };
        let others: Vec<&str> = owners.of(field).filter(|m| *m != by.name).collect();
        let takes = changed.contains(field.as_str()) && !others.is_empty();
        if takes && !by.force {
            let before = diff.iter().find(|c| c.field == *field).map(|c| c.before.to_string());
            let before: String = before.unwrap_or_default().chars().take(100).collect();
            conflicts.push(Flaw::new(field, format!("owned by {} with {before}", others.join(", "))));
        } else if !there.contains_key(field) {
            // Absent, or the default, which is not written down.
            if takes || others.is_empty() {
                owners.forget(field);
            }
        } else if takes {
            owners.take(field, by.name);
        } else {
            owners.claim(field, by.name);
        }
    }
    if !conflicts.is_empty() {
        return Err(Refusal::Conflicts(conflicts));
    }
    // What went away with something else belongs to nobody.
    let gone: Vec<String> = owners.fields().filter(|f| !there.contains_key(*f)).map(str::to_owned).collect();
    gone.iter().for_each(|field| owners.forget(field));
    if owners.managers().len() > MAX_MANAGERS {
        let why = format!("more than {MAX_MANAGERS} field managers own fields of one intent");
        return Err(Refusal::Invalid(Flaw::new("?field_manager", why)));
    }
    Ok(Outcome { intent, owners, diff })
}

/// Field by field, what storing it would change.
pub(crate) fn diff(live: Option<&IntentRecord>, intent: &Intent) -> Vec<FieldChange> {
    let (before, after) = (live.map(|r| leaves(&tree_of(r))).unwrap_or_default(), leaves(&tree(intent)));
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &Leaves, field: &String| of.get(field).cloned().unwrap_or(Value::Null);
    fields
        .into_iter()
        .map(|field| FieldChange {
            before: value(&before, field),
            after: value(&after, field),
            owners: live.iter().flat_map(|r| r.owners.of(field)).map(str::to_owned).collect(),
            field: field.clone(),
        })
        .filter(|c| c.before != c.after)
        .collect()
}

fn tree_of(record: &IntentRecord) -> Value {
    tree(&record.intent)
}

fn tree(intent: &Intent) -> Value {
    serde_json::to_value(Manifest::from(intent.clone())).unwrap_or_default()
}

/// The two fields that say which intent it is.
fn identity(tree: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static ID: std::sync::LazyLock<[(String, &str); 2]> =
        std::sync::LazyLock::new(|| [("/id".to_owned(), "id"), ("/tenant".to_owned(), "tenant")]);
    ID.iter().filter_map(|(pointer, name)| Some((pointer, tree.get(*name)?)))
}

fn leaves(tree: &Value) -> Leaves {
    fn into(found: &mut Leaves, at: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    into(found, &format!("{at}/{name}"), value);
                }
            }
            Value::Null => {}
            leaf => {
                found.insert(at.to_owned(), leaf.clone());
            }
        }
    }
    let mut found = Leaves::new();
    into(&mut found, "", tree);
    found.remove("/id");
    found.remove("/tenant");
    found
}

fn names(field: &str) -> Vec<String> {
    field.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

fn set(tree: &mut Value, field: &str, value: Value) {
    let mut at = tree;
    for name in names(field) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(fields) = at else { return };
        at = fields.entry(name).or_insert(Value::Null);
    }
    *at = value;
}

/// Takes a field away, and the objects that are empty without it.
fn remove(tree: &mut Value, field: &str) {
    fn inner(at: &mut Value, names: &[String]) {
        let (Value::Object(fields), Some((first, rest))) = (at, names.split_first()) else { return };
        if rest.is_empty() {
            fields.remove(first);
        } else if let Some(below) = fields.get_mut(first) {
            inner(below, rest);
            if below.as_object().is_some_and(Map::is_empty) {
                fields.remove(first);
            }
        }
    }
    inner(tree, &names(field));
}

/// RFC 7396.
fn merge(tree: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *tree = patch.clone();
        return;
    };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    let Value::Object(fields) = tree else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests;
