//! Whose turn it is to be fed: a burst wakes every client at once, and a request that came then would wait behind all of them.
//!
//! # Guarantees
//! Only who has a turn puts something into its client's buffer, and nobody keeps a turn while waiting for its client. So as many
//! connections as there are turns have something new to write at a time, however many follow.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Begun when it is first needed, ended with the value.
pub(super) struct Turn<'a> {
    of: &'a Semaphore,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    pub(super) fn of(turns: &'a Semaphore) -> Self {
        Self { of: turns, held: None }
    }

    pub(super) async fn begin(&mut self) {
        if self.held.is_none() {
            // Never closed.
            self.held = self.of.acquire().await.ok();
        }
    }

    pub(super) fn end(&mut self) {
        self.held = None;
    }
}
