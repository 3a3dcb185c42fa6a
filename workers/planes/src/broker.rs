//! Who may call a plane, and when: one budget per connection, whoever calls.
//!
//! # Expected flow
//! [`crate::http::Http`] asks [`Broker::admit`] before each call, holds the [`Permit`] while the call is under way, and
//! tells [`Broker::learn`] what came of it. A fleet's broker (`workers/runner`) shares its budgets through the store;
//! [`LocalBroker`] is for one process alone.
//!
//! # Guarantees
//! Waiting costs no attempt: who cannot be admitted soon gets [`Fault::Throttled`] with the time to come back at.

use std::any::Any;

use async_trait::async_trait;
pub use trueup_model::Lane;
pub use trueup_model::budget::Said;
use trueup_model::job::Check;
use trueup_model::{Budget, Fault, Time};

mod counted;
mod local;

pub(crate) use counted::Counted;
pub use local::LocalBroker;

/// What a connection may do at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The connection's name.
    pub connection: String,
    pub budgets: Vec<Budget>,
    /// Calls under way at once, in the whole fleet.
    pub at_most: Option<u32>,
}

/// What a call counts as: the names of budgets, and how often. A name without a budget is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost(Vec<(&'static str, u32)>);

impl Cost {
    /// Uses up no budget, but is not sent while the plane is left alone.
    pub fn free() -> Self {
        Self::default()
    }

    pub fn of(bucket: &'static str, n: u32) -> Self {
        Self::free().and(bucket, n)
    }

    #[must_use]
    pub fn and(mut self, bucket: &'static str, n: u32) -> Self {
        match self.0.iter_mut().find(|(name, _)| *name == bucket) {
            Some((_, have)) => *have = have.saturating_add(n),
            None => self.0.push((bucket, n)),
        }
        self.0.retain(|(_, n)| *n > 0);
        self.0.sort_unstable();
        self
    }

    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        other.iter().fold(self.clone(), |sum, (bucket, n)| sum.and(bucket, n))
    }

    /// In order of the names, none of them zero.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().copied()
    }
}

/// The lane of a look: somebody waits for an answer that is demanded newer than what is known.
pub(crate) fn lane_of(checks: &[Check]) -> Lane {
    if checks.iter().any(|c| c.newer_than.is_some()) { Lane::Urgent } else { Lane::Sweep }
}

/// The longest that one change takes: some calls, each of [`crate::http::TOTAL`] at most.
pub const ALONE: std::time::Duration = std::time::Duration::from_secs(150);

/// The right to have one call under way; given back when dropped.
#[must_use]
#[derive(Default)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Option<Box<dyn Any + Send>>);

impl Permit {
    /// One that ends `held` with the call.
    pub fn holding(held: impl Any + Send) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

#[async_trait]
pub trait Broker: Send + Sync + std::fmt::Debug {
    /// A connection of this process exists.
    fn enlist(&self, _limits: &Limits) {}

    /// Waits for a call's turn, for some seconds at most.
    async fn admit(&self, to: &Limits, lane: Lane, cost: &Cost) -> Result<Permit, Fault>;

    /// Waits until nobody else of the fleet changes `what` through this connection, for some seconds at most. For what is
    /// read, changed and written back where the plane has no conditional write. A holder that dies is forgotten after
    /// [`ALONE`]. A broker that knows no other process has nobody to wait for.
    async fn alone(&self, _to: &Limits, _what: &str) -> Result<Permit, Fault> {
        Ok(Permit::default())
    }

    /// A connection was asked to make so many checks, in one turn. For estimates.
    fn looked(&self, _connection: &str, _checks: usize) {}

    /// Gives the time before which nothing will be sent, if there is one.
    async fn learn(&self, to: &Limits, cost: &Cost, said: Said) -> Option<Time>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up() {
        let write = Cost::of("devices", 1).and("writes", 1);
        let batch = write.plus(&Cost::of("apps", 2)).plus(&write);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [("apps", 2), ("devices", 2), ("writes", 2)]);
        assert_eq!(Cost::of("apps", 0), Cost::free());
        assert_eq!(Cost::of("apps", u32::MAX).and("apps", 1), Cost::of("apps", u32::MAX));
    }
}
