//! One budget per connection for the whole fleet: who may call a plane, and how often.
//!
//! # Expected flow
//! A process [`Budgets::draw`]s a small grant for those of its callers who wait, paces them, and draws again. What the
//! plane's answers say it tells with [`Budgets::learn`]. Connections with a limit on calls under way take a slot for each.
//!
//! # Guarantees
//! - GCRA on the store's own clock. In any window of a budget no more than its `calls` are granted, and none more are sent
//!   if grants are used up within [`LATE`] of the window: [`interval_ms`] leaves room for that and for what may pass at
//!   once ([`Budget::at_once`]; a larger need is granted too, and exceeds the window by what is above).
//! - What a lane may run ahead of the even flow is less for those who can wait ([`ahead`]), so that a saturating sweep
//!   leaves a write its turn at once.
//! - Windows, waits and pauses are the product's time; the store's clock is real, so every call says how fast the
//!   product's clock runs. Nothing else of the caller's clock matters to Redis (no clock skew); the memory twin takes its
//!   time from it.
//! - Nothing here grows: state per connection is bounded by its budgets, and ends when nobody has drawn for a day.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::budget::{Said, Why};
use trueup_model::{Budget, Lane, PlaneKind, Time};

use crate::EngineError;

pub(crate) mod flow;

type Result<T> = std::result::Result<T, EngineError>;

/// Share of a window by which a call may be sent later than it was granted.
pub const LATE: f64 = 0.025;
/// Share of a budget in one grant, unless one call needs more.
pub const GRANT: f64 = 0.01;
/// And no more than flows in so many seconds.
pub const GRANT_S: f64 = 0.25;
/// The rate is cut to this share of what it was when the plane refuses calls that were within its budget…
pub const CUT: f64 = 0.7;
/// …but not below this share of the budget…
pub const LEAST: f64 = 0.05;
/// …and recovers by this share of the budget in a minute.
pub const RECOVER: f64 = 0.05;
/// Budgets of one connection.
pub const MAX_BUDGETS: usize = 16;
/// Bytes of a name of a connection, a budget or a process.
pub const MAX_NAME: usize = 200;
/// How long a registration lasts that is not renewed, by the store's clock.
pub const REGISTERED_FOR: Duration = Duration::from_secs(60);
/// How old the number of those who wait may be, by the store's clock.
pub const WAITING_FOR: Duration = Duration::from_secs(10);

/// Share of a window that a lane may be ahead of the even flow.
pub const fn ahead(lane: Lane) -> f64 {
    match lane {
        Lane::Write => 0.015,
        Lane::Urgent => 0.010,
        Lane::Sweep => 0.005,
    }
}

/// Milliseconds from one call to the next at the full rate, where a second of the product's time takes `second` of them.
///
/// What is granted in a window is less than what flows in during it, what may be ahead and what is late: `(1 + ahead +
/// LATE) · window / interval`, and one call beyond may come as a part of as many as pass at once.
pub fn interval_ms(budget: &Budget, second: f64) -> f64 {
    let window = f64::from(budget.window_s.max(1)) * second;
    let calls = f64::from(budget.calls.max(1).saturating_sub(budget.at_once() - 1));
    window * (1.0 + ahead(Lane::Write) + LATE) / calls
}

/// What one bucket is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub budget: Budget,
    /// All of these or nothing.
    pub need: u32,
    /// As many more as there are.
    pub want: u32,
}

/// One process asks for its callers of one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub connection: String,
    /// The process.
    pub who: String,
    pub lane: Lane,
    /// None: a call that uses up no budget, but does not go to a plane that is to be left alone.
    pub wanted: Vec<Wanted>,
    /// How many of its callers wait, by lane, this one included.
    pub waiting: [u32; 3],
    /// Checks it was asked to make since it asked last, and in how many turns, for estimates.
    pub looked: (u32, u32),
    pub at: Pace,
}

impl Ask {
    /// Who still waits when this is granted.
    pub(crate) fn still_waiting(&self) -> [u32; 3] {
        let mut waiting = self.waiting;
        let first = &mut waiting[self.lane as usize];
        *first = first.saturating_sub(1);
        waiting
    }
}

/// The caller's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    pub now: Time,
    /// Seconds of the product's time in a real one.
    pub speed: f64,
}

impl Pace {
    /// Real milliseconds in a second of the product's time.
    pub fn second(self) -> f64 {
        1000.0 / self.speed.clamp(1e-6, 1e6)
    }
    /// A real moment of the memory twin.
    pub(crate) fn real_ms(self) -> f64 {
        self.now.timestamp_millis() as f64 / self.speed.clamp(1e-6, 1e6)
    }
    /// Real milliseconds until a time of the product's clock.
    pub(crate) fn real_from_now(self, at: Time) -> f64 {
        ((at - self.now).num_milliseconds().max(0) as f64) * self.second() / 1000.0
    }
    /// When a real time from now is over, by the product's clock.
    pub fn after_ms(self, real: f64) -> Time {
        let shown = real.max(0.0) * self.speed;
        let shown = shown.min(chrono::TimeDelta::days(3650).num_milliseconds() as f64).ceil() as i64;
        self.now + chrono::TimeDelta::milliseconds(shown)
    }
}

