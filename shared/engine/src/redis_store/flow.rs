//! What passes through the queues: counted in this process, added up in Redis about once a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionManager;
use trueup_model::Queue;

use super::{Call, RedisStore, Result, script};
use crate::keys::FLOW;
use crate::passed::{BUCKET_S, BUCKETS, Flow, Passed, Tally};

script!(ADD, "flow");

/// Time between two additions.
const EVERY: Duration = Duration::from_secs(1);

/// Counted here and not yet added in Redis.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Tally>);

impl Counted {
    pub(super) fn add(&self, tally: Tally) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (queue, passed) in tally {
            all.entry(queue).or_default().add(&passed);
        }
    }

    /// Adds what was counted; counts it again here if Redis is away.
    pub(super) async fn flush(&self, c: &ConnectionManager) -> Result<()> {
        let tally = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if tally.is_empty() {
            return Ok(());
        }
        let mut call = Call::new(&ADD);
        call.key(FLOW.to_owned());
        call.num(BUCKET_S).num(BUCKET_S * (BUCKETS as u64 + 1));
        for (queue, passed) in &tally {
            for (field, n) in Passed::FIELDS.iter().zip(passed.values()).filter(|(_, n)| *n > 0) {
                call.arg(format!("{queue} {field}")).num(n);
            }
        }
        let added = call.run::<u8>(c).await;
        if added.is_err() {
            self.add(tally);
        }
        added.map(|_| ())
    }
}

/// Adds what was counted for as long as the store lives. While Redis is away it counts on.
pub(super) async fn keep_adding(counted: Arc<Counted>, c: ConnectionManager) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Whoever works with Redis says that it is away.
        let _ = counted.flush(&c).await;
    }
}

impl RedisStore {
    pub(super) async fn read_flow(&self) -> Result<Flow> {
        let current = self.redis_now().await? / 1000 / BUCKET_S;
        let mut pipe = redis::pipe();
        let first = current.saturating_sub(BUCKETS as u64 - 1);
        (first..=current).for_each(|n| {
            pipe.hgetall(format!("{FLOW}:{n}"));
        });
        let measured: Vec<Vec<(String, u64)>> = self.pipe(&pipe).await?;
        let mut flow = Flow::new();
        for (n, fields) in measured.into_iter().enumerate() {
            for (name, value) in fields {
                let Some((queue, field)) = name.split_once(' ') else { continue };
                let Ok(queue) = queue.parse::<Queue>() else { continue };
                let of = flow.entry(queue).or_insert_with(|| vec![Passed::default(); BUCKETS]);
                if let Some(count) = of.get_mut(n).and_then(|passed| passed.field(field)) {
                    *count = value;
                }
            }
        }
        Ok(flow)
    }
}
