//! Plans are data: what would be done, in order, before anything is done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::intent::{Install, Scope};
use crate::{Digest, DriftKind};

/// ONE outside effect. Every action can be repeated without doing more than once what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// Make the application reach exactly these scopes among those named (others are left as they are).
    Assign {
        app: String,
        install: Install,
        include: BTreeSet<Scope>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        exclude: BTreeSet<Scope>,
        /// Scopes that must lose their assignment.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        remove: BTreeSet<Scope>,
    },
    /// Take scopes away from an application that the target replaces.
    Unassign { app: String, remove: BTreeSet<Scope> },
    /// Start the compliance remedy: a sync of these devices (Intune), a run of the playbook (Ansible, no devices).
    Comply {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Planned {
    pub action: Action,
    /// Which drift it answers.
    pub kind: DriftKind,
    /// For people: what will change.
    pub summary: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    pub actions: Vec<Planned>,
    /// Over the generation, the digests of the drifts and the actions.
    pub digest: Digest,
}

impl Plan {
    pub fn new(generation: u64, drifts: &[&Digest], actions: Vec<Planned>) -> Self {
        let digest = Digest::of(&(generation, drifts, &actions));
        Self { actions, digest }
    }
}

/// What a plane says after it accepted an action. Acceptance is not success: only a later observation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// For people, e.g. `204 from POST …/assign`.
    pub note: String,
    /// Whether anything had to be changed.
    pub changed: bool,
}
