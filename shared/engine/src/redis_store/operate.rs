//! What an operator does to queues, jobs and workers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use trueup_model::{DateTime, JobId, Partition, Queue, Time};

use super::inspect::{Found, Much};
use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::keys::Keys;
use crate::operate::{
    Act, Drain, Flow, JobFilter, Looked, MAX_ACTED, MAX_LOOKED, MAX_REPORT, Operations, Place, WorkerReport,
    act_event, by_partition, drain_event, queue_event,
};
use crate::store::{Admin, By, Incarnation, JobState};

script!(ADMIN, "admin");
script!(ACT, "act");
script!(REPORT, "report");
script!(DRAIN, "drain");

/// Elements of a list that one call of the script may walk over.
const WALKED: usize = 2_000_000;
/// Jobs looked at between two answers.
const CHUNK: usize = 256;

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| EngineError::Refused(e.to_string()))
}

fn id_fits(job: &JobId) -> Result<()> {
    limit("characters in a job id", job.as_str().len(), 512)
}

impl RedisStore {
    pub(super) async fn do_admin(&self, queue: Queue, what: &Admin, by: &By) -> Result<u64> {
        let (act, job) = match what {
            Admin::Pause | Admin::Resume => {
                return self.pause_or_resume(queue, *what == Admin::Pause, by).await;
            }
            Admin::Retry(job) => (Act::Retry, job),
            Admin::Discard(job) => (Act::Discard, job),
        };
        let mut changed = 0;
        for (p, keys) in self.every_partition() {
            let jobs = match job {
                Some(job) => vec![job.clone()],
                None => {
                    let oldest = self.scored(&keys.dead(queue), 0, MAX_ACTED as isize - 1, false).await?;
                    oldest.into_iter().map(|f| JobId::from_wire(f.id)).collect()
                }
            };
            changed += self.act_in(p, queue, JobState::Dead, &jobs, act, by, "").await?;
        }
        Ok(changed)
    }

    async fn pause_or_resume(&self, queue: Queue, pause: bool, by: &By) -> Result<u64> {
        let mut changed = 0;
        for (p, keys) in self.every_partition() {
            let mut call = Call::new(&ADMIN);
            call.key(keys.paused());
            call.key(keys.events());
            call.arg(if pause { "pause" } else { "resume" }).arg(queue.to_string());
            call.arg(json(&queue_event(p, queue, pause, by))?).num(p);
            changed += call.run::<u64>(&self.connection.0).await?;
        }
        Ok(changed)
    }

    /// Jobs of one partition; in steps that are short however long the list of those that are ready is.
    #[expect(clippy::too_many_arguments, reason = "one act: where, what, on which, by whom and why")]
    async fn act_in(
        &self,
        p: Partition,
        queue: Queue,
        from: JobState,
        jobs: &[JobId],
        act: Act,
        by: &By,
        why: &str,
    ) -> Result<u64> {
        jobs.iter().try_for_each(id_fits)?;
        let keys = Keys(p);
        let mut step = MAX_ACTED;
        if from == JobState::Ready {
            let ready: usize = self.query(redis::cmd("LLEN").arg(keys.active(queue))).await?;
            step = (WALKED / ready.max(1)).clamp(1, MAX_ACTED);
        }
        let steps: Vec<&[JobId]> = match act {
            // What comes first in the end is moved last.
            Act::Front => jobs.rchunks(step).collect(),
            Act::Retry | Act::Discard => jobs.chunks(step).collect(),
        };
        let mut changed = 0;
        for some in steps {
            let mut call = Call::new(&ACT);
            for key in [
                keys.events(),
                keys.active(queue),
                keys.data(queue),
                keys.meta(queue),
                keys.dead(queue),
                keys.scheduled(queue),
                keys.troubled(queue),
            ] {
                call.key(key);
            }
            let state = match from {
                JobState::Dead => "dead",
                JobState::Scheduled => "scheduled",
                JobState::Ready | JobState::InFlight => "ready",
            };
            call.arg(act.as_str()).arg(state).arg(json(&act_event(queue, act, some, by, why))?).num(p);
            some.iter().for_each(|id| {
                call.arg(id.as_str());
            });
            changed += call.run::<u64>(&self.connection.0).await?;
        }
        Ok(changed)
    }

