//! The end of one partition's archive on disk: where it stands, and how it grows.
//!
//! # Guarantees
//! One process of this host has a tail at a time (a file lock, gone with its process). What `append` returned for is on
//! the disk, whole lines. A line that a crash left half written is cut at the next opening; a failed append is undone, so
//! that the next one writes all of it again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ArchiveError;

/// A segment is followed by a new one when it has become this large.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The open end of a partition's archive.
#[derive(Debug)]
pub(super) struct Tail {
    dir: PathBuf,
    segment_bytes: u64,
    /// The segment being written: first sequence number in its name, path, synced length.
    segment: Option<(u64, PathBuf, u64)>,
    /// Sequence number of the last event archived.
    pub(super) cursor: u64,
    /// The last line, without its end; nothing behind a rewind or at the very beginning.
    pub(super) last: Option<Vec<u8>>,
    _lock: File,
}

pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Io { what, path, source }
}

/// Makes names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), ArchiveError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io("cannot sync the folder", dir))
}

/// `{"seq":7, …event}`; bytes that are no JSON object are kept as text.
pub(super) fn line(seq: u64, event: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(event)
        .unwrap_or_else(|_| Map::from_iter([("undecodable".into(), String::from_utf8_lossy(event).into())]));
    // What is stored was written before the number was known.
    fields.remove("seq");
    let rest = Value::from(fields).to_string();
    let comma = if rest.len() > 2 { "," } else { "" };
    format!("{{\"seq\":{seq}{comma}{}", &rest[1..]).into_bytes()
}

/// Where a line leaves the cursor, and whether it is an event.
fn position(line: &[u8]) -> Option<(u64, bool)> {
    #[derive(serde::Deserialize)]
    struct Position {
        seq: Option<u64>,
        rewound_to: Option<u64>,
    }
    let p: Position = serde_json::from_slice(line).ok()?;
    p.seq.map(|s| (s, true)).or(p.rewound_to.map(|s| (s, false)))
}

impl Tail {
    /// Opens the archive of a partition, cuts a torn last line, and finds where to go on. `None`: another process of this
    /// host is at it.
    pub(super) fn open(dir: &Path, segment_bytes: u64) -> Result<Option<Self>, ArchiveError> {
        if !dir.is_dir() {
            fs::create_dir_all(dir).map_err(io("cannot create the folder", dir))?;
            dir.parent().map_or(Ok(()), sync_dir)?;
        }
        let path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io("cannot open the lock", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(io("cannot lock", &path)(e)),
        }
        let mut tail =
            Self { dir: dir.into(), segment_bytes, segment: None, cursor: 0, last: None, _lock: lock };
        let newest = fs::read_dir(dir)
            .map_err(io("cannot list the folder", dir))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some((name.strip_suffix(".ndjson")?.parse::<u64>().ok()?, name)))
            .max();
        if let Some((first, name)) = newest {
            tail.resume(first, dir.join(name))?;
        }
        Ok(Some(tail))
    }

    fn resume(&mut self, first: u64, path: PathBuf) -> Result<(), ArchiveError> {
        let len = fs::metadata(&path).map_err(io("cannot read", &path))?.len();
        let bytes = if len == 0 { Vec::new() } else { fs::read(&path).map_err(io("cannot read", &path))? };
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        if !bytes.is_empty() {
            let file = OpenOptions::new().write(true).open(&path).map_err(io("cannot write", &path))?;
            if whole < bytes.len() {
                tracing::warn!(path = %path.display(), bytes = bytes.len() - whole, "archive: cut a half-written last line");
                file.set_len(whole as u64).map_err(io("cannot cut", &path))?;
            }
            // Nobody knows whether the one before us came to this.
            file.sync_all().map_err(io("cannot sync", &path))?;
        }
        self.cursor = first.saturating_sub(1);
        if let Some(line) = bytes[..whole].strip_suffix(b"\n") {
            let line = line.rsplit(|b| *b == b'\n').next().unwrap_or_default();
            let (cursor, event) = position(line).ok_or_else(|| ArchiveError::Damaged(path.clone()))?;
            self.cursor = cursor;
            self.last = event.then(|| line.to_vec());
        }
        self.segment = Some((first, path, whole as u64));
        Ok(())
    }

    /// Appends events that follow the cursor without a gap (the caller has checked), and syncs them.
    pub(super) fn append(mut self, events: &[(u64, Vec<u8>)]) -> Result<Self, ArchiveError> {
        let mut bytes = Vec::new();
        for (seq, event) in events {
            let line = line(*seq, event);
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            (self.cursor, self.last) = (*seq, Some(line));
        }
        let first = events.first().map_or(self.cursor + 1, |(seq, _)| *seq);
        self.write(first, &bytes)?;
        Ok(self)
    }

    /// Notes that Redis has lost what came after `seq`: what follows in the archive replaces it.
    pub(super) fn rewind(mut self, seq: u64) -> Result<Self, ArchiveError> {
        let first = self.cursor + 1;
        (self.cursor, self.last) = (seq, None);
        self.write(first, format!("{{\"rewound_to\":{seq}}}\n").as_bytes())?;
        Ok(self)
    }

    fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), ArchiveError> {
        // After a rewind the numbers of a new segment would sort before this one: it goes on until they do not.
        let (name, path, len) = match self.segment.take() {
            Some((name, path, len)) if len < self.segment_bytes || first <= name => (name, path, len),
            _ => (first, self.dir.join(format!("{first:020}.ndjson")), 0),
        };
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(io("cannot open", &path))?;
        if len == 0 {
            sync_dir(&self.dir)?;
        }
        if let Err(e) = file.write_all(bytes).and_then(|()| file.sync_data()) {
            // What a failed sync left in memory may never reach the disk: away with it, the next try writes it again.
            let _ = file.set_len(len);
            return Err(io("cannot write", &path)(e));
        }
        self.segment = Some((name, path, len + bytes.len() as u64));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_becomes_one_line_that_tells_its_position() {
        for (event, want) in [
            (&br#"{"a":{"seq":9},"seq":0}"#[..], r#"{"seq":7,"a":{"seq":9}}"#),
            (b"{}", r#"{"seq":7}"#),
            (b"{\n\"a\":1}", r#"{"seq":7,"a":1}"#),
            (b"no\njson", r#"{"seq":7,"undecodable":"no\njson"}"#),
            (b"", r#"{"seq":7,"undecodable":""}"#),
            (b"[1]", r#"{"seq":7,"undecodable":"[1]"}"#),
        ] {
            let line = line(7, event);
            assert_eq!(String::from_utf8_lossy(&line), want);
            assert_eq!(position(&line), Some((7, true)), "{want}");
        }
        assert_eq!(position(br#"{"rewound_to":3}"#), Some((3, false)));
        assert_eq!(position(b"{}"), None);
        assert_eq!(position(b"{\"seq\":"), None);
    }
}
