//! What a payload is about: tenants, intents, runs. Reads the tree, not the types, so that it also says something of payloads
//! that another version wrote or that were cut.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::PlaneKind;

/// Intents and runs named of one job.
const MOST: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct About {
    pub tenants: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<PlaneKind>,
    /// `TENANT/ID`, the first 64.
    pub intents: Vec<String>,
    /// The first 64.
    pub runs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl About {
    pub fn of(payload: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(payload) {
            Ok(tree) => Self::of_tree(&tree),
            Err(_) => Self { tenants: tenants_in(payload), ..Self::default() },
        }
    }

    pub fn of_tree(tree: &Value) -> Self {
        let mut about = Self::default();
        about.take(tree);
        for list in ["checks", "seen"] {
            let items = tree.get(list).and_then(Value::as_array);
            items.into_iter().flatten().for_each(|item| about.take(item));
        }
        let only = tree.get("only").and_then(Value::as_array);
        only.into_iter().flatten().filter_map(Value::as_str).for_each(|i| about.intent(i));
        tree.get("deliver").into_iter().for_each(|d| about.take(d));
        about
    }

    fn take(&mut self, item: &Value) {
        let text = |field: &str| item.get(field).and_then(Value::as_str);
        if let Some(tenant) = text("tenant") {
            self.tenants.insert(tenant.to_owned());
        }
        if let Some(intent) = text("intent") {
            self.intent(intent);
        }
        if let Some(run) = text("run").filter(|_| self.runs.len() < MOST) {
            self.runs.push(run.to_owned());
        }
        let plane = item.get("plane").cloned().and_then(|p| serde_json::from_value(p).ok());
        self.plane = self.plane.or(plane);
        self.correlation_id =
            self.correlation_id.take().or_else(|| text("correlation_id").map(str::to_owned));
    }

    fn intent(&mut self, name: &str) {
        if let Some((tenant, _)) = name.split_once('/') {
            self.tenants.insert(tenant.to_owned());
            if self.intents.len() < MOST {
                self.intents.push(name.to_owned());
            }
        }
    }
}

/// Of a payload that was cut: what stands behind `"tenant":"` and `"intent":"`. Text inside of JSON strings has its quotes
/// escaped, so it is not taken for these.
fn tenants_in(payload: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(payload);
    let behind = |key: &'static str, ends: &'static [char]| {
        text.split(key).skip(1).filter_map(move |rest| rest.split(ends).next()).map(str::to_owned)
    };
    behind("\"tenant\":\"", &['"']).chain(behind("\"intent\":\"", &['/', '"'])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(about: &About) -> Vec<&str> {
        about.tenants.iter().map(String::as_str).collect()
    }

    #[test]
    fn says_what_it_finds_and_nothing_else() {
        let table: [(&str, &[&str], usize); 7] = [
            (r#"{"v":1,"step":"emit","intent":"acme/a","run":"run_1"}"#, &["acme"], 1),
            (
                r#"{"tenant":"acme","plane":"intune","checks":[{"intent":"acme/a"},{"intent":"acme/b"}]}"#,
                &["acme"],
                2,
            ),
            (r#"{"plane":"jamf","seen":[{"intent":"b/a"},{"intent":"a/b"}]}"#, &["a", "b"], 2),
            (r#"{"only":["acme/a","zeta/b"]}"#, &["acme", "zeta"], 2),
            (r#"{"partition":0}"#, &[], 0),
            (r#"[1,2]"#, &[], 0),
            (
                r#"{"tenant":"acme","checks":[{"intent":"zeta/a","note":"\"tenant\":\"no\""},{"int"#,
                &["acme", "zeta"],
                0,
            ),
        ];
        for (payload, expected, intents) in table {
            let about = About::of(payload.as_bytes());
            assert_eq!((tenants(&about), about.intents.len()), (expected.to_vec(), intents), "{payload}");
        }
        assert_eq!(About::of(b"\xff\xfe"), About::default());
    }
}
