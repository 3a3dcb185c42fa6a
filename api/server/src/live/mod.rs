//! The live tail of events: one reader of the store for all who follow.
//!
//! ```text
//! store ── every 250 ms ──► reader ─► ring of the newest batches (rendered once) ─► a task per client ─► its buffer ─► socket
//!                                                         ▲ too far behind: reads on from the store, then joins again
//! ```
//!
//! # Guarantees
//! - The store is read once for all clients, and only while there are any. A client that comes with a position, or has fallen
//!   behind, is brought up to date from the store, [`CATCHING_UP`] of them at a time.
//! - Each client sees the events of a partition in order, without a gap; where the store itself has one (older events are in
//!   the archive) it is told so.
//! - Memory: the ring, and [`BUFFER`] references per client. Who reads nothing for [`PATIENCE`] is dropped with an event that
//!   says so, and its place is free. At most [`MAX_CLIENTS`].
//! - Who may not read any more is told so, and their stream ends ([`standing`]).
//! - The id of each event is the position behind it in all partitions: whoever sends it back misses nothing.

mod client;
mod position;
mod reader;
mod standing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::sync::{Semaphore, broadcast, watch};
use trueup_boot::metrics::levels::Levels;
use trueup_boot::metrics::of_process;
use trueup_engine::EngineError;
use trueup_engine::store::Store;
use trueup_model::{Event, Partition};

use crate::Problem;

pub(crate) use client::{Filter, stream};
pub(crate) use position::Position;
pub(crate) use standing::Standing;

/// Clients of one process.
pub(crate) const MAX_CLIENTS: usize = 10_000;
/// Batches kept for clients to come to. A batch is what one look brought, so that each wakes a client once.
const RING: usize = 32;
/// Most events of a batch, about 1.5 KB each.
const BATCH: usize = 256;
/// Events on their way to one client. Few, so that after a burst the turn of the next one comes soon: more wait in the ring.
const BUFFER: usize = 16;
/// How long a client may read nothing while something waits for it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Clients that read the store at once.
const CATCHING_UP: usize = 8;
/// How often the reader looks.
const LOOK: Duration = Duration::from_millis(250);
/// Silence after which a client is told that it still follows.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is asked anew whether who follows may still read.
const ASK: Duration = Duration::from_secs(5);
/// Clients for whom that is asked at once: the first one's answer serves all with the same key.
const ASKING: usize = 4;
/// A stream ends after this, whoever follows.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// An event as all clients get it.
#[derive(Debug)]
struct Sent {
    partition: Partition,
    event: Event,
    frame: Bytes,
}

/// What the reader and those who join share.
#[derive(Debug, Default)]
struct Shared {
    reading: bool,
    /// Behind the last event in the ring.
    at: Position,
}

/// Of one process.
#[derive(Debug)]
pub(crate) struct Live {
    ring: broadcast::Sender<Arc<[Sent]>>,
    shared: Mutex<Shared>,
    places: Arc<Semaphore>,
    /// Clients that follow now.
    open: Levels,
    clients: usize,
    catching_up: Semaphore,
    asking: Semaphore,
    ended: watch::Sender<bool>,
    pace: Pace,
}

/// Waits, which tests shorten.
#[derive(Debug, Clone, Copy)]
struct Pace {
    look: Duration,
    patience: Duration,
    beat: Duration,
    ask: Duration,
}

impl Default for Live {
    fn default() -> Self {
        Self::with(MAX_CLIENTS, Pace { look: LOOK, patience: PATIENCE, beat: BEAT, ask: ASK })
    }
}

impl Live {
    fn with(clients: usize, pace: Pace) -> Self {
        Self {
            ring: broadcast::Sender::new(RING),
            shared: Mutex::default(),
            places: Arc::new(Semaphore::new(clients)),
            open: Levels::register(
                &of_process().meter(),
                "trueup.event_streams",
                "",
                "Clients that follow events.",
            ),
            clients,
            catching_up: Semaphore::new(CATCHING_UP),
            asking: Semaphore::new(ASKING),
            ended: watch::Sender::new(false),
            pace,
        }
    }

    /// Ends all streams, and refuses new ones: the process is about to stop.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Notes how many follow. Counted while nobody else notes: else a number from before could come last, and stay.
    fn count(&self) {
        let open = || self.clients.saturating_sub(self.places.available_permits());
        self.open.set(std::iter::once_with(|| (Vec::new(), open() as f64)));
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the ring: what is sent from now on, and where that begins.
    async fn join(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
    ) -> Result<(broadcast::Receiver<Arc<[Sent]>>, Position), EngineError> {
        let joined = |shared: &Shared| (self.ring.subscribe(), shared.at.clone());
        {
            let shared = self.shared();
            if shared.reading {
                return Ok(joined(&shared));
            }
        }
        // Nobody reads: from the end of the streams on. If two come at once, the first to get here begins.
        let ends = store.requests().event_ends().await?;
        let mut shared = self.shared();
        if !shared.reading {
            shared.reading = true;
            shared.at = Position::of(ends);
            tokio::spawn(reader::run(self.clone(), store.clone()));
        }
        Ok(joined(&shared))
    }
}

/// 503: as many follow as can.
fn no_place() -> Problem {
    let detail = format!(
        "{MAX_CLIENTS} clients follow events here already; ask again later, or read GET /v1/events?after=… from time to time"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams", detail)
}
