//! Metrics of a process: one set of instruments, read in two ways.
//!
//! # Expected flow
//! Whoever counts makes instruments with [`Meters::meter`] of [`of_process`]. What they hold is shown as Prometheus text
//! ([`Meters::text`], or [`openmetrics()`] for those who want exemplars; served at `/metrics`), and sent over OTLP if an endpoint is set in the environment.
//!
//! # Guarantees
//! - Counting never waits for anybody: neither for a scrape nor for a collector.
//! - An instrument keeps a bounded number of series ([`series`]); what is beyond is one series marked
//!   `otel_metric_overflow`. Labels that others choose are bounded before that (`model::label`).
//! - Names follow both conventions: `trueup.job.duration` in seconds is `trueup_job_duration_seconds` in Prometheus.
//!
//! # Environment (the OpenTelemetry specification's names)
//! `OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds, default
//! 60,000; read by the SDK); `OTEL_SDK_DISABLED=true` and `OTEL_METRICS_EXPORTER=none`: nothing is sent; the Prometheus text
//! stays.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, InstrumentKind, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

pub mod exemplars;
pub mod levels;
pub mod openmetrics;

pub use exemplars::Latency;
pub use opentelemetry::KeyValue;
pub use opentelemetry::metrics::Meter;

/// `Content-Type` of [`Meters::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The name of our meter.
const SCOPE: &str = "trueup";
/// Series of one instrument: 200 tenants and the rest, four planes, and a few words besides.
const SERIES: usize = 5_000;
/// Of the few that tell more about each drift.
const DETAILED: usize = 20_000;
const DETAILED_NAMES: [&str; 3] = ["trueup.drift.detected", "trueup.drift.open", "trueup.drift.persistent"];

static RESOURCE: OnceLock<Resource> = OnceLock::new();
static PROCESS: OnceLock<Meters> = OnceLock::new();

/// Instruments, and the two ways out.
#[derive(Debug)]
pub struct Meters {
    provider: SdkMeterProvider,
    registry: Registry,
    exports: bool,
}

/// The process's own. The first call begins to export, if the environment says where to.
pub fn of_process() -> &'static Meters {
    PROCESS.get_or_init(|| {
        let meters = Meters::start(true);
        global::set_meter_provider(meters.provider.clone());
        meters
    })
}

/// Who we are, for collectors. Before the first use of a meter.
pub(crate) fn set_resource(resource: &Resource) {
    let _ = RESOURCE.set(resource.clone());
}

impl Meters {
    /// A set apart from the process's own, for what belongs to one part of it.
    pub fn apart() -> Self {
        Self::start(false)
    }

    fn start(tell_target: bool) -> Self {
        let registry = Registry::new();
        let resource = RESOURCE.get().cloned().unwrap_or_else(|| Resource::builder().build());
        let mut builder = SdkMeterProvider::builder().with_resource(resource).with_view(view);
        let text =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let text = if tell_target { text } else { text.without_target_info() };
        match text.build() {
            Ok(reader) => builder = builder.with_reader(reader),
            Err(error) => tracing::warn!(%error, "no metrics in Prometheus text"),
        }
        let exporter = endpoint_is_set(|name| std::env::var(name).ok()).then(|| {
            // Building an HTTP client needs a crypto provider, even for http://. An error means that there is one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            opentelemetry_otlp::MetricExporter::builder().with_http().build()
        });
        let mut exports = false;
        match exporter {
            Some(Ok(exporter)) => {
                builder = builder.with_periodic_exporter(exporter);
                exports = true;
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "metrics are not exported; check the OTEL_EXPORTER_OTLP_* variables");
            }
            None => {}
        }
        Self { provider: builder.build(), registry, exports }
    }

    pub fn meter(&self) -> Meter {
        self.provider.meter_with_scope(InstrumentationScope::builder(SCOPE).build())
    }

    /// Whether they are sent over OTLP.
    pub fn exports(&self) -> bool {
        self.exports
    }

    /// Everything, as Prometheus reads it (text format 0.0.4).
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::warn!(%error, "metrics cannot be written as text");
            String::new()
        })
    }

    /// Sends what there is, now.
    ///
    /// # Errors
    /// Says why the collector did not take it.
    pub fn flush(&self) -> Result<(), String> {
        self.provider.force_flush().map_err(|e| e.to_string())
    }

    /// Sends the last numbers. Nothing is counted afterwards.
    pub(crate) fn end(&self, within: Duration) {
        if self.exports
            && let Err(error) = self.provider.shutdown_with_timeout(within)
        {
            tracing::warn!(%error, "the last metrics did not reach the collector");
        }
    }
}

/// All of these sets as one OpenMetrics text, with exemplars. No name may be in two of them.
pub fn openmetrics(sets: &[&Meters]) -> String {
    openmetrics::write(&sets.iter().flat_map(|meters| meters.registry.gather()).collect::<Vec<_>>())
}

/// The process's own, if anybody has used them.
pub(crate) fn used() -> Option<&'static Meters> {
    PROCESS.get()
}

/// Series that an instrument of this name keeps.
pub fn series(name: &str) -> usize {
    if DETAILED_NAMES.contains(&name) { DETAILED } else { SERIES }
}

/// A view that matches an instrument takes over its buckets too, so histograms keep the SDK's own bound (2,000).
fn view(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() == InstrumentKind::Histogram {
        return None;
    }
    Stream::builder().with_cardinality_limit(series(instrument.name())).build().ok()
}

fn endpoint_is_set(env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|v| !v.trim().is_empty());
    let is = |name: &str, value: &str| set(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
    let off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_METRICS_EXPORTER", "none");
    let endpoints = ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    endpoints.into_iter().any(|n| set(n).is_some()) && !off
}

#[cfg(test)]
mod tests;
