//! Queues and workers, for people; and what an operator may do to them.

use serde_json::Value as Json;
use trueup_model::{Event, EventId, EventKind, JobId, Partition, Queue};

use super::jobs::off_header;
use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::keys::Keys;
use crate::store::{Admin, By, Incarnation, JobState, JobView, QueueDepth, WorkerView};

script!(ADMIN, "admin");

/// Payloads are cut to this many bytes when shown.
const SHOWN: usize = 64 * 1024;

/// The audit event of an operator's action on a queue; `-1` becomes the number of jobs that changed.
pub(crate) fn admin_event(p: Partition, queue: Queue, what: &Admin, by: &By) -> Event {
    let (kind, job) = match what {
        Admin::Pause => (EventKind::QueuePaused, None),
        Admin::Resume => (EventKind::QueueResumed, None),
        Admin::Retry(job) => (EventKind::JobRetried, job.as_ref()),
        Admin::Discard(job) => (EventKind::JobDiscarded, job.as_ref()),
    };
    let at = by.now.timestamp_millis().to_string();
    let job_text = job.map_or("", JobId::as_str);
    Event {
        event_id: EventId::derive(&[
            kind.as_str(),
            &p.to_string(),
            &queue.to_string(),
            job_text,
            by.correlation_id.as_str(),
            &at,
        ]),
        seq: 0,
        schema: 1,
        event_type: kind,
        tenant: String::new(),
        intent: String::new(),
        correlation_id: by.correlation_id.clone(),
        causation_id: job.cloned(),
        trace_id: None,
        actor: by.actor.clone(),
        created_at: by.now,
        event_data: serde_json::json!({"queue": queue.to_string(), "job": job, "count": -1}),
    }
}

/// Raw bytes of a payload as people can read them.
pub(crate) fn shown_payload(bytes: &[u8]) -> Json {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    serde_json::from_slice(cut).unwrap_or_else(|_| Json::String(cut.escape_ascii().to_string()))
}

