//! Logs, traces and (see [`crate::metrics`]) metrics of a process.
//!
//! # Expected flow
//! `main` calls [`init`] once, first thing, and keeps the [`Guard`] until the end: dropping it sends what is left.
//!
//! # Guarantees
//! - Logs go to stderr, for people or as one JSON object a line, with the fields of all spans around the line
//!   (`correlation_id`, `run`, `job`, `intent`, …) and with `trace_id` and `span_id`, whether or not traces are exported.
//!   What is logged cannot end a line or steer a terminal.
//! - Traces are exported over OTLP (HTTP, protobuf) only if an endpoint is set in the environment; without one, spans cost
//!   a few log fields and nothing else.
//! - A collector that is away, slow or wrong never stops or delays the work: spans wait in a bounded queue, and are
//!   dropped when it is full.
//!
//! # Environment (the OpenTelemetry specification's names)
//! `RUST_LOG`, `NO_COLOR`; `OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, `OTEL_BSP_*`, `OTEL_SPAN_*_LIMIT`
//! (read by the SDK); `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` (win over [`TelemetryConfig`]);
//! `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` (see [`sampler`]); `OTEL_SDK_DISABLED=true` and
//! `OTEL_TRACES_EXPORTER=none` (no traces).

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, TracerProviderBuilder};
use serde::Deserialize;
use tracing::{Level, Subscriber, info, warn};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::metrics;

mod forced_ids;
mod human;
mod json;
pub mod sampler;
pub mod spans;

/// How long the end of the process waits for the collector.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// The name of our tracer, and how our own spans are told from those of libraries.
const SCOPE: &str = "trueup";

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Human,
    /// One object a line, span fields at its top level.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("the log formats are `human` and `json`".into()),
        }
    }
}

#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    pub format: Format,
    /// `service.name` in traces, unless the environment says otherwise.
    pub service_name: String,
    /// What is logged if `RUST_LOG` does not say otherwise.
    pub level: Level,
    /// `service.instance.id`: what tells this process from others of its kind.
    pub instance: String,
}

#[derive(Debug, thiserror::Error)]
#[error("logging is already set up in this process")]
pub struct AlreadySet;

/// Sends what is left when dropped, within five seconds.
#[must_use = "spans that wait to be exported are lost without it"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Whether spans are exported.
    pub fn exports(&self) -> bool {
        self.0.is_some()
    }

    /// Sends what waits, now. For tests and for the end of a command.
    pub fn flush(&self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.force_flush()
        {
            warn!(%error, "cannot send spans to the collector");
        }
        if let Some(error) = metrics::used().and_then(|m| m.flush().err()) {
            warn!(error, "cannot send metrics to the collector");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            spans::set_exporting(false);
            if let Err(error) = provider.shutdown_with_timeout(FLUSH_WITHIN) {
                warn!(%error, "the last spans did not reach the collector");
            }
        }
        if let Some(meters) = metrics::used() {
            meters.end(FLUSH_WITHIN);
        }
    }
}

/// Sets up logs and traces for the whole process. An export that cannot be set up is a warning, not an error.
///
/// # Errors
/// [`AlreadySet`], if it was called before.
pub fn init(config: &TelemetryConfig) -> Result<Guard, AlreadySet> {
    // Building an HTTP client needs a crypto provider, even for http://. An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (exporter, problem) = match endpoint_is_set(|name| std::env::var(name).ok()).then(exporter) {
        Some(Ok(exporter)) => (Some(exporter), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let provider = exporter.map(|e| builder(config).with_batch_exporter(e).build());
    let (filter, bad_filter) = env_filter(std::env::var("RUST_LOG").ok().as_deref(), config.level);
    let traces = provider.as_ref().map(layer);
    Registry::default()
        .with(traces)
        .with(logs(config.format).with_filter(filter))
        .try_init()
        .map_err(|_| AlreadySet)?;
    if let Some(error) = bad_filter {
        warn!(%error, "RUST_LOG is not understood; logging at level info");
    }
    if let Some(error) = problem {
        warn!(%error, "traces are not exported; check the OTEL_EXPORTER_OTLP_* variables");
    }
    if let Some(provider) = &provider {
        install(provider);
        info!("exporting traces over OTLP");
    }
    metrics::set_resource(&resource(config));
    if metrics::of_process().exports() {
        info!("exporting metrics over OTLP");
    }
    Ok(Guard(provider))
}

/// Makes `provider` the one that [`spans`] emit to. [`init`] does it; tests do it with an exporter of their own.
pub fn install(provider: &SdkTracerProvider) {
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(provider.clone());
    spans::set_exporting(true);
}

/// A provider that still lacks its exporter: our ids, our sampler, our resource.
pub fn builder(config: &TelemetryConfig) -> TracerProviderBuilder {
    let sampler = sampler::RunSampler::from_env(|name| std::env::var(name).ok());
    SdkTracerProvider::builder()
        .with_id_generator(forced_ids::ForcedIds::default())
        .with_sampler(sampler)
        .with_resource(resource(config))
}

/// Turns our `tracing` spans of level info and above into trace spans. Those of libraries stay out: the exporter's own
/// HTTP client would trace itself.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|m| m.target().starts_with(SCOPE) && *m.level() <= Level::INFO))
}

fn logs<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let out = fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Json => Box::new(out.fmt_fields(fmt::format::JsonFields::new()).event_format(json::Flat)),
        Format::Human => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            let colour = std::io::stderr().is_terminal() && !plain;
            Box::new(out.fmt_fields(human::Plain).event_format(human::Human { colour }))
        }
    }
}

/// `RUST_LOG`'s filter, or the default with what is wrong with it. By default the SDK's own news (a provider was set) is not told.
fn env_filter(rust_log: Option<&str>, level: Level) -> (EnvFilter, Option<String>) {
    let default = || EnvFilter::new(format!("opentelemetry={},{level}", level.min(Level::WARN)));
    match rust_log.map(str::trim).filter(|s| !s.is_empty()).map(EnvFilter::try_new) {
        None => (default(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (default(), Some(error.to_string())),
    }
}

fn endpoint_is_set(env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|v| !v.trim().is_empty());
    let off = set("OTEL_SDK_DISABLED").is_some_and(|v| v.trim().eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|v| v.trim().eq_ignore_ascii_case("none"));
    let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .into_iter()
        .any(|n| set(n).is_some());
    endpoint && !off
}

/// Endpoint, headers, timeout and compression are read from the environment by the SDK.
fn exporter() -> Result<opentelemetry_otlp::SpanExporter, opentelemetry_otlp::ExporterBuildError> {
    opentelemetry_otlp::SpanExporter::builder().with_http().build()
}

fn resource(config: &TelemetryConfig) -> Resource {
    let given = Resource::builder().build();
    let missing = |key: &'static str| {
        given
            .get(&key.into())
            .is_none_or(|v| key == "service.name" && v.as_str().starts_with("unknown_service"))
    };
    let ours = [
        ("service.name", config.service_name.clone()),
        ("service.instance.id", config.instance.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let ours = ours.into_iter().filter(|(key, _)| missing(key)).map(|(key, value)| KeyValue::new(key, value));
    Resource::builder().with_attributes(ours.collect::<Vec<_>>()).build()
}

/// From now on as if spans were exported, and nobody else's test is.
#[cfg(test)]
pub(crate) fn exporting_for_test() -> impl Sized {
    let turn = tests::TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    spans::set_exporting(true);
    turn
}

#[cfg(test)]
mod tests;
