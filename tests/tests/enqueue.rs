//! Nothing that was accepted (202) is lost when the API or Redis is killed in the middle: real processes, kill -9.
//!
//! Redis runs with `appendfsync always`, which is the setting that promises this also when the host dies: the answer to a
//! write comes after its fsync. With `everysec` a killed Redis process loses nothing that it had handed to the system, but a
//! host that dies, or a disk that is too slow for a second, loses up to about a second of 202s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use trueup_boot::embedded::{Append, Options, Redis};
use trueup_engine::store::JobState;
use trueup_engine::{By, RedisOptions, RedisStore, Store};
use trueup_model::{Clock as _, CorrelationId, IntentKey, Queue, StepName, SystemClock};
use trueup_tests::api::Api;
use trueup_tests::http::Http;
use trueup_tests::world::intent;

const INTENTS: usize = 12_000;
const CLIENTS: usize = 4;
const KILLS: usize = 4;
/// Accepted between two kills.
const BETWEEN: usize = 1_000;

async fn redis() -> Redis {
    let options = Options { append: Append::Always, ..Options::default() };
    Redis::temporary(options).await.expect("a private Redis")
}

async fn connect(redis: &Redis) -> Arc<dyn Store> {
    let options =
        RedisOptions { partitions: Some(4), ..RedisOptions::new(redis.url(), Arc::new(SystemClock)) };
    Arc::new(RedisStore::connect(options).await.expect("a store"))
}

async fn applied(store: &dyn Store) {
    let all: Vec<_> = (0..INTENTS).map(|n| intent("acme", &format!("i{n:05}"))).collect();
    let by =
        By { actor: "test".into(), correlation_id: CorrelationId::derive(&["x"]), now: SystemClock.now() };
    for some in all.chunks(256) {
        store.apply(some, &by).await.expect("applied");
    }
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Handle, and the intents that it stands for.
    accepted: Mutex<Vec<(String, Vec<String>)>>,
    count: AtomicUsize,
    next: AtomicUsize,
    stop: AtomicBool,
    /// Where the API serves at the moment.
    address: Mutex<String>,
}

/// Asks for intents nobody asked for before, one by one and (the first client) twenty at a time, until told to stop.
async fn client(told: Arc<Told>, many: bool) {
    'connect: while !told.stop.load(Ordering::Acquire) {
        let address = told.address.lock().expect("a lock").clone();
        let Ok(mut http) = Http::connect(&address).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while !told.stop.load(Ordering::Acquire) {
            let n = if many { 20 } else { 1 };
            let from = told.next.fetch_add(n, Ordering::Relaxed);
            if from + n > INTENTS {
                return;
            }
            let names: Vec<String> = (from..from + n).map(|n| format!("acme/i{n:05}")).collect();
            let body = if many { json!({"intents": names}) } else { json!({"intent": names[0]}) };
            match http.post_json("/v1/reconciliations", &body.to_string()).await {
                Ok(got) if got.status == 202 => {
                    let id = got.json()["id"].as_str().expect("a handle").to_owned();
                    assert_eq!(got.json()["accepted"], n);
                    told.accepted.lock().expect("a lock").push((id, names));
                    told.count.fetch_add(n, Ordering::Release);
                }
                // Redis is away: 503 says so, and nothing was promised.
                Ok(got) => {
                    assert_eq!(got.status, 503, "{}", got.json());
                    // Not as long as Retry-After says: the test waits for them.
                    let _ =
                        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
                }
                Err(_) => continue 'connect,
            }
        }
    }
}

