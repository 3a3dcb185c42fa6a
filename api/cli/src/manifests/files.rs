//! Finding and reading files, each bounded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Flaw, MAX_FILE, Place};

/// How a file's text is cut into documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Yaml,
    Json,
    Ndjson,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) text: String,
}

/// Folders below the one that was named.
const MAX_DEPTH: usize = 16;
/// Most files in one call.
const MAX_FILES: usize = 10_000;

/// The files in a fixed order: as named, folders sorted.
pub(super) fn find(paths: &[PathBuf]) -> impl Iterator<Item = Result<Source, Flaw>> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Ok(path.clone()));
        } else if path.is_dir() {
            let before = found.len();
            walk(path, 0, &mut found);
            if found.len() == before {
                found.push(Err(flaw(
                    path,
                    "no manifest in this folder (*.yaml, *.yml, *.json, *.ndjson, *.jsonl)",
                )));
            }
        } else {
            found.push(Ok(path.clone()));
        }
    }
    if found.len() > MAX_FILES {
        found.truncate(MAX_FILES);
        found.push(Err(flaw(Path::new("-f"), &format!("more than {MAX_FILES} files; apply them in parts"))));
    }
    found.into_iter().map(|path| path.and_then(|p| read(&p)))
}

fn flaw(path: &Path, what: &str) -> Flaw {
    Flaw {
        place: Place { file: path.display().to_string(), document: None, line: None },
        field: None,
        what: what.into(),
    }
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<Result<PathBuf, Flaw>>) {
    if depth > MAX_DEPTH || found.len() > MAX_FILES {
        found.push(Err(flaw(
            folder,
            &format!("folders nested more than {MAX_DEPTH} deep, or too many files"),
        )));
        return;
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return found.push(Err(flaw(folder, &format!("cannot read the folder: {e}")))),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        // A link to a folder is not followed: it may lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, depth + 1, found);
        } else if path.is_file() && form_of(&path).is_some() {
            found.push(Ok(path));
        }
    }
}

fn form_of(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "yaml" | "yml" => Some(Form::Yaml),
        "json" => Some(Form::Json),
        "ndjson" | "jsonl" => Some(Form::Ndjson),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Source, Flaw> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "stdin".to_owned() } else { path.display().to_string() };
    let named = |what: String| flaw(Path::new(&name), &what);
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| named(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE {
        let most = MAX_FILE / (1024 * 1024);
        return Err(named(format!(
            "larger than {most} MiB; split it into several files, or send NDJSON in parts"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        let mut flaw = named("not UTF-8 text; save the file as UTF-8".into());
        flaw.place.line = Some(line as u64);
        flaw
    })?;
    if text.trim().is_empty() {
        return Err(named(
            "empty; a manifest has id, tenant, plane, target, desired, criticality and ring".into(),
        ));
    }
    let form = form_of(path).unwrap_or_else(|| sniff(&text));
    Ok(Source { name, form, text })
}

/// stdin, and files without an extension we know.
fn sniff(text: &str) -> Form {
    match text.trim_start().chars().next() {
        Some('[') => Form::Json,
        Some('{')
            if text.lines().filter(|l| !l.trim().is_empty()).all(|l| l.trim_start().starts_with('{')) =>
        {
            Form::Ndjson
        }
        Some('{') => Form::Json,
        _ => Form::Yaml,
    }
}
