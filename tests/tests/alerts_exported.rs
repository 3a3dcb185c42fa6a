//! Every metric that a rule of `deploy/prometheus` names is shown by a running fleet, with the labels that the rule wants:
//! a renamed one cannot silence an alert. A process of its own, so that nothing else counts into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;
use trueup_boot::embedded::Options;
use trueup_model::EventKind;
use trueup_server::ApiState;
use trueup_simulators::{Mischief, app_id, group_id};
use trueup_tests::fleet::world_graph::{TENANT, assigned, key};
use trueup_tests::fleet::world_live::Live;
use trueup_tests::fleet::world_wait::wait_for;

type Series = (String, BTreeSet<String>);

/// The metrics that a rule file names, each with the matchers it has there; and those that it records.
fn named(rules: &str) -> (BTreeSet<Series>, BTreeSet<String>) {
    let (mut used, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for line in rules.lines().map(|l| l.split(" #").next().unwrap_or_default().trim()) {
        if line.starts_with('#') || line.contains("annotations") || is_prose(line) {
            continue;
        }
        if let Some(name) = line.strip_prefix("- record: ") {
            recorded.insert(name.to_owned());
            continue;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let mut rest = line;
        while let Some(start) = rest.find(is_part) {
            let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |n| start + n);
            let (word, after) = (&rest[start..end], &rest[end..]);
            if word.starts_with("trueup_")
                || word.starts_with("reconciliation_")
                || word.contains(":trueup_")
                || word.contains(":reconciliation_")
            {
                let inside = after.strip_prefix('{').and_then(|a| a.split('}').next()).unwrap_or_default();
                let matchers = inside.split(',').map(|m| m.trim().to_owned()).filter(|m| !m.is_empty());
                used.insert((word.to_owned(), matchers.collect()));
            }
            rest = after;
        }
    }
    (used, recorded)
}

/// Lines that people read.
fn is_prose(line: &str) -> bool {
    ["summary:", "description:", "runbook:"].iter().any(|p| line.starts_with(p))
}

/// Name and labels (`name="value"`) of each series in Prometheus text.
fn shown(text: &str) -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let mut all: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let series = line.rsplit_once(' ').map_or(line, |(s, _)| s);
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').map(str::to_owned).filter(|l| !l.is_empty());
        all.entry(name.to_owned()).or_default().push(labels.collect());
    }
    all
}

#[test]
fn names_and_matchers_are_read_from_rules() {
    let rules = "- record: a:trueup_b:count\n expr: sum by (x) (trueup_b{kind=\"c\", d=\"e\"}) / trueup_f_sum > a:trueup_b:count\n summary: \"trueup_g\"";
    let (used, recorded) = named(rules);
    let of =
        |name: &str, matchers: &[&str]| (name.to_owned(), matchers.iter().map(|m| (*m).to_owned()).collect());
    let expected =
        [of("a:trueup_b:count", &[]), of("trueup_b", &["kind=\"c\"", "d=\"e\""]), of("trueup_f_sum", &[])];
    assert_eq!(used, BTreeSet::from(expected));
    assert_eq!(recorded, BTreeSet::from(["a:trueup_b:count".to_owned()]));
}

async fn scrape(state: &ApiState) -> String {
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let response = trueup_server::router(state.clone()).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let body = to_bytes(response.into_body(), 10_000_000).await.expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_rules_is_shown_by_a_running_fleet() {
    let live = Live::start(Options::default(), Vec::new()).await;
    let tenant = live.graph.tenant(TENANT);
    tenant.mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) }).expect("done");
    tenant.mischief(&Mischief::AddGroup { app: app_id(TENANT, 1), group: group_id(5) }).expect("done");
    live.apply(&[assigned(TENANT, 0), assigned(TENANT, 1)]).await;
    live.sees(&key(TENANT, 0), EventKind::DriftResolved).await;
    live.sees(&key(TENANT, 1), EventKind::DriftDetected).await;

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/trueup.rules.yml");
    let rules = std::fs::read_to_string(file).expect("readable");
    let (used, recorded) = named(&rules);
    assert!(used.len() > 15, "only {} metrics found in the rules", used.len());
    let state = ApiState::new(live.store.clone(), live.clock.clone());
    wait_for("every metric of the rules", std::time::Duration::from_secs(30), async || {
        let text = scrape(&state).await;
        let shown = shown(&text);
        let is_there = |(name, matchers): &&Series| {
            let here = shown.get(name).is_some_and(|all| all.iter().any(|labels| matchers.is_subset(labels)));
            here || recorded.contains(name)
        };
        let missing: Vec<&Series> = used.iter().filter(|s| !is_there(s)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not shown: {missing:?}")) }
    })
    .await;

    // By the fleet's clock the drift stood for minutes; and what was counted was counted once.
    let text = scrape(&state).await;
    let detected = "trueup_drift_detected_total{criticality=\"critical\",kind=\"missing_assignment\",plane=\"intune\",security=\"false\",severity=\"high\",tenant=\"contoso\"} 1\n";
    assert!(text.contains(detected), "{text}");
    assert!(
        text.contains("trueup_time_to_remediation_seconds_count{plane=\"intune\",tenant=\"contoso\"} 1\n"),
        "{text}"
    );
    for id in ["app-0", "app-1", "run_", "fnd_"] {
        assert!(!text.contains(id), "no id is in a label: {id}");
    }
    live.end().await;
}
