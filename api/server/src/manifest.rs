//! Reading one manifest: from a JSON tree to an [`Intent`], with errors that name the field and suggest the word meant.
//!
//! Also used by the command line, so that both say the same.

use serde_json::Value;
use trueup_model::Intent;
use trueup_model::intent::Manifest;

use crate::problem::Flaw;

/// What is an object wherever it is.
const OBJECTS: [&str; 6] = [
    "/desired",
    "/desired/assignment",
    "/target",
    "/target/compliance",
    "/target/compliance/remedy",
    "/target/compliance/remedy/client_operation",
];

/// Reads and checks one manifest.
pub fn read(tree: &Value) -> Result<Intent, Flaw> {
    if !tree.is_object() {
        return Err(Flaw::new("", format!("expected a manifest (an object), got {}", name_of(tree))));
    }
    // serde would take an array for a struct, field by field.
    if let Some(place) = OBJECTS.iter().find(|place| tree.pointer(place).is_some_and(Value::is_array)) {
        return Err(Flaw::new(*place, "expected an object, got an array"));
    }
    let manifest: Manifest = serde_path_to_error::deserialize(tree).map_err(|e| {
        let said = e.inner().to_string();
        Flaw::new(pointer(e.path()), with_suggestion(&said))
    })?;
    check(manifest)
}

/// Checks a manifest that was read already.
pub fn check(manifest: Manifest) -> Result<Intent, Flaw> {
    Intent::try_from(manifest).map_err(|said| match said.split_once(": ") {
        Some((field, rest)) if is_field(field) => {
            Flaw::new(format!("/{}", field.replace('.', "/")), with_suggestion(rest))
        }
        _ => Flaw::new("", with_suggestion(&said)),
    })
}

fn is_field(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'))
}

fn name_of(tree: &Value) -> &'static str {
    match tree {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |text, segment| match segment {
        Segment::Seq { index } => format!("{text}/{index}"),
        Segment::Map { key } => format!("{text}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("{text}/{variant}"),
        Segment::Unknown => text,
    })
}

/// Adds "did you mean" to what serde and the model say about an unknown word: "unknown field `verson`, expected one of
/// `assignment`, `version`" or "unknown plane 'intun' (known: intune, jamf, …)".
pub fn with_suggestion(said: &str) -> String {
    let found = if said.starts_with("unknown field `") || said.starts_with("unknown variant `") {
        of_serde(said)
    } else {
        of_model(said)
    };
    let Some((wrong, known)) = found else { return said.to_owned() };
    match closest(wrong, known) {
        Some(best) => format!("{said}; did you mean '{best}'?"),
        None => said.to_owned(),
    }
}

/// The wrong word and the known ones. The parsers differ in whether they quote the latter.
fn of_serde(said: &str) -> Option<(&str, Vec<&str>)> {
    let wrong = said.split('`').nth(1)?;
    let (_, list) = said.split_once(", expected ")?;
    let list = list.strip_prefix("one of ").unwrap_or(list);
    let known = list.split(", ").flat_map(|part| part.split(" or ")).map(|word| word.trim_matches('`'));
    Some((wrong, known.collect()))
}

fn of_model(said: &str) -> Option<(&str, Vec<&str>)> {
    let wrong = said.strip_prefix("unknown ")?.split('\'').nth(1)?;
    let (_, list) = said.split_once("(known: ")?;
    Some((wrong, list.trim_end_matches(')').split(", ").collect()))
}

/// The known word that somebody probably meant: at most a third of its letters differ.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > 64 {
        return None;
    }
    let (distance, best) = known.into_iter().map(|k| (edits(wrong, k), k)).min()?;
    (distance > 0 && distance <= (best.chars().count() / 3).max(1)).then_some(best)
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Value {
        json!({
            "id": "firefox", "tenant": "acme", "plane": "intune", "criticality": "high", "ring": "lab",
            "target": {"app_id": "0177548a-548a-0177-8a54-77018a547701", "app_name": "Firefox"},
            "desired": {"version": "126.0"},
        })
    }

    #[test]
    fn a_good_manifest_is_an_intent() {
        assert_eq!(read(&manifest()).unwrap().key.to_string(), "acme/firefox");
    }

    #[test]
    fn flaws_name_the_field_and_suggest() {
        let table: [(&str, Value, &str, &str); 12] = [
            ("/desired", json!([null, "126.0"]), "/desired", "expected an object, got an array"),
            ("/target", json!(["x", "Firefox"]), "/target", "expected an object, got an array"),
            ("/criticalty", json!("high"), "", "did you mean 'criticality'?"),
            ("/criticality", json!("hihg"), "/criticality", "did you mean 'high'?"),
            ("/plane", json!("intun"), "/plane", "did you mean 'intune'?"),
            ("/plane", json!("mainframe"), "/plane", "(known: intune, jamf, configmgr, ansible)"),
            ("/desired/verson", json!("1"), "/desired", "did you mean 'version'?"),
            ("/desired/version", json!(126.5), "/desired/version", "expected a string"),
            ("/id", json!("Has Space"), "/id", "must be 1 to 128 of"),
            ("/target/app_id", json!("7"), "/target", "is not the GUID"),
            ("/target/app_nam", json!("x"), "/target", "did you mean 'app_name'?"),
            ("/ring", json!(null), "/ring", "ring"),
        ];
        for (at, value, pointer, expected) in table {
            let mut tree = manifest();
            let (parent, name) = at.rsplit_once('/').unwrap();
            tree.pointer_mut(parent).unwrap()[name] = value;
            let flaw = read(&tree).unwrap_err();
            assert!(flaw.detail.contains(expected), "{at}: {flaw:?}");
            assert!(flaw.pointer.starts_with(pointer), "{at}: {flaw:?}");
        }
        for tree in [json!(null), json!([]), json!("x"), json!(7)] {
            assert!(read(&tree).unwrap_err().detail.contains("expected a manifest"), "{tree}");
        }
    }

    #[test]
    fn both_ways_to_say_it_are_understood() {
        let table = [
            ("unknown field `verson`, expected one of `assignment`, `version`", Some("version")),
            ("unknown field `verson`, expected one of assignment, version", Some("version")),
            ("unknown field `includ`, expected `install` or `include`", Some("include")),
            ("unknown variant `grup`, expected `group`", Some("group")),
            ("unknown queue 'sweeep' (known: sweep, emit)", Some("sweep")),
            ("unknown field `zzz`, expected one of a, b", None),
            ("unknown", None),
            ("unknown field `", None),
            ("unknown plane '", None),
            ("invalid type: null", None),
        ];
        for (said, expected) in table {
            let told = with_suggestion(said);
            assert!(told.starts_with(said));
            assert_eq!(
                told.split("did you mean '").nth(1).map(|t| t.trim_end_matches("'?")),
                expected,
                "{said}"
            );
        }
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let table = [
            ("verison", Some("version")),
            ("compliant", None),
            ("zzz", None),
            ("assignmet", Some("assignment")),
        ];
        for (wrong, expected) in table {
            assert_eq!(closest(wrong, ["assignment", "version", "compliant"]), expected, "{wrong}");
        }
    }
}
