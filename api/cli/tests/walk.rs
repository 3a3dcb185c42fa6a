//! An operator's walk, with the command line only: what a new user would see, as a snapshot.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

#[path = "common/process.rs"]
mod process;
#[path = "walk/town.rs"]
mod town;
#[path = "walk/transcript.rs"]
mod transcript;

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use town::{APPS, TENANT, Town};
use trueup_engine::store::{Ended, Incarnation, NewJob, Store};
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::{
    Clock as _, CorrelationId, IntentKey, JobId, Outcome, Partition, Queue, SystemClock, job,
};
use trueup_simulators::{Mischief, app_id, app_name, group_id};

/// Requests of a script that an incident killed, and letters that are nobody's.
const DEAD: usize = 300;
const GARBAGE: usize = 12;

fn name(n: usize) -> String {
    format!("app-{n:03}")
}

/// One manifest a line. The first ones belong to the nightly script.
fn fleet() -> String {
    let mut text = String::new();
    for n in 0..APPS {
        let manifest = json!({
            "id": name(n), "tenant": TENANT, "plane": "intune", "criticality": "high", "ring": "lab",
            "target": {"app_id": app_id(TENANT, n), "app_name": app_name(n)},
            "desired": {"assignment": {"install": "required", "include": [{"group": group_id(n)}], "exclusive": true}},
            "labels": {"wave": if n < DEAD { "nightly" } else { "daily" }, "tier": if n % 20 == 7 { "gold" } else { "silver" }},
        });
        writeln!(text, "{manifest}").unwrap();
    }
    text
}

/// Somebody assigns an application to one more group, behind everybody's back.
fn widen(town: &Town, n: usize) {
    let mischief = Mischief::AddGroup { app: app_id(TENANT, n), group: group_id(n + 1) };
    town.graph.tenant(TENANT).mischief(&mischief).unwrap();
}

/// What an incident left: requests for a look that were given up, among them some that are broken for good.
async fn incident(url: &str) {
    let store = RedisStore::connect(RedisOptions {
        partitions: Some(1),
        ..RedisOptions::new(url, Arc::new(SystemClock))
    })
    .await
    .unwrap();
    let (p, who, sweep) =
        (Partition(0), Incarnation("w1-incident".into()), "sweep".parse::<Queue>().unwrap());
    let mut jobs: Vec<(NewJob, &str)> = Vec::new();
    for n in 0..DEAD {
        let correlation = CorrelationId::derive(&["nightly", &n.to_string()]);
        let (id, job) = job::request(p, vec![IntentKey::new(TENANT, name(n))], correlation);
        let why = "the store refused to write: OOM command not allowed when used memory > 'maxmemory'";
        jobs.push((NewJob::of(id, sweep, &job, None), why));
    }
    for n in 0..GARBAGE {
        let id = JobId::derive(&["garbage", &n.to_string()]);
        let payload = b"{\"look\":\"at everything\"}".to_vec();
        let job = NewJob { id, queue: sweep, payload, at: None, traceparent: None };
        jobs.push((job, "not a job: missing field `v`"));
    }
    for (n, (job, why)) in jobs.into_iter().enumerate() {
        let id = job.id.clone();
        store.beat(p, &who).await.unwrap();
        store.enqueue(p, &[job]).await.unwrap();
        let leased = store.lease(p, &who, &[(sweep, 1)], SystemClock.now()).await.unwrap().jobs;
        assert_eq!(leased.len(), 1);
        let ended = Ended {
            job: id,
            queue: sweep,
            outcome: Outcome::Dead { because: why.into() },
            traceparent: None,
        };
        store.commit(p, &who, &[ended]).await.unwrap();
        // The first ones are shown: they died one after the other.
        let died = SystemClock.now().timestamp_millis();
        while n < 4 && SystemClock.now().timestamp_millis() <= died {
            std::hint::spin_loop();
        }
    }
    store.leave(p, &who).await.unwrap();
}

fn items(value: &Value) -> &Vec<Value> {
    value["items"].as_array().unwrap()
}

#[test]
fn an_operators_walk() {
    let mut town = Town::start();
    std::fs::write(town.home().join("fleet.ndjson"), fleet()).unwrap();
    for n in [7, 47, 707] {
        widen(&town, n);
    }
    begin(&mut town);
    apply_and_watch(&mut town);
    stuck(&mut town);
    explain_and_follow(&mut town);
    leave(&mut town);
    let text = std::mem::take(&mut town.transcript).into_text();
    insta::assert_snapshot!("walk", text);
}

