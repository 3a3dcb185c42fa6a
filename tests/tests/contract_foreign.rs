//! Values in Redis that are not ours, or that a newer version wrote, under keys of ours: they harm nothing but themselves.
//! Each test fails when the care it guards is taken away.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use trueup_boot::embedded::{Options, Redis};
use trueup_engine::keys::Keys;
use trueup_engine::store::{By, Ended, Incarnation, JobState, NewJob, Store};
use trueup_engine::{Committer, RedisOptions, RedisStore};
use trueup_model::commit::Committed;
use trueup_model::job::Sweep;
use trueup_model::{
    Caps, Commit, CorrelationId, Event, EventId, EventKind, Intent, IntentKey, Job, JobId, Next, Outcome,
    Partition, PlaneKind, Queue, SystemClock, Time, Write,
};

const P: Partition = Partition(0);
const DEAD_AFTER: Duration = Duration::from_millis(400);
const KEYS: Keys = Keys(P);

struct World {
    store: Arc<RedisStore>,
    redis: MultiplexedConnection,
    _server: Redis,
}

async fn world() -> World {
    world_of(1).await
}

async fn world_of(partitions: u16) -> World {
    let server = Redis::temporary(Options::default()).await.expect("a private Redis");
    let options = RedisOptions {
        dead_after: DEAD_AFTER,
        partitions: Some(partitions),
        ..RedisOptions::new(server.url(), Arc::new(SystemClock))
    };
    let store = Arc::new(RedisStore::connect(options).await.expect("a connection"));
    let client = redis::Client::open(server.url()).expect("a URL");
    let redis = client.get_multiplexed_async_connection().await.expect("a connection");
    World { store, redis, _server: server }
}

impl World {
    async fn foreign(&self, key: &str) {
        let mut cmd = redis::cmd("SET");
        cmd.arg(key).arg("somebody else's");
        cmd.query_async::<()>(&mut self.redis.clone()).await.expect("set");
    }

    /// A worker that holds a job of each of these names.
    async fn holder(&self, name: &str, jobs: &[&str]) -> Incarnation {
        let who = Incarnation(name.into());
        self.store.beat(P, &who).await.expect("beat");
        for job in jobs {
            self.held(&who, job, emit()).await;
        }
        who
    }

    async fn held(&self, who: &Incarnation, name: &str, queue: Queue) {
        let tick = Job::Sweep(Sweep { partition: P, only: None, correlation_id: None });
        self.store.enqueue(P, &[NewJob::of(id(name), queue, &tick, None)]).await.expect("enqueued");
        let leases = self.store.lease(P, who, &[(queue, 1)], Time::UNIX_EPOCH).await.expect("leased");
        assert_eq!(leases.jobs.len(), 1);
    }

    async fn state(&self, name: &str) -> Option<JobState> {
        self.store.job(&id(name)).await.expect("an answer").map(|view| view.state)
    }
}

fn emit() -> Queue {
    "emit".parse().expect("a queue")
}
fn id(name: &str) -> JobId {
    JobId::derive(&[name])
}
fn ended(name: &str, outcome: Outcome) -> Ended {
    Ended { job: id(name), queue: emit(), outcome, traceparent: None }
}
fn by() -> By {
    By { actor: "tester".into(), correlation_id: CorrelationId::derive(&["x"]), now: Time::UNIX_EPOCH }
}
fn intent(name: &str) -> Intent {
    let manifest = serde_json::json!({
        "id": name, "tenant": "acme", "plane": "intune", "criticality": "high", "ring": "lab",
        "target": {"app_id": "0177548a-548a-0177-8a54-77018a547701", "app_name": "Firefox"},
        "desired": {"compliant": true},
    });
    serde_json::from_value(manifest).expect("a manifest")
}
fn told(name: &str) -> Commit {
    let event = Event {
        event_id: EventId::derive(&[name]),
        seq: 0,
        schema: 1,
        event_type: EventKind::ConditionChanged,
        tenant: "acme".into(),
        intent: name.into(),
        correlation_id: CorrelationId::derive(&[name]),
        causation_id: None,
        trace_id: None,
        actor: "tester".into(),
        created_at: Time::UNIX_EPOCH,
        event_data: serde_json::Value::Null,
    };
    let tick = Job::Sweep(Sweep { partition: P, only: None, correlation_id: None });
    let next = Next { id: id(&format!("after {name}")), queue: emit(), job: tick, at: None };
    Commit { events: vec![event], writes: Vec::new(), next: vec![next] }
}

