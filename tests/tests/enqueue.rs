//! Nothing that was accepted (202) is lost, and nothing is doubled, when the API and Redis are killed -9 in the middle: real
//! processes, callers that go on asking all the time, and a worker that carries it all out in the end.
//!
//! Redis runs with `appendfsync always`, which is the setting that promises this also when the host dies: the answer to a
//! write comes after its fsync. With `everysec` a host that dies loses up to about a second of 202s, and so does a Redis
//! process that is killed while its disk is busy (it answers before it has written then).

#[path = "enqueue/callers.rs"]
mod callers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use trueup_boot::embedded::{Append, Options};
use trueup_engine::Store;
use trueup_engine::store::JobState;
use trueup_model::{IntentKey, Queue, StepName};
use trueup_tests::api::Api;
use trueup_tests::fleet::plane::{Behaviour, intent};
use trueup_tests::fleet::wait::wait_until;
use trueup_tests::fleet::{Fleet, Setting};
use trueup_tests::http::Http;

use callers::{Told, call};

const INTENTS: usize = 6_000;
/// Accepted between two kills.
const BETWEEN: usize = 300;
const KILLS: [Victim; 6] =
    [Victim::Api, Victim::Redis, Victim::Api, Victim::Redis, Victim::Both, Victim::Redis];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Api,
    Redis,
    Both,
}

/// A fleet without a worker, every write synced before it is answered.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::new(Setting::of(env!("CARGO_BIN_EXE_chaos_worker"))).await;
    fleet.redis.set_options(Options { append: Append::Always, ..Options::default() });
    fleet.redis.restart().await.expect("Redis starts with appendfsync always");
    answers(&fleet).await;
    let asked = redis::cmd("CONFIG").arg("GET").arg("appendfsync").to_owned();
    let said: Vec<String> = asked.query_async(&mut fleet.connection.clone()).await.expect("an answer");
    assert_eq!(said, ["appendfsync", "always"]);
    let all: Vec<_> = (0..INTENTS).map(|n| intent("acme", n, Behaviour::InSync)).collect();
    fleet.apply(&all).await;
    fleet
}

/// Connections that were lost with an earlier Redis fail once more.
async fn answers(fleet: &Fleet) {
    let ping = async || redis::cmd("PING").query_async::<()>(&mut fleet.connection.clone()).await.is_ok();
    wait_until(Duration::from_secs(10), "Redis answers", ping).await;
    let store = async || fleet.store.workers().await.is_ok();
    wait_until(Duration::from_secs(10), "the store answers", store).await;
}

fn api(fleet: &Fleet) -> Api {
    Api::start(Path::new(env!("CARGO_BIN_EXE_api_process")), &fleet.redis.url()).expect("the API starts")
}

