//! The limit: what Redis itself does with the same moves and nothing else: a batched Lua hand-over (end 64 jobs, enqueue
//! their 64 followers) and a claim of 64, on the same key layout, two connections, as fast as it goes. No events, no
//! state, no worker.

use redis::aio::MultiplexedConnection;
use trueup_tests::stopwatch::Stopwatch;
use trueup_tests::world::redis;

const BATCH: usize = 64;

const HAND_OVER: &str = r"
local time = redis.call('TIME')
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  redis.call('SREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('DEL', KEYS[3] .. ':' .. id)
  redis.call('HSETNX', KEYS[5], id, ARGV[i + 1])
  redis.call('HSET', KEYS[6] .. ':' .. id, 'attempts', 0, 'max_attempts', 25, 'status', 'Pending')
  redis.call('RPUSH', KEYS[4], id)
end
return 1";

const CLAIM: &str = r"
local ids = redis.call('LPOP', KEYS[1], ARGV[1])
if not ids then return {} end
redis.call('SADD', KEYS[2], unpack(ids))
local data = redis.call('HMGET', KEYS[3], unpack(ids))
local out = {}
for k, id in ipairs(ids) do
  out[#out + 1] = id
  out[#out + 1] = data[k]
  out[#out + 1] = redis.call('HGET', KEYS[4] .. ':' .. id, 'attempts')
end
return out";

fn key(queue: usize, what: &str) -> String {
    format!("{{limit}}:{queue}:{what}")
}

async fn claim(
    c: &mut MultiplexedConnection,
    script: &redis::Script,
    queue: usize,
) -> redis::RedisResult<Vec<String>> {
    let mut call = script.prepare_invoke();
    for what in ["active", "inflight", "data", "meta"] {
        call.key(key(queue, what));
    }
    let rows: Vec<(String, Vec<u8>, String)> = call.arg(BATCH).invoke_async(c).await?;
    Ok(rows.into_iter().map(|(id, _, _)| id).collect())
}

async fn hand_over(
    c: &mut MultiplexedConnection,
    script: &redis::Script,
    (from, to): (usize, usize),
    ids: &[String],
    payload: &[u8],
) -> redis::RedisResult<()> {
    let mut call = script.prepare_invoke();
    for what in ["inflight", "data", "meta"] {
        call.key(key(from, what));
    }
    for what in ["active", "data", "meta"] {
        call.key(key(to, what));
    }
    for id in ids {
        call.arg(id).arg(payload);
    }
    call.invoke_async(c).await
}

/// Steps a second: every step is one hand-over and one claim of a job.
pub(crate) async fn chain(steps: usize) -> anyhow::Result<f64> {
    let server = redis().await?;
    let client = redis::Client::open(server.url())?;
    let (give, take) = (redis::Script::new(HAND_OVER), redis::Script::new(CLAIM));
    let payload = vec![b'x'; 300];
    let mut c = client.get_multiplexed_async_connection().await?;
    let chains = steps / 4;
    for chunk in (0..chains).map(|n| format!("job_{n:020}")).collect::<Vec<_>>().chunks(BATCH) {
        hand_over(&mut c, &give, (9, 0), chunk, &payload).await?;
    }
    let watch = Stopwatch::start();
    // Two connections on disjoint batches: while one waits for its answer, Redis works for the other.
    let mut drivers = Vec::new();
    for _ in 0..2 {
        let mut c = client.get_multiplexed_async_connection().await?;
        let (give, take, payload) = (give.clone(), take.clone(), payload.clone());
        drivers.push(tokio::spawn(async move {
            for queue in 0..4 {
                loop {
                    let ids = claim(&mut c, &take, queue).await?;
                    if ids.is_empty() {
                        break;
                    }
                    hand_over(&mut c, &give, (queue, queue + 1), &ids, &payload).await?;
                }
            }
            Ok::<_, redis::RedisError>(())
        }));
    }
    for driver in drivers {
        driver.await??;
    }
    // A driver may pass a queue that the other still fills; whatever it left is finished here, in time.
    for queue in 0..4 {
        loop {
            let ids = claim(&mut c, &take, queue).await?;
            if ids.is_empty() {
                break;
            }
            hand_over(&mut c, &give, (queue, queue + 1), &ids, &payload).await?;
        }
    }
    let rate = steps as f64 / watch.seconds();
    if std::env::var("CPU").is_ok() {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut c).await?;
        println!("limit {info}");
    }
    Ok(rate)
}