type Meta = (Option<u32>, Option<u32>, Option<String>);

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
        let mut rows: Vec<QueueDepth> = Queue::all()
            .into_iter()
            .rev()
            .map(|q| QueueDepth { queue: q.to_string(), ..QueueDepth::default() })
            .collect();
        for (_, keys) in self.every_partition() {
            let workers = self.members(keys).await?;
            for (row, q) in rows.iter_mut().zip(Queue::all().into_iter().rev()) {
                let mut pipe = redis::pipe();
                pipe.llen(keys.active(q)).zcard(keys.scheduled(q)).zcard(keys.dead(q));
                pipe.sismember(keys.paused(), q.to_string()).lindex(keys.active(q), 0);
                let (ready, scheduled, dead, paused, head): (u64, u64, u64, bool, Option<String>) =
                    self.pipe(&pipe).await?;
                let mut holders = redis::pipe();
                workers.iter().for_each(|(w, _)| {
                    holders.scard(keys.inflight_of(q, w));
                });
                let held: Vec<u64> =
                    if workers.is_empty() { Vec::new() } else { self.pipe(&holders).await? };
                row.ready += ready;
                row.scheduled += scheduled;
                row.dead += dead;
                row.paused |= paused;
                row.in_flight += held.iter().sum::<u64>();
                if let Some(head) = head {
                    let stored: Option<Vec<u8>> =
                        self.query(redis::cmd("HGET").arg(keys.data(q)).arg(head)).await?;
                    let since = stored.and_then(|s| off_header(s).0.enqueued_ms);
                    row.oldest_ms = row.oldest_ms.max(since.map(|s| now.saturating_sub(s)));
                }
            }
        }
        Ok(rows)
    }

    pub(super) async fn do_jobs(&self, queue: Queue, state: JobState, limit: usize) -> Result<Vec<JobView>> {
        let mut views = Vec::new();
        for (p, keys) in self.every_partition() {
            let wanted = limit.saturating_sub(views.len());
            if wanted == 0 {
                break;
            }
            let last = wanted as isize - 1;
            let ids: Vec<(String, Option<Incarnation>)> = match state {
                JobState::Ready => {
                    self.plain(redis::cmd("LRANGE").arg(keys.active(queue)).arg(0).arg(last)).await?
                }
                JobState::Scheduled => {
                    self.plain(redis::cmd("ZRANGE").arg(keys.scheduled(queue)).arg(0).arg(last)).await?
                }
                JobState::Dead => {
                    self.plain(redis::cmd("ZRANGE").arg(keys.dead(queue)).arg(0).arg(last)).await?
                }
                JobState::InFlight => {
                    let mut held = Vec::new();
                    for (who, _) in self.members(keys).await? {
                        let ids: Vec<String> = self
                            .query(redis::cmd("SRANDMEMBER").arg(keys.inflight_of(queue, &who)).arg(wanted))
                            .await?;
                        held.extend(ids.into_iter().map(|id| (id, Some(who.clone()))));
                    }
                    held.sort();
                    held.truncate(wanted);
                    held
                }
            };
            for (id, held_by) in ids {
                views.extend(self.view(p, queue, state, id, held_by).await?);
            }
        }
        Ok(views)
    }

    async fn plain(&self, cmd: &redis::Cmd) -> Result<Vec<(String, Option<Incarnation>)>> {
        Ok(self.query::<Vec<String>>(cmd).await?.into_iter().map(|id| (id, None)).collect())
    }

    async fn view(
        &self,
        p: Partition,
        queue: Queue,
        state: JobState,
        id: String,
        held_by: Option<Incarnation>,
    ) -> Result<Option<JobView>> {
        let keys = Keys(p);
        let mut pipe = redis::pipe();
        pipe.hget(keys.data(queue), &id);
        pipe.cmd("HMGET").arg(format!("{}:{id}", keys.meta(queue))).arg(&["attempts", "rescued", "reason"]);
        let (stored, (attempts, rescued, reason)): (Option<Vec<u8>>, Meta) = self.pipe(&pipe).await?;
        Ok(stored.map(off_header).map(|(header, payload)| JobView {
            id: JobId::from_wire(id),
            queue: queue.to_string(),
            partition: p,
            state,
            attempts: attempts.unwrap_or(0),
            rescued: rescued.unwrap_or(0),
            reason,
            traceparent: header.traceparent,
            payload_bytes: payload.len(),
            payload: shown_payload(&payload),
            held_by,
        }))
    }

    pub(super) async fn do_job(&self, id: &JobId) -> Result<Option<JobView>> {
        for (p, keys) in self.every_partition() {
            for queue in Queue::all() {
                let exists: bool =
                    self.query(redis::cmd("HEXISTS").arg(keys.data(queue)).arg(id.as_str())).await?;
                if exists {
                    let (state, held_by) = self.whereabouts(keys, queue, id).await?;
                    return self.view(p, queue, state, id.to_string(), held_by).await;
                }
            }
        }
        Ok(None)
    }

    async fn whereabouts(
        &self,
        keys: Keys,
        queue: Queue,
        id: &JobId,
    ) -> Result<(JobState, Option<Incarnation>)> {
        for (who, _) in self.members(keys).await? {
            let held: bool = self
                .query(redis::cmd("SISMEMBER").arg(keys.inflight_of(queue, &who)).arg(id.as_str()))
                .await?;
            if held {
                return Ok((JobState::InFlight, Some(who)));
            }
        }
        let mut pipe = redis::pipe();
        pipe.zscore(keys.scheduled(queue), id.as_str()).zscore(keys.dead(queue), id.as_str());
        let (scheduled, dead): (Option<f64>, Option<f64>) = self.pipe(&pipe).await?;
        Ok((
            match (scheduled, dead) {
                (Some(_), _) => JobState::Scheduled,
                (_, Some(_)) => JobState::Dead,
                _ => JobState::Ready,
            },
            None,
        ))
    }

    pub(super) async fn do_workers(&self) -> Result<Vec<WorkerView>> {
        let now = self.redis_now().await?;
        let mut seen: std::collections::BTreeMap<Incarnation, u64> = std::collections::BTreeMap::new();
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

    pub(super) async fn do_admin(&self, queue: Queue, what: &Admin, by: &By) -> Result<u64> {
        let (action, job) = match what {
            Admin::Pause => ("pause", None),
            Admin::Resume => ("resume", None),
            Admin::Retry(job) => ("retry", job.as_ref()),
            Admin::Discard(job) => ("discard", job.as_ref()),
        };
        limit("characters in a job id", job.map_or(0, |j| j.as_str().len()), 512)?;
        let mut changed = 0;
        for (p, keys) in self.every_partition() {
            let mut call = Call::new(&ADMIN);
            for key in [
                keys.paused(),
                keys.events(),
                keys.active(queue),
                keys.data(queue),
                keys.meta(queue),
                keys.dead(queue),
                keys.troubled(queue),
            ] {
                call.key(key);
            }
            let event = serde_json::to_vec(&admin_event(p, queue, what, by))
                .map_err(|e| EngineError::Refused(e.to_string()))?;
            call.arg(action).arg(queue.to_string()).arg(job.map_or("", JobId::as_str)).arg(event).num(p);
            changed += call.run::<u64>(&self.connection.0).await?;
        }
        Ok(changed)
    }
}
