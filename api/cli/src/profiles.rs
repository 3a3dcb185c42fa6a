//! Profiles: where an API is and the key for it, kept in the user's configuration folder.
//!
//! # Guarantees
//! - The file is readable by its owner only, and replaced as a whole; one that others can read is refused.
//! - A key is never printed: not in errors, not in `Debug`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// The name of the profile that nobody named.
pub(crate) const DEFAULT: &str = "default";
/// Largest file read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// An API and how to be let in.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|_| "…");
        f.debug_struct("Profile").field("url", &self.url).field("key", &key).finish_non_exhaustive()
    }
}

/// All of a user's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// Which one is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Profile>,
    /// `None`: this user has no configuration folder.
    #[serde(skip)]
    path: Option<PathBuf>,
}

/// `$XDG_CONFIG_HOME/trueup/profiles.json`, or below `~/.config`.
fn path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("trueup").join("profiles.json"))
}

fn failed(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the profiles: {why}")).at(path.display().to_string())
}

impl Profiles {
    /// Those of this user; none if nothing was ever stored.
    pub(crate) fn load() -> Result<Self, Failure> {
        path().map_or_else(|| Ok(Self::default()), Self::load_from)
    }

    fn load_from(path: PathBuf) -> Result<Self, Failure> {
        let about = match std::fs::metadata(&path) {
            Ok(about) => about,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: Some(path), ..Self::default() });
            }
            Err(e) => return Err(failed(&path, e)),
        };
        if about.permissions().mode() & 0o077 != 0 {
            let advice = format!(
                "others on this host could read the keys: chmod 600 {}, and rotate them",
                path.display()
            );
            return Err(failed(&path, "not only its owner may read the file").advise(advice));
        }
        if about.len() > MAX_BYTES {
            return Err(failed(&path, "the file is too large to be ours"));
        }
        let text = std::fs::read(&path).map_err(|e| failed(&path, e))?;
        // What serde quotes could be a key: the place is enough.
        let read: Self = serde_json::from_slice(&text).map_err(|e| {
            failed(&path, format!("cannot be read at line {}, column {}", e.line(), e.column()))
                .advise("mend or remove the file, then `trueup login`")
        })?;
        Ok(Self { path: Some(path), ..read })
    }

    /// Stores them; the file is never there in part, and never readable by others.
    pub(crate) fn store(&self) -> Result<&Path, Failure> {
        let Some(path) = self.path.as_deref() else {
            return Err(Failure::new(Exit::Failed, "there is no folder to keep profiles in")
                .advise("set HOME or XDG_CONFIG_HOME, or name the key with TRUEUP_API_KEY_FILE"));
        };
        let wrong = |e: std::io::Error| failed(path, e);
        let folder = path.parent().unwrap_or(path);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong)?;
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| failed(path, e))?;
        text.push(b'\n');
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let write = || {
            // What a process of the same id left behind.
            let _ = std::fs::remove_file(&beside);
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&beside))).map_err(wrong)?;
        Ok(path)
    }

    /// The name of the one in use, if none is named.
    pub(crate) fn current(&self) -> &str {
        self.current.as_deref().unwrap_or(DEFAULT)
    }
}
