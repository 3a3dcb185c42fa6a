//! The live tail of events with thousands of clients that do not read: they cost little, hold up nobody, are cut off with a
//! reason, and can go on where they were. `LIVE_CLIENTS=10000` does it with as many as one API process has places for.

#[path = "live/follower.rs"]
mod follower;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trueup_boot::embedded::{Options, Redis};
use trueup_model::{Clock as _, CorrelationId, Event, EventId, EventKind, IntentKey, SystemClock};
use trueup_tests::api::Api;
use trueup_tests::fleet::wait::wait_until;
use trueup_tests::http::Http;
use trueup_tests::stopwatch::Stopwatch;

use follower::{Follower, Message};

/// Of a normal run. Each costs a descriptor here and one in the API.
const CLIENTS: usize = 4_000;
/// Clients that connect at once.
const CONNECTING: usize = 32;
/// Memory that one client may cost in the API process: connection, task and what waits for it.
const PER_CLIENT: u64 = 48 * 1024;
/// And all of them together, whatever happens: the ring of newest events.
const FIXED: u64 = 64 * 1024 * 1024;
/// Events are appended in rounds of so many, 8 KB each; so many rounds are far more than a connection holds.
const ROUND: usize = 64;
const ROUNDS: usize = 20;
/// What other requests may take meanwhile, in seconds: 99 of 100 of them, and each. Far less than a client that reads nothing is
/// waited for; the API of tests is not optimized, and the host may be busy. One that comes just as a burst goes out to thousands
/// does wait for most of it: seconds, as the longest that is printed says.
const PROMPT: (f64, f64) = (3.0, 10.0);

