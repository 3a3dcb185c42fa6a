use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::{SpanId, TraceContextExt};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use tracing::{info, info_span};

use super::*;

mod logs;

const RUN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const BATCH: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

use tracing::Level;

fn config() -> TelemetryConfig {
    TelemetryConfig {
        format: Format::Human,
        service_name: "test".into(),
        instance: "i-1".into(),
        level: Level::INFO,
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_657_600, 0).unwrap() + TimeDelta::seconds(second)
}

/// The provider is global to the process, so tests that need one take turns.
pub(super) static TURN: Mutex<()> = Mutex::new(());

struct Traced {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _default: tracing::subscriber::DefaultGuard,
    _turn: MutexGuard<'static, ()>,
}

fn traced_with(env: &[(&str, &str)]) -> Traced {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let exporter = InMemorySpanExporter::default();
    let sampler = sampler::RunSampler::from_env(|name| env.get(name).map(|v| (*v).to_owned()));
    let provider = builder(&config()).with_sampler(sampler).with_simple_exporter(exporter.clone()).build();
    install(&provider);
    let default = Registry::default().with(layer(&provider)).set_default();
    Traced { exporter, provider, _default: default, _turn: turn }
}

impl Traced {
    fn spans(&self) -> HashMap<String, SpanData> {
        self.provider.force_flush().unwrap();
        self.exporter.get_finished_spans().unwrap().into_iter().map(|s| (s.name.to_string(), s)).collect()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        spans::set_exporting(false);
    }
}

fn ids(traceparent: &str) -> (String, String) {
    (traceparent[3..35].to_owned(), traceparent[36..52].to_owned())
}

#[test]
fn a_run_is_one_tree_across_workers_and_time() {
    let traced = traced_with(&[]);
    // A job on some worker, under the run; the next one, elsewhere, under the job.
    let job = info_span!("emit", run = "r1");
    spans::set_parent(&job, RUN);
    spans::link(&job, BATCH);
    let handed_on = spans::traceparent_of(&job).unwrap();
    job.in_scope(|| info_span!("inner").in_scope(|| info!("something")));
    drop(job);
    let next = info_span!("remediate");
    spans::set_parent(&next, &handed_on);
    drop(next);
    spans::record_past(RUN, "query", at(0), at(2), Some(BATCH), &[("plane", "intune".into())]);
    spans::record_named(RUN, None, "run", at(0), at(9), &[("intent", "t/a".into())]);

    let got = traced.spans();
    let (trace, root) = ids(RUN);
    for (name, parent) in [
        ("run", SpanId::INVALID),
        ("query", got["run"].span_context.span_id()),
        ("emit", got["run"].span_context.span_id()),
        ("inner", got["emit"].span_context.span_id()),
        ("remediate", got["emit"].span_context.span_id()),
    ] {
        assert_eq!(got[name].span_context.trace_id().to_string(), trace, "{name}");
        assert_eq!(got[name].parent_span_id, parent, "{name}");
    }
    assert_eq!(got.len(), 5);
    assert_eq!(got["run"].span_context.span_id().to_string(), root);
    assert_eq!((got["run"].start_time, got["run"].end_time), (at(0).into(), at(9).into()));
    assert_eq!((got["query"].start_time, got["query"].end_time), (at(0).into(), at(2).into()));
    assert_eq!(got["query"].attributes, [KeyValue::new("plane", "intune")]);
    for name in ["query", "emit"] {
        let linked: Vec<String> =
            got[name].links.iter().map(|l| l.span_context.trace_id().to_string()).collect();
        assert_eq!(linked, [ids(BATCH).0], "{name}");
    }
    assert_eq!(ids(&handed_on).1, got["emit"].span_context.span_id().to_string());
}

#[test]
fn a_run_goes_on_under_somebody_elses_span() {
    let traced = traced_with(&[]);
    let own = format!("{}1234567890abcdef-01", &BATCH[..36]);
    spans::record_named(&own, Some(BATCH), "reconcile", at(0), at(1), &[]);
    let got = traced.spans();
    let ids = |s: &SpanData| (s.span_context.trace_id().to_string(), s.span_context.span_id().to_string());
    assert_eq!(ids(&got["reconcile"]), (BATCH[3..35].to_owned(), "1234567890abcdef".to_owned()));
    assert_eq!(got["reconcile"].parent_span_id.to_string(), BATCH[36..52]);
}

