//! Metrics as OpenMetrics 1.0 text, which is the form that can carry exemplars. Prometheus asks for it first.

use std::fmt::Write as _;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::exemplars;

/// `Content-Type` of [`write()`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether `accept` (the header) wants this form rather than the plain text.
pub fn is_accepted(accept: &str) -> bool {
    accept
        .split(',')
        .filter_map(|kind| kind.split(';').next())
        .any(|k| k.trim() == "application/openmetrics-text")
}

/// All families, with the end mark.
pub(super) fn write(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let counter = family.get_field_type() == MetricType::COUNTER;
        let base = if counter {
            family.name().strip_suffix("_total").unwrap_or(family.name())
        } else {
            family.name()
        };
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            // We make neither summaries nor untyped ones.
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# TYPE {base} {kind}");
        if !family.help().is_empty() {
            let _ = writeln!(out, "# HELP {base} {}", escaped(family.help()));
        }
        for metric in family.get_metric() {
            let labels = labels(metric);
            match family.get_field_type() {
                MetricType::HISTOGRAM => histogram(&mut out, base, &labels, metric),
                MetricType::COUNTER => {
                    sample(
                        &mut out,
                        &format!("{base}_total"),
                        &labels,
                        None,
                        metric.get_counter().get_value(),
                    );
                    out.push('\n');
                }
                _ => {
                    sample(&mut out, base, &labels, None, metric.get_gauge().get_value());
                    out.push('\n');
                }
            }
        }
    }
    out + "# EOF\n"
}

type Labels = Vec<(String, String)>;

fn labels(metric: &Metric) -> Labels {
    let mut all: Labels =
        metric.get_label().iter().map(|l| (l.name().to_owned(), l.value().to_owned())).collect();
    all.sort_unstable();
    all
}

fn histogram(out: &mut String, name: &str, labels: &Labels, metric: &Metric) {
    let histogram = metric.get_histogram();
    let bounds = histogram.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count()));
    let last = (f64::INFINITY, histogram.get_sample_count());
    for (bound, count) in bounds.filter(|(bound, _)| bound.is_finite()).chain([last]) {
        sample(out, &format!("{name}_bucket"), labels, Some(bound), count as f64);
        if let Some(e) = exemplars::of(name, labels, bound) {
            let at = e.at.timestamp_millis() as f64 / 1000.0;
            let (trace, span) = (&e.trace_id, &e.span_id);
            let _ = write!(out, " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {} {at:.3}", number(e.value));
        }
        out.push('\n');
    }
    sample(out, &format!("{name}_sum"), labels, None, histogram.get_sample_sum());
    out.push('\n');
    sample(out, &format!("{name}_count"), labels, None, histogram.get_sample_count() as f64);
    out.push('\n');
}

fn sample(out: &mut String, name: &str, labels: &Labels, bound: Option<f64>, value: f64) {
    out.push_str(name);
    let bound = bound.map(|b| ("le".to_owned(), number(b)));
    let mut sign = '{';
    for (label, text) in labels.iter().chain(&bound) {
        let _ = write!(out, "{sign}{label}=\"{}\"", escaped(text));
        sign = ',';
    }
    let close = if sign == ',' { "}" } else { "" };
    let _ = write!(out, "{close} {}", number(value));
}

/// `1.0`, `0.005`, `+Inf`.
fn number(value: f64) -> String {
    match value {
        v if v == f64::INFINITY => "+Inf".into(),
        v if v == f64::NEG_INFINITY => "-Inf".into(),
        v if v.is_nan() => "NaN".into(),
        v => format!("{v:?}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::super::{Latency, Meters, openmetrics as text};
    use super::*;
    use crate::telemetry::spans;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true),
            ("application/openmetrics-text-but-not-quite", false),
        ] {
            assert_eq!(is_accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn counters_gauges_and_histograms_are_written_by_the_book() {
        let meters = Meters::apart();
        let meter = meters.meter();
        let jobs = meter.u64_counter("trueup.test.jobs").with_description("Jobs, \"all\".").build();
        jobs.add(2, &[KeyValue::new("queue", "a\\b\"c\nd")]);
        meter.f64_gauge("trueup.test.level").build().record(0.5, &[]);
        let latency = Latency::new(&meter, "trueup.test.took", "It took.", &[0.5, 60.0]);
        latency.record(2.0, &[], None);
        let expected = "# TYPE trueup_test_jobs counter\n# HELP trueup_test_jobs Jobs, \\\"all\\\".\n\
            trueup_test_jobs_total{queue=\"a\\\\b\\\"c\\nd\"} 2.0\n\
            # TYPE trueup_test_level gauge\ntrueup_test_level 0.5\n\
            # TYPE trueup_test_took_seconds histogram\n# HELP trueup_test_took_seconds It took.\n\
            trueup_test_took_seconds_bucket{le=\"0.5\"} 0.0\ntrueup_test_took_seconds_bucket{le=\"60.0\"} 1.0\n\
            trueup_test_took_seconds_bucket{le=\"+Inf\"} 1.0\ntrueup_test_took_seconds_sum 2.0\n\
            trueup_test_took_seconds_count 1.0\n# EOF\n";
        assert_eq!(text(&[&meters]), expected);
        let both = text(&[&meters, &Meters::apart()]);
        assert_eq!(both.matches("# EOF\n").count(), 1);
    }

    #[test]
    fn a_bucket_shows_the_trace_that_fell_into_it_last() {
        const SLOW: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        const DROPPED: &str = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let _turn = crate::telemetry::exporting_for_test();
        let meters = Meters::apart();
        let latency = Latency::new(&meters.meter(), "trueup.test.exemplar", "", &[0.5, 60.0]);
        let label = [KeyValue::new("a.b", "x")];
        latency.record(0.1, &label, Some(DROPPED));
        latency.record(2.0, &label, Some(SLOW));
        latency.record(3.0, &label, None);
        let text = text(&[&meters]);
        let of = |bound: &str| {
            let start = format!("trueup_test_exemplar_seconds_bucket{{a_b=\"x\",le=\"{bound}\"}} ");
            text.lines()
                .find_map(|l| l.strip_prefix(start.as_str()))
                .unwrap_or_else(|| panic!("{text}"))
                .to_owned()
        };
        assert_eq!(of("0.5"), "1.0", "a trace that nobody keeps is no example");
        let shown = of("60.0");
        let (trace, span) = (&SLOW[3..35], &SLOW[36..52]);
        let begins = format!("3.0 # {{trace_id=\"{trace}\",span_id=\"{span}\"}} 2.0 ");
        assert!(shown.starts_with(&begins), "{shown}");
        assert!(!meters.text().contains('#') || !meters.text().contains(trace), "the plain form has none");
        spans::set_exporting(false);
        let off = Latency::new(&meters.meter(), "trueup.test.exemplar.off", "", &[60.0]);
        off.record(2.0, &[], Some(SLOW));
        let text = super::super::openmetrics(&[&meters]);
        assert!(text.contains("trueup_test_exemplar_off_seconds_bucket{le=\"60.0\"} 1.0\n"), "{text}");
    }
}
