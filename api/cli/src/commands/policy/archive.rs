//! Recorded decisions from an archive folder (`trueup_engine::archive`): `p<partition>/<first seq>.ndjson`, a line per event.
//!
//! A line `{"rewound_to":n}` takes back what came before it with a number above n: the store had lost it, so it never
//! happened. The archive may be written meanwhile: a last line without its end is not there yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use trueup_model::{Event, Time};
use trueup_runner::policy::Policy;
use trueup_runner::policy::replay::Replay;

use super::replay::Since;
use crate::failure::{Exit, Failure};

/// Longest segment read, in bytes: a segment is followed by a new one far below it.
const MAX_SEGMENT: u64 = 1024 * 1024 * 1024;

#[derive(Deserialize)]
struct Rewound {
    rewound_to: u64,
}

#[derive(Deserialize)]
struct When {
    created_at: Time,
}

fn failed(what: &str, path: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("the archive cannot be read: {what}"))
        .at(path.display().to_string())
        .advise("name the folder that is `archive` in the workers' configuration")
}

/// Decides everything in the archive since then again.
pub(super) fn replay(dir: &Path, since: Since, policy: &Policy) -> Result<Replay, Failure> {
    let partitions = partitions(dir)?;
    let mut newest: Option<Time> = None;
    for segments in partitions.iter().filter_map(|p| p.last()) {
        let bytes = read(segments)?;
        let times = lines(&bytes).filter_map(|line| serde_json::from_slice::<When>(line).ok());
        newest = newest.max(times.map(|w| w.created_at).max());
    }
    let mut all = Replay::default();
    let Some(newest) = newest else { return Ok(all) };
    let since = since.from(newest);
    for segments in &partitions {
        // By sequence number, so that what was lost can be taken back.
        let mut decided: BTreeMap<u64, Replay> = BTreeMap::new();
        for segment in segments {
            for line in lines(&read(segment)?) {
                if let Ok(Rewound { rewound_to }) = serde_json::from_slice(line) {
                    decided.split_off(&rewound_to.saturating_add(1));
                } else if is_decision(line) {
                    match serde_json::from_slice::<Event>(line) {
                        Ok(event) if event.created_at < since => {}
                        Ok(event) => decided
                            .entry(event.seq)
                            .insert_entry(Replay::default())
                            .get_mut()
                            .add(&event, policy),
                        Err(_) => all.unreadable += 1,
                    }
                }
            }
        }
        decided.into_values().for_each(|one| all.append(one));
    }
    Ok(all)
}

/// Whether it may be the event of a decision; far cheaper than to read it.
fn is_decision(line: &[u8]) -> bool {
    let mark = b"\"POLICY_DECIDED\"";
    line.windows(mark.len()).any(|w| w == mark)
}

/// Whole lines.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let size = std::fs::metadata(path).map_err(|e| failed(&e.to_string(), path))?.len();
    if size > MAX_SEGMENT {
        return Err(failed("the file is too large to be ours", path));
    }
    std::fs::read(path).map_err(|e| failed(&e.to_string(), path))
}

/// The segments of each partition, oldest first.
fn partitions(dir: &Path) -> Result<Vec<Vec<PathBuf>>, Failure> {
    let list = |dir: &Path| -> Result<Vec<(String, PathBuf)>, Failure> {
        let entries = std::fs::read_dir(dir).map_err(|e| failed(&e.to_string(), dir))?;
        Ok(entries
            .filter_map(|e| Some((e.as_ref().ok()?.file_name().into_string().ok()?, e.ok()?.path())))
            .collect())
    };
    let mut partitions = BTreeMap::new();
    for (name, path) in list(dir)? {
        let Some(number) = name.strip_prefix('p').and_then(|n| n.parse::<u16>().ok()) else { continue };
        let mut segments: Vec<(u64, PathBuf)> = (list(&path)?.into_iter())
            .filter_map(|(name, path)| Some((name.strip_suffix(".ndjson")?.parse().ok()?, path)))
            .collect();
        segments.sort();
        partitions.insert(number, segments.into_iter().map(|(_, path)| path).collect());
    }
    if partitions.is_empty() {
        return Err(failed("there is no folder p0, p1, … in it", dir));
    }
    Ok(partitions.into_values().collect())
}