    /// The jobs of one partition from a place on.
    async fn found(
        &self,
        keys: Keys,
        queue: Queue,
        state: JobState,
        passed: usize,
        n: usize,
    ) -> Result<Vec<Found>> {
        let (from, to) = (passed as isize, (passed + n) as isize - 1);
        match state {
            JobState::Dead => self.scored(&keys.dead(queue), from, to, false).await,
            JobState::Scheduled => self.scored(&keys.scheduled(queue), from, to, true).await,
            JobState::Ready => {
                let mut cmd = redis::cmd("LRANGE");
                let mut ids: Vec<String> =
                    self.query(cmd.arg(keys.active(queue)).arg(-to - 1).arg(-from - 1)).await?;
                ids.reverse();
                Ok(ids.into_iter().map(|id| Found { id, score: None, held_by: None }).collect())
            }
            JobState::InFlight => self.held_from(keys, queue, passed, n).await,
        }
    }

    /// What workers hold, in the order of ids. All of it is read: a worker holds as many as it has slots, and a set has no
    /// order in which one could go on.
    async fn held_from(&self, keys: Keys, queue: Queue, passed: usize, n: usize) -> Result<Vec<Found>> {
        let workers: Vec<String> =
            self.query(redis::cmd("ZRANGE").arg(keys.workers()).arg(0).arg(-1)).await?;
        let workers: Vec<Incarnation> = workers.into_iter().map(Incarnation).collect();
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for who in &workers {
            pipe.smembers(keys.inflight_of(queue, who));
        }
        let held: Vec<Vec<String>> = self.pipe(&pipe).await?;
        let mut held: Vec<(String, Incarnation)> = workers
            .into_iter()
            .zip(held)
            .flat_map(|(who, ids)| ids.into_iter().map(move |id| (id, who.clone())))
            .collect();
        held.sort();
        let page = held.into_iter().skip(passed).take(n);
        Ok(page.map(|(id, who)| Found { id, score: None, held_by: Some(who) }).collect())
    }
}

#[async_trait]
impl Operations for RedisStore {
    async fn look(
        &self,
        queue: Queue,
        filter: &JobFilter,
        cursor: Option<&str>,
        wanted: usize,
        taking: bool,
    ) -> Result<Looked> {
        let (mut place, mut looked) = (Place::read(cursor), Looked::default());
        let (redis_now, now) = (self.redis_now().await?, self.clock.now());
        let much = if filter.reads_payload() { Much::About } else { Much::Header };
        while place.partition < self.partitions {
            let p = Partition(place.partition);
            let room = MAX_LOOKED.saturating_sub(looked.scanned as usize).min(CHUNK);
            if room == 0 || looked.jobs.len() >= wanted {
                looked.next = Some(place.text());
                return Ok(looked);
            }
            let found = self.found(Keys(p), queue, filter.state, place.passed, room).await?;
            let end = found.len() < room;
            let ids: Vec<String> = found.iter().map(|f| f.id.clone()).collect();
            let views = self.views(p, queue, filter.state, found, much, redis_now).await?;
            let mut views = views.into_iter().peekable();
            // Also ids that nobody has are passed: another program's, which keep their places until a lease meets them.
            for id in ids {
                if looked.jobs.len() >= wanted {
                    looked.next = Some(place.text());
                    return Ok(looked);
                }
                looked.scanned += 1;
                place.passed += 1;
                let Some((view, payload)) = views.next_if(|(v, _)| v.id.as_str() == id) else { continue };
                if filter.admits(&view, &payload, now) {
                    place.passed -= usize::from(taking);
                    looked.jobs.push(view);
                }
            }
            if taking && !looked.jobs.is_empty() && !end {
                // What was found is still there until the caller has acted on it.
                looked.next = Some(place.text());
                return Ok(looked);
            }
            if end {
                place = Place { partition: place.partition + 1, passed: 0 };
            }
        }
        Ok(looked)
    }

