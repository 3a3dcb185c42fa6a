//! The jobs a process held when it was killed or stopped, and what became of them.

use redis::aio::ConnectionManager;
use trueup_engine::Incarnation;
use trueup_engine::keys::Keys;
use trueup_model::{JobId, Partition, Queue, StepName};

use super::Fleet;
use super::worker::Worker;

/// A job in the hands of a process that does not work on it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub partition: Partition,
    pub queue: Queue,
    pub job: JobId,
    pub who: Incarnation,
}

impl Fleet {
    /// Every name that is registered in any partition, with jobs or without.
    pub async fn names_of(&self, worker: &Worker) -> Vec<Incarnation> {
        let mut names = Vec::new();
        for p in self.partitions() {
            let found: redis::RedisResult<Vec<String>> = redis::cmd("ZRANGE")
                .arg(Keys(p).workers())
                .arg(0)
                .arg(-1)
                .query_async(&mut self.connection.clone())
                .await;
            names.extend(found.unwrap_or_default().into_iter().map(Incarnation).filter(|w| worker.is(w)));
        }
        names.sort();
        names.dedup();
        names
    }

    /// What a process that has just been killed or stopped holds. What it had sent before still reaches Redis, so this
    /// looks until two looks agree.
    pub async fn held_by(&self, worker: &Worker) -> Vec<Held> {
        let mut before: Option<Vec<Held>> = None;
        loop {
            let now = self.held_once(worker).await;
            if before.as_ref() == Some(&now) {
                return now;
            }
            before = Some(now);
        }
    }

    async fn held_once(&self, worker: &Worker) -> Vec<Held> {
        let places: Vec<(Partition, Queue, Incarnation)> = (self.names_of(worker).await.into_iter())
            .flat_map(|who| self.partitions().map(move |p| (p, who.clone())))
            .flat_map(|(p, who)| Queue::all().into_iter().map(move |q| (p, q, who.clone())))
            .collect();
        let mut pipe = redis::pipe();
        for (p, q, who) in &places {
            pipe.smembers(Keys(*p).inflight_of(*q, who));
        }
        if places.is_empty() {
            return Vec::new();
        }
        let found: Vec<Vec<String>> =
            pipe.query_async(&mut self.connection.clone()).await.expect("sets are read");
        let held = places.into_iter().zip(found).flat_map(|((partition, queue, who), jobs)| {
            jobs.into_iter().map(move |job| Held {
                partition,
                queue,
                job: JobId::from_wire(job),
                who: who.clone(),
            })
        });
        let mut held: Vec<Held> = held.collect();
        held.sort_by(|a, b| (a.partition, a.queue, &a.job).cmp(&(b.partition, b.queue, &b.job)));
        held
    }
}

/// Which of these nobody has taken over yet: still in the dead worker's hands, or waiting.
pub async fn not_taken_over(connection: &ConnectionManager, held: &[Held]) -> Vec<Held> {
    let mut pipe = redis::pipe();
    for h in held {
        let (k, job) = (Keys(h.partition), h.job.as_str());
        pipe.sismember(k.inflight_of(h.queue, &h.who), job);
        pipe.cmd("LPOS").arg(k.active(h.queue)).arg(job);
        pipe.zscore(k.scheduled(h.queue), job);
    }
    type Place = (bool, Option<u64>, Option<f64>);
    let found: redis::RedisResult<Vec<redis::Value>> = pipe.query_async(&mut connection.clone()).await;
    let Ok(found) = found else { return held.to_vec() };
    let waits = |values: &[redis::Value]| {
        let place: Place =
            redis::from_redis_value(redis::Value::Array(values.to_vec())).unwrap_or((true, None, None));
        // The tick waits for its next time, which is as it should be.
        place.0 || place.1.is_some() || place.2.is_some()
    };
    held.iter()
        .zip(found.chunks(3))
        .filter(|(h, values)| {
            if h.queue.step() == StepName::Sweep { values[0] == redis::Value::Int(1) } else { waits(values) }
        })
        .map(|(h, _)| h.clone())
        .collect()
}
