//! The alerts: their rules as Prometheus' own tools judge them, and each of the four of the design fired by a real
//! Prometheus and a real Alertmanager that watch a running fleet.
//!
//! Needs `prometheus`, `promtool` and `prometheus-alertmanager` (`make tools`). `TRUEUP_SKIP_PROMETHEUS=1` leaves these tests
//! out, and says so.

#[path = "alerts/fires.rs"]
mod fires;
#[path = "alerts/programs.rs"]
mod programs;
#[path = "alerts/rules.rs"]
mod rules;