/// As many as were asked for; the limit on open files is raised as far as this process may.
fn clients() -> usize {
    let wanted = std::env::var("LIVE_CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(CLIENTS);
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let open = if raised.is_ok() { limit.maximum } else { limit.current };
    let open = usize::try_from(open.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let clients = wanted.min(open.saturating_sub(200));
    assert!(clients >= wanted.min(2_000), "the limit of {open} open files is too low to prove anything");
    clients
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A round of events.
async fn happen(connection: &mut redis::aio::MultiplexedConnection, round: usize) {
    let key = IntentKey::new("acme", "i");
    let mut pipe = redis::pipe();
    for n in 0..ROUND {
        let event = Event {
            event_id: EventId::derive(&[&round.to_string(), &n.to_string()]),
            seq: 0,
            schema: 1,
            event_type: EventKind::DriftDetected,
            tenant: key.tenant.clone(),
            intent: key.id.clone(),
            correlation_id: CorrelationId::derive(&["x"]),
            causation_id: None,
            trace_id: None,
            actor: "test".into(),
            created_at: SystemClock.now(),
            event_data: serde_json::json!({"round": round, "text": "x".repeat(8_000)}),
        };
        let json = serde_json::to_vec(&event).expect("JSON");
        pipe.cmd("XADD").arg("{tu:0}:events").arg("0-*").arg("e").arg(json).ignore();
    }
    pipe.query_async::<()>(connection).await.expect("events are appended");
}

async fn connected(address: &str, n: usize) -> Vec<Follower> {
    let each = n.div_ceil(CONNECTING);
    let several = (0..CONNECTING).map(|k| {
        let address = address.to_owned();
        tokio::spawn(async move {
            let mut some = Vec::new();
            for _ in (k * each)..((k + 1) * each).min(n) {
                some.push(Follower::new(&address, None).await.expect("a stream"));
            }
            some
        })
    });
    let several: Vec<_> = several.collect();
    let mut all = Vec::with_capacity(n);
    for some in several {
        all.extend(some.await.expect("they connect"));
    }
    assert_eq!(all.len(), n);
    all
}

/// Asks for something else all the time. How long each answer took and when it came, in seconds; the longest last.
async fn others(address: String, stop: Arc<AtomicBool>) -> Vec<(f64, f64)> {
    let mut times = Vec::new();
    let mut http = Http::connect(&address).await.expect("the API answers");
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let began = Stopwatch::start();
    while !stop.load(Ordering::Acquire) {
        looks.tick().await;
        let watch = Stopwatch::start();
        let got = http.get("/v1/events?limit=1").await.expect("an answer");
        assert_eq!(got.status, 200, "{}", got.json());
        times.push((watch.seconds(), began.seconds()));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    times
}

async fn open_streams(address: &str) -> Option<f64> {
    let got = Http::connect(address).await.ok()?.get("/metrics").await.ok()?;
    let text = String::from_utf8_lossy(&got.body).into_owned();
    text.lines().find_map(|l| l.strip_prefix("trueup_event_streams "))?.trim().parse().ok()
}

/// Reads what is left for one that was cut off: events without a gap, then why. Where it was.
async fn cut_off(client: &mut Follower) -> Message {
    let (mut seen, mut last) = (0, Message::default());
    while let Some(message) = client.next().await.expect("what was kept for it can still be read") {
        if message.event == "DRIFT_DETECTED" {
            let seq = message.json()["seq"].as_u64().expect("a sequence number");
            assert!(seen == 0 || seq == seen + 1, "{seq} after {seen}");
            seen = seq;
        }
        last = message;
    }
    assert_eq!(last.event, "dropped", "{}", last.data);
    let why = last.json();
    assert!(why["because"].as_str().is_some_and(|w| w.contains("nothing was read")), "{why}");
    assert_eq!(why["last_event_id"], last.id.as_str());
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_cost_little_and_hold_up_nobody() {
    let wanted = clients();
    let server = Redis::temporary(Options::default()).await.expect("a private Redis");
    let client = redis::Client::open(server.url()).expect("a url");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let api =
        Api::start(Path::new(env!("CARGO_BIN_EXE_api_process")), &server.url()).expect("the API starts");

    // Warm: the first client and events allocate what is there once.
    let mut warm = Follower::new(&api.address, None).await.expect("a stream");
    happen(&mut connection, 0).await;
    warm.next().await.expect("an event");
    drop(warm);
    wait_until(Duration::from_secs(10), "the first is gone", async || {
        open_streams(&api.address).await == Some(0.0)
    })
    .await;
    let before = memory(api.pid());

    // One place is left for the one that reads.
    let mut stuck = connected(&api.address, wanted - 1).await;
    let idle = memory(api.pid());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(others(api.address.clone(), stop.clone()));
    for round in 1..=ROUNDS {
        happen(&mut connection, round).await;
    }
    let mut reader = Follower::new(&api.address, None).await.expect("one more stream");
    happen(&mut connection, ROUNDS + 1).await;
    let sees = async {
        let mut seen = 0;
        while seen < ROUND {
            let message = reader.next().await.expect("it goes on").expect("it does not end");
            assert!(message.event == "DRIFT_DETECTED" || message.event.is_empty(), "{message:?}");
            seen += usize::from(message.event == "DRIFT_DETECTED");
        }
    };
    let watch = Stopwatch::start();
    tokio::time::timeout(Duration::from_secs(10), sees).await.expect("a client that reads is not held up");
    let seen_after = watch.seconds();

    // All who read nothing are cut off: their places are free.
    let mut most = memory(api.pid());
    wait_until(Duration::from_secs(60), "their places are free", async || {
        most = most.max(memory(api.pid()));
        open_streams(&api.address).await == Some(1.0)
    })
    .await;
    stop.store(true, Ordering::Release);
    let times = asking.await.expect("the others were answered");
    let (p99, (longest, at)) = (times[times.len() * 99 / 100].0, times[times.len() - 1]);
    let each = |bytes: u64| bytes.saturating_sub(before) / 1024 / wanted as u64;
    println!(
        "{wanted} clients that read nothing, {} events of 8 KB: {} KiB each once connected, {} KiB each at the most; one that \
         reads had the last {ROUND} after {seen_after:.2} s; {} other requests meanwhile: p99 {:.0} ms, longest {:.0} ms (at {at:.1} s)",
        ROUND * (ROUNDS + 1),
        each(idle),
        each(most),
        times.len(),
        p99 * 1000.0,
        longest * 1000.0,
    );
    let cost = most.saturating_sub(before);
    assert!(cost <= FIXED + PER_CLIENT * wanted as u64, "{} MiB for {wanted} clients", cost / 1024 / 1024);
    assert!(p99 < PROMPT.0 && longest < PROMPT.1, "other requests took {p99:.1} s, one {longest:.1} s");

    // And whoever of them reads again is told why, and goes on where it was, without a gap.
    for client in stuck.iter_mut().step_by(wanted / 10) {
        let told = cut_off(client).await;
        let mut back = Follower::new(&api.address, Some(&told.id)).await.expect("its place was free");
        let next = back.next().await.expect("it goes on").expect("it does not end").json();
        let was = u64::from_str_radix(&told.id, 36).expect("a position in one partition");
        assert_eq!(next["seq"], was + 1, "{next}");
    }
}
