//! Who last set which field of a manifest, where those who apply it say who they are.
//!
//! # Guarantees
//! A field without an owner may be set by anybody. What is kept is bounded by [`MAX_MANAGERS`] names and the fields of one
//! manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Different names among the owners of one manifest.
pub const MAX_MANAGERS: usize = 16;
/// Bytes of one name.
pub const MAX_MANAGER: usize = 64;

/// By field, as a JSON pointer into the manifest (`/desired/version`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Owners(BTreeMap<String, BTreeSet<String>>);

impl Owners {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who owns a field.
    pub fn of(&self, field: &str) -> impl Iterator<Item = &str> {
        self.0.get(field).into_iter().flatten().map(String::as_str)
    }

    /// The fields that somebody owns.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Everybody who owns something.
    pub fn managers(&self) -> BTreeSet<&str> {
        self.0.values().flatten().map(String::as_str).collect()
    }

    /// One more owner.
    pub fn claim(&mut self, field: &str, manager: &str) {
        self.0.entry(field.to_owned()).or_default().insert(manager.to_owned());
    }

    /// The only owner from now on.
    pub fn take(&mut self, field: &str, manager: &str) {
        self.0.insert(field.to_owned(), BTreeSet::from([manager.to_owned()]));
    }

    /// Gives a field up; true if nobody is left who owns it.
    pub fn release(&mut self, field: &str, manager: &str) -> bool {
        let Some(owners) = self.0.get_mut(field) else { return true };
        owners.remove(manager);
        let nobody = owners.is_empty();
        if nobody {
            self.0.remove(field);
        }
        nobody
    }

    /// Nobody owns it from now on.
    pub fn forget(&mut self, field: &str) {
        self.0.remove(field);
    }
}

/// Whether somebody can be called that: 1 to [`MAX_MANAGER`] letters, digits, `-`, `_`, `.`, `@`, `/` and `:`.
pub fn is_manager(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@/:".contains(&b);
    (1..=MAX_MANAGER).contains(&name.len()) && name.bytes().all(plain)
}
