//! Redis restarted, crashed, cut short, flushed of scripts, out of memory; connections killed. All under load.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use trueup_engine::{EngineError, Store};
use trueup_model::Intent;
use trueup_tests::fleet::Fleet;
use trueup_tests::fleet::plane::{Behaviour, intent};
use trueup_tests::fleet::wait::wait_until;

use crate::{alone, mixed, setting};

const RUNS: usize = 4_000;
const SOON: Duration = Duration::from_secs(30);
const DRAINED: Duration = Duration::from_secs(120);

/// Two workers at work on more than they will have done in the next seconds.
async fn busy() -> (Fleet, Vec<Intent>) {
    let mut setting = setting();
    (setting.observe, setting.apply) = (Duration::from_millis(400), Duration::from_millis(100));
    let mut fleet = Fleet::new(setting).await;
    let intents = mixed(RUNS);
    fleet.apply(&intents).await;
    fleet.start_worker();
    fleet.start_worker();
    progress(&fleet, &intents, 1).await;
    (fleet, intents)
}

/// Waits until this share (of 100) of the intents was dealt with.
async fn progress(fleet: &Fleet, intents: &[Intent], share: usize) {
    let wanted = (intents.len() * share).div_ceil(100);
    let keys: Vec<_> = intents.iter().map(|i| i.key.clone()).collect();
    wait_until(DRAINED, "work goes on", async || {
        let mut done = 0;
        for chunk in keys.chunks(1_000) {
            let records = fleet.store.intents(chunk).await.unwrap_or_default();
            done += records.iter().flatten().filter(|r| r.state.checked_at.is_some()).count();
            if done >= wanted {
                return true;
            }
        }
        false
    })
    .await;
}

/// Guards: no error of Redis ends an apalis worker or a loop of ours; calls wait and are repeated (E12), and a commit
/// that was carried out before its answer was lost is not carried out twice (the fence).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarts_under_load() {
    let _alone = alone().await;
    let (mut fleet, intents) = busy().await;
    for share in [10, 30] {
        progress(&fleet, &intents, share).await;
        fleet.redis.restart().await.expect("Redis starts again");
    }
    progress(&fleet, &intents, 50).await;
    fleet.redis.crash();
    fleet.redis.restart().await.expect("Redis starts again");
    fleet.drained(DRAINED).await;
    fleet.assert_alive();
    fleet.audit(&intents).await;
}

/// The part of the append-only file that grows.
fn tail_of_aof(fleet: &Fleet) -> PathBuf {
    let dir = fleet.redis.dir();
    let folder = dir.join("appendonlydir");
    let files = std::fs::read_dir(if folder.is_dir() { &folder } else { dir }).expect("the data directory");
    let mut files: Vec<PathBuf> =
        files.flatten().map(|f| f.path()).filter(|f| f.extension().is_some_and(|e| e == "aof")).collect();
    files.sort();
    files.into_iter().rfind(|f| !f.to_string_lossy().contains(".base.")).expect("an append-only file")
}

/// Guards: one partition, one script: what a crash of the host cuts off is a consistent tail. And that a worker gives up
/// what it holds in a Redis that forgot: what it had finished is in its hands again there, and nobody else's to take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_back_without_its_last_second() {
    let _alone = alone().await;
    let (mut fleet, intents) = busy().await;
    progress(&fleet, &intents, 40).await;
    fleet.redis.crash();
    let tail = File::options().write(true).open(tail_of_aof(&fleet)).expect("the append-only file");
    let bytes = tail.metadata().expect("its size").len();
    // About a twentieth of what it holds, in the middle of something.
    tail.set_len(bytes - bytes / 20 - 7).expect("it is cut");
    fleet.redis.restart().await.expect("Redis starts again");
    fleet.drained(DRAINED).await;
    fleet.assert_alive();
    let audited = fleet.audit_events(&intents).await;
    assert!(!audited.events.is_empty());
}

/// Guards: scripts that load themselves again, connections that are made again, and jobs whose lease answer was lost on
/// the way are given back. New work that a full Redis refuses has changed nothing, and the error says why; nothing of what
/// goes on is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_scripts_drops_connections_and_runs_out_of_memory() {
    let _alone = alone().await;
    let (mut fleet, intents) = busy().await;
    for share in [10, 20, 30] {
        progress(&fleet, &intents, share).await;
        admin(&fleet, &["SCRIPT", "FLUSH"]).await;
        admin(&fleet, &["CLIENT", "KILL", "TYPE", "normal"]).await;
        admin(&fleet, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    admin(&fleet, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let late = intent("acme", RUNS, Behaviour::Missing);
    let one = std::slice::from_ref(&late);
    wait_until(SOON, "new work is refused, with the reason", async || {
        matches!(fleet.try_apply(one).await, Err(EngineError::Unavailable(what)) if what.contains("OOM"))
    })
    .await;
    let found = fleet.store.intents(std::slice::from_ref(&late.key)).await.expect("reads go on");
    assert_eq!(found, vec![None], "what was refused has changed nothing");
    fleet.assert_alive();
    admin(&fleet, &["CONFIG", "SET", "maxmemory", "0"]).await;
    wait_until(SOON, "new work is accepted", async || fleet.try_apply(one).await.is_ok()).await;
    let intents: Vec<Intent> = intents.into_iter().chain([late]).collect();
    fleet.drained(DRAINED).await;
    fleet.assert_alive();
    fleet.audit(&intents).await;
}

async fn admin(fleet: &Fleet, words: &[&str]) {
    wait_until(SOON, "Redis obeys", async || {
        let mut cmd = redis::cmd(words[0]);
        words[1..].iter().for_each(|w| {
            cmd.arg(w);
        });
        cmd.query_async::<redis::Value>(&mut fleet.connection.clone()).await.is_ok()
    })
    .await;
}