/// How often each intent is in a sweep that waits.
async fn swept(store: &dyn Store) -> BTreeMap<String, usize> {
    let queue = Queue::new(StepName::Sweep, None).expect("a queue");
    let jobs = store.jobs(queue, JobState::Ready, 1_000_000).await.expect("the sweeps");
    let mut swept = BTreeMap::new();
    for job in &jobs {
        for name in job.payload["only"].as_array().into_iter().flatten() {
            *swept.entry(name.as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    swept
}

/// Runs that each intent has begun.
async fn runs(store: &dyn Store) -> BTreeMap<String, u64> {
    let page = store.list_intents(None, INTENTS + 1).await.expect("the intents");
    assert_eq!(page.items.len(), INTENTS);
    page.items.iter().map(|r| (r.intent.key.to_string(), r.state.runs)).collect()
}

/// As if the minute were over that a claim lasts whose process has died. How many there were.
async fn end_claims(fleet: &Fleet) -> usize {
    let mut connection = fleet.connection.clone();
    let all: Vec<String> =
        redis::cmd("KEYS").arg("{tu:*}:once:*").query_async(&mut connection).await.expect("an answer");
    let mut ended = 0;
    for key in all {
        let claimed: bool =
            redis::cmd("HEXISTS").arg(&key).arg("t").query_async(&mut connection).await.expect("an answer");
        if claimed {
            redis::cmd("DEL").arg(&key).query_async::<()>(&mut connection).await.expect("an answer");
            ended += 1;
        }
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_the_death_of_the_api_and_of_redis() {
    let mut fleet = fleet().await;
    // Nothing is due any more: from now on an intent is looked at because somebody asked (very few by their schedule, too).
    fleet.start_worker();
    fleet.drained(Duration::from_secs(60)).await;
    fleet.workers.clear();
    let before = runs(&*fleet.store).await;
    assert!(before.values().all(|n| *n >= 1), "each was looked at, by its schedule");

    let mut serving = api(&fleet);
    let told = Arc::new(Told::new(&serving.address, INTENTS));
    // One by one and twenty at a time; with a key, which are sent again until they are answered, and without.
    let callers: Vec<_> = [(1, true), (20, true), (1, false), (20, false)]
        .into_iter()
        .map(|(many, keyed)| tokio::spawn(call(told.clone(), many, keyed)))
        .collect();
    for (n, victim) in (1..).zip(KILLS) {
        let enough = async || told.count.load(Ordering::Acquire) >= n * BETWEEN;
        wait_until(Duration::from_secs(60), "requests are accepted", enough).await;
        if victim != Victim::Api {
            fleet.redis.crash();
        }
        if victim != Victim::Redis {
            serving.kill();
        }
        if victim != Victim::Api {
            fleet.redis.restart().await.expect("Redis starts again");
        }
        if victim != Victim::Redis {
            serving = api(&fleet);
            told.moved(&serving.address);
        }
    }
    let enough = async || told.count.load(Ordering::Acquire) >= (KILLS.len() + 1) * BETWEEN;
    wait_until(Duration::from_secs(60), "requests are accepted after the last kill", enough).await;
    told.stop.store(true, Ordering::Release);
    for caller in callers {
        caller.await.expect("no caller met an answer it did not expect");
    }

    // What has a key and no answer yet is sent again: carried out if it was not, found if it was.
    let open = told.take_open();
    answers(&fleet).await;
    let claims = end_claims(&fleet).await;
    let mut http = Http::connect(&serving.address).await.expect("the API answers");
    for request in &open {
        let got = request.send(&mut http).await.expect("an answer");
        assert_eq!(got.status, 202, "{}", got.json());
        told.note(request, &got);
    }
    let resent = told.resent.load(Ordering::Acquire);
    assert!(resent + open.len() > 0, "no answer was lost, so nothing is proven of those");

    let accepted = told.take_accepted();
    let names: BTreeSet<&String> = accepted.iter().flat_map(|(_, names)| names).collect();
    // No worker runs, so every sweep is still there.
    let swept = swept(&*fleet.store).await;
    let lost: Vec<_> = names.iter().filter(|name| !swept.contains_key(**name)).collect();
    assert!(lost.is_empty(), "{} of {} accepted are lost: {:?}…", lost.len(), names.len(), lost.first());
    let doubled: Vec<_> = swept.iter().filter(|(_, n)| **n > 1).collect();
    assert!(doubled.is_empty(), "{} are asked for twice: {:?}…", doubled.len(), doubled.first());
    each_handle(&mut http, &accepted, |view| view["progress"]["waiting"].clone()).await;

    // And all of it is carried out, once.
    fleet.start_worker();
    fleet.drained(Duration::from_secs(60)).await;
    fleet.assert_alive();
    each_handle(&mut http, &accepted, |view| view["progress"]["finished"]["in_sync"].clone()).await;
    let after = runs(&*fleet.store).await;
    let asked = |name: &String| u64::from(swept.contains_key(name));
    let unseen: Vec<_> = after.iter().filter(|(name, n)| **n < before[*name] + asked(name)).collect();
    assert!(unseen.is_empty(), "{} were not looked at: {:?}…", unseen.len(), unseen.first());
    println!(
        "{} intents of {} requests accepted over {} kills; {} answers were lost and asked for again ({claims} claims of dead \
         processes), {} intents were swept whose caller never heard",
        names.len(),
        accepted.len(),
        KILLS.len(),
        resent + open.len(),
        swept.len() - names.len(),
    );
}

/// Every handle answers, and says of as many as it stands for what is expected of all.
async fn each_handle(
    http: &mut Http,
    accepted: &[(String, Vec<String>)],
    expected: impl Fn(&Value) -> Value,
) {
    for (id, names) in accepted {
        let got = http.get(&format!("/v1/reconciliations/{id}")).await.expect("an answer");
        let view = got.json();
        assert_eq!((got.status, expected(&view)), (200, json!(names.len())), "{id}: {view}");
    }
}

/// A whole tenant, asked for again by the same key of another process: the same answer, and each is swept once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_again_after_a_death_is_one() {
    let fleet = fleet().await;
    let mut serving = api(&fleet);
    let (headers, body) =
        ("content-type: application/json\r\nidempotency-key: k1\r\n", r#"{"tenant":"acme"}"#);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut http = Http::connect(&serving.address).await.expect("it answers");
        let got = http.ask("POST", "/v1/reconciliations", headers, body.as_bytes()).await.expect("an answer");
        assert_eq!((got.status, &got.json()["accepted"]), (202, &json!(INTENTS)));
        answers.push(got.body);
        serving.kill();
        serving = api(&fleet);
    }
    assert_eq!(answers[0], answers[1], "answered by another process");
    let swept = swept(&*fleet.store).await;
    assert_eq!((swept.len(), swept.values().all(|n| *n == 1)), (INTENTS, true), "each is swept once");
    assert!(swept.keys().all(|name| name.parse::<IntentKey>().is_ok_and(|key| key.tenant == "acme")));
}
