//! Queues, jobs and workers, for people.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use redis::Value as Raw;
use serde_json::Value as Json;
use trueup_model::{DateTime, JobId, Partition, Queue, Time};

use super::jobs::off_header;
use super::{Call, RedisStore, Result, from_seconds, script};
use crate::keys::Keys;
use crate::store::{Incarnation, JobState, JobView, QueueDepth, WorkerView};

script!(LOOK, "look");

/// Payloads are cut to this many bytes when shown.
const SHOWN: usize = 64 * 1024;
/// Room for what the scripts put in front of a payload.
const HEADER: usize = 128;
/// Jobs in one call of the script.
const LOOKED: usize = 64;

/// Raw bytes of a payload as people can read them.
pub(crate) fn shown_payload(bytes: &[u8]) -> Json {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    serde_json::from_slice(cut).unwrap_or_else(|_| Json::String(cut.escape_ascii().to_string()))
}

/// A job's id with the score of its place (when it is due, when it died), and who holds it.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) score: Option<f64>,
    pub(super) held_by: Option<Incarnation>,
}

impl Found {
    fn plain(id: String) -> Self {
        Self { id, score: None, held_by: None }
    }

    fn at(&self, state: JobState) -> Option<Time> {
        let score = self.score?;
        match state {
            JobState::Scheduled => from_seconds(&score.to_string()),
            JobState::Dead => DateTime::from_timestamp_millis(score as i64),
            JobState::Ready | JobState::InFlight => None,
        }
    }
}

/// How much of the payloads is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Much {
    /// What an operator sees.
    Shown,
    /// Enough to say what it is about.
    About,
    /// Only what stands in front.
    Header,
}

impl Much {
    fn bytes(self) -> usize {
        HEADER
            + match self {
                Self::Shown => SHOWN,
                Self::About => 16 * 1024,
                Self::Header => 0,
            }
    }
}

impl RedisStore {
    /// Milliseconds on Redis's clock.
    pub(super) async fn redis_now(&self) -> Result<u64> {
        let (s, us): (u64, u64) = self.query(&redis::cmd("TIME")).await?;
        Ok(s * 1000 + us / 1000)
    }

    async fn members(&self, keys: Keys) -> Result<Vec<(Incarnation, u64)>> {
        let rows: Vec<(String, f64)> =
            self.query(redis::cmd("ZRANGE").arg(keys.workers()).arg(0).arg(-1).arg("WITHSCORES")).await?;
        Ok(rows.into_iter().map(|(name, ms)| (Incarnation(name), ms as u64)).collect())
    }

    pub(super) async fn do_depths(&self) -> Result<Vec<QueueDepth>> {
        let now = self.redis_now().await?;
        let queues: Vec<Queue> = Queue::all().into_iter().rev().collect();
        let partitions =
            try_join_all(self.every_partition().map(|(_, k)| self.depths_of(k, &queues, now))).await?;
        let mut rows: Vec<QueueDepth> =
            queues.iter().map(|q| QueueDepth { queue: q.to_string(), ..QueueDepth::default() }).collect();
        for (row, more) in partitions.into_iter().flat_map(|of| (0..).zip(of)).collect::<Vec<_>>() {
            let row: &mut QueueDepth = &mut rows[row];
            row.ready += more.ready;
            row.scheduled += more.scheduled;
            row.dead += more.dead;
            row.in_flight += more.in_flight;
            row.paused |= more.paused;
            row.oldest_ms = row.oldest_ms.max(more.oldest_ms);
        }
        Ok(rows)
    }

