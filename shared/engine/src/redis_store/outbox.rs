//! Notices on their way to deliveries, and the census.
//!
//! # Expected flow
//! A commit writes a notice into the outbox of its partition. The collector asks for [`Store::notices`], makes deliveries
//! of them, and takes them with the same commit, in partition 0. The next time somebody asks, what was taken leaves its
//! outbox and its id is remembered there as told.
//!
//! # Guarantees
//! What was taken is in no answer any more, also before it has left its outbox, whoever dies when: an answer is the
//! outboxes less what is taken. What is taken is forgotten only after every outbox was cleared of it.
//!
//! [`Store::notices`]: crate::Store::notices

use std::collections::HashSet;

use trueup_model::{Notice, Partition};

use super::{Call, RedisStore, Result, script};
use crate::census::{Census, Tally};
use crate::keys::Keys;
use crate::store::TOLD_FOR;

script!(OUTBOX, "outbox");

/// Ids remembered as told in a partition, and as taken, at most.
const MAX_TOLD: usize = 100_000;
/// Ids looked up in one go.
const CHUNK: usize = 1000;
/// Field of the census that counts notices dropped (as in `commit.lua`).
const DROPPED: &str = "notices_dropped";

impl RedisStore {
    pub(super) async fn do_notices(&self, limit: usize) -> Result<Vec<Notice>> {
        let home = Keys(Partition(0)).taken();
        let mut pipe = redis::pipe();
        for (_, keys) in self.every_partition() {
            pipe.zrange_withscores(format!("{}:order", keys.outbox()), 0, -1);
        }
        let all: Vec<Vec<(String, f64)>> = self.pipe(&pipe).await?;
        let mut waiting: Vec<(i64, String, Keys)> = Vec::new();
        for ((_, keys), ids) in self.every_partition().zip(all) {
            waiting.extend(ids.into_iter().map(|(id, at)| (at as i64, id, keys)));
        }
        // After the outboxes were read, so that whatever was taken before is known as taken.
        let taken = self.taken(&home, &waiting).await?;
        for (p, keys) in self.every_partition() {
            let here = waiting.iter().filter(|(_, id, k)| k.0 == p && taken.contains(id));
            let ids: Vec<&str> = here.map(|(_, id, _)| id.as_str()).collect();
            for chunk in ids.chunks(256) {
                self.clear(keys, chunk).await?;
            }
        }
        self.forget_taken(&home).await?;

        waiting.retain(|(_, id, _)| !taken.contains(id));
        waiting.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut notices = Vec::new();
        for chunk in waiting.chunks(limit.clamp(1, CHUNK)) {
            if notices.len() >= limit {
                break;
            }
            notices.extend(self.told_as(chunk).await?);
        }
        notices.truncate(limit);
        Ok(notices)
    }

    async fn taken(&self, home: &str, waiting: &[(i64, String, Keys)]) -> Result<HashSet<String>> {
        let mut taken = HashSet::new();
        for chunk in waiting.chunks(CHUNK) {
            let mut cmd = redis::cmd("ZMSCORE");
            cmd.arg(home);
            chunk.iter().for_each(|(_, id, _)| {
                cmd.arg(id);
            });
            let scores: Vec<Option<f64>> = self.query(&cmd).await?;
            let here = chunk.iter().zip(scores).filter(|(_, score)| score.is_some());
            taken.extend(here.map(|((_, id, _), _)| id.clone()));
        }
        Ok(taken)
    }

    async fn clear(&self, keys: Keys, ids: &[&str]) -> Result<()> {
        let (outbox, mut call) = (keys.outbox(), Call::new(&OUTBOX));
        for key in [outbox.clone(), format!("{outbox}:order"), format!("{outbox}:told")] {
            call.key(key);
        }
        call.num(TOLD_FOR.as_millis()).num(MAX_TOLD);
        ids.iter().for_each(|id| {
            call.arg(*id);
        });
        call.run::<u64>(&self.connection.0).await.map(|_| ())
    }

    /// Kept as long as it is remembered as told, for outboxes that Redis restored from before they were cleared.
    async fn forget_taken(&self, home: &str) -> Result<()> {
        let before = self.redis_now().await?.saturating_sub(TOLD_FOR.as_millis() as u64);
        let mut pipe = redis::pipe();
        pipe.cmd("ZREMRANGEBYSCORE").arg(home).arg("-inf").arg(format!("({before}"));
        pipe.cmd("ZREMRANGEBYRANK").arg(home).arg(0).arg(-1 - MAX_TOLD as i64);
        self.pipe::<(u64, u64)>(&pipe).await.map(|_| ())
    }

    async fn told_as(&self, waiting: &[(i64, String, Keys)]) -> Result<Vec<Notice>> {
        let mut pipe = redis::pipe();
        for (_, id, keys) in waiting {
            pipe.hget(keys.outbox(), id);
        }
        let found: Vec<Option<Vec<u8>>> = self.pipe(&pipe).await?;
        let read = |((_, id, keys), json): (&(i64, String, Keys), Option<Vec<u8>>)| {
            // One that cannot be read (a newer version wrote it) must not hide the others; it waits for who can.
            serde_json::from_slice(&json?)
                .inspect_err(
                    |e| tracing::error!(notice = %id, partition = %keys.0, "left in its outbox: {e}"),
                )
                .ok()
        };
        Ok(waiting.iter().zip(found).filter_map(read).collect())
    }

    pub(super) async fn do_census(&self) -> Result<Census> {
        let (mut tally, mut waiting, mut dropped) = (Tally::default(), 0, 0);
        for (_, keys) in self.every_partition() {
            let mut pipe = redis::pipe();
            pipe.hgetall(keys.census()).hlen(keys.outbox());
            let (counts, here): (Vec<(String, i64)>, u64) = self.pipe(&pipe).await?;
            waiting += here;
            for (field, n) in counts {
                let n = u64::try_from(n).unwrap_or(0);
                if field == DROPPED { dropped += n } else { tally.read(&field, n) }
            }
        }
        Ok(tally.census(waiting, dropped))
    }
}
