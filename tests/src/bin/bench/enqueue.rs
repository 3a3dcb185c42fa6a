//! (e) Reconciliations accepted a second by the real API in another process on a real Redis, over HTTP, with the fleet idle;
//! beside what the same client gets from `/healthz` of the same server (nothing but HTTP), and what Redis itself stores a
//! second in the same form and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use serde_json::json;
use trueup_engine::{By, RedisOptions, RedisStore, Store};
use trueup_model::{Clock as _, CorrelationId, SystemClock};
use trueup_tests::api::Api;
use trueup_tests::http::Http;
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::{intent, redis};

use crate::RUNS;
use crate::report::{Report, median};

const INTENTS: usize = 20_000;
/// Connections of callers that ask one by one.
const CALLERS: usize = 16;
/// Requests of one run.
const ONE_BY_ONE: usize = 10_000;
/// Intents of one request in bulk, and requests of one run.
const BULK: usize = 500;
const BULKS: usize = 400;
const BULK_CALLERS: usize = 2;

/// Requests a second, and the time that 99 of 100 take at most, in milliseconds. Each answer has to say `told`.
async fn drive(
    address: &str,
    callers: usize,
    requests: usize,
    told: &'static str,
    ask: impl Fn(usize) -> (&'static str, &'static str, String) + Send + Sync + 'static,
) -> anyhow::Result<(f64, f64)> {
    let (next, ask) = (Arc::new(AtomicUsize::new(0)), Arc::new(ask));
    let mut all = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..callers {
        connections.push(Http::connect(address).await?);
    }
    let watch = Stopwatch::start();
    for mut http in connections {
        let (next, ask) = (next.clone(), ask.clone());
        all.push(tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= requests {
                    return anyhow::Ok(times);
                }
                let (method, path, body) = ask(n);
                let one = Stopwatch::start();
                let got =
                    if method == "GET" { http.get(path).await? } else { http.post_json(path, &body).await? };
                times.push(one.seconds() * 1000.0);
                let says = got.body.windows(told.len()).any(|w| w == told.as_bytes());
                ensure!(matches!(got.status, 200 | 202) && says, "{}: {}", got.status, got.json());
            }
        }));
    }
    let mut times = Vec::with_capacity(requests);
    for caller in all {
        times.extend(caller.await??);
    }
    let rate = requests as f64 / watch.seconds();
    times.sort_by(f64::total_cmp);
    let p99 = times[(times.len() * 99).div_ceil(100) - 1];
    Ok((rate, p99))
}

/// What Redis stores a second in the form of one accepted reconciliation, one call at a time on each of as many connections.
async fn bare(url: &str) -> anyhow::Result<f64> {
    let client = redis::Client::open(url)?;
    let (head, chunk, payload) = (vec![b'h'; 330], vec![b'c'; 22], vec![b'p'; 170]);
    let mut all = Vec::new();
    let watch = Stopwatch::start();
    for caller in 0..CALLERS {
        let mut c = client.get_multiplexed_async_connection().await?;
        let (head, chunk, payload) = (head.clone(), chunk.clone(), payload.clone());
        all.push(tokio::spawn(async move {
            for n in 0..ONE_BY_ONE / CALLERS {
                let id = format!("{caller}-{n}");
                let mut pipe = redis::pipe();
                pipe.atomic().hset(format!("{{b}}:r:{id}:parts"), 0, &chunk).ignore();
                pipe.zadd("{b}:rs", &id, n).ignore().hset("{b}:data", &id, &payload).ignore();
                pipe.rpush("{b}:active", &id).ignore().set(format!("{{b}}:r:{id}"), &head).ignore();
                pipe.cmd("XADD").arg("{b}:events").arg("*").arg("e").arg(&head).ignore();
                pipe.query_async::<()>(&mut c).await?;
            }
            anyhow::Ok(())
        }));
    }
    for caller in all {
        caller.await??;
    }
    Ok(ONE_BY_ONE as f64 / watch.seconds())
}

pub(crate) async fn figures(report: &mut Report) -> anyhow::Result<()> {
    let (mut one, mut one_p99, mut bulk, mut bulk_p99) = (vec![], vec![], vec![], vec![]);
    let (mut alive, mut stored) = (vec![], vec![]);
    for _ in 0..RUNS {
        let server = redis().await?;
        let options = RedisOptions::new(server.url(), Arc::new(SystemClock));
        let store: Arc<dyn Store> = Arc::new(RedisStore::connect(options).await?);
        let all: Vec<_> = (0..INTENTS).map(|n| intent("acme", &format!("i{n:05}"))).collect();
        let correlation_id = CorrelationId::derive(&["bench"]);
        let by = By { actor: "bench".into(), correlation_id, now: SystemClock.now() };
        for some in all.chunks(256) {
            store.apply(some, &by).await?;
        }
        let program = std::env::current_exe()?.with_file_name("api_process");
        let api = Api::start(&program, &server.url())
            .map_err(|e| anyhow::anyhow!("{}: {e}; `make bench` builds it", program.display()))?;
        let path = "/v1/reconciliations";
        alive.push(
            drive(&api.address, CALLERS, ONE_BY_ONE, "live", |_| ("GET", "/healthz", String::new())).await?.0,
        );
        let asked = move |n: usize| {
            ("POST", path, json!({"intent": format!("acme/i{:05}", n % INTENTS)}).to_string())
        };
        let (rate, p99) = drive(&api.address, CALLERS, ONE_BY_ONE, r#""accepted":1,"#, asked).await?;
        one.push(rate);
        one_p99.push(p99);
        let asked = move |n: usize| {
            let names: Vec<String> =
                (0..BULK).map(|k| format!("acme/i{:05}", (n * BULK + k) % INTENTS)).collect();
            ("POST", path, json!({"intents": names}).to_string())
        };
        let (rate, p99) = drive(&api.address, BULK_CALLERS, BULKS, r#""accepted":500,"#, asked).await?;
        bulk.push(rate * BULK as f64);
        bulk_p99.push(p99);
        stored.push(bare(&server.url()).await?);
        let last = |v: &[f64]| v.last().copied().unwrap_or(f64::NAN);
        eprintln!(
            "  one by one {:.0}/s p99 {:.1} ms, bulk {:.0}/s p99 {:.1} ms, /healthz {:.0}/s, bare Redis {:.0}/s",
            last(&one),
            last(&one_p99),
            last(&bulk),
            last(&bulk_p99),
            last(&alive),
            last(&stored)
        );
    }
    let settings = "20,000 intents, 1 partition, AOF everysec, no worker; API, Redis and callers (16 one by one, 2 with 500 intents a \
                    request) are processes of one host; kept-alive HTTP/1.1";
    let (alive, stored) = (median(alive), median(stored));
    let name = "reconciliations accepted";
    let singly = median(one);
    report.faster(format!("{name}, one by one"), singly, "a second", "wanted", 1_500.0, settings);
    report.faster(format!("{name}, one by one"), singly, "a second", "GET /healthz", alive, settings);
    report.faster(format!("{name}, one by one"), singly, "a second", "bare Redis", stored, settings);
    report.faster(format!("{name}, in bulk"), median(bulk), "a second", "wanted", 5_000.0, settings);
    report.below("one by one, p99".into(), median(one_p99), "ms", 50.0, settings);
    report.below("500 in a request, p99".into(), median(bulk_p99), "ms", 50.0, settings);
    Ok(())
}
