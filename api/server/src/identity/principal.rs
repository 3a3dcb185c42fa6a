//! Who asks.

use sha2::{Digest as _, Sha256};
use trueup_engine::credentials::{Grant, Role};
use trueup_model::Time;

/// Bytes of a name, as far as it is shown and kept in events.
const MAX_NAME: usize = 128;

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By being on this host, where the API serves without authentication.
    Local,
    Key,
    Oidc,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Key => "key",
            Self::Oidc => "oidc",
        }
    }
}

/// Somebody whose identity was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: Kind,
    /// Id of the key, or subject of the token, without control characters.
    pub name: String,
    pub grants: Vec<Grant>,
    /// When the proof ends.
    pub expires_at: Option<Time>,
}

impl Principal {
    /// A program on this host: may do everything.
    pub fn local() -> Self {
        Self {
            kind: Kind::Local,
            name: "local".into(),
            grants: vec![Grant::everywhere(Role::Admin)],
            expires_at: None,
        }
    }

    pub fn new(kind: Kind, name: &str, grants: Vec<Grant>, expires_at: Option<Time>) -> Self {
        let plain = |c: char| if c.is_control() || c.is_whitespace() { '?' } else { c };
        let mut shown: String = name.chars().map(plain).collect();
        shown.truncate(shown.floor_char_boundary(MAX_NAME));
        if shown != name {
            // Two who are shown alike stay two.
            let hash = Sha256::digest(name.as_bytes());
            shown += &hash.iter().take(8).fold("~".to_owned(), |text, byte| text + &format!("{byte:02x}"));
        }
        Self { kind, name: shown, grants, expires_at }
    }

    /// As it stands in events: from where, and who.
    pub fn actor(&self) -> String {
        match self.kind {
            Kind::Local => "api:local".into(),
            kind => format!("api:{}:{}", kind.as_str(), self.name),
        }
    }
}
