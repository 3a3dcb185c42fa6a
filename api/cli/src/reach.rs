//! Which API a command speaks to, and with which key: flags and environment first, then the profile.
//!
//! # Guarantees
//! The key of a profile is only ever sent to the URL of that profile.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::args::{DEFAULT_URL, Global};
use crate::client::Client;
use crate::failure::Failure;
use crate::profiles::{Profile, Profiles};

#[derive(Clone)]
pub(crate) struct Reach {
    /// The profile that was named, or the current one.
    pub(crate) profile: String,
    pub(crate) url: String,
    pub(crate) key: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach")
            .field("profile", &self.profile)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Reach {
    /// `may_be_missing`: the named profile need not be there yet.
    pub(crate) fn of(global: &Global, profiles: &Profiles, may_be_missing: bool) -> Result<Self, Failure> {
        let name = global.profile.clone().unwrap_or_else(|| profiles.current().to_owned());
        let profile = match profiles.profiles.get(&name) {
            Some(profile) => profile.clone(),
            None if global.profile.is_none() || may_be_missing => Profile::default(),
            None => {
                return Err(Failure::usage(format!("there is no profile '{name}'"))
                    .at("--profile or TRUEUP_PROFILE")
                    .advise(
                        "`trueup profile ls` shows those that are; `trueup login --profile NAME` makes one",
                    ));
            }
        };
        let stored = Some(profile.url.clone()).filter(|url| !url.is_empty());
        let url = global.url.clone().or_else(|| stored.clone()).unwrap_or_else(|| DEFAULT_URL.into());
        let same = stored.is_some_and(|stored| stored.trim_end_matches('/') == url.trim_end_matches('/'));
        let key = named_key(global)?.or(profile.key.filter(|_| same));
        let ca_file = global.ca_file.clone().or(profile.ca_file.filter(|_| same));
        Ok(Self { profile: name, url, key, ca_file })
    }

    pub(crate) fn client(&self, key: Option<String>) -> Result<Client, Failure> {
        Client::new(&self.url, key, self.ca_file.as_deref())
    }
}

/// A key in a file, without the blanks around it.
pub(crate) fn key_in(path: &Path, place: &str) -> Result<String, Failure> {
    // A mounted secret may be so on purpose, so it is used; who did not mean it is told.
    if std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o007 != 0) {
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: everybody on this host can read {0}: chmod 600 {0}",
            path.display()
        );
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("{}: {e}", path.display())).at(place))?;
    match text.trim() {
        "" => Err(Failure::usage(format!("{}: there is no key in it", path.display())).at(place)),
        key => Ok(key.to_owned()),
    }
}

/// The key from a file or the environment; never from the command line, which others on this host can see.
fn named_key(global: &Global) -> Result<Option<String>, Failure> {
    if let Some(path) = &global.api_key_file {
        return key_in(path, "--api-key-file or TRUEUP_API_KEY_FILE").map(Some);
    }
    let of = |name| std::env::var(name).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    if let Some(key) = of("TRUEUP_API_KEY").or_else(|| of("TRUEUP_TOKEN")) {
        return Ok(Some(key));
    }
    of("TRUEUP_TOKEN_FILE").map(|path| key_in(Path::new(&path), "TRUEUP_TOKEN_FILE")).transpose()
}
