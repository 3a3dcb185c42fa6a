//! Which traces are kept: all spans of one run, or none, whichever worker they come from.
//!
//! A run's `traceparent` is derived and always says "sampled"; nobody has decided yet. So the decision is a pure function of
//! the trace id, the same on every worker with the same settings, and is taken anew for each span instead of being
//! inherited. The one thing inherited is a refusal: a caller's "not sampled" is respected by the `parentbased_*` samplers.
//!
//! # What is always kept
//! Nobody knows at a run's first span whether it will escalate. So by default everything is exported, and the collector
//! decides when it has seen the whole run (`deploy/collector/collector.yaml`: tail sampling). Where a ratio is set here
//! all the same, a run that was sampled out still exports the span of each fault and escalation, marked [`super::spans::KEEP`]:
//! not the run around it, which is gone. Only `always_off` silences those too.
//!
//! `OTEL_TRACES_SAMPLER`: `always_on`, `always_off`, `traceidratio`, and their `parentbased_` forms (default
//! `parentbased_always_on`); `OTEL_TRACES_SAMPLER_ARG`: the ratio, 0 to 1 (default 1). Anything else means the default.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

#[derive(Debug, Clone)]
pub struct RunSampler {
    root: Sampler,
    parent_may_refuse: bool,
}

impl RunSampler {
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Self {
        let name = env("OTEL_TRACES_SAMPLER").unwrap_or_default();
        let (base, parent_may_refuse) = match name.trim().strip_prefix("parentbased_") {
            Some(base) => (base, true),
            None => (name.trim(), false),
        };
        let ratio = || {
            let given = env("OTEL_TRACES_SAMPLER_ARG").and_then(|a| a.trim().parse::<f64>().ok());
            given.filter(|r| (0.0..=1.0).contains(r)).unwrap_or(1.0)
        };
        match base {
            "always_on" => Self { root: Sampler::AlwaysOn, parent_may_refuse },
            "always_off" => Self { root: Sampler::AlwaysOff, parent_may_refuse },
            "traceidratio" => Self { root: Sampler::TraceIdRatioBased(ratio()), parent_may_refuse },
            _ => Self { root: Sampler::AlwaysOn, parent_may_refuse: true },
        }
    }
}

impl ShouldSample for RunSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let kept = attributes.iter().any(|a| a.key.as_str() == super::spans::KEEP);
        if kept && !matches!(self.root, Sampler::AlwaysOff) {
            return Sampler::AlwaysOn.should_sample(parent, trace_id, name, kind, attributes, links);
        }
        let mut result = self.root.should_sample(parent, trace_id, name, kind, attributes, links);
        let refused = |cx: &Context| {
            let span = cx.span();
            span.span_context().is_valid() && !span.span_context().is_sampled()
        };
        if self.parent_may_refuse && parent.is_some_and(refused) {
            result.decision = SamplingDecision::Drop;
        }
        result
    }
}
