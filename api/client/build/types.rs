//! The document's schemas as Rust types.

use std::error::Error;

use proc_macro2::TokenStream;
use schemars::schema::Schema;
use serde_json::{Map, Value};
use typify_impl::{MapType, TypeSpace, TypeSpaceImpl, TypeSpaceSettings};

/// Schemas whose Rust types are the vocabulary's own, by the same name.
pub(crate) const OF_THE_MODEL: &[&str] = &[
    "Approval",
    "ApprovalId",
    "ApprovalKind",
    "ApprovalState",
    "Condition",
    "CorrelationId",
    "Criticality",
    "Delta",
    "Digest",
    "DriftKind",
    "Event",
    "EventId",
    "EventKind",
    "Finding",
    "FindingId",
    "IntentKey",
    "IntentRecord",
    "JobId",
    "Mode",
    "Partition",
    "PlaneKind",
    "ReconciliationId",
    "Ring",
    "RunId",
    "Severity",
    "Status",
    "StepName",
    "Trigger",
    "Verdict",
];

/// Written by hand in `src/bodies.rs`, where the document has alternatives that have no names.
pub(crate) const BY_HAND: &[&str] = &["Ask", "ManifestPart", "OneOrMany"];

pub(crate) fn of(document: &Value) -> Result<TokenStream, Box<dyn Error>> {
    let mut settings = TypeSpaceSettings::default();
    settings.with_map_type(MapType::from("::std::collections::BTreeMap".to_owned()));
    for name in OF_THE_MODEL {
        settings.with_replacement(
            name,
            format!("::trueup_model::{name}"),
            std::iter::empty::<TypeSpaceImpl>(),
        );
    }
    for name in BY_HAND {
        settings.with_replacement(name, format!("crate::{name}"), std::iter::empty::<TypeSpaceImpl>());
    }
    let mut space = TypeSpace::new(&settings);
    let schemas = document["components"]["schemas"].as_object().ok_or("the document has no schemas")?;
    let mut types = Vec::new();
    for (name, schema) in schemas {
        let mut schema = schema.clone();
        as_json_schema(&mut schema);
        types.push((name.clone(), serde_json::from_value::<Schema>(schema)?));
    }
    space.add_ref_types(types)?;
    Ok(space.to_stream())
}

/// OpenAPI's schema as the JSON Schema that typify reads. What the server will accept is for the server to say, and what it
/// answers may grow: bounds and "nothing else" are left out.
fn as_json_schema(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(to)) = object.get("$ref") {
                let to = to.replace("#/components/schemas/", "#/definitions/");
                *object = Map::from_iter([("$ref".to_owned(), Value::String(to))]);
                return;
            }
            if object.get("minimum").and_then(Value::as_f64) >= Some(0.0)
                && let Some(Value::String(format)) = object.get_mut("format")
                && format.starts_with("int")
            {
                format.insert(0, 'u');
            }
            for bound in BOUNDS {
                object.remove(*bound);
            }
            if object.get("additionalProperties") == Some(&Value::Bool(false)) {
                object.remove("additionalProperties");
            }
            object.values_mut().for_each(as_json_schema);
        }
        Value::Array(list) => list.iter_mut().for_each(as_json_schema),
        _ => {}
    }
}

const BOUNDS: &[&str] = &[
    "default",
    "example",
    "examples",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "propertyNames",
    "uniqueItems",
];
