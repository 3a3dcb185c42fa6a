//! A real Prometheus and a real Alertmanager watch a fleet that lives 600 times as fast; each alert of the design arrives at
//! a webhook.
//!
//! The rules are the shipped ones with every duration divided by the same 600 ([`faster`]): an hour of the fleet is an hour
//! of the rules. Nothing else is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::routing::post;
use serde_json::{Value, json};
use trueup_boot::embedded::Options;
use trueup_model::{Intent, IntentKey, Ring};
use trueup_server::ApiState;
use trueup_simulators::{Mischief, Planned, Trouble, app_id, group_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned};
use trueup_tests::fleet::world_live::Live;
use trueup_tests::fleet::world_wait::wait_for;

use crate::programs::{ALERTMANAGER, PROMETHEUS, Server, folder, program};

/// As `world_live` runs its clock.
const SPEED: u64 = 600;
/// Prometheus' own rhythm: 5 minutes of the fleet.
const RHYTHM: &str = "500ms";
/// The last attempt fails three hours after the first, and four hours later it is over: 42 seconds.
const SOON: Duration = Duration::from_secs(80);

/// `rules` with the durations of windows and of `for` divided by `factor`.
fn faster(rules: &str, factor: u64) -> String {
    let shorter = |text: &str| {
        let (number, unit) = text.split_at(text.find(char::is_alphabetic).expect("a unit"));
        let seconds = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            other => panic!("a unit that nobody expected: {other}"),
        };
        format!("{}ms", number.parse::<u64>().expect("a number") * seconds * 1_000 / factor)
    };
    let mut lines = Vec::new();
    for line in rules.lines() {
        let mut rest = line;
        let mut done = String::new();
        while let Some((before, (window, after))) =
            rest.split_once('[').and_then(|(b, a)| Some((b, a.split_once(']')?)))
        {
            done += &format!("{before}[{}]", shorter(window));
            rest = after;
        }
        match rest.split_once("for: ") {
            Some((before, wait)) if before.trim().is_empty() => {
                done += &format!("{before}for: {}", shorter(wait))
            }
            _ => done += rest,
        }
        lines.push(done);
    }
    lines.join("\n")
}

#[test]
fn a_faster_rule_differs_in_its_durations_alone() {
    let rules = "expr: increase(a[1h]) / increase(b[1d]) > 10 # for: people\n  for: 5m";
    let expected = "expr: increase(a[6000ms]) / increase(b[144000ms]) > 10 # for: people\n  for: 500ms";
    assert_eq!(faster(rules, 600), expected);
}

type Received = Arc<Mutex<Vec<Value>>>;

/// Alerts that fire, as they arrive.
async fn webhook() -> (String, Received) {
    let received = Received::default();
    let into = received.clone();
    let take = move |Json(body): Json<Value>| async move {
        let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
        into.lock().expect("not poisoned").extend(alerts.into_iter().filter(|a| a["status"] == "firing"));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/alerts", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/alerts", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

async fn alertmanager(program: &Path, dir: &Path, webhook: &str) -> Server {
    std::fs::create_dir_all(dir).expect("a folder");
    let config = json!({
        "route": {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
        "receivers": [{"name": "test", "webhook_configs": [{"url": webhook}]}],
    });
    let path = dir.join("config.yml");
    std::fs::write(&path, config.to_string()).expect("written");
    let args = ["--config.file=config.yml", "--storage.path=data", "--cluster.listen-address="];
    Server::start(program, dir, &args.map(str::to_owned)).await
}

async fn prometheus(program: &Path, dir: &Path, target: &str, alertmanager: &Server) -> Server {
    std::fs::create_dir_all(dir).expect("a folder");
    let rules = std::fs::read_to_string(folder().join("trueup.rules.yml")).expect("readable");
    std::fs::write(dir.join("rules.yml"), faster(&rules, SPEED)).expect("written");
    let config = json!({
        "global": {"scrape_interval": RHYTHM, "scrape_timeout": RHYTHM, "evaluation_interval": RHYTHM},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.addr.to_string()]}]}]},
        "scrape_configs": [{"job_name": "trueup", "static_configs": [{"targets": [target]}]}],
    });
    std::fs::write(dir.join("config.yml"), config.to_string()).expect("written");
    let args = ["--config.file=config.yml", "--storage.tsdb.path=data"];
    Server::start(program, dir, &args.map(str::to_owned)).await
}