/// Lets clients ask while `kill` kills something again and again; then looks for all that was accepted.
async fn survives(mut redis: Redis, what: What) {
    let store = connect(&redis).await;
    applied(&*store).await;
    let program = Path::new(env!("CARGO_BIN_EXE_api_process"));
    let mut api = Api::start(program, &redis.url()).expect("the API starts");
    let told = Arc::new(Told::default());
    *told.address.lock().expect("a lock") = api.address.clone();
    let clients: Vec<_> = (0..CLIENTS).map(|n| tokio::spawn(client(told.clone(), n == 0))).collect();
    for n in 1..=KILLS {
        let reached = async {
            while told.count.load(Ordering::Acquire) < n * BETWEEN {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("requests are accepted");
        match what {
            What::Api => {
                api.kill();
                api = Api::start(program, &redis.url()).expect("the API starts again");
                *told.address.lock().expect("a lock") = api.address.clone();
            }
            What::Redis => {
                redis.crash();
                redis.restart().await.expect("Redis starts again");
            }
        }
    }
    told.stop.store(true, Ordering::Release);
    for client in clients {
        client.await.expect("no client met an answer it did not expect");
    }
    let accepted = std::mem::take(&mut *told.accepted.lock().expect("a lock"));
    let all: BTreeSet<String> = accepted.iter().flat_map(|(_, names)| names.clone()).collect();
    assert!(all.len() >= KILLS * BETWEEN, "too little was accepted to prove anything: {}", all.len());

    // No worker runs, so every sweep is still there.
    drop(store);
    let store = connect(&redis).await;
    let queue = Queue::new(StepName::Sweep, None).expect("a queue");
    let jobs = store.jobs(queue, JobState::Ready, 1_000_000).await.expect("the sweeps");
    let mut swept: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        for name in job.payload["only"].as_array().into_iter().flatten() {
            *swept.entry(name.as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let lost: Vec<&String> = all.iter().filter(|name| !swept.contains_key(*name)).collect();
    assert!(lost.is_empty(), "{} of {} accepted are lost: {:?}…", lost.len(), all.len(), lost.first());
    // And every handle answers, for as many as it stood for.
    let mut http = Http::connect(&api.address).await.expect("the API answers");
    for (id, names) in &accepted {
        let got = http.get(&format!("/v1/reconciliations/{id}")).await.expect("an answer");
        let waiting = got.json()["progress"]["waiting"].clone();
        assert_eq!((got.status, waiting), (200, json!(names.len())), "{id}");
    }
    println!("{} accepted, {} handles, {} sweeps, {KILLS} kills", all.len(), accepted.len(), jobs.len());
}

#[derive(Clone, Copy)]
enum What {
    Api,
    Redis,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_the_death_of_the_api() {
    survives(redis().await, What::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_the_death_of_redis() {
    survives(redis().await, What::Redis).await;
}

/// A request cut off by the death of the API is sent again with its key: it is carried out, and not doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_again_after_a_death_is_one() {
    let redis = redis().await;
    let store = connect(&redis).await;
    applied(&*store).await;
    let program = Path::new(env!("CARGO_BIN_EXE_api_process"));
    let mut api = Api::start(program, &redis.url()).expect("the API starts");
    let mut http = Http::connect(&api.address).await.expect("it answers");
    let (headers, body) =
        ("content-type: application/json\r\nidempotency-key: k1\r\n", r#"{"tenant":"acme"}"#);
    let first = http.ask("POST", "/v1/reconciliations", headers, body.as_bytes()).await.expect("an answer");
    assert_eq!((first.status, &first.json()["accepted"]), (202, &json!(INTENTS)));
    api.kill();
    api = Api::start(program, &redis.url()).expect("the API starts again");
    let mut http = Http::connect(&api.address).await.expect("it answers");
    let again = http.ask("POST", "/v1/reconciliations", headers, body.as_bytes()).await.expect("an answer");
    assert_eq!((again.status, again.body), (first.status, first.body), "answered by another process");

    let queue = Queue::new(StepName::Sweep, None).expect("a queue");
    let jobs = store.jobs(queue, JobState::Ready, 10_000).await.expect("the sweeps");
    let all: Vec<IntentKey> = jobs
        .iter()
        .flat_map(|j| serde_json::from_value::<Vec<IntentKey>>(j.payload["only"].clone()))
        .flatten()
        .collect();
    assert_eq!(all.len(), INTENTS, "each is swept once");
}
