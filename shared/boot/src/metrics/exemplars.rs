//! Exemplars: beside each bucket of a latency, the trace of one that took so long.
//!
//! The SDK (opentelemetry_sdk 0.33) records none, and so neither its OTLP nor its Prometheus exporter sends any: its data
//! points have a field for them that is always empty. So they are kept here, and put into the OpenMetrics text that
//! Prometheus asks for (`super::openmetrics`). For those who take metrics over OTLP, the collector makes them from the spans
//! (`deploy/collector`: `spanmetrics`).
//!
//! # Guarantees
//! One exemplar a bucket, the last; at most [`MOST`] in a process. Nothing is kept while no traces are exported: a trace id
//! that leads nowhere helps nobody.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use trueup_model::{Clock as _, SystemClock, Time};

use crate::telemetry::spans;

/// Buckets that have one.
pub const MOST: usize = 10_000;

static KEPT: LazyLock<Mutex<HashMap<Place, Exemplar>>> = LazyLock::new(Mutex::default);

/// A bucket: Prometheus' name of the histogram, its labels in order, and the upper bound's bits.
type Place = (String, Vec<(String, String)>, u64);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) value: f64,
    pub(super) at: Time,
}

/// A histogram of seconds, with exemplars.
#[derive(Debug, Clone)]
pub struct Latency {
    histogram: Histogram<f64>,
    family: String,
    bounds: Vec<f64>,
}

impl Latency {
    /// `name` as OpenTelemetry writes it, without the unit; `bounds` in seconds, ascending.
    pub fn new(meter: &Meter, name: &'static str, description: &'static str, bounds: &[f64]) -> Self {
        let built = meter.f64_histogram(name).with_unit("s").with_description(description);
        let histogram = built.with_boundaries(bounds.to_vec()).build();
        Self { histogram, family: sanitized(name) + "_seconds", bounds: bounds.to_vec() }
    }

    /// `traceparent`: of what took so long.
    pub fn record(&self, seconds: f64, labels: &[KeyValue], traceparent: Option<&str>) {
        self.histogram.record(seconds, labels);
        let Some((trace_id, span_id)) =
            traceparent.filter(|_| spans::exporting()).and_then(spans::sampled_ids)
        else {
            return;
        };
        let mut named: Vec<(String, String)> =
            labels.iter().map(|l| (sanitized(l.key.as_str()), l.value.as_str().into_owned())).collect();
        named.sort_unstable();
        let bound = self.bounds.iter().copied().find(|b| seconds <= *b).unwrap_or(f64::INFINITY);
        let exemplar = Exemplar { trace_id, span_id, value: seconds, at: SystemClock.now() };
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (self.family.clone(), named, bound.to_bits());
        if kept.len() < MOST || kept.contains_key(&place) {
            kept.insert(place, exemplar);
        }
    }
}

/// The exemplar of a bucket. `labels`: in order.
pub(super) fn of(family: &str, labels: &[(String, String)], bound: f64) -> Option<Exemplar> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(&(family.to_owned(), labels.to_vec(), bound.to_bits())).cloned()
}

fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}