/// Guards: `pcall` around each execution in `commit.lua`.
#[tokio::test]
async fn a_commit_that_fails_harms_no_other_of_its_batch() {
    let world = world().await;
    let w = world.holder("w", &["a", "bad", "z"]).await;
    world.foreign(&format!("{}:{}", KEYS.meta(emit()), id("bad"))).await;
    let retry = Outcome::Retry { at: Time::UNIX_EPOCH, because: "again".into() };
    let batch =
        [ended("a", Outcome::Done(told("a"))), ended("bad", retry), ended("z", Outcome::Done(told("z")))];
    let answers = world.store.commit(P, &w, &batch).await.expect("an answer for each");
    assert_eq!(answers, [Committed::Yes, Committed::Malformed, Committed::Yes]);
    for name in ["a", "z"] {
        assert_eq!(world.state(name).await, None, "{name} is finished");
        assert_eq!(world.state(&format!("after {name}")).await, Some(JobState::Ready));
    }
    let held = world.store.held(P, &w).await.expect("an answer");
    assert_eq!(held, [(id("bad"), emit())], "what failed keeps its lease");
    assert_eq!(
        world.store.events(&Default::default(), &Default::default(), 9).await.expect("events").len(),
        2
    );
}

/// Guards: `Committer`, which sends a batch that was refused as a whole one by one.
#[tokio::test]
async fn a_batch_that_is_refused_is_sent_one_by_one() {
    let world = world().await;
    let w = world.holder("w", &["a", "z"]).await;
    let other: Queue = "compare".parse().expect("a queue");
    world.held(&w, "bad", other).await;
    world.foreign(&KEYS.inflight_of(other, &w)).await;
    let committer = Committer::start(world.store.clone());
    // In one batch: all are handed in before the committer runs, since this runtime has one thread.
    let (a, bad, z) = tokio::join!(
        committer.commit(P, &w, ended("a", Outcome::Done(told("a")))),
        committer.commit(P, &w, Ended { queue: other, ..ended("bad", Outcome::Done(told("bad"))) }),
        committer.commit(P, &w, ended("z", Outcome::Done(told("z")))),
    );
    assert_eq!([a, bad, z], [Committed::Yes, Committed::Malformed, Committed::Yes]);
    assert_eq!((world.state("a").await, world.state("z").await), (None, None));
}

/// Guards: `pcall` in `beat.lua`.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "death is judged by the clock of the Redis server, which nobody can steer"
)]
async fn a_job_whose_past_cannot_be_counted_does_not_stop_the_rescue() {
    let world = world().await;
    let dead = world.holder("dead", &["a", "bad", "z"]).await;
    world.foreign(&format!("{}:{}", KEYS.meta(emit()), id("bad"))).await;
    let w = world.holder("w", &[]).await;
    tokio::time::sleep(DEAD_AFTER + Duration::from_millis(10)).await;
    let (mut rescued, mut worn) = (0, 0);
    for _ in 0..3 {
        let beat = world.store.beat(P, &w).await.expect("a beat goes on");
        (rescued, worn) = (rescued + beat.rescued, worn + beat.worn_out);
    }
    assert_eq!((rescued, worn), (2, 1));
    assert_eq!(
        (world.state("a").await, world.state("z").await),
        (Some(JobState::Ready), Some(JobState::Ready))
    );
    let dead_jobs: Vec<String> = redis::cmd("ZRANGE")
        .arg(KEYS.dead(emit()))
        .arg(0)
        .arg(-1)
        .query_async(&mut world.redis.clone())
        .await
        .expect("dead letters");
    assert_eq!(dead_jobs, [id("bad").as_str()], "put away, not lost");
    assert!(world.store.beat(P, &dead).await.expect("a beat").declared_dead);
}

/// Guards: reading of records in `redis_store/intents.rs`.
#[tokio::test]
async fn an_unreadable_intent_hides_no_other() {
    let world = world().await;
    let names = ["a", "b", "c"].map(|n| intent(n).key);
    world.store.apply(&["a", "b", "c"].map(intent), &by()).await.expect("applied");
    for (field, value) in [("m", "{\"written\":\"by a newer version\"}"), ("s", "not even JSON")] {
        let mut cmd = redis::cmd("HSET");
        cmd.arg(KEYS.intent(&names[1])).arg(field).arg(value);
        cmd.query_async::<()>(&mut world.redis.clone()).await.expect("set");
        let found = world.store.intents(&names).await.expect("the others");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true], "{field}");
        let mut listed = Vec::new();
        let mut cursor = None;
        loop {
            let page = world.store.list_intents(cursor.as_deref(), 1).await.expect("a page");
            listed.extend(page.items.into_iter().map(|r| r.intent.key.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, ["a", "c"], "{field}");
    }
    // As its message advises.
    let mut mended = intent("b");
    mended.labels.insert("team".into(), "blue".into());
    world.store.delete(&names[1..2], &by()).await.expect("deleted");
    world.store.apply(&[mended], &by()).await.expect("applied");
    assert!(world.store.intents(&names[1..2]).await.expect("it")[0].is_some());
}

