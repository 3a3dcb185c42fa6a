//! Configuration: one YAML file, then environment variables over its top-level scalar keys.
//!
//! # Guarantees
//! - A key the struct does not have is refused (`#[serde(deny_unknown_fields)]` on the struct), with the line.
//! - An error names the place (file and line, or the variable), the field, and what to do. It never shows the line's
//!   text or a variable's value: they may hold a password.
//! - At most [`MAX_BYTES`] are read; aliases and nesting are bounded by the parser's own budget.
//!
//! # Environment
//! `TRUEUP_` + the field in capitals: `TRUEUP_REDIS_URL` sets `redis_url`. Only fields of the struct are looked at, so
//! other variables with the same prefix are none of ours. Lists and nested structs belong in the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};

mod fields;

/// Largest file read, in bytes.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// What all our variables begin with.
pub const ENV_PREFIX: &str = "TRUEUP_";

/// Longest value of a variable, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot read the configuration: {source}. Check the path and its permissions", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: larger than {limit} bytes. A configuration is a small YAML file; is this the right one?", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{}: not UTF-8 text. Write the configuration as YAML in UTF-8", path.display())]
    NotText { path: PathBuf },
    /// `place` is `trueup.yaml:3:5` or `environment variable TRUEUP_X`.
    #[error("{place}: {message}. {advice}")]
    Invalid { place: String, message: String, advice: String },
}

/// The configuration from `file` (nothing: only defaults) with this process's environment over it.
///
/// # Errors
/// [`ConfigError`]; each says what to change.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, env_prefix: &str) -> Result<T, ConfigError> {
    load_from(file, env_prefix, |name| std::env::var(name).ok())
}

/// As [`load`], with the environment given as a function from a variable's name to its value.
pub fn load_from<T: DeserializeOwned>(
    file: Option<&Path>,
    env_prefix: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<T, ConfigError> {
    let text = file.map(read).transpose()?.unwrap_or_default();
    let source = Source { file, text: &text, fields: fields::of::<T>(), env_prefix };
    // Once alone, so that a key written twice is refused before an override may repeat it.
    source.check_alone()?;
    source.parse(&source.overrides(env)?)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.into(), limit: MAX_BYTES });
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.into() })
}

/// One override: the variable and the YAML line it becomes.
struct Override {
    variable: String,
    line: String,
}

struct Source<'a> {
    file: Option<&'a Path>,
    text: &'a str,
    fields: &'static [&'static str],
    env_prefix: &'a str,
}

impl Source<'_> {
    fn overrides(&self, env: impl Fn(&str) -> Option<String>) -> Result<Vec<Override>, ConfigError> {
        let mut found = Vec::new();
        for field in self.fields {
            let variable = format!("{}{}", self.env_prefix, field.to_uppercase());
            let Some(value) = env(&variable) else { continue };
            if value.len() > MAX_VALUE_BYTES {
                return Err(ConfigError::Invalid {
                    place: format!("environment variable {variable}"),
                    message: format!("longer than {MAX_VALUE_BYTES} bytes"),
                    advice: "Shorten it, or put it in the file".into(),
                });
            }
            found.push(Override { line: format!("{field}: {}", scalar(&value)), variable });
        }
        let first = self.text.lines().map(str::trim_start).find(|l| !is_empty(l)).unwrap_or_default();
        if !found.is_empty() && first.starts_with('{') {
            return Err(ConfigError::Invalid {
                place: self.place(1, 1),
                message: "the file is written in braces, which cannot be combined with environment variables"
                    .into(),
                advice: "Write one `key: value` per line".into(),
            });
        }
        Ok(found)
    }

    fn check_alone(&self) -> Result<(), ConfigError> {
        if is_empty(self.text) {
            return Ok(());
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Result<std::collections::BTreeMap<String, IgnoredAny>, _> =
            serde_saphyr::from_str_with_options(self.text, options);
        parsed.map(drop).map_err(|e| self.explain(&e, &[]))
    }

    fn parse<T: DeserializeOwned>(&self, overrides: &[Override]) -> Result<T, ConfigError> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        };
        let mut text = self.text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for o in overrides {
            text.push_str(&o.line);
            text.push('\n');
        }
        if is_empty(&text) {
            text = "{}".into();
        }
        serde_saphyr::from_str_with_options(&text, options).map_err(|e| self.explain(&e, overrides))
    }

    /// The overrides stand behind the file's last line, so a line number says which of the two is to blame.
    fn explain(&self, error: &serde_saphyr::Error, overrides: &[Override]) -> ConfigError {
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        let own = self.text.lines().count() as u64;
        let message = bare_message(error);
        if let Some(o) = line.checked_sub(own + 1).and_then(|i| overrides.get(usize::try_from(i).ok()?)) {
            let advice = "Correct or unset the variable; lists and nested settings belong in the file".into();
            return ConfigError::Invalid {
                place: format!("environment variable {}", o.variable),
                message,
                advice,
            };
        }
        let place = self.place(line.min(own.max(1)), column);
        let known: Vec<_> = self.fields.iter().take(40).copied().collect();
        let field = (line > 0).then(|| self.top_level_key(line)).flatten();
        let advice = match field {
            Some(key) if !self.fields.is_empty() && !self.fields.contains(&key) => {
                format!("Remove `{key}` or use one of: {}", known.join(", "))
            }
            Some(key) => format!("Correct the setting `{key}` there"),
            None => format!("The settings are: {}", known.join(", ")),
        };
        ConfigError::Invalid { place, message, advice }
    }

    fn top_level_key(&self, line: u64) -> Option<&str> {
        let lines: Vec<&str> = self.text.lines().take(usize::try_from(line).ok()?).collect();
        lines.into_iter().rev().find_map(|l| {
            let (key, _) = l.split_once(':')?;
            (!key.is_empty() && !key.starts_with([' ', '\t', '#', '-'])).then_some(key.trim())
        })
    }

    fn place(&self, line: u64, column: u64) -> String {
        match self.file {
            Some(path) if line > 0 => format!("{}:{line}:{}", path.display(), column.max(1)),
            Some(path) => path.display().to_string(),
            None => "the configuration".into(),
        }
    }
}

fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|l| l.is_empty() || l.starts_with('#') || l == "---")
}

/// A plain scalar where YAML may read it as a number or a truth value, else a quoted one (JSON strings are YAML).
fn scalar(value: &str) -> String {
    let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    let dashes = value.starts_with('-') && value.parse::<f64>().is_err();
    if plain && !dashes { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

/// The parser's message without its own " at line …" and without the snippet, which could show a secret.
fn bare_message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    first.trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests;