/// Two intents for each of the first nine applications, and one for the tenth; in a ring whose drift waits for a review, so
/// that mending one does not mend its twin before that was looked at.
fn intents_of_contoso() -> Vec<Intent> {
    let waits = |n| Intent { ring: Ring::Pilot, ..assigned(TENANT, n) };
    let twin = |n| Intent { key: IntentKey::new(TENANT, format!("twin-{n}")), ..waits(n) };
    (0..10).map(waits).chain((0..9).map(twin)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alert_of_the_design_is_fired_by_a_running_fleet() {
    let (Some(prometheus_bin), Some(alertmanager_bin)) = (program(PROMETHEUS), program(ALERTMANAGER)) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let live = Live::start(Options::default(), Vec::new()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = listener.local_addr().expect("an address").to_string();
    let state = ApiState::new(live.store.clone(), live.clock.clone());
    tokio::spawn(trueup_server::serve(listener, state, std::future::pending()));
    let (url, received) = webhook().await;
    let alertmanager = alertmanager(&alertmanager_bin, &dir.path().join("alertmanager"), &url).await;
    let prometheus =
        prometheus(&prometheus_bin, &dir.path().join("prometheus"), &target, &alertmanager).await;

    live.apply(&intents_of_contoso()).await;
    let refused: Vec<Intent> = (0..2).map(|n| assigned(OTHER, n)).collect();
    live.apply(&refused).await;
    for intent in intents_of_contoso().iter().chain(&refused) {
        live.becomes(&intent.key, trueup_model::Condition::InSync).await;
    }
    // It takes Prometheus some seconds to find its target, and it cannot see the rise of what it never saw low.
    wait_for("Prometheus has seen the zeros", Duration::from_secs(30), async || {
        let seen =
            prometheus.query("count_over_time(reconciliation_failures_total{tenant='fabrikam'}[1m]) >= 3");
        if seen.contains("fabrikam") { Ok(()) } else { Err(seen) }
    })
    .await;
    assert_eq!(names(&received), BTreeMap::new(), "nothing is wrong yet");

    let contoso = live.graph.tenant(TENANT);
    for n in 0..9 {
        contoso.mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, n) }).expect("done");
    }
    contoso.mischief(&Mischief::AddGroup { app: app_id(TENANT, 9), group: group_id(8) }).expect("done");
    let fabrikam = live.graph.tenant(OTHER);
    let only = Some("/assign".to_owned());
    fabrikam.trouble(Planned { trouble: Trouble::Status(403), times: None, only });
    for n in 0..2 {
        fabrikam.mischief(&Mischief::RemoveAssignments { app: app_id(OTHER, n) }).expect("done");
    }

    let expected = [
        ("HighDriftRate", TENANT),
        ("PersistentDrift", OTHER),
        ("RemediationFailure", OTHER),
        ("SecurityDrift", TENANT),
    ];
    let inputs = [
        "reconciliation_drift_detected_total",
        "tenant_plane_criticality:reconciliation_drift_detected:increase1h",
    ];
    let told = Told { servers: [&prometheus, &alertmanager], inputs: &inputs };
    let firing = wait_for("each of the four alerts", SOON, async || {
        let names = names(&received);
        let all = expected.iter().all(|(name, _)| names.contains_key(*name));
        if all { Ok(names) } else { Err(format!("{:?}", names.keys())) }
    })
    .await;
    drop(told);
    for (name, tenant) in expected {
        let alert = &firing[name];
        assert_eq!(alert["labels"]["tenant"], tenant, "{alert}");
        for part in ["summary", "description", "runbook"] {
            let text = alert["annotations"][part].as_str().unwrap_or_default();
            assert!(!text.is_empty() && !text.contains("<no value>"), "{name} {part}: {text}");
        }
    }
    // What works is not complained about.
    let engine: Vec<&String> = firing.keys().filter(|name| name.starts_with("Trueup")).collect();
    assert!(engine.is_empty(), "{engine:?}");
    live.end().await;
}

/// Tells, when the wait is in vain, what the programs saw.
struct Told<'a> {
    servers: [&'a Server; 2],
    inputs: &'a [&'a str],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for input in self.inputs {
            let most = format!("max_over_time({input}[5m])");
            eprintln!("{most}: {}", self.servers[0].query(&most));
        }
        self.servers.iter().for_each(|s| eprintln!("{}", s.output()));
    }
}

/// The first alert of each name.
fn names(received: &Received) -> BTreeMap<String, Value> {
    let received = received.lock().expect("not poisoned");
    let name = |a: &Value| a["labels"]["alertname"].as_str().unwrap_or_default().to_owned();
    received.iter().rev().map(|a| (name(a), a.clone())).collect()
}
