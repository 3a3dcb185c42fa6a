//! (b) In-sync intents checked a second by the whole loop (sweep, query, compare), against the Graph simulator in another
//! process; (c) bytes of Redis per intent that has nothing to do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trueup_boot::embedded::Redis;
use trueup_engine::{By, RedisOptions, RedisStore, Store};
use trueup_model::{Clock as _, CorrelationId, Intent, SystemClock, Target};
use trueup_runner::{FixedSecrets, Secret, WorkConfig};
use trueup_simulators::{app_id, app_name, client_id, client_secret, group_id};
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::{intent, redis};

use crate::RUNS;
use crate::report::{Report, median};

const INTENTS: usize = 100_000;
const APPS: usize = 2_000;
const TENANT: &str = "contoso";

/// The simulator's process; ends with the value.
struct Simulator(Child, Value);

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn simulator() -> anyhow::Result<Simulator> {
    let program = std::env::current_exe()?.with_file_name("trueup-sim-graph");
    let mut child = Command::new(&program)
        .args(["--listen", "127.0.0.1:0", "--unlimited", "--tenants", TENANT])
        .args(["--apps", &APPS.to_string(), "--devices", "4000", "--devices-per-app", "5"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| anyhow::anyhow!("{}: {e}; `make bench` builds it", program.display()))?;
    let Some(out) = child.stdout.take() else { anyhow::bail!("no output") };
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(Simulator(child, serde_json::from_str(&line)?))
}

fn config(simulator: &Value) -> anyhow::Result<(WorkConfig, FixedSecrets)> {
    let config = json!({"connections": [{
        "plane": "intune", "name": "bench", "tenant": TENANT, "directory_tenant": TENANT, "client_id": client_id(TENANT),
        "client_secret_env": "BENCH", "graph_url": simulator["graph_url"], "login_url": simulator["login_url"],
        "quota": {"apps": 1_000_000, "devices": 1_000_000, "writes": 1_000_000},
    }]});
    let secrets = BTreeMap::from([("BENCH".to_owned(), Secret::new(client_secret(TENANT)))]);
    Ok((serde_json::from_value(config)?, FixedSecrets(secrets)))
}

fn in_sync(n: usize) -> Intent {
    let app = n % APPS;
    let mut intent = intent(TENANT, &format!("i-{n:06}"));
    if let Target::Intune(target) = &mut intent.target {
        (target.app_id, target.app_name) = (app_id(TENANT, app), app_name(app));
    }
    if let Some(assignment) = &mut intent.desired.assignment {
        assignment.include = [trueup_model::intent::Scope::Group(group_id(app))].into();
    }
    intent
}

async fn used_memory(server: &Redis) -> anyhow::Result<f64> {
    let mut c = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut c).await?;
    let used = info.lines().find_map(|l| l.strip_prefix("used_memory:")).and_then(|n| n.trim().parse().ok());
    used.ok_or_else(|| anyhow::anyhow!("no used_memory"))
}

/// Checks a second, and bytes per idle intent.
async fn run() -> anyhow::Result<(f64, f64)> {
    let simulator = simulator()?;
    let server = redis().await?;
    let clock = Arc::new(SystemClock);
    let store: Arc<dyn Store> =
        Arc::new(RedisStore::connect(RedisOptions::new(server.url(), clock.clone())).await?);
    let before = used_memory(&server).await?;
    let by =
        By { actor: "bench".into(), correlation_id: CorrelationId::derive(&["bench"]), now: clock.now() };
    let intents: Vec<Intent> = (0..INTENTS).map(in_sync).collect();
    for chunk in intents.chunks(256) {
        store.apply(chunk, &by).await?;
    }
    // The events of applying are history, not state.
    let mut c = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
    redis::cmd("XTRIM").arg("{tu:0}:events").arg("MAXLEN").arg(0).query_async::<()>(&mut c).await?;

    let (config, secrets) = config(&simulator.1)?;
    let watch = Stopwatch::start();
    let fleet = config.start_with(store.clone(), clock.clone(), &secrets).await?;
    let stop = fleet.stop_switch();
    let fleet = tokio::spawn(fleet.run());
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    // Every look: nothing is due and no job waits or runs but the tick.
    loop {
        looks.tick().await;
        let (due, _) = store.due(trueup_model::Partition(0), clock.now(), 1).await?;
        let busy: u64 = store
            .depths()
            .await?
            .iter()
            .map(|q| q.ready + q.in_flight + if q.queue == "sweep" { 0 } else { q.scheduled })
            .sum();
        if due.is_empty() && busy == 0 {
            break;
        }
        anyhow::ensure!(watch.seconds() < 600.0, "not done after ten minutes");
    }
    let rate = INTENTS as f64 / watch.seconds();
    stop.stop();
    fleet.await??;
    let page = store.list_intents(None, INTENTS).await?;
    let fine = page.items.iter().filter(|r| r.state.condition == trueup_model::Condition::InSync).count();
    anyhow::ensure!(fine == INTENTS, "only {fine} of {INTENTS} are in sync");
    let bytes = (used_memory(&server).await? - before) / INTENTS as f64;
    Ok((rate, bytes))
}

pub(crate) async fn figures(report: &mut Report) -> anyhow::Result<()> {
    let (mut rates, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (rate, per_intent) = run().await?;
        eprintln!("  {rate:.0} intents/s, {per_intent:.0} bytes each");
        rates.push(rate);
        bytes.push(per_intent);
    }
    let settings = "100,000 intents over 2,000 apps, 1 tenant, 1 worker process, 1 partition, AOF everysec, Graph simulator in \
                    another process without throttling, all on one host";
    report.faster("in-sync intents checked".into(), median(rates), "intents/s", "wanted", 5_000.0, settings);
    report.below("Redis per idle intent".into(), median(bytes), "bytes", 2_048.0, settings);
    Ok(())
}
