//! The live tail of events with clients that do not read: as many as this host's limit on open files allows.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use trueup_boot::embedded::{Options, Redis};
use trueup_model::{Clock as _, CorrelationId, Event, EventId, EventKind, IntentKey, SystemClock};
use trueup_tests::api::Api;
use trueup_tests::fleet::wait::wait_until;

/// Wanted, and as many as this process may have open, less some for everything else.
const CLIENTS: usize = 10_000;
/// Memory that one client may cost in the API process: connection, task and what waits for it.
const PER_CLIENT: u64 = 64 * 1024;
/// And all of them together, whatever happens: the ring of newest events.
const FIXED: u64 = 128 * 1024 * 1024;

fn clients() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let open = usize::try_from(limit.current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    CLIENTS.min(open.saturating_sub(200))
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Opens a stream and reads its head and first words, then nothing any more.
async fn follow(address: &str) -> std::io::Result<(TcpStream, String)> {
    // What a client does not read waits in its host's buffers first: small ones, so that it soon waits at the server.
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    let mut stream = socket.connect(address.parse().map_err(std::io::Error::other)?).await?;
    stream.write_all(b"GET /v1/events/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await?;
    let mut first = vec![0; 2048];
    let mut n = 0;
    while !String::from_utf8_lossy(&first[..n]).contains(": following") {
        let more = stream.read(&mut first[n..]).await?;
        if more == 0 || n + more == first.len() {
            break;
        }
        n += more;
    }
    Ok((stream, String::from_utf8_lossy(&first[..n]).into_owned()))
}

/// 64 events of 8 KB.
async fn happen(connection: &mut redis::aio::MultiplexedConnection, label: usize) {
    let key = IntentKey::new("acme", "i");
    let mut pipe = redis::pipe();
    for n in 0..64 {
        let event = Event {
            event_id: EventId::derive(&[&label.to_string(), &n.to_string()]),
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
            event_data: serde_json::json!({"round": label, "text": "x".repeat(8_000)}),
        };
        let json = serde_json::to_vec(&event).expect("JSON");
        pipe.cmd("XADD").arg("{tu:0}:events").arg("0-*").arg("e").arg(json).ignore();
    }
    pipe.query_async::<()>(connection).await.expect("events are appended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_cost_little_and_hold_up_nobody() {
    let server = Redis::temporary(Options::default()).await.expect("a private Redis");
    let client = redis::Client::open(server.url()).expect("a url");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let api =
        Api::start(Path::new(env!("CARGO_BIN_EXE_api_process")), &server.url()).expect("the API starts");

    // Warm: the first clients and events allocate what is there once.
    let warm = follow(&api.address).await.expect("a stream");
    assert!(warm.1.contains("text/event-stream"), "{}", warm.1);
    happen(&mut connection, 0).await;
    let before = memory(api.pid());

    let wanted = clients();
    let mut stuck = Vec::with_capacity(wanted);
    for _ in 0..wanted - 1 {
        let (stream, said) = follow(&api.address).await.expect("a stream");
        assert!(said.contains(": following"), "client {}: {said}", stuck.len());
        stuck.push(stream);
    }
    let connected = memory(api.pid());
    // 1,280 events of 8 KB for each of them: far more than a connection holds.
    for round in 1..=20 {
        happen(&mut connection, round).await;
    }
    // One who reads still sees the last of them, at once.
    let (mut reader, _) = follow(&api.address).await.unwrap_or_else(|e| panic!("one more stream: {e}"));
    happen(&mut connection, 21).await;
    let sees = async {
        let (mut seen, mut buffer, mut last) = (0, vec![0; 65_536], String::new());
        while seen < 64 {
            let n = reader.read(&mut buffer).await.expect("it goes on");
            assert!(n > 0, "the stream of a client that reads has ended: {last}");
            last = String::from_utf8_lossy(&buffer[..n]).into_owned();
            seen += last.matches("event: DRIFT_DETECTED").count();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sees).await.expect("a client that reads is not held up");

    let mut most = memory(api.pid());
    // All who read nothing are dropped in the end: their places are free.
    wait_until(Duration::from_secs(120), "their places are free", async || {
        most = most.max(memory(api.pid()));
        let text = metrics(&api.address).await;
        let open = text.lines().find_map(|l| l.strip_prefix("trueup_event_streams "));
        open.and_then(|n| n.trim().parse::<f64>().ok()).is_some_and(|n| n < 3.0)
    })
    .await;
    let cost = most.saturating_sub(before);
    println!(
        "{wanted} clients that read nothing: {} KiB each once connected, {} KiB each at the most, with 1,280 events of 8 KB",
        connected.saturating_sub(before) / 1024 / wanted as u64,
        cost / 1024 / wanted as u64
    );
    assert!(cost <= FIXED + PER_CLIENT * wanted as u64, "{} MiB for {wanted} clients", cost / 1024 / 1024);
    drop(stuck);
}

async fn metrics(address: &str) -> String {
    let mut http = trueup_tests::http::Http::connect(address).await.expect("the API answers");
    let got = http.get("/metrics").await.expect("metrics");
    String::from_utf8_lossy(&got.body).into_owned()
}
