//! E10: Redis memory is bounded by live state. Events move to the archive, none is lost, none is there twice.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trueup_boot::embedded::Redis;
use trueup_engine::archive::{Archive, ArchiveError, Archived};
use trueup_engine::store::{By, Store};
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::{Clock, CorrelationId, Partition, SystemClock};
use trueup_tests::world::{intent, redis};

const P: Partition = Partition(0);
const EVENTS: &str = "{tu:0}:events";

struct World {
    _server: Redis,
    store: RedisStore,
    raw: redis::aio::MultiplexedConnection,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let server = redis().await.expect("a private Redis");
        let store = RedisStore::connect(RedisOptions::new(server.url(), Arc::new(SystemClock)))
            .await
            .expect("a store");
        let client = redis::Client::open(server.url()).expect("a URL");
        let raw = client.get_multiplexed_async_connection().await.expect("a connection");
        Self { _server: server, store, raw, dir: tempfile::tempdir().expect("a folder") }
    }

    fn archive(&self) -> Archive {
        Archive::open(self.dir.path()).expect("a writable folder").keeping(10)
    }

    /// `n` events, written as an API request writes them.
    async fn happen(&self, tag: &str, n: usize) {
        let all: Vec<_> = (0..n).map(|i| intent("acme", &format!("{tag}{i}"))).collect();
        let by = By {
            actor: "test".into(),
            correlation_id: CorrelationId::derive(&["c"]),
            now: SystemClock.now(),
        };
        for some in all.chunks(256) {
            self.store.apply(some, &by).await.expect("applied");
        }
    }

    async fn command<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd.query_async(&mut self.raw).await.expect("an answer")
    }

    async fn len(&mut self) -> u64 {
        self.command(&["XLEN", EVENTS]).await
    }

    fn part(&self) -> std::path::PathBuf {
        self.dir.path().join("p0")
    }

    /// Every seq of archive and stream is there; none of the archive twice; what is in both is the same event.
    async fn nothing_lost(&mut self, last: u64) {
        let archived = archived(&self.part());
        let mut all = BTreeMap::new();
        for (seq, id) in archived {
            assert!(all.insert(seq, id).is_none(), "{seq} was archived twice");
        }
        let there =
            self.store.events(&Default::default(), &BTreeMap::new(), usize::MAX).await.expect("events");
        for (_, event) in there {
            let id = event.event_id.to_string();
            assert_eq!(*all.entry(event.seq).or_insert_with(|| id.clone()), id, "{}", event.seq);
        }
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    }
}

/// Seq and event id of each event line, in the order of files and lines.
fn archived(part: &Path) -> Vec<(u64, String)> {
    lines(part)
        .iter()
        .filter_map(|l| Some((l["seq"].as_u64()?, l["event_id"].as_str().expect("an event").to_owned())))
        .collect()
}

fn segments(part: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(part).expect("the partition's folder").map(|f| f.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|f| f.extension().is_some_and(|e| e == "ndjson")).collect();
    files.sort();
    files
}