    async fn act(
        &self,
        queue: Queue,
        from: JobState,
        jobs: &[(Partition, JobId)],
        act: Act,
        by: &By,
        why: &str,
    ) -> Result<u64> {
        limit("jobs", jobs.len(), MAX_ACTED)?;
        if !act.applies_to(from) {
            return Ok(0);
        }
        let mut changed = 0;
        for (p, ids) in by_partition(jobs, self.partitions) {
            changed += self.act_in(p, queue, from, &ids, act, by, why).await?;
        }
        Ok(changed)
    }

    async fn newest_death(&self, queue: Queue) -> Result<Option<Time>> {
        let mut pipe = redis::pipe();
        for (_, keys) in self.every_partition() {
            pipe.zrevrange_withscores(keys.dead(queue), 0, 0);
        }
        let newest: Vec<Vec<(String, f64)>> = self.pipe(&pipe).await?;
        let newest = newest.into_iter().flatten().map(|(_, ms)| ms as i64).max();
        Ok(newest.and_then(DateTime::from_timestamp_millis))
    }

    async fn whereabouts(&self, jobs: &[JobId]) -> Result<Vec<Option<(Partition, Queue)>>> {
        self.do_whereabouts(jobs).await
    }

    async fn flow(&self) -> Result<Flow> {
        self.flow.flush(&self.connection.0).await?;
        self.read_flow().await
    }

    async fn report(&self, who: &Incarnation, report: &WorkerReport) -> Result<bool> {
        let text = json(report)?;
        limit("bytes in a report", text.len(), MAX_REPORT)?;
        let (keys, mut call) = (Keys(Partition(0)), Call::new(&REPORT));
        for key in [keys.reports(), keys.drains(), keys.workers()] {
            call.key(key);
        }
        call.arg(who.0.as_str()).arg(text);
        call.run::<u8>(&self.connection.0).await.map(|asked| asked == 1)
    }

    async fn reports(&self) -> Result<BTreeMap<Incarnation, (WorkerReport, bool)>> {
        let keys = Keys(Partition(0));
        let mut pipe = redis::pipe();
        pipe.hgetall(keys.reports()).hkeys(keys.drains()).zrange(keys.workers(), 0, -1);
        let (reports, asked, alive): (BTreeMap<String, String>, Vec<String>, Vec<String>) =
            self.pipe(&pipe).await?;
        let mut read = BTreeMap::new();
        for (who, text) in reports {
            // Who is declared dead is forgotten with the verdict; this one left and was cut off before its last word.
            if !alive.contains(&who) {
                self.forget(&Incarnation(who)).await?;
                continue;
            }
            let report = match serde_json::from_str(&text) {
                Ok(report) => report,
                Err(e) => {
                    tracing::warn!(worker = %who, "left out: what it says of itself cannot be read ({e}); is it of another version?");
                    continue;
                }
            };
            let asked = asked.contains(&who);
            read.insert(Incarnation(who), (report, asked));
        }
        Ok(read)
    }

    async fn forget(&self, who: &Incarnation) -> Result<()> {
        let keys = Keys(Partition(0));
        let mut pipe = redis::pipe();
        pipe.hdel(keys.reports(), &who.0).ignore().hdel(keys.drains(), &who.0).ignore();
        self.pipe(&pipe).await
    }

    async fn drain(&self, who: &Incarnation, by: &By) -> Result<Drain> {
        let (keys, mut call) = (Keys(Partition(0)), Call::new(&DRAIN));
        for key in [keys.reports(), keys.drains(), keys.events()] {
            call.key(key);
        }
        call.arg(who.0.as_str()).num(by.now.timestamp_millis()).arg(json(&drain_event(who, by))?);
        Ok(match call.run::<u8>(&self.connection.0).await? {
            1 => Drain::Asked,
            2 => Drain::AskedBefore,
            _ => Drain::Unknown,
        })
    }
}
