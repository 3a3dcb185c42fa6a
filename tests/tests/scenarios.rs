//! Stories: given this fleet, when this happens, an hour later, then. The real chain and the real Intune connection over
//! a store in memory and a simulated Graph, by a manual clock: deterministic, no waiting.

#[path = "scenarios/blast.rs"]
mod blast;
#[path = "scenarios/causes.rs"]
mod causes;
#[path = "scenarios/coalesce.rs"]
mod coalesce;
#[path = "scenarios/deleted.rs"]
mod deleted;
#[path = "scenarios/determinism.rs"]
mod determinism;
#[path = "scenarios/heals.rs"]
mod heals;
#[path = "scenarios/ladder.rs"]
mod ladder;
#[path = "scenarios/modes.rs"]
mod modes;
#[path = "scenarios/outage.rs"]
mod outage;
#[path = "scenarios/review.rs"]
mod review;
#[path = "scenarios/stale.rs"]
mod stale;
#[path = "scenarios/throttle.rs"]
mod throttle;
#[path = "scenarios/tolerance.rs"]
mod tolerance;