fn lines(part: &Path) -> Vec<Value> {
    let text: String = segments(part).iter().map(|f| fs::read_to_string(f).expect("text")).collect();
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

fn fine(done: Archived) -> (u64, u64) {
    assert!(done.problems.is_empty(), "{:?}", done.problems);
    (done.copied, done.trimmed)
}

fn problem(done: &Archived) -> &ArchiveError {
    assert_eq!((done.trimmed, done.problems.len()), (0, 1), "{done:?}");
    &done.problems[0].1
}

#[tokio::test]
async fn events_move_a_round_behind_and_none_is_lost() {
    let mut w = World::new().await;
    let mut archive = w.archive().rotating_at(20_000);
    w.happen("a", 1_200).await;
    assert_eq!(fine(archive.run_once(&w.store).await), (0, 0), "what is new may still be lost by Redis");
    w.happen("b", 100).await;
    assert_eq!(fine(archive.run_once(&w.store).await), (1_200, 1_200));
    w.nothing_lost(1_300).await;
    assert_eq!(fine(archive.run_once(&w.store).await), (100, 90));
    assert_eq!(w.len().await, 10);
    assert_eq!(fine(archive.run_once(&w.store).await), (0, 0));
    w.happen("c", 1).await;
    w.nothing_lost(1_301).await;
    assert!(segments(&w.part()).len() > 1, "it never rotated");
}

#[tokio::test]
async fn a_kill_at_any_point_loses_and_repeats_nothing() {
    let mut w = World::new().await;
    w.happen("a", 100).await;
    let mut first = w.archive();
    first.run_once(&w.store).await;
    assert_eq!(first.copy(&w.store, P).await.expect("copied"), 100);
    // Killed between writing and trimming; its successor begins when the lock has ended.
    drop(first);
    let _: u64 = w.command(&["DEL", "{tu:0}:archiver"]).await;
    w.nothing_lost(100).await;
    let mut second = w.archive();
    assert_eq!(fine(second.run_once(&w.store).await), (0, 90), "what is on disk needs no second copy");
    w.happen("b", 50).await;
    second.run_once(&w.store).await;
    assert_eq!(fine(second.run_once(&w.store).await).0, 50);
    // Killed within a line.
    drop(second);
    let _: u64 = w.command(&["DEL", "{tu:0}:archiver"]).await;
    let newest = segments(&w.part()).pop().expect("a segment");
    OpenOptions::new()
        .append(true)
        .open(newest)
        .and_then(|mut f| f.write_all(b"{\"seq\":151,\"ev"))
        .expect("torn");
    w.happen("c", 20).await;
    let mut third = w.archive();
    third.run_once(&w.store).await;
    assert_eq!(fine(third.run_once(&w.store).await).0, 20);
    w.nothing_lost(170).await;
}

#[tokio::test]
async fn one_archiver_at_a_time_and_trimming_asks_again() {
    let mut w = World::new().await;
    w.happen("a", 100).await;
    let (mut first, mut second) = (w.archive(), w.archive());
    for _ in 0..2 {
        fine(first.run_once(&w.store).await);
        assert_eq!(fine(second.run_once(&w.store).await), (0, 0), "the other holds the lock");
    }
    w.nothing_lost(100).await;
    w.happen("b", 100).await;
    first.run_once(&w.store).await;
    first.copy(&w.store, P).await.expect("copied");
    // Its lock ends before it trims, and somebody else has it.
    let _: String = w.command(&["SET", "{tu:0}:archiver", "another"]).await;
    assert_eq!(first.trim(&w.store, P).await.expect("an answer"), 0);
    assert_eq!(w.len().await, 100, "all of b, copied, is still there");
    w.nothing_lost(200).await;
}

#[tokio::test]
async fn the_empty_disk_of_another_host_trims_nothing() {
    let mut w = World::new().await;
    w.happen("a", 100).await;
    fine(w.archive().run_once(&w.store).await);
    let other = tempfile::tempdir().expect("a folder");
    let mut foreign = Archive::open(other.path()).expect("a writable folder").keeping(10);
    for _ in 0..2 {
        let done = foreign.run_once(&w.store).await;
        assert!(matches!(problem(&done), ArchiveError::Foreign { .. }), "{done:?}");
    }
    assert_eq!(w.len().await, 100);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_named_and_nothing_is_trimmed() {
    let mut w = World::new().await;
    w.happen("a", 100).await;
    let mut archive = w.archive();
    // A folder that cannot be made, also by root.
    fs::write(w.part(), "in the way").expect("written");
    let done = archive.run_once(&w.store).await;
    assert!(problem(&done).to_string().contains("p0"), "{done:?}");
    fs::remove_file(w.part()).expect("removed");
    // A disk that is full.
    #[cfg(target_os = "linux")]
    {
        fs::create_dir(w.part()).expect("created");
        let segment = w.part().join(format!("{:020}.ndjson", 1));
        std::os::unix::fs::symlink("/dev/full", &segment).expect("linked");
        let done = archive.run_once(&w.store).await;
        assert!(problem(&done).to_string().contains("No space left"), "{done:?}");
        fs::remove_file(segment).expect("removed");
    }
    assert_eq!(w.len().await, 100);
    fine(archive.run_once(&w.store).await);
    fine(archive.run_once(&w.store).await);
    assert_eq!(w.len().await, 10, "it goes on when the disk works again");
    w.nothing_lost(100).await;
    assert!(Archive::open(&w.part().join("lock")).is_err(), "a file is no folder");
}

#[tokio::test]
async fn a_gap_stops_trimming() {
    let mut w = World::new().await;
    w.happen("a", 100).await;
    let _: u64 = w.command(&["XTRIM", EVENTS, "MINID", "0-5"]).await;
    let mut archive = w.archive();
    archive.run_once(&w.store).await;
    let done = archive.run_once(&w.store).await;
    assert!(matches!(problem(&done), ArchiveError::Gap { expected: 1, found: Some(5) }), "{done:?}");
    assert_eq!(w.len().await, 96);
}

#[tokio::test]
async fn redis_going_back_is_noted_and_what_follows_is_archived() {
    // Behind the archive still, or past it again when the archive looks.
    for past in [false, true] {
        let mut w = World::new().await;
        let mut archive = w.archive();
        w.happen("a", 100).await;
        archive.run_once(&w.store).await;
        fine(archive.run_once(&w.store).await);
        for seq in 96..=100 {
            let _: u64 = w.command(&["XDEL", EVENTS, &format!("0-{seq}")]).await;
        }
        let _: String = w.command(&["XSETID", EVENTS, "0-95"]).await;
        if past {
            w.happen("b", 20).await;
        }
        let done = archive.run_once(&w.store).await;
        assert!(matches!(problem(&done), ArchiveError::Rewound { from: 100, .. }), "{done:?}");
        if !past {
            w.happen("b", 20).await;
        }
        fine(archive.run_once(&w.store).await);
        fine(archive.run_once(&w.store).await);
        assert!(lines(&w.part()).iter().any(|l| l.get("rewound_to").is_some()));
        // The last line of each number counts.
        let counts: BTreeMap<u64, String> = archived(&w.part()).into_iter().collect();
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (1..=115).collect::<Vec<_>>());
        for (_, event) in w.store.events(&Default::default(), &BTreeMap::new(), 1_000).await.expect("events")
        {
            assert_eq!(counts[&event.seq], event.event_id.to_string(), "{}", event.seq);
        }
        // A new process goes on behind what the last line says.
        drop(archive);
        let _: u64 = w.command(&["DEL", "{tu:0}:archiver"]).await;
        assert_eq!(fine(w.archive().run_once(&w.store).await).0, 0);
    }
}

/// 200,000 events beside a few intents.
#[tokio::test]
async fn memory_is_flat_however_much_happens() {
    const ROUND: u64 = 10_000;
    const KEEP: u64 = 2_000;
    let mut w = World::new().await;
    let mut archive = w.archive().keeping(KEEP);
    w.happen("a", 1).await;
    let first = w.store.events(&Default::default(), &BTreeMap::new(), 1).await.expect("an event").remove(0).1;
    let bytes = serde_json::to_vec(&first).expect("JSON");
    let mut used = Vec::new();
    for _ in 0..20 {
        for _ in 0..ROUND / 500 {
            let mut pipe = redis::pipe();
            for _ in 0..500 {
                pipe.cmd("XADD").arg(EVENTS).arg("0-*").arg("e").arg(&bytes).ignore();
            }
            pipe.query_async::<()>(&mut w.raw).await.expect("added");
        }
        fine(archive.run_once(&w.store).await);
        let len = w.len().await;
        assert!(len <= ROUND + KEEP, "{len} events in Redis");
        let info: String = w.command(&["INFO", "memory"]).await;
        let bytes = info.lines().find_map(|l| l.strip_prefix("used_memory:")).expect("a number");
        used.push(bytes.trim().parse::<u64>().expect("a number"));
    }
    // The first rounds fill the buffers of connections and AOF.
    let (early, late) = (used[2], used[19]);
    assert!(late < early + 3_000_000, "used_memory grew: {used:?}");
    fine(archive.run_once(&w.store).await);
    assert_eq!(w.len().await, KEEP);
    assert_eq!(
        archived(&w.part()).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>(),
        (1..=200_001).collect::<Vec<_>>()
    );
}
