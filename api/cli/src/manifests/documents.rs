//! From text to manifests, with the place of every flaw.

use serde_json::Value;
use trueup_model::intent::Manifest;
use trueup_server::manifest;

use super::files::{Form, Source};
use super::{Flaw, Loaded, Place};

/// Most flaws told about one file.
const MAX_FLAWS: usize = 100;

pub(super) fn read(source: &Source) -> Vec<Result<Loaded, Flaw>> {
    let mut read = match source.form {
        Form::Yaml => yaml(source),
        Form::Json => json(source),
        Form::Ndjson => ndjson(source),
    };
    if read.is_empty() {
        read.push(Err(at(source, None, None, "", "no manifest in it, only comments or empty documents")));
    }
    let mut flaws = 0;
    read.retain(|r| {
        r.is_ok() || {
            flaws += 1;
            flaws <= MAX_FLAWS
        }
    });
    read
}

fn at(source: &Source, document: Option<usize>, line: Option<u64>, pointer: &str, what: &str) -> Flaw {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    Flaw {
        place: Place { file: source.name.clone(), document, line },
        field: (!field.is_empty()).then_some(field),
        what: what.into(),
    }
}

/// Documents are read as what they are, so that `version: 1.10` stays the text it looks like.
fn yaml(source: &Source) -> Vec<Result<Loaded, Flaw>> {
    let options = serde_saphyr::options! {
        // Enough for the largest file we read; what aliases could make of it is bounded by the alias limits.
        budget: serde_saphyr::budget! {
            max_documents: 200_000,
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_aliases: 10_000,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 16 * 1024 * 1024,
            max_depth: 32,
        },
        with_snippet: false,
    };
    let mut reader = source.text.as_bytes();
    let starts = starts(&source.text);
    let document_at = |line: u64| starts.partition_point(|s| *s <= line).max(1);
    let mut out = Vec::new();
    for (n, read) in
        serde_saphyr::read_with_options::<_, serde_saphyr::Spanned<Manifest>>(&mut reader, options)
            .enumerate()
    {
        match read {
            Ok(spanned) => {
                let first = spanned.referenced.line();
                let document = if first == 0 { n + 1 } else { document_at(first) };
                let place = Place {
                    file: source.name.clone(),
                    document: Some(document),
                    line: (first > 0).then_some(first),
                };
                out.push(match manifest::check(spanned.value) {
                    Ok(intent) => Ok(Loaded { place, intent }),
                    Err(flaw) => {
                        let key = flaw.pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
                        let line = line_of(&source.text, first, key).or(place.line);
                        Err(at(source, place.document, line, &flaw.pointer, &flaw.detail))
                    }
                });
            }
            Err(e) => {
                let line = e.location().map(|l| l.line()).filter(|l| *l > 0);
                let said = bare(&e);
                let field = line.and_then(|l| key_on(&source.text, l)).filter(|k| !said.contains(k.as_str()));
                let document = line.map_or(n + 1, document_at);
                let what = manifest::with_suggestion(&said);
                out.push(Err(at(source, Some(document), line, field.as_deref().unwrap_or_default(), &what)));
            }
        }
    }
    out
}

/// The parser's message without its own position, and without a name for the type that users never see.
fn bare(e: &serde_saphyr::Error) -> String {
    let said = e.without_snippet().to_string();
    let first = said.lines().next().unwrap_or_default();
    let cut = first.find(" at line ").map_or(first, |n| &first[..n]);
    let limits = ["budget breached", "alias replay", "recursion limit"];
    if limits.iter().any(|l| cut.starts_with(l)) {
        let limit = cut.split(" {").next().unwrap_or_default();
        return format!(
            "too large, too deep, or too much by its aliases ({limit}); write it out, or in several files"
        );
    }
    cut.trim_end_matches(['.', ' ']).to_owned()
}

/// The lines on which documents begin.
fn starts(text: &str) -> Vec<u64> {
    let marks =
        text.lines().zip(1u64..).filter(|(l, _)| *l == "---" || l.starts_with("--- ")).map(|(_, n)| n);
    let mut starts: Vec<u64> = marks.collect();
    let content = |l: &str| !l.trim().is_empty() && !l.trim_start().starts_with(['#', '%']);
    let first = text.lines().zip(1u64..).find(|(l, _)| content(l)).map_or(1, |(_, n)| n);
    if starts.first().is_none_or(|mark| first < *mark) {
        starts.insert(0, first);
    }
    starts
}

/// The line of a document's top-level key; `from` is the document's first line.
fn line_of(text: &str, from: u64, key: &str) -> Option<u64> {
    if key.is_empty() || from == 0 {
        return None;
    }
    let lines = text.lines().zip(1u64..).skip(usize::try_from(from).ok()?.saturating_sub(1));
    let mut document = lines.enumerate().take_while(|(n, (l, _))| *n == 0 || *l != "---").map(|(_, l)| l);
    document
        .find(|(l, _)| l.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')))
        .map(|(_, n)| n)
}

/// The key that is written on a line.
fn key_on(text: &str, line: u64) -> Option<String> {
    let line = text.lines().nth(usize::try_from(line).ok()?.saturating_sub(1))?;
    let (key, _) = line.trim_start().trim_start_matches("- ").split_once(':')?;
    let plain =
        !key.is_empty() && key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then(|| key.to_owned())
}

fn json(source: &Source) -> Vec<Result<Loaded, Flaw>> {
    let tree: Value = match serde_json::from_str(&source.text) {
        Ok(tree) => tree,
        Err(e) => {
            return vec![Err(at(
                source,
                None,
                Some(e.line() as u64),
                "",
                &format!("not JSON: {}", words_of(&e)),
            ))];
        }
    };
    let trees = match tree {
        Value::Array(trees) => trees,
        tree => vec![tree],
    };
    trees.iter().enumerate().map(|(n, tree)| check(source, n + 1, None, tree)).collect()
}

fn ndjson(source: &Source) -> Vec<Result<Loaded, Flaw>> {
    let lines = source.text.lines().zip(1u64..).filter(|(l, _)| !l.trim().is_empty()).enumerate();
    lines
        .map(|(n, (text, line))| match serde_json::from_str(text) {
            Ok(tree) => check(source, n + 1, Some(line), &tree),
            Err(e) => Err(at(source, Some(n + 1), Some(line), "", &format!("not JSON: {}", words_of(&e)))),
        })
        .collect()
}

fn words_of(e: &serde_json::Error) -> String {
    let said = e.to_string();
    format!("{} at column {}", said.split(" at line ").next().unwrap_or_default(), e.column())
}

fn check(source: &Source, document: usize, line: Option<u64>, tree: &Value) -> Result<Loaded, Flaw> {
    let place = Place { file: source.name.clone(), document: Some(document), line };
    match manifest::read(tree) {
        Ok(intent) => Ok(Loaded { place, intent }),
        Err(flaw) => Err(at(source, Some(document), line, &flaw.pointer, &flaw.detail)),
    }
}
