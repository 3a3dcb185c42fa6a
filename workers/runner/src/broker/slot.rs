//! One of a connection's slots for calls under way, in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use trueup_model::{Fault, Lane};
use trueup_planes::broker::{ALONE, Permit};

use super::Fleet;

/// Longer than a call takes ([`trueup_planes::http::TOTAL`]): a killed process's slot ends by itself.
pub(super) const LEASE: Duration = Duration::from_secs(45);
/// A slot that was taken for a caller who is still not ready is given back after this.
const IDLE: Duration = Duration::from_secs(5);

/// Freed when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    fleet: Arc<Fleet>,
    connection: String,
    id: String,
    taken: Instant,
    freed: Arc<Notify>,
}

impl Slot {
    pub(super) fn new(fleet: Arc<Fleet>, connection: &str, id: String, freed: Arc<Notify>) -> Self {
        Self { fleet, connection: connection.to_owned(), id, taken: Instant::now(), freed }
    }

    /// Whether a whole call still fits into its lease.
    pub(super) fn is_fresh(&self) -> bool {
        self.taken.elapsed() < IDLE
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (fleet, freed) = (self.fleet.clone(), self.freed.clone());
        let (connection, id) = (std::mem::take(&mut self.connection), std::mem::take(&mut self.id));
        let free = async move {
            if let Err(e) = fleet.store.budgets().free_slot(&connection, &id).await {
                tracing::debug!(connection, "a slot ends by itself, it could not be freed: {e}");
            }
            freed.notify_one();
        };
        // Without a runtime the process is ending, and so does the slot.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(free);
        }
    }
}

/// Between two looks whether who changes the same has ended.
const AGAIN: Duration = Duration::from_millis(250);
/// A change waits at most this long for another, then its job is put off, at no cost.
const PATIENCE: Duration = Duration::from_secs(20);

/// The only slot of `what`.
pub(super) async fn alone(fleet: &Arc<Fleet>, connection: &str, what: &str) -> Result<Permit, Fault> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let place = format!("{connection}/{what}");
    let until = Instant::now() + PATIENCE;
    let mut again = tokio::time::interval(AGAIN);
    loop {
        again.tick().await;
        let id = format!("{}/alone-{}", fleet.who, TAKEN.fetch_add(1, Ordering::Relaxed));
        let taken = fleet.store.budgets().take_slot(&place, &id, 1, Lane::Write, ALONE, fleet.pace()).await;
        let slot = || Slot::new(fleet.clone(), &place, id, Arc::default());
        match taken {
            Ok(true) => return Ok(Permit::holding(slot())),
            Ok(false) => {}
            Err(e) => {
                // The answer may have been lost: it is freed.
                drop(slot());
                return Err(Fault::transient(format!("{what}: the store cannot say who changes it: {e}")));
            }
        }
        if Instant::now() >= until {
            let until = fleet.clock.now() + trueup_model::Duration::seconds(30);
            return Err(Fault::Throttled {
                until,
                what: format!("{what} is being changed by another worker"),
            });
        }
    }
}