fn begin(town: &mut Town) {
    town.transcript.title("Start, and log in");
    // Before a worker is there, since it would be faster.
    let redis = town.redis.url();
    town.runtime.block_on(incident(&redis));
    for _ in 0..2 {
        town.daemon("trueup work --config workers.yaml", "", " INFO ");
    }
    let line = "trueup serve --listen 127.0.0.1:0 --require-authentication --bootstrap-key-file first.key";
    let said = town.daemon(line, "serving on http://127.0.0.1:7171\n", "serving on ");
    let url = said.rsplit(' ').next().unwrap().to_owned();
    town.run(&format!("trueup login --url {url} --key-file first.key"));
    town.until("trueup worker ls", |said| items(said).len() == 2);
    town.run("trueup worker ls");
}

fn apply_and_watch(town: &mut Town) {
    town.transcript.title("Say what is meant, and watch what is not so");
    town.run("trueup apply -f fleet.ndjson");
    let line = "trueup get events --type DRIFT_DETECTED --watch";
    let watching = town.spawn(line);
    let lines = watching.lines(4);
    let (rest, status) = watching.interrupt();
    assert_eq!((rest.len(), status), (0, 0), "{rest:?}");
    // After the time.
    town.transcript.command(line, &lines.join("\n"), 0, Some(20));
    town.until("trueup get intents --condition unknown", |said| items(said).is_empty());
    town.until("trueup get runs", |said| items(said).is_empty());
    town.run("trueup get intents --condition drifted");
    town.ends_sorted("trueup get findings --open", 0, Some(0));
    town.ends(&format!("trueup reconcile --tenant {TENANT} -l tier=gold --wait"), 5);
}

fn stuck(town: &mut Town) {
    town.transcript.title("The nightly script says that nothing happened: see what is stuck, and why");
    town.ends("trueup doctor", 5);
    town.run("trueup queue ls");
    town.run("trueup queue show sweep --state dead --limit 3");
    let dead = town.json("trueup queue show sweep --state dead --where reason~OOM --limit 1");
    let id = items(&dead)[0]["id"].as_str().unwrap().to_owned();
    town.run(&format!("trueup queue job {id}"));

    town.transcript.title("Pause it, put back what died of that, and let it go on");
    town.run("trueup queue pause sweep");
    town.run("trueup queue retry sweep --where reason~OOM --dry-run");
    town.run("trueup queue retry sweep --where reason~OOM");
    town.run("trueup queue show sweep --state ready --limit 3");
    town.run("trueup queue resume sweep");
    town.until("trueup queue show sweep --state ready", |said| items(said).is_empty());
    town.until("trueup get runs", |said| items(said).is_empty());
    let looked_at = town.json("trueup get intents -l wave=nightly --all");
    let again = items(&looked_at).iter().filter(|i| i["state"]["runs"].as_u64() >= Some(2)).count();
    assert_eq!(again, DEAD, "each of them was looked at again");
    town.run("trueup queue show sweep --state dead --limit 1");
    town.ends("trueup queue discard sweep --all", 2);
    town.run("trueup queue discard sweep --all --yes");
    town.run("trueup doctor");
}

fn explain_and_follow(town: &mut Town) {
    town.transcript.title("Why was that not mended?");
    town.run(&format!("trueup explain {TENANT}/app-047"));

    town.transcript.title("Somebody calls about app-500: look at it now, and follow what happens");
    widen(town, 500);
    let told = town.run(&format!("trueup reconcile {TENANT}/app-500"));
    let word =
        |after: &str| told.split(after).nth(1).unwrap().split([' ', '\n', '`']).next().unwrap().to_owned();
    let (id, correlation) = (word("now: "), word("--correlation-id "));
    town.ends(&format!("trueup get reconciliation {id} --wait"), 5);
    let line = format!("trueup get events --correlation-id {correlation} --watch");
    let watching = town.spawn(&line);
    let lines = watching.lines(6);
    let (rest, status) = watching.interrupt();
    assert_eq!((rest.len(), status), (0, 0), "{rest:?}");
    town.transcript.command(&line, &(lines.join("\n") + "\n^C"), 0, None);
    town.run(&format!("trueup get reconciliation {id}"));
    town.run("trueup get reconciliations");
}

fn leave(town: &mut Town) {
    town.transcript.title("Take a worker away");
    let workers = town.json("trueup worker ls");
    let id = items(&workers)[0]["incarnation"].as_str().unwrap().to_owned();
    town.run(&format!("trueup worker drain {id} --wait"));
    assert_eq!(town.ended(), 0);
    town.run("trueup worker ls");
}