/// Guards: `can_tell` in `commit.lua`, and reading of notices one by one.
#[tokio::test]
async fn a_foreign_outbox_refuses_notices_and_nothing_else() {
    let world = world().await;
    let w = world.holder("w", &["tells", "goes on"]).await;
    for part in ["", ":order", ":told"] {
        let key = format!("{}{part}", KEYS.outbox());
        world.foreign(&key).await;
        let tells = Commit { writes: vec![notice("i")], ..told("tells") };
        let answers =
            world.store.commit(P, &w, &[ended("tells", Outcome::Done(tells))]).await.expect("answers");
        assert_eq!(answers, [Committed::Malformed], "{key}");
        let events = world.store.events(&Default::default(), &Default::default(), 9).await.expect("events");
        assert!(events.is_empty(), "{key}: all or nothing");
        redis::cmd("DEL").arg(&key).query_async::<()>(&mut world.redis.clone()).await.expect("deleted");
    }
    let both = [
        ended("tells", Outcome::Done(Commit { writes: vec![notice("i"), notice("j")], ..told("tells") })),
        ended("goes on", Outcome::Done(told("goes on"))),
    ];
    assert_eq!(world.store.commit(P, &w, &both).await.expect("answers"), [Committed::Yes; 2]);
    let Write::Notice(i) = notice("i") else { return };
    let mut cmd = redis::cmd("HSET");
    cmd.arg(KEYS.outbox()).arg(i.id.as_str()).arg("{}");
    cmd.query_async::<()>(&mut world.redis.clone()).await.expect("set");
    let listed = world.store.notices(1).await.expect("the other");
    assert_eq!(listed.len(), 1, "one that cannot be read hides no other");
    assert_eq!(listed[0].intent.id, "j");
}

/// Guards: `pcall` around counts, and trips that cannot be read.
#[tokio::test]
async fn spoilt_counts_and_trips_stop_nothing() {
    let world = world().await;
    world.foreign(&KEYS.census()).await;
    world.store.apply(&[intent("a")], &by()).await.expect("stored all the same");
    let mut other = intent("a");
    other.status = trueup_model::Status::Paused;
    world.store.apply(&[other], &by()).await.expect("stored all the same");
    world.store.delete(&[IntentKey::new("acme", "a")], &by()).await.expect("deleted all the same");

    let mut cmd = redis::cmd("HSET");
    cmd.arg(KEYS.trips()).arg("acme.intune").arg("?").arg("acme.mainframe").arg("{}");
    cmd.query_async::<()>(&mut world.redis.clone()).await.expect("set");
    let caps = Caps { actions: Some(0), window_s: 60, ..Caps::default() };
    let on = PlaneKind::Jamf;
    world.store.reserve("acme", on, &caps, "m", Time::UNIX_EPOCH).await.expect("tripped");
    assert_eq!(world.store.trips().await.expect("the others").len(), 1);
    let held = world.store.reserve("acme", PlaneKind::Intune, &caps, "m", Time::UNIX_EPOCH).await;
    assert!(held.is_err_and(|e| e.to_string().contains("rearm it")), "never granted for being unreadable");
    assert!(world.store.rearm("acme", PlaneKind::Intune, &by()).await.expect("rearmed"));
}

fn notice(name: &str) -> Write {
    let (kind, key) = (trueup_model::DriftKind::ScopeMismatch, IntentKey::new("acme", name));
    let finding = trueup_model::Finding::id_of(&key, kind);
    let (topic, at) = (trueup_model::Topic::Escalated, Time::UNIX_EPOCH);
    Write::Notice(Box::new(trueup_model::Notice {
        id: trueup_model::Notice::id_of(topic, &finding, at),
        topic,
        at,
        intent: key,
        plane: PlaneKind::Intune,
        kind,
        severity: trueup_model::Severity::High,
        finding,
        causes: Vec::new(),
        subject: "s".into(),
        text: "t".into(),
        correlation_id: CorrelationId::derive(&[name]),
    }))
}

/// Guards: `Missing` in `redis_store`.
#[tokio::test]
async fn a_partition_that_cannot_be_read_is_told_and_hides_no_other() {
    let world = world_of(4).await;
    let all: Vec<Intent> = (0..32).map(|n| intent(&format!("i{n}"))).collect();
    let here = |p: Partition| all.iter().filter(|i| i.key.partition(world.store.partitions()) == p).count();
    assert!((1..32).contains(&here(P)), "the example spreads over partitions");
    world.store.apply(&all, &by()).await.expect("applied");
    for (index, what) in
        [(KEYS.names(), "intents"), (KEYS.findings(), "findings"), (KEYS.approvals(), "approvals")]
    {
        redis::cmd("DEL").arg(&index).query_async::<()>(&mut world.redis.clone()).await.expect("deleted");
        world.foreign(&index).await;
        let (found, missing) = match what {
            "intents" => world.store.list_intents(None, 99).await.map(|p| (p.items.len(), p.missing)),
            "findings" => world.store.list_findings(None, 99).await.map(|p| (p.items.len(), p.missing)),
            _ => world.store.list_approvals(None, 99).await.map(|p| (p.items.len(), p.missing)),
        }
        .expect("a list");
        assert_eq!(found, if what == "intents" { 32 - here(P) } else { 0 });
        assert_eq!(missing.len(), 1, "{what}: {missing:?}");
        assert!(missing[0].starts_with("partition 0: "), "{what}: {missing:?}");
    }
}