#[test]
fn a_fault_is_kept_when_its_run_is_not() {
    for (sampler, arg, kept) in [
        ("always_on", "", 1),
        ("traceidratio", "0", 1),
        ("parentbased_traceidratio", "0", 1),
        ("parentbased_always_on", "", 1),
        ("always_off", "", 0),
    ] {
        for traceparent in [RUN, UNSAMPLED] {
            let traced = traced_with(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
            spans::record_kept(traceparent, "escalate", "escalation", at(0), at(1), &[]);
            let got = traced.spans();
            assert_eq!(got.len(), kept, "{sampler} {arg} {traceparent}");
            for span in got.values() {
                assert_eq!(span.span_context.trace_id().to_string(), ids(RUN).0);
                assert_eq!(span.attributes, [KeyValue::new(spans::KEEP, "escalation")]);
            }
        }
    }
}

#[test]
fn what_comes_from_outside_is_read_strictly_and_written_plainly() {
    let longer = format!("02-{}-more", &RUN[3..]);
    for (text, expected) in [
        (RUN, Some(RUN)),
        (UNSAMPLED, Some(UNSAMPLED)),
        (longer.as_str(), Some(RUN)),
        ("00-1-2-01", Some("00-00000000000000000000000000000001-0000000000000002-01")),
        ("", None),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
    ] {
        let got = spans::parse(text);
        assert_eq!(got.as_ref().map(trueup_model::TraceParent::as_str), expected, "{text}");
    }
    assert_eq!(spans::sampled_ids(RUN), Some(ids(RUN)));
    assert_eq!(spans::sampled_ids(UNSAMPLED), None);
}

#[test]
fn ids_are_forced_for_the_root_alone() {
    let traced = traced_with(&[]);
    spans::record_named(RUN, None, "run", at(0), at(1), &[]);
    drop(info_span!("unrelated"));
    let got = traced.spans();
    assert_ne!(got["unrelated"].span_context.trace_id(), got["run"].span_context.trace_id());
    assert_ne!(got["unrelated"].span_context.span_id(), got["run"].span_context.span_id());
}

#[test]
fn times_in_the_wrong_order_give_an_empty_span_not_a_negative_one() {
    let traced = traced_with(&[]);
    spans::record_past(RUN, "past", at(5), at(1), None, &[]);
    let got = traced.spans();
    assert_eq!(got["past"].start_time, got["past"].end_time);
}

#[test]
fn what_is_no_traceparent_is_ignored() {
    let long = "0".repeat(100_000);
    for bad in [
        "",
        "x",
        "00-zz-yy-01",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "ü",
        &long,
        &RUN[..50],
    ] {
        let traced = traced_with(&[]);
        let span = info_span!("job");
        spans::set_parent(&span, bad);
        spans::link(&span, bad);
        drop(span);
        spans::record_past(bad, "past", at(0), at(1), Some(bad), &[]);
        spans::record_named(bad, None, "root", at(0), at(1), &[]);
        assert!(!spans::remote_parent(bad).span().span_context().is_valid(), "{bad:.60}");
        let got = traced.spans();
        assert_eq!(got.keys().collect::<Vec<_>>(), ["job"], "{bad:.60}");
        assert_eq!(got["job"].parent_span_id, SpanId::INVALID);
        assert!(got["job"].links.is_empty());
    }
}

#[test]
fn a_run_is_sampled_whole_or_not_at_all() {
    let emit_all = |traceparent: &str| {
        let job = info_span!("job");
        spans::set_parent(&job, traceparent);
        drop(job);
        spans::record_past(traceparent, "past", at(0), at(1), None, &[]);
        spans::record_named(traceparent, None, "root", at(0), at(1), &[]);
    };
    for (sampler, arg, sampled, want) in [
        ("", "", true, 200..=200),
        ("nonsense", "", true, 200..=200),
        ("always_on", "", true, 200..=200),
        ("always_off", "", true, 0..=0),
        ("traceidratio", "0.5", true, 60..=140),
        ("parentbased_traceidratio", "0.5", true, 60..=140),
        ("parentbased_traceidratio", "0", true, 0..=0),
        ("parentbased_traceidratio", "none", true, 200..=200),
        ("parentbased_always_on", "", false, 0..=0),
    ] {
        let traced = traced_with(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        for n in 0..200_u32 {
            let run = trueup_model::TraceParent::root(&[&n.to_string()]);
            let text = run.as_str();
            emit_all(&if sampled { text.to_owned() } else { format!("{}00", &text[..text.len() - 2]) });
        }
        let mut per_trace: HashMap<String, u32> = HashMap::new();
        for span in traced.exporter.get_finished_spans().unwrap() {
            *per_trace.entry(span.span_context.trace_id().to_string()).or_default() += 1;
        }
        assert!(want.contains(&per_trace.len()), "{sampler} {arg}: {} traces", per_trace.len());
        assert!(per_trace.values().all(|n| *n == 3), "{sampler} {arg}: a run lacks some of its spans");
    }
}

#[test]
fn a_refusal_by_the_caller_is_respected() {
    let traced = traced_with(&[]);
    let job = info_span!("job");
    spans::set_parent(&job, UNSAMPLED);
    assert!(spans::traceparent_of(&job).unwrap().ends_with("-00"));
    drop(job);
    assert!(traced.spans().is_empty());
}

#[test]
fn only_our_own_spans_are_traced() {
    let traced = traced_with(&[]);
    drop(tracing::info_span!(target: "hyper::client", "library"));
    drop(tracing::debug_span!("detail"));
    drop(info_span!("ours"));
    assert_eq!(traced.spans().into_keys().collect::<Vec<_>>(), ["ours"]);
}

#[test]
fn without_an_exporter_nothing_happens() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let span = info_span!("job");
    spans::set_parent(&span, RUN);
    spans::link(&span, RUN);
    assert_eq!(spans::traceparent_of(&span), None);
    spans::record_past(RUN, "past", at(0), at(1), None, &[]);
    spans::record_named(RUN, None, "root", at(0), at(1), &[]);
}

#[test]
fn an_endpoint_turns_the_export_on_and_the_standard_switches_off() {
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318")], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:4318/v1/traces")], true),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"), ("OTEL_SDK_DISABLED", "True")], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"), ("OTEL_SDK_DISABLED", "no")], true),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"), ("OTEL_TRACES_EXPORTER", "none")], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"), ("OTEL_TRACES_EXPORTER", "otlp")], true),
    ];
    for (env, want) in cases {
        let got = endpoint_is_set(|name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        assert_eq!(got, *want, "{env:?}");
    }
}

