//! Bodies of which there are alternatives.

use serde::Serialize;
use trueup_model::IntentKey;

use crate::types::Manifest;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Ask {
    One {
        intent: IntentKey,
    },
    /// At most 10,000.
    Many {
        intents: Vec<IntentKey>,
    },
    /// A tenant's, all or those with certain labels: `env=prod,tier!=gold,region in (a,b),!old`.
    Selected {
        tenant: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        selector: Option<String>,
    },
}

/// Manifests to be stored: at most 20,000.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(Box<Manifest>),
    Many(Vec<Manifest>),
}

/// Fields of a manifest as they are to be.
pub type ManifestPart = serde_json::Map<String, serde_json::Value>;
