//! A running fleet, what it exports, and a real Prometheus that asks it what the dashboards ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use trueup_boot::embedded::Options;
use trueup_boot::telemetry::{self, Format, TelemetryConfig};
use trueup_model::EventKind;
use trueup_server::{ApiState, router};
use trueup_simulators::{Mischief, app_id, group_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_live::Live;
use trueup_tests::fleet::world_wait::wait_for;

use crate::boards::{Asked, queries};
use crate::programs::{PROMETHEUS, Server, program};

/// Labels of the series of each metric: those of each series.
type Shown = BTreeMap<String, Vec<BTreeMap<String, String>>>;

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

fn shown(text: &str) -> Shown {
    let mut all = Shown::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let series = line.rsplit_once(' ').map_or(line, |(s, _)| s);
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
        let labels = pairs.map(|(l, v)| (l.to_owned(), v.trim_end_matches('"').to_owned())).collect();
        all.entry(name.to_owned()).or_default().push(labels);
    }
    all
}

/// What dashboards name and nobody exports.
fn missing(shown: &Shown) -> Vec<String> {
    let mut missing = BTreeSet::new();
    for (place, promql) in queries() {
        for (name, labels) in Asked::of(&promql).0 {
            // Prometheus' own, about our alerts.
            if name == "ALERTS" {
                continue;
            }
            let Some(series) = shown.get(&name) else {
                missing.insert(format!("{place}: {name}"));
                continue;
            };
            let has = |of: &BTreeMap<String, String>| {
                labels.iter().all(|(label, value)| {
                    ADDED.contains(&label.as_str())
                        || of.get(label).is_some_and(|v| value.as_ref().is_none_or(|wanted| v == wanted))
                })
            };
            if !series.iter().any(has) {
                missing.insert(format!("{place}: {name} with {labels:?}"));
            }
        }
    }
    for (name, label) in Asked::of_variables() {
        if !shown.get(&name).is_some_and(|all| all.iter().any(|of| of.contains_key(&label))) {
            missing.insert(format!("variable: {label} of {name}"));
        }
    }
    missing.into_iter().collect()
}

async fn get(state: &ApiState, path: &str, accept: &str) -> String {
    let request = Request::get(path).header("accept", accept).body(Body::empty()).expect("a request");
    let response = router(state.clone()).oneshot(request).await.expect("an answer");
    let body = to_bytes(response.into_body(), 10_000_000).await.expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

/// From now on spans are made as if they were exported; they go nowhere.
fn trace() {
    let config = TelemetryConfig {
        format: Format::Human,
        service_name: "test".into(),
        level: tracing::Level::INFO,
        instance: "test".into(),
    };
    let provider = telemetry::builder(&config).build();
    telemetry::install(&provider);
    tracing_subscriber::registry().with(telemetry::layer(&provider)).init();
}

/// The API on a real port, as Prometheus scrapes it.
async fn serve(state: ApiState) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router(state)).await });
    addr
}

#[test]
fn series_are_read_from_the_text() {
    let shown = shown("# TYPE a counter\na_total{x=\"1\",y=\"b,c=}\"} 2\nb 3\n");
    let labels: BTreeMap<String, String> =
        [("x", "1"), ("y", "b,c=}")].map(|(l, v)| (l.into(), v.into())).into();
    assert_eq!(shown, Shown::from([("a_total".into(), vec![labels]), ("b".into(), vec![BTreeMap::new()])]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_fleet_exports_all_that_the_dashboards_show() {
    trace();
    let live = Live::start(Options::default(), Vec::new()).await;
    let tenant = live.graph.tenant(TENANT);
    tenant.mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) }).expect("done");
    tenant.mischief(&Mischief::AddGroup { app: app_id(TENANT, 1), group: group_id(5) }).expect("done");
    live.apply(&[assigned(TENANT, 0), assigned(TENANT, 1)]).await;
    live.sees(&key(TENANT, 0), EventKind::DriftResolved).await;
    live.sees(&key(TENANT, 1), EventKind::DriftDetected).await;
    let state = ApiState::new(live.store.clone(), live.clock.clone());
    for path in ["/v1/queues", "/v1/health", "/v1/nothing", "/v1/intents?limit=x"] {
        get(&state, path, "*/*").await;
    }
    wait_for("everything that dashboards name", Duration::from_secs(30), async || {
        let missing = missing(&shown(&get(&state, "/metrics", "text/plain").await));
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    })
    .await;

    let text = get(&state, "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    for family in ["trueup_job_duration_seconds", "http_server_request_duration_seconds"] {
        let with = |l: &str| l.starts_with(&format!("{family}_bucket{{")) && l.contains(" # {trace_id=\"");
        assert!(text.lines().any(with), "{family} shows no trace:\n{text}");
    }
    prometheus_answers(serve(state).await).await;
    live.end().await;
}

/// A real Prometheus reads the metrics in the form that it likes best, answers every query, and keeps the exemplars.
async fn prometheus_answers(api: SocketAddr) {
    let Some(prometheus) = program(PROMETHEUS) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: trueup, static_configs: [{{targets: [\"{api}\"]}}]}}]\n"
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).expect("written");
    let args =
        ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage"];
    let server = Server::start(&prometheus, dir.path(), &args.map(str::to_owned)).await;
    let read = |text: String| serde_json::from_str::<Value>(&text).map_err(|e| format!("{e}: {text}"));
    wait_for("it was scraped", Duration::from_secs(30), async || {
        let answer = read(server.query("up{job=\"trueup\"} == 1 and count_over_time(up[1m]) > 2"))?;
        if answer["data"]["result"].as_array().is_some_and(|r| !r.is_empty()) {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    for (place, promql) in queries() {
        let answer = read(server.query(&promql)).expect("JSON");
        assert_eq!(answer["status"], "success", "{place}: {promql}: {answer}");
    }
    for family in ["trueup_job_duration_seconds", "http_server_request_duration_seconds"] {
        let found = wait_for("exemplars", Duration::from_secs(30), async || {
            let answer = read(server.exemplars(&format!("{family}_bucket")))?;
            answer.pointer("/data/0/exemplars/0/labels/trace_id").cloned().ok_or_else(|| answer.to_string())
        });
        assert_eq!(found.await.as_str().map(str::len), Some(32), "{family}");
    }
}
