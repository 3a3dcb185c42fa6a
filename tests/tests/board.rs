//! apalis's own board in a real browser, over a real server and a real Redis: it shows what the API says, needs a key, and takes
//! nothing.
//!
//! Needs `chromium` (or another of [`BROWSERS`]): `make tools` installs it. `TRUEUP_SKIP_BROWSER=1` leaves this out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::store::{Ended, Incarnation, NewJob, Store};
use trueup_engine::{RedisOptions, RedisStore, WorkerReport};
use trueup_model::{JobId, Outcome, Partition, Queue, SystemClock, Time};
use trueup_server::ApiState;
use trueup_server::identity::{Bootstrap, Identity, Policies};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Time that a page has for its scripts, by its own clock.
const SETTLES_MS: u32 = 15_000;
const KEY: &str = "a-key-of-at-least-32-characters-for-a-test";

/// Where the browser is. `None`: it is not to be used.
fn browser() -> Option<PathBuf> {
    if std::env::var("TRUEUP_SKIP_BROWSER").is_ok_and(|v| v == "1") {
        eprintln!("SKIPPED: TRUEUP_SKIP_BROWSER=1, so nobody has seen the board");
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).flat_map(|d| BROWSERS.map(|name| d.join(name))).find(|p| p.is_file());
    Some(found.unwrap_or_else(|| {
        panic!("no {}: run `make tools`; TRUEUP_SKIP_BROWSER=1 leaves this out", BROWSERS.join(" or "))
    }))
}

/// What a page has become after its scripts ran.
async fn seen(browser: &Path, url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args([
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            "--window-size=1600,2400",
            "--dump-dom",
        ])
        .arg(format!("--virtual-time-budget={SETTLES_MS}"))
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(url)
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The text of a page: what stands between its tags.
fn text(dom: &str) -> String {
    let mut words = Vec::new();
    for part in dom.split('<').skip(1) {
        let said = part.split_once('>').map_or("", |(_, said)| said).trim();
        if !said.is_empty() {
            words.push(said.to_owned());
        }
    }
    words.join(" | ")
}

const P: Partition = Partition(0);

fn queue(name: &str) -> Queue {
    name.parse().unwrap()
}

fn job(name: &str, queue: Queue, at: Option<Time>) -> NewJob {
    let payload = br#"{"v":1,"step":"sweep","partition":0}"#.to_vec();
    NewJob { id: JobId::derive(&[name]), queue, payload, at, traceparent: None }
}

/// Seven ready, two scheduled, one in flight and three dead; and a worker.
async fn fill(store: &dyn Store) -> Vec<String> {
    let who = Incarnation("w1-board".into());
    let emit = queue("emit");
    store.beat(P, &who).await.unwrap();
    let report = WorkerReport {
        version: "9.8.7".into(),
        queues: [("emit".to_owned(), 1)].into(),
        ..WorkerReport::default()
    };
    store.operations().report(&who, &report).await.unwrap();
    let mut dead = Vec::new();
    for n in 0..3 {
        store.enqueue(P, &[job(&format!("dead {n}"), emit, None)]).await.unwrap();
        let leased = store.lease(P, &who, &[(emit, 1)], Time::UNIX_EPOCH).await.unwrap().jobs.remove(0);
        dead.push(leased.id.to_string());
        let outcome = Outcome::Dead { because: "for the board".into() };
        let ended = Ended { job: leased.id, queue: emit, outcome, traceparent: None };
        store.commit(P, &who, &[ended]).await.unwrap();
    }
    store.enqueue(P, &[job("held", emit, None)]).await.unwrap();
    store.lease(P, &who, &[(emit, 1)], Time::UNIX_EPOCH).await.unwrap();
    let ready: Vec<NewJob> = (0..7).map(|n| job(&format!("ready {n}"), queue("query.jamf"), None)).collect();
    store.enqueue(P, &ready).await.unwrap();
    let later = Some(Time::UNIX_EPOCH + trueup_model::Duration::days(40_000));
    let late: Vec<NewJob> = (0..2).map(|n| job(&format!("late {n}"), queue("query.jamf"), later)).collect();
    store.enqueue(P, &late).await.unwrap();
    dead
}

/// Serves on a free port; the URL.
async fn serve(state: ApiState) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(trueup_server::serve(listener, state, std::future::pending()));
    url
}

