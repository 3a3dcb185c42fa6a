//! One of a connection's slots for calls under way, in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

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