    /// Of one partition, in two round trips.
    async fn depths_of(&self, keys: Keys, queues: &[Queue], now: u64) -> Result<Vec<QueueDepth>> {
        type Row = (u64, u64, u64, bool, Option<String>);
        let workers = self.members(keys).await?;
        let mut pipe = redis::pipe();
        for q in queues {
            pipe.llen(keys.active(*q)).zcard(keys.scheduled(*q)).zcard(keys.dead(*q));
            pipe.sismember(keys.paused(), q.to_string()).lindex(keys.active(*q), 0);
        }
        let answers: Vec<Raw> = self.pipe(&pipe).await?;
        let mut rows: Vec<Row> = Vec::with_capacity(queues.len());
        for of in answers.chunks(5) {
            rows.push(
                redis::from_redis_value(Raw::Array(of.to_vec()))
                    .map_err(|e| super::connection::meaning(e.into()))?,
            );
        }
        let mut more = redis::pipe();
        for (q, row) in queues.iter().zip(&rows) {
            more.hget(keys.data(*q), row.4.as_deref().unwrap_or_default());
            workers.iter().for_each(|(w, _)| {
                more.scard(keys.inflight_of(*q, w));
            });
        }
        let answers: Vec<Raw> = self.pipe(&more).await?;
        let mut depths = Vec::with_capacity(queues.len());
        for ((q, row), of) in queues.iter().zip(rows).zip(answers.chunks(1 + workers.len())) {
            let (ready, scheduled, dead, paused, _) = row;
            let stored = match of.first() {
                Some(Raw::BulkString(bytes)) => Some(bytes.clone()),
                _ => None,
            };
            let since = stored.and_then(|s| off_header(s).0.enqueued_ms);
            let held = of.iter().skip(1).map(|n| if let Raw::Int(n) = n { (*n).unsigned_abs() } else { 0 });
            depths.push(QueueDepth {
                queue: q.to_string(),
                ready,
                scheduled,
                dead,
                paused,
                in_flight: held.sum(),
                oldest_ms: since.map(|s| now.saturating_sub(s)),
            });
        }
        Ok(depths)
    }

    pub(super) async fn do_jobs(&self, queue: Queue, state: JobState, limit: usize) -> Result<Vec<JobView>> {
        let now = self.redis_now().await?;
        let mut views = Vec::new();
        for (p, keys) in self.every_partition() {
            let wanted = limit.saturating_sub(views.len());
            if wanted == 0 {
                break;
            }
            let last = wanted as isize - 1;
            let found: Vec<Found> = match state {
                JobState::Ready => {
                    let ids: Vec<String> =
                        self.query(redis::cmd("LRANGE").arg(keys.active(queue)).arg(0).arg(last)).await?;
                    ids.into_iter().map(Found::plain).collect()
                }
                JobState::Scheduled => self.scored(&keys.scheduled(queue), 0, last, false).await?,
                JobState::Dead => self.scored(&keys.dead(queue), 0, last, false).await?,
                JobState::InFlight => self.in_flight(keys, queue, wanted).await?,
            };
            let looked = self.views(p, queue, state, found, Much::Shown, now).await?;
            views.extend(looked.into_iter().map(|(view, _)| view));
        }
        Ok(views)
    }

    /// A range of a sorted set, with scores.
    pub(super) async fn scored(
        &self,
        key: &str,
        from: isize,
        to: isize,
        reverse: bool,
    ) -> Result<Vec<Found>> {
        let command = if reverse { "ZREVRANGE" } else { "ZRANGE" };
        let rows: Vec<(String, f64)> =
            self.query(redis::cmd(command).arg(key).arg(from).arg(to).arg("WITHSCORES")).await?;
        Ok(rows.into_iter().map(|(id, s)| Found { id, score: Some(s), held_by: None }).collect())
    }

    pub(super) async fn in_flight(&self, keys: Keys, queue: Queue, wanted: usize) -> Result<Vec<Found>> {
        let mut held = Vec::new();
        for (who, _) in self.members(keys).await? {
            let ids: Vec<String> =
                self.query(redis::cmd("SRANDMEMBER").arg(keys.inflight_of(queue, &who)).arg(wanted)).await?;
            held.extend(ids.into_iter().map(|id| (id, who.clone())));
        }
        held.sort();
        held.truncate(wanted);
        Ok(held.into_iter().map(|(id, who)| Found { id, score: None, held_by: Some(who) }).collect())
    }

