//! The event archive (E10): events leave Redis for files, so that Redis holds live state and not history.
//!
//! # Expected flow
//! [`Archive::open`] on a folder → every [`RUN_EVERY`] [`Archive::run_once`] (what [`run`] does), which per partition takes
//! the lock, copies what is new ([`Archive::copy`]) and trims what is both on disk and not among the newest `keep`
//! ([`Archive::trim`]). Files: `<folder>/p<partition>/<first seq, 20 digits>.ndjson`, a line per event, `{"seq":…, …event}`.
//!
//! # Guarantees
//! - Archive and stream together hold every event; none leaves Redis before its line is synced to disk.
//! - Each event has one line. Exception: Redis lost its tail (a crash) and numbered anew. A line `{"rewound_to":n}` says so;
//!   lines behind it replace those before it with a number above n.
//! - What Redis may still lose in a crash (AOF everysec) is not copied yet: only what the round before has seen already.
//! - One archiver per partition (a lock in Redis, checked again by the script that trims), and one archive per fleet: its id
//!   is in Redis, and a folder with another id copies and trims nothing.
//! - After any error nothing is trimmed.
//!
//! # Errors
//! [`ArchiveError`], per partition and for one round: the next one tries again. Each says what to do.

mod log;
mod tail;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use trueup_model::Partition;

use crate::EngineError;
use crate::hub::Stop;
use crate::store::Store;

pub use log::{EventLog, Extent};
pub use tail::SEGMENT_BYTES;
use tail::{Tail, io, sync_dir};

/// Time between two rounds: more than AOF everysec can lose, so that what one round sees the next may copy.
pub const RUN_EVERY: Duration = Duration::from_secs(3);
/// Newest events of each partition that stay in Redis, for API and console.
pub const KEEP: u64 = 10_000;
/// A lock that is not renewed ends after this many milliseconds.
const LOCK_MS: u64 = 10_000;
/// Events per read, line batch and sync.
const BATCH: usize = 500;
/// Batches of one partition in a round; the rest waits for the next one.
const BATCHES: usize = 200;
/// Entries that one trimming call may remove.
const TRIM: u64 = 10_000;

/// Why a partition was not archived in this round.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("archive: {what} {}: {source}. Events stay in Redis until this works: see to space and permissions", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("archive: the last line of {} is not ours. Move that file away from the folder, or repair it", .0.display())]
    Damaged(PathBuf),
    #[error(
        "archive: {} is not this fleet's archive (its id is {here}, the fleet's {fleet}), so nothing is trimmed. Configure \
         the folder that belongs to the fleet, on one host or shared; if that is lost for good: HDEL {{tu}}:fleet archive_id", dir.display()
    )]
    Foreign { dir: PathBuf, here: String, fleet: String },
    #[error(
        "archive: event {expected} is in neither the archive nor Redis (Redis has {found:?}), so nothing is trimmed. Restore the archive's files"
    )]
    Gap { expected: u64, found: Option<u64> },
    #[error(
        "archive: Redis went back from event {from} to {to} (a crash, or an older backup). Noted in the archive; what follows replaces it"
    )]
    Rewound { from: u64, to: u64 },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What one round did.
#[derive(Debug, Default)]
pub struct Archived {
    pub copied: u64,
    pub trimmed: u64,
    pub problems: Vec<(Partition, ArchiveError)>,
}

/// One process's hold on an archive folder.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    id: String,
    /// Value of the locks: archive and process, so that the trimming script checks both at once.
    holder: String,
    keep: u64,
    segment_bytes: u64,
    parts: BTreeMap<u16, Part>,
}

/// What is known of a partition.
#[derive(Debug, Default)]
struct Part {
    /// The last event that was in Redis in the round before.
    seen: u64,
    /// May be copied in this round.
    ripe: u64,
    /// What Redis has; nothing while another process holds the lock.
    extent: Option<Extent>,
    /// Open while we hold the lock.
    tail: Option<Tail>,
}