/// Calls of one bucket that may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grant {
    pub calls: u32,
    /// Real milliseconds from one to the next.
    pub interval_ms: f64,
    /// Real milliseconds after which it is lost.
    pub good_for_ms: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Drawn {
    Granted {
        /// One for each that was wanted, in order.
        grants: Vec<Grant>,
        /// One call only: its outcome decides whether others may follow.
        probe: bool,
        /// Something is remembered that a fine answer would clear: say so when one comes.
        wary: bool,
    },
    Wait {
        /// Real.
        ms: f64,
        why: Held,
    },
}

/// Why there is no grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// This bucket is used up.
    Budget(String),
    /// The plane is to be left alone. How it failed last.
    Plane(Why, String),
}

/// What answers of a plane said.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    pub connection: String,
    pub said: Said,
    /// What the call counted as.
    pub buckets: Vec<Budget>,
    pub at: Pace,
}

/// What the store makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Learned {
    /// Real milliseconds for which nothing will be granted.
    pub wait_ms: Option<f64>,
    /// As in [`Drawn::Granted`].
    pub wary: bool,
}

/// A connection of some process, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    pub connection: String,
    pub tenant: String,
    pub plane: PlaneKind,
    pub budgets: Vec<Budget>,
    /// Calls under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
}

/// A connection as `trueup planes` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectionView {
    #[serde(flatten)]
    pub connection: Registered,
    pub buckets: Vec<BucketView>,
    /// Calls under way, where they are limited.
    pub under_way: u32,
    /// Callers that wait, by lane: write, urgent, sweep.
    pub waiting: [u64; 3],
    pub breaker: Breaker,
    /// The plane asked that nothing is sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// How it failed last, since it was fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Checks that were made in the last minute, and how many in one turn.
    pub checks: f64,
    pub checks_per_turn: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BucketView {
    pub name: String,
    /// Calls per window that the rate is now; less than the budget after the plane refused some.
    pub rate: f64,
    /// Calls granted in the last minute.
    pub spent: f64,
    /// Share of the budget that is left: 1 if nothing was granted lately.
    pub left: f64,
    /// Calls for each check, as lately; nothing if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_check: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Breaker {
    Closed,
    /// Nothing is sent.
    Open {
        until: Time,
    },
    /// One call at a time.
    HalfOpen,
}

#[async_trait]
pub trait Budgets: Send + Sync {
    /// Asks for calls.
    async fn draw(&self, ask: &Ask) -> Result<Drawn>;

    async fn learn(&self, lesson: &Lesson) -> Result<Learned>;

    /// Takes one of the slots for calls under way, for at most `lease`. A sweep leaves the last one to others. The same
    /// `slot` again renews it.
    async fn take_slot(
        &self,
        connection: &str,
        slot: &str,
        at_most: u32,
        lane: Lane,
        lease: Duration,
        at: Pace,
    ) -> Result<bool>;
    async fn free_slot(&self, connection: &str, slot: &str) -> Result<()>;

    /// Says that connections exist; to be repeated within [`REGISTERED_FOR`].
    async fn register(&self, connections: &[Registered], at: Pace) -> Result<()>;
    /// The connections that are registered, by name.
    async fn connections(&self, at: Pace) -> Result<Vec<ConnectionView>>;
}

/// Slots that a lane may take of all there are.
pub(crate) fn open_to(lane: Lane, at_most: u32) -> u32 {
    let kept = u32::from(lane == Lane::Sweep && at_most > 1);
    at_most.max(1) - kept
}

/// As much of a failure's text as is kept.
pub(crate) fn bounded(why: &str) -> &str {
    &why[..why.floor_char_boundary(300)]
}

/// What no store accepts.
pub(crate) fn check(connection: &str, who: &str, budgets: &[&Budget]) -> Result<()> {
    let names = budgets.iter().map(|b| b.name.as_str());
    if budgets.len() > MAX_BUDGETS || [connection, who].into_iter().chain(names).any(|n| n.len() > MAX_NAME) {
        return Err(EngineError::Refused(format!(
            "a connection has at most {MAX_BUDGETS} budgets, and names of at most {MAX_NAME} bytes"
        )));
    }
    Ok(())
}

/// For stores that keep no budgets: nothing is granted.
pub(crate) struct NoBudgets;

macro_rules! refused {
    () => {
        Err(EngineError::Unavailable("this store keeps no budgets".into()))
    };
}

#[async_trait]
impl Budgets for NoBudgets {
    async fn draw(&self, _: &Ask) -> Result<Drawn> {
        refused!()
    }
    async fn learn(&self, _: &Lesson) -> Result<Learned> {
        refused!()
    }
    async fn take_slot(&self, _: &str, _: &str, _: u32, _: Lane, _: Duration, _: Pace) -> Result<bool> {
        refused!()
    }
    async fn free_slot(&self, _: &str, _: &str) -> Result<()> {
        refused!()
    }
    async fn register(&self, _: &[Registered], _: Pace) -> Result<()> {
        refused!()
    }
    async fn connections(&self, _: Pace) -> Result<Vec<ConnectionView>> {
        refused!()
    }
}