    /// What is known of these jobs, with as much of their payloads as is wanted. Ids that nobody has are left out.
    pub(super) async fn views(
        &self,
        p: Partition,
        queue: Queue,
        state: JobState,
        found: Vec<Found>,
        much: Much,
        now: u64,
    ) -> Result<Vec<(JobView, Vec<u8>)>> {
        type Row = (Option<Vec<u8>>, usize, String, String, String);
        let keys = Keys(p);
        let calls = found.chunks(LOOKED).map(|some| {
            let mut call = Call::new(&LOOK);
            call.key(keys.data(queue));
            call.key(keys.meta(queue));
            call.num(much.bytes());
            some.iter().for_each(|f| {
                call.arg(f.id.as_str());
            });
            call.run::<Vec<Raw>>(&self.connection.0)
        });
        let answers = try_join_all(calls).await?.concat();
        let mut views = Vec::with_capacity(found.len());
        for (f, row) in found.into_iter().zip(answers.chunks(5)) {
            let row: Row = redis::from_redis_value(Raw::Array(row.to_vec()))
                .map_err(|e| super::connection::meaning(e.into()))?;
            let (Some(stored), length, attempts, rescued, reason) = row else { continue };
            let kept = stored.len();
            let (header, payload) = off_header(stored);
            let view = JobView {
                at: f.at(state),
                id: JobId::from_wire(f.id),
                queue: queue.to_string(),
                partition: p,
                state,
                attempts: attempts.parse().unwrap_or(0),
                rescued: rescued.parse().unwrap_or(0),
                reason: Some(reason).filter(|r| !r.is_empty()),
                age_ms: header.enqueued_ms.map(|ms| now.saturating_sub(ms)),
                traceparent: header.traceparent,
                payload_bytes: length - (kept - payload.len()),
                payload: if matches!(much, Much::Shown) { shown_payload(&payload) } else { Json::Null },
                held_by: f.held_by,
            };
            views.push((view, payload));
        }
        Ok(views)
    }

    pub(super) async fn do_whereabouts(&self, jobs: &[JobId]) -> Result<Vec<Option<(Partition, Queue)>>> {
        super::limit("jobs", jobs.len(), 64)?;
        let places: Vec<(Partition, Queue)> =
            self.every_partition().flat_map(|(p, _)| Queue::all().into_iter().map(move |q| (p, q))).collect();
        let mut pipe = redis::pipe();
        for id in jobs {
            for (p, q) in &places {
                pipe.hexists(Keys(*p).data(*q), id.as_str());
            }
        }
        let there: Vec<bool> = if jobs.is_empty() { Vec::new() } else { self.pipe(&pipe).await? };
        let place = |of: &[bool]| of.iter().position(|there| *there).map(|n| places[n]);
        Ok(there.chunks(places.len().max(1)).map(place).collect())
    }

    pub(super) async fn do_job(&self, id: &JobId) -> Result<Option<JobView>> {
        let Some((p, queue)) = self.do_whereabouts(std::slice::from_ref(id)).await?.remove(0) else {
            return Ok(None);
        };
        let (state, found) = self.state_of(Keys(p), queue, id).await?;
        let now = self.redis_now().await?;
        let mut views = self.views(p, queue, state, vec![found], Much::Shown, now).await?;
        Ok(views.pop().map(|(view, _)| view))
    }

    async fn state_of(&self, keys: Keys, queue: Queue, id: &JobId) -> Result<(JobState, Found)> {
        let mut found = Found::plain(id.to_string());
        for (who, _) in self.members(keys).await? {
            let held: bool = self
                .query(redis::cmd("SISMEMBER").arg(keys.inflight_of(queue, &who)).arg(id.as_str()))
                .await?;
            if held {
                found.held_by = Some(who);
                return Ok((JobState::InFlight, found));
            }
        }
        let mut pipe = redis::pipe();
        pipe.zscore(keys.scheduled(queue), id.as_str()).zscore(keys.dead(queue), id.as_str());
        let (scheduled, dead): (Option<f64>, Option<f64>) = self.pipe(&pipe).await?;
        found.score = scheduled.or(dead);
        let state = match (scheduled, dead) {
            (Some(_), _) => JobState::Scheduled,
            (_, Some(_)) => JobState::Dead,
            _ => JobState::Ready,
        };
        Ok((state, found))
    }

    pub(super) async fn do_workers(&self) -> Result<Vec<WorkerView>> {
        let now = self.redis_now().await?;
        let mut seen: BTreeMap<Incarnation, u64> = BTreeMap::new();
        for (_, keys) in self.every_partition() {
            for (who, ms) in self.members(keys).await? {
                let last = seen.entry(who).or_insert(ms);
                *last = (*last).max(ms);
            }
        }
        Ok(seen
            .into_iter()
            .map(|(incarnation, ms)| WorkerView { incarnation, last_beat_ms: now.saturating_sub(ms) })
            .collect())
    }
}