impl Archive {
    /// Opens a folder, made and given an id at its first use.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] if it cannot be written.
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        let id = identify(dir)?;
        let holder = format!("{id} a{}-{}", std::process::id(), random());
        Ok(Self {
            dir: dir.into(),
            id,
            holder,
            keep: KEEP,
            segment_bytes: SEGMENT_BYTES,
            parts: BTreeMap::new(),
        })
    }

    /// Newest events of each partition that stay in Redis (default [`KEEP`], at least 1).
    #[must_use]
    pub fn keeping(mut self, keep: u64) -> Self {
        self.keep = keep.max(1);
        self
    }

    /// Size at which a new file is begun (default [`SEGMENT_BYTES`]).
    #[must_use]
    pub fn rotating_at(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Copies and trims once, every partition. A problem of one does not keep the others.
    pub async fn run_once(&mut self, log: &dyn EventLog) -> Archived {
        let mut done = Archived::default();
        for p in (0..log.partitions()).map(Partition) {
            let copied = self.copy(log, p).await;
            let trimmed = match copied {
                Ok(n) => {
                    done.copied += n;
                    self.trim(log, p).await
                }
                Err(e) => Err(e),
            };
            match trimmed {
                Ok(n) => done.trimmed += n,
                Err(e) => {
                    // What the tail knows may be wrong now: the next round reads it from the disk.
                    self.parts.entry(p.0).or_default().tail = None;
                    done.problems.push((p, e));
                }
            }
        }
        done
    }

    /// Copies what the round before has seen already; returns how many events. None if another process is at it.
    pub async fn copy(&mut self, log: &dyn EventLog, p: Partition) -> Result<u64, ArchiveError> {
        let part = self.parts.entry(p.0).or_default();
        part.extent = None;
        let fleet = log.archive_of_fleet(&self.id).await?;
        if fleet != self.id {
            return Err(ArchiveError::Foreign { dir: self.dir.clone(), here: self.id.clone(), fleet });
        }
        let Some(extent) = log.hold(p, &self.holder, LOCK_MS).await? else {
            part.tail = None;
            return Ok(0);
        };
        part.ripe = part.seen.min(extent.last);
        part.seen = extent.last;
        let tail = match part.tail.take() {
            Some(tail) => Some(tail),
            None => {
                let (dir, bytes) = (self.dir.join(format!("p{p}")), self.segment_bytes);
                blocking(move || Tail::open(&dir, bytes)).await?
            }
        };
        // Nothing: another process of this host lost the lock and has not noticed yet.
        let Some(mut tail) = tail else { return Ok(0) };
        if let Some(to) = rewound(log, p, &tail, extent).await? {
            let from = tail.cursor;
            part.tail = Some(blocking(move || tail.rewind(to)).await?);
            return Err(ArchiveError::Rewound { from, to });
        }
        let mut copied = 0;
        for _ in 0..BATCHES {
            let expected = tail.cursor + 1;
            if expected > part.ripe {
                break;
            }
            let events = log.read(p, expected, part.ripe, BATCH).await?;
            if events.is_empty() {
                return Err(ArchiveError::Gap { expected, found: None });
            }
            for (expected, (found, _)) in (expected..).zip(&events) {
                if expected != *found {
                    return Err(ArchiveError::Gap { expected, found: Some(*found) });
                }
            }
            copied += events.len() as u64;
            tail = blocking(move || tail.append(&events)).await?;
            if log.hold(p, &self.holder, LOCK_MS).await?.is_none() {
                return Ok(copied);
            }
        }
        (part.tail, part.extent) = (Some(tail), Some(extent));
        Ok(copied)
    }

    /// Removes from Redis what this round's [`Archive::copy`] knows to be on disk, but for the newest `keep`.
    pub async fn trim(&mut self, log: &dyn EventLog, p: Partition) -> Result<u64, ArchiveError> {
        let part = self.parts.entry(p.0).or_default();
        let (Some(extent), Some(tail)) = (part.extent.take(), &part.tail) else { return Ok(0) };
        let upto = tail.cursor.min(extent.last.saturating_sub(self.keep));
        let (mut from, mut trimmed) = (extent.first, 0);
        while from > 0 && from <= upto {
            from = upto.min(from + TRIM - 1) + 1;
            match log.trim(p, &self.holder, from).await? {
                Some(n) => trimmed += n,
                None => break,
            }
        }
        Ok(trimmed)
    }
}

/// The event up to which Redis and archive agree, if they do not agree to the end.
async fn rewound(
    log: &dyn EventLog,
    p: Partition,
    tail: &Tail,
    extent: Extent,
) -> Result<Option<u64>, ArchiveError> {
    if extent.last < tail.cursor {
        return Ok(Some(extent.last));
    }
    let Some(last) = tail.last.as_ref().filter(|_| extent.first > 0 && extent.first <= tail.cursor) else {
        return Ok(None);
    };
    // Redis may have lost its tail and have grown past it again since the last round: then the same number is another event.
    // How far back that goes is not known; all that Redis still has is copied again.
    let there = log.read(p, tail.cursor, tail.cursor, 1).await?;
    let same = there.first().is_some_and(|(seq, event)| tail::line(*seq, event) == *last);
    Ok((!same).then(|| extent.first - 1))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|e| {
        Err(EngineError::Unavailable(format!("archive: writing ended early: {e}")).into())
    })
}

fn random() -> String {
    // As in `heart`: the standard library's random keys; no decision sees them.
    format!("{:016x}", std::collections::hash_map::RandomState::new().build_hasher().finish())
}

/// The id in a folder's file `id`, made at the first use.
fn identify(dir: &Path) -> Result<String, ArchiveError> {
    fs::create_dir_all(dir).map_err(io("cannot create the folder", dir))?;
    let path = dir.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(io("cannot open the lock", &path))?;
    lock.lock().map_err(io("cannot lock", &path))?;
    let path = dir.join("id");
    if !path.exists() {
        let new = dir.join("id.new");
        fs::write(&new, format!("{}{}\n", random(), random())).map_err(io("cannot write", &new))?;
        fs::File::open(&new).and_then(|f| f.sync_all()).map_err(io("cannot sync", &new))?;
        fs::rename(&new, &path).map_err(io("cannot write", &path))?;
        sync_dir(dir)?;
    }
    let id = fs::read_to_string(&path).map_err(io("cannot read", &path))?.trim().to_owned();
    if !(8..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(ArchiveError::Damaged(path));
    }
    Ok(id)
}

/// Archives until `stop`. A problem is logged when it begins or changes and when it is over, not every round.
pub async fn run(mut archive: Archive, store: std::sync::Arc<dyn Store>, stop: Stop) {
    let Some(log) = store.event_log() else { return };
    let mut known = BTreeMap::new();
    while !stop.is_stopping() {
        let done = archive.run_once(log).await;
        if done.copied + done.trimmed > 0 {
            tracing::debug!(copied = done.copied, trimmed = done.trimmed, "archived");
        }
        let now: BTreeMap<Partition, String> =
            done.problems.into_iter().map(|(p, e)| (p, e.to_string())).collect();
        for (p, what) in now.iter().filter(|(p, what)| known.get(*p) != Some(*what)) {
            tracing::error!(partition = %p, "{what}");
        }
        for p in known.keys().filter(|p| !now.contains_key(*p)) {
            tracing::info!(partition = %p, "archive: goes on");
        }
        known = now;
        let _ = tokio::time::timeout(RUN_EVERY, stop.stopping()).await;
    }
}