async fn ask(method: &str, url: &str, more: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-m", "20", "-w", "\n%{http_code}", "-X", method]).args(more).arg(url);
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_shows_what_the_api_says_and_takes_nothing() {
    let Some(browser) = browser() else { return };
    let redis = Redis::temporary(Options::default()).await.unwrap();
    let options = RedisOptions::new(redis.url(), Arc::new(SystemClock));
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(options).await.unwrap());
    let dead = fill(store.as_ref()).await;
    let open = serve(ApiState::new(store.clone(), Arc::new(SystemClock)).with_board(true)).await;

    let (_, said) = ask("GET", &format!("{open}/v1/queues"), &[]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let rows = said["items"].as_array().unwrap();
    let sum = |of: &str| rows.iter().map(|q| q[of].as_u64().unwrap()).sum::<u64>();
    assert_eq!([sum("ready"), sum("scheduled"), sum("in_flight"), sum("dead")], [7, 2, 1, 3]);

    // A late heartbeat is not what this is about.
    store.beat(P, &Incarnation("w1-board".into())).await.unwrap();
    let home = text(&seen(&browser, &format!("{open}/board")).await);
    for row in rows {
        let name = row["queue"].as_str().unwrap();
        assert!(home.contains(name), "queue {name} is not in: {home}");
    }
    // The badge of a card: jobs that wait.
    assert!(home.contains("query.jamf | 9"), "{home}");
    for statistic in ["13", "9", "1", "3"] {
        assert!(home.contains(&format!("| {statistic} |")), "{statistic} is not in: {home}");
    }
    assert!(home.contains("System Status: | Healthy"), "{home}");
    // The board's list of queues says by itself that it has one row; the cards above have them all.
    let list = text(&seen(&browser, &format!("{open}/board/queues")).await);
    assert!(list.contains("sweep"), "{list}");
    let killed = text(&seen(&browser, &format!("{open}/board/queues/emit/Killed")).await);
    for id in &dead {
        assert!(killed.contains(id), "{id} is not in: {killed}");
    }
    let one = text(&seen(&browser, &format!("{open}/board/queues/emit/tasks/{}", dead[0])).await);
    assert!(one.contains(&dead[0]) && one.contains("sweep"), "{one}");
    store.beat(P, &Incarnation("w1-board".into())).await.unwrap();
    let workers = text(&seen(&browser, &format!("{open}/board/workers")).await);
    assert!(workers.contains("w1-board"), "{workers}");

    // It only shows.
    let task = ["-H", "content-type: application/json", "-d", "{}"];
    for method in ["PUT", "POST", "DELETE"] {
        let (status, _) = ask(method, &format!("{open}/board/api/v1/queues/emit/tasks"), &task).await;
        assert_eq!(status, 405, "{method}");
    }
    let (status, _) = ask("GET", &format!("{open}/board/api/v1/queues/emit/tasks/job_none"), &[]).await;
    assert_eq!(status, 404);
    assert_eq!(store.backlog(P, queue("emit")).await.unwrap(), 0);

    // Behind the same authentication; and not there unless it is asked for.
    let identity = Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(KEY).unwrap()));
    let state = ApiState::new(store.clone(), Arc::new(SystemClock)).with_board(true).with_identity(identity);
    let closed = serve(state).await;
    for path in ["/board", "/board/api/v1/queues", "/board/start.js"] {
        assert_eq!(ask("GET", &format!("{closed}{path}"), &[]).await.0, 401, "{path}");
        let key = format!("key:{KEY}");
        assert_eq!(ask("GET", &format!("{closed}{path}"), &["-u", &key]).await.0, 200, "{path}");
    }
    let without = serve(ApiState::new(store, Arc::new(SystemClock))).await;
    assert_eq!(ask("GET", &format!("{without}/board"), &[]).await.0, 404);
}
