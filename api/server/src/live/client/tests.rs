use futures::StreamExt as _;
use trueup_engine::memory::MemoryStore;
use trueup_engine::store::By;
use trueup_model::{CorrelationId, Intent, Time};

use super::super::Pace;
use super::*;
use crate::ApiState;

/// Patient: on a busy host a test may come to read late.
const QUICK: Pace = Pace {
    look: Duration::from_millis(5),
    patience: Duration::from_secs(60),
    beat: Duration::from_millis(50),
    ask: Duration::from_millis(50),
};

fn intent(tenant: &str, n: usize) -> Intent {
    serde_json::from_value(json!({
        "id": format!("i{n}"), "tenant": tenant, "plane": "intune", "criticality": "high", "ring": "lab",
        "target": {"app_id": "0177548a-548a-0177-8a54-77018a547701", "app_name": "Firefox"},
        "desired": {"version": "126.0"},
    }))
    .unwrap()
}

/// Leaves one event for each.
async fn happen(store: &Arc<dyn Store>, tenant: &str, numbers: std::ops::Range<usize>) {
    let by =
        By { actor: "test".into(), correlation_id: CorrelationId::derive(&["x"]), now: Time::UNIX_EPOCH };
    let all: Vec<Intent> = numbers.map(|n| intent(tenant, n)).collect();
    for some in all.chunks(256) {
        store.apply(some, &by).await.unwrap();
    }
}

fn all() -> Filter {
    Filter { tenant: None, events: EventFilter::default(), access: Access::local() }
}

fn of(tenant: &str) -> Filter {
    Filter { tenant: Some(tenant.into()), ..all() }
}

/// Of a program on this host.
fn local(store: &Arc<dyn Store>) -> Standing {
    let clock = Arc::new(trueup_model::ManualClock::at(Time::UNIX_EPOCH));
    Standing::of(&ApiState::new(store.clone(), clock), &Default::default(), Access::local())
}

struct Follower(axum::body::BodyDataStream);

impl Follower {
    async fn new(live: &Arc<Live>, store: &Arc<dyn Store>, filter: Filter, after: Option<&str>) -> Self {
        let after = after.map(|text| Position::parse(text, store.partitions()).unwrap());
        Self(stream(live, store, filter, local(store), after).await.unwrap().into_body().into_data_stream())
    }

    /// The next message, as (id, event, data).
    async fn next(&mut self) -> Option<(String, String, String)> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
        let text = String::from_utf8(next.expect("something comes")?.unwrap().to_vec()).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        Some((field("id"), field("event"), field("data")))
    }

    /// The intents of the next `n` events, and the id of the last.
    async fn events(&mut self, n: usize) -> (Vec<String>, String) {
        let (mut seen, mut last) = (Vec::new(), String::new());
        while seen.len() < n {
            let (id, event, data) = self.next().await.expect("the stream goes on");
            if event == "INTENT_APPLIED" {
                let event: serde_json::Value = serde_json::from_str(&data).unwrap();
                seen.push(event["intent"].as_str().unwrap().to_owned());
                last = id;
            } else {
                assert_eq!(event, "", "{data}");
            }
        }
        (seen, last)
    }
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut names: Vec<String> = numbers.map(|n| format!("i{n}")).collect();
    names.sort();
    names
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn world(clients: usize) -> (Arc<Live>, Arc<dyn Store>) {
    (Arc::new(Live::with(clients, QUICK)), Arc::new(MemoryStore::new(3)))
}

