//! The dashboards of `deploy/grafana` and the collector's configuration, held against what the fleet really exports: every
//! metric and label that a dashboard names is shown by a running fleet; a real Prometheus answers every query of theirs, and
//! finds the traces beside the latencies.
//!
//! Needs `prometheus` and `promtool` (`make tools`); `TRUEUP_SKIP_PROMETHEUS=1` leaves those parts out, and says so.

#[path = "dashboards/boards.rs"]
mod boards;
#[path = "dashboards/collector.rs"]
mod collector;
#[path = "dashboards/exported.rs"]
mod exported;
#[path = "alerts/programs.rs"]
#[allow(dead_code, reason = "the tests of the alerts use the rest")]
mod programs;
