use std::io::{Read, Write};
use std::net::TcpListener;

use opentelemetry::KeyValue;

use super::levels::Levels;
use super::*;

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|l| l.starts_with(name)).collect()
}

#[test]
fn names_units_and_buckets_are_prometheus_own() {
    let meters = Meters::apart();
    let meter = meters.meter();
    meter
        .u64_counter("trueup.jobs")
        .with_description("Jobs.")
        .build()
        .add(2, &[KeyValue::new("queue", "emit")]);
    let histogram =
        meter.f64_histogram("trueup.job.duration").with_unit("s").with_boundaries(vec![0.5, 60.0]);
    histogram.build().record(2.0, &[]);
    let text = meters.text();
    assert_eq!(lines(&text, "trueup_jobs_total{"), [r#"trueup_jobs_total{queue="emit"} 2"#]);
    assert!(text.contains("# HELP trueup_jobs_total Jobs.\n# TYPE trueup_jobs_total counter\n"), "{text}");
    let buckets = [
        r#"trueup_job_duration_seconds_bucket{le="0.5"} 0"#,
        r#"trueup_job_duration_seconds_bucket{le="60"} 1"#,
        r#"trueup_job_duration_seconds_bucket{le="+Inf"} 1"#,
    ];
    assert_eq!(lines(&text, "trueup_job_duration_seconds_bucket"), buckets);
    assert!(!text.contains("otel_scope"), "{text}");
}

#[test]
fn adding_nothing_makes_a_series_that_alerts_can_start_from() {
    let meters = Meters::apart();
    meters.meter().u64_counter("trueup.escalations").build().add(0, &[KeyValue::new("tenant", "contoso")]);
    assert!(meters.text().contains("trueup_escalations_total{tenant=\"contoso\"} 0\n"), "{}", meters.text());
}

#[test]
fn a_series_that_is_gone_is_zero() {
    let meters = Meters::apart();
    let open = Levels::register(&meters.meter(), "trueup.drift.open", "", "Open.");
    let of = |tenant: &str, n: f64| (vec![("tenant", tenant.to_owned())], n);
    open.set([of("a", 3.0), of("b", 1.0), of("b", 1.0)]);
    assert_eq!(lines(&meters.text(), "trueup_drift_open{").len(), 2);
    assert!(meters.text().contains("trueup_drift_open{tenant=\"b\"} 2\n"));
    open.set([of("b", 1.0)]);
    let text = meters.text();
    assert!(text.contains("trueup_drift_open{tenant=\"a\"} 0\n"), "{text}");
    assert!(text.contains("trueup_drift_open{tenant=\"b\"} 1\n"), "{text}");
}

#[test]
fn series_are_bounded_whatever_is_counted() {
    let meters = Meters::apart();
    let counter = meters.meter().u64_counter("trueup.jobs").build();
    for n in 0..series("trueup.jobs") + 1_000 {
        counter.add(1, &[KeyValue::new("tenant", format!("{n}"))]);
    }
    let text = meters.text();
    assert_eq!(lines(&text, "trueup_jobs_total{").len(), series("trueup.jobs") + 1);
    assert!(text.contains("otel_metric_overflow=\"true\"} 1000\n"), "what is beyond is counted together");
}

#[test]
fn metrics_are_sent_only_where_the_environment_says() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let table: [(&[(&str, &str)], bool); 7] = [
        (&[], false),
        (&[endpoint], true),
        (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:4318/v1/metrics")], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
        (&[endpoint, ("OTEL_METRICS_EXPORTER", "none")], false),
        (&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")], false),
    ];
    for (env, expected) in table {
        let get = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        assert_eq!(endpoint_is_set(get), expected, "{env:?}");
    }
}

/// In a process of its own, since the endpoint is read from the environment.
#[test]
fn the_same_instruments_arrive_at_a_collector() {
    const CHILD: &str = "TRUEUP_TEST_SENDS_METRICS";
    if std::env::var_os(CHILD).is_some() {
        let meters = of_process();
        assert!(meters.exports());
        meters.meter().u64_counter("trueup.jobs").build().add(7, &[KeyValue::new("queue", "emit")]);
        meters.flush().expect("taken");
        assert!(meters.text().contains("trueup_jobs_total{queue=\"emit\"} 7\n"));
        return;
    }
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "metrics::tests::the_same_instruments_arrive_at_a_collector"])
        .env(CHILD, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env_remove("OTEL_SDK_DISABLED")
        .env_remove("OTEL_METRICS_EXPORTER")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    collector.set_nonblocking(true).unwrap();
    let mut stream = loop {
        match collector.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended without having sent anything"),
        }
        std::thread::yield_now();
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    let has = |got: &[u8], part: &str| got.windows(part.len()).any(|w| w == part.as_bytes());
    while !has(&got, "trueup.jobs") {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the sender hung up: {}", got.escape_ascii());
        got.extend_from_slice(&piece[..n]);
    }
    assert!(got.starts_with(b"POST /v1/metrics "), "{}", got.escape_ascii());
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    drop((stream, collector));
    assert!(child.wait().unwrap().success());
}