#[tokio::test]
async fn everybody_sees_what_happens_from_now_on() {
    let (live, store) = world(10);
    happen(&store, "acme", 0..5).await;
    let mut everything = Follower::new(&live, &store, all(), None).await;
    let mut one = Follower::new(&live, &store, of("zeta"), None).await;
    // Each has heard that it follows before anything happens.
    assert_eq!(everything.next().await.unwrap().1, "");
    assert_eq!(one.next().await.unwrap().1, "");
    happen(&store, "acme", 5..300).await;
    happen(&store, "zeta", 300..302).await;
    assert_eq!(sorted(everything.events(297).await.0), names(5..302));
    assert_eq!(sorted(one.events(2).await.0), names(300..302));
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_gets_nothing_twice() {
    let (live, store) = world(10);
    happen(&store, "acme", 0..50).await;
    let mut all_seen = Vec::new();
    let mut position = "0".to_owned();
    // Comes back again and again, after a few events, while more happen.
    for round in 0..20 {
        let mut follower = Follower::new(&live, &store, all(), Some(&position)).await;
        happen(&store, "acme", 50 + round * 30..50 + (round + 1) * 30).await;
        let (seen, last) = follower.events(7 + round * 2).await;
        all_seen.extend(seen);
        position = last;
    }
    let mut follower = Follower::new(&live, &store, all(), Some(&position)).await;
    let left = 650 - all_seen.len();
    all_seen.extend(follower.events(left).await.0);
    assert_eq!(sorted(all_seen), names(0..650));
}

#[tokio::test]
async fn who_is_behind_the_ring_reads_on_from_the_store() {
    let (live, store) = world(10);
    let mut slow = Follower::new(&live, &store, all(), None).await;
    let mut quick = Follower::new(&live, &store, all(), None).await;
    slow.next().await;
    // Twice what the ring holds; it reads some, then hears nothing for a while that is not too long.
    let n = super::super::RING * super::super::BATCH * 2;
    for from in (0..n).step_by(1024) {
        happen(&store, "acme", from..from + 1024).await;
    }
    assert_eq!(sorted(quick.events(n).await.0), names(0..n));
    assert_eq!(sorted(slow.events(n).await.0), names(0..n));
}

#[tokio::test]
async fn who_reads_nothing_is_dropped_and_its_place_is_free() {
    let store = world(1).1;
    let live = Arc::new(Live::with(1, Pace { patience: Duration::from_millis(100), ..QUICK }));
    let mut stuck = Follower::new(&live, &store, all(), None).await;
    let full = stream(&live, &store, all(), local(&store), None).await.unwrap_err();
    assert_eq!((full.status, &*full.kind), (503, "urn:trueup:problem:too-many-streams"));
    happen(&store, "acme", 0..BUFFER * 2).await;
    let freed = async {
        while live.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("the place is free again");
    let mut last = None;
    let mut heard = 0;
    while let Some(message) = stuck.next().await {
        heard += 1;
        last = Some(message);
    }
    let (id, event, data) = last.unwrap();
    assert_eq!(event, "dropped", "{data}");
    assert!(heard <= BUFFER + 1, "{heard} were kept for it");
    assert!(data.contains("Last-Event-ID") && data.contains(&id), "{data}");
    // It comes back, to another process, and gets the rest.
    let live = world(1).0;
    let mut back = Follower::new(&live, &store, all(), Some(&id)).await;
    assert_eq!(back.events(BUFFER * 2 - (heard - 2)).await.0.len(), BUFFER * 2 - (heard - 2));
}

#[tokio::test]
async fn a_quiet_stream_beats_with_its_position() {
    let (live, store) = world(2);
    happen(&store, "acme", 0..4).await;
    let mut nothing = Follower::new(&live, &store, of("nobody"), Some("0")).await;
    nothing.next().await;
    let (id, event, _) = nothing.next().await.unwrap();
    let ends = Position::of(store.requests().event_ends().await.unwrap());
    assert_eq!((id, event.as_str()), (ends.to_string(), ""));
}

#[tokio::test]
async fn a_position_of_another_store_is_told_as_a_gap() {
    let (live, store) = world(2);
    happen(&store, "acme", 0..9).await;
    let mut lost = Follower::new(&live, &store, all(), Some("zzz.zzz.zzz")).await;
    lost.next().await;
    for _ in 0..3 {
        let (_, event, data) = lost.next().await.unwrap();
        assert_eq!(event, "gap");
        assert!(data.contains("another store"), "{data}");
    }
    happen(&store, "acme", 9..12).await;
    assert_eq!(sorted(lost.events(3).await.0), sorted(names(9..12)));
}

#[tokio::test]
async fn the_end_of_the_server_ends_every_stream() {
    let (live, store) = world(2);
    let mut follower = Follower::new(&live, &store, all(), None).await;
    follower.next().await;
    live.end();
    let (_, event, data) = follower.next().await.unwrap();
    assert_eq!(event, "ended");
    assert!(data.contains("about to stop"), "{data}");
    assert!(follower.next().await.is_none());
}

#[tokio::test]
async fn who_is_gone_gives_its_place_back() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (live, store) = world(1);
    let clock = Arc::new(trueup_model::ManualClock::at(Time::UNIX_EPOCH));
    let mut state = ApiState::new(store, clock);
    state.live = live.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(crate::serve(listener, state, std::future::pending()));
    // Once it said that it says nothing more, and once without a word.
    for half_first in [true, false] {
        let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        socket.write_all(b"GET /v1/events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut begin = [0; 15];
        socket.read_exact(&mut begin).await.unwrap();
        assert_eq!((&begin, live.places.available_permits()), (b"HTTP/1.1 200 OK", 0));
        if half_first {
            socket.shutdown().await.unwrap();
            // It still listens, so it is still told.
            let (mut said, mut some) = (String::new(), [0; 512]);
            while said.matches("still following").count() < 3 {
                let n = socket.read(&mut some).await.unwrap();
                assert_ne!(n, 0, "the stream goes on: {said}");
                said += &String::from_utf8_lossy(&some[..n]);
            }
        }
        drop(socket);
        let freed = async {
            while live.places.available_permits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), freed).await.expect("the place is free again");
    }
    serving.abort();
}