#[test]
fn a_filter_that_is_not_understood_falls_back_and_says_so() {
    for (given, level, problem) in [
        (None, "opentelemetry=warn,info", false),
        (Some(" "), "opentelemetry=warn,info", false),
        (Some("debug"), "debug", false),
        (Some("a=b=c"), "opentelemetry=warn,info", true),
    ] {
        let (filter, error) = env_filter(given, Level::INFO);
        assert_eq!((filter.to_string().as_str(), error.is_some()), (level, problem), "{given:?}");
    }
}

/// The process that the tests below start with an environment of their own: this test binary again.
#[test]
fn exporting_process() {
    if std::env::var_os("TRUEUP_TEST_EXPORT").is_none() {
        return;
    }
    let guard = init(&config()).unwrap();
    assert!(init(&config()).is_err());
    let job = info_span!("a-span-of-the-job");
    spans::set_parent(&job, RUN);
    drop(job);
    spans::record_named(RUN, None, "the-root-of-the-run", at(0), at(1), &[]);
    println!("exports: {}", guard.exports());
}

/// Whether it ended well, whether it exported, and its log.
fn export_to(endpoint: &str, more: &[(&str, &str)]) -> (bool, bool, String) {
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "telemetry::tests::exporting_process", "--nocapture"])
        .envs([("TRUEUP_TEST_EXPORT", "1"), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)])
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let exports = String::from_utf8_lossy(&out.stdout).contains("exports: true");
    (out.status.success(), exports, String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Reads one HTTP request and answers it; gives head and body.
fn serve_one(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "the request ended early");
        bytes.extend_from_slice(&buffer[..n]);
        let Some(split) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        if bytes.len() >= split + 4 + length {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            return (head, bytes[split + 4..].to_vec());
        }
    }
}

#[test]
fn spans_reach_a_plain_http_collector_with_headers_and_resource() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (received, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || received.send(serve_one(&mut listener.accept().unwrap().0)));
    let (ok, exports, log) = export_to(
        &endpoint,
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
            ("OTEL_SERVICE_NAME", "from-the-environment"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=demo"),
        ],
    );
    assert!(ok && exports, "{log}");
    let (head, body) = result.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    assert!(head.contains("authorization: bearer abc"), "{head}");
    let body = String::from_utf8_lossy(&body);
    for want in [
        "a-span-of-the-job",
        "the-root-of-the-run",
        "from-the-environment",
        "demo",
        "i-1",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(body.contains(want), "{want} is not in {body:?}");
    }
}

#[test]
fn a_collector_that_is_away_or_wrong_stops_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, want) in
        [(format!("http://{free}"), true), ("https://127.0.0.1:1".into(), true), ("no url".into(), false)]
    {
        let (ok, exports, log) = export_to(&endpoint, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]);
        assert!(ok && !log.contains("panicked"), "{endpoint}: {log}");
        assert_eq!(exports, want, "{endpoint}: {log}");
        assert!(want || log.contains("traces are not exported"), "{endpoint}: {log}");
    }
}
