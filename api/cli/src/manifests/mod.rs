//! Manifests from files: found, bounded, parsed and checked before anything is sent.
//!
//! # Guarantees
//! - A file is read up to [`MAX_FILE`]; a YAML bomb is stopped by the parser's budget.
//! - Every flaw names file, document and, where it is known, line and field. All flaws are reported, not just the first.
//! - An id that stands twice, in one file or in two, is refused in both places.

mod documents;
mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use trueup_model::{Intent, IntentKey};

/// Largest file read, in bytes.
pub(crate) const MAX_FILE: u64 = 8 * 1024 * 1024;
/// Most manifests in one call.
pub(crate) const MAX_MANIFESTS: usize = 1_000_000;

/// Where a manifest stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    /// From 1; nothing if the trouble is the file itself.
    pub(crate) document: Option<usize>,
    pub(crate) line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match self.document {
            Some(n) => write!(f, " (document {n})"),
            None => Ok(()),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) place: Place,
    /// As `desired.version`.
    pub(crate) field: Option<String>,
    pub(crate) what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}: {field}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) place: Place,
    pub(crate) intent: Intent,
}

/// All manifests of these files, folders (`*.yaml`, `*.yml`, `*.json`, `*.ndjson`, `*.jsonl`, sorted) and stdin (`-`).
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<Loaded>, Vec<Flaw>> {
    let (mut loaded, mut flaws) = (Vec::new(), Vec::new());
    for found in files::find(paths) {
        match found {
            Ok(source) => {
                for read in documents::read(&source) {
                    match read {
                        Ok(one) if loaded.len() < MAX_MANIFESTS => loaded.push(one),
                        Ok(one) => {
                            let what = format!("more than {MAX_MANIFESTS} manifests; apply them in parts");
                            flaws.push(Flaw { place: one.place, field: None, what });
                            return Err(flaws);
                        }
                        Err(flaw) => flaws.push(flaw),
                    }
                }
            }
            Err(flaw) => flaws.push(flaw),
        }
    }
    flaws.extend(duplicates(&loaded));
    if flaws.is_empty() { Ok(loaded) } else { Err(flaws) }
}

fn duplicates(loaded: &[Loaded]) -> Vec<Flaw> {
    let mut first: BTreeMap<&IntentKey, &Place> = BTreeMap::new();
    let mut flaws = Vec::new();
    for Loaded { place, intent } in loaded {
        match first.get(&intent.key) {
            None => {
                first.insert(&intent.key, place);
            }
            Some(other) => flaws.push(Flaw {
                place: place.clone(),
                field: Some("id".into()),
                what: format!("{} stands at {other} already; keep one", intent.key),
            }),
        }
    }
    flaws
}

#[cfg(test)]
mod tests;
