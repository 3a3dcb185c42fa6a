//! Credentials: where they are read from, and a type that does not print them.
//!
//! # Guarantees
//! A configuration names a file or an environment variable, never a value. `Debug` of a [`Secret`] shows nothing of
//! it; errors name the source, not the content.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::ConfigError;

/// A credential. Printed as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// For the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a credential is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// The name of an environment variable.
    Env(String),
    /// A file; white space at its end is cut.
    File(PathBuf),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl SecretRef {
    /// Exactly one of the two configuration keys must be there.
    pub fn one_of(field: &str, file: Option<&PathBuf>, env: Option<&String>) -> Result<Self, ConfigError> {
        match (file, env) {
            (Some(path), None) => Ok(Self::File(path.clone())),
            (None, Some(name)) => Ok(Self::Env(name.clone())),
            _ => Err(ConfigError::Invalid(format!("give exactly one of {field}_file and {field}_env"))),
        }
    }
}

/// Reads credentials when a connection is made.
pub trait Secrets: Send + Sync {
    fn read(&self, from: &SecretRef) -> Result<Secret, ConfigError>;
}

/// The host's environment and files.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostSecrets;

/// Longest credential file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

impl Secrets for HostSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, ConfigError> {
        let missing = |why: String| ConfigError::Secret(format!("cannot read {from}: {why}"));
        let text = match from {
            SecretRef::Env(name) => std::env::var(name).map_err(|e| missing(e.to_string()))?,
            SecretRef::File(path) => {
                let size = std::fs::metadata(path).map_err(|e| missing(e.to_string()))?.len();
                if size > MAX_FILE {
                    return Err(missing(format!("it has {size} bytes, more than {MAX_FILE}")));
                }
                std::fs::read_to_string(path).map_err(|e| missing(e.to_string()))?
            }
        };
        not_empty(from, text.trim_end())
    }
}

/// Credentials held in memory, by the name of the environment variable. For simulators and tests.
#[derive(Clone, Default)]
pub struct FixedSecrets(pub BTreeMap<String, Secret>);

impl Secrets for FixedSecrets {
    fn read(&self, from: &SecretRef) -> Result<Secret, ConfigError> {
        match from {
            SecretRef::Env(name) if self.0.contains_key(name) => not_empty(from, self.0[name].expose()),
            other => HostSecrets.read(other),
        }
    }
}

fn not_empty(from: &SecretRef, text: &str) -> Result<Secret, ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::Secret(format!("{from} is empty")));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
    }

    #[test]
    fn errors_name_the_source() {
        let e = HostSecrets.read(&SecretRef::File("does/not/exist".into())).unwrap_err().to_string();
        assert!(e.contains("does/not/exist"), "{e}");
        let e = HostSecrets.read(&SecretRef::Env("TRUEUP_TEST_UNSET".into())).unwrap_err().to_string();
        assert!(e.contains("TRUEUP_TEST_UNSET"), "{e}");
    }

    #[test]
    fn exactly_one_source() {
        let (file, env) = (PathBuf::from("f"), "E".to_owned());
        assert!(SecretRef::one_of("client_secret", Some(&file), Some(&env)).is_err());
        assert!(SecretRef::one_of("client_secret", None, None).is_err());
        assert_eq!(SecretRef::one_of("client_secret", None, Some(&env)).unwrap(), SecretRef::Env(env));
    }
}
