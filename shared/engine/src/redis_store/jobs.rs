//! Enqueue, lease, give back.

use redis::Value;
use trueup_model::{JobId, Partition, Queue, Time};

use super::{Call, RedisStore, Result, from_seconds, limit, script, seconds};
use crate::EngineError;
use crate::keys::Keys;
use crate::store::{Incarnation, LeasedJob, Leases, NewJob};

script!(ENQUEUE, "enqueue");
script!(LEASE, "lease");
script!(GIVE_BACK, "give_back");

/// Position of a queue in a list that grows as queues are met.
pub(super) fn position(queues: &mut Vec<Queue>, q: Queue) -> usize {
    queues.iter().position(|x| *x == q).unwrap_or_else(|| {
        queues.push(q);
        queues.len() - 1
    })
}

impl RedisStore {
    pub(super) async fn do_enqueue(&self, p: Partition, jobs: &[NewJob]) -> Result<u64> {
        limit("jobs", jobs.len(), 256)?;
        if jobs.is_empty() {
            return Ok(0);
        }
        let (mut queues, mut call) = (Vec::new(), Call::new(&ENQUEUE));
        call.num(p);
        for job in jobs {
            call.num(position(&mut queues, job.queue)).arg(job.id.as_str()).arg(job.payload.clone());
            call.arg(job.at.map(seconds).unwrap_or_default()).arg(job.traceparent.clone().unwrap_or_default());
        }
        let keys = Keys(p);
        for q in queues {
            for key in [keys.active(q), keys.scheduled(q), keys.data(q), keys.meta(q)] {
                call.key(key);
            }
        }
        call.run(&self.connection.0).await
    }

    pub(super) async fn do_lease(
        &self,
        p: Partition,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
    ) -> Result<Leases> {
        if let Some(leases) = self.lease_once(p, who, wanted, now).await? {
            return Ok(leases);
        }
        // Not registered here: declared dead, which the next heartbeat has to learn; or not beaten yet.
        if self.has_beaten(p, who) || self.do_beat(p, who).await?.declared_dead {
            return Ok(Leases::default());
        }
        Ok(self.lease_once(p, who, wanted, now).await?.unwrap_or_default())
    }

    async fn lease_once(
        &self,
        p: Partition,
        who: &Incarnation,
        wanted: &[(Queue, usize)],
        now: Time,
    ) -> Result<Option<Leases>> {
        let (keys, mut call) = (Keys(p), Call::new(&LEASE));
        call.key(keys.workers());
        call.key(keys.paused());
        call.arg(who.0.as_str()).arg(seconds(now));
        for (q, n) in wanted {
            for key in [keys.active(*q), keys.scheduled(*q), keys.data(*q), keys.meta(*q), keys.inflight_of(*q, who)] {
                call.key(key);
            }
            call.arg(q.to_string()).num((*n).min(256));
        }
        let answer: Value = call.run(&self.connection.0).await?;
        match answer {
            Value::Nil | Value::Boolean(false) => Ok(None),
            Value::Array(parts) => parse(parts, wanted).map(Some),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn do_give_back(&self, p: Partition, who: &Incarnation, jobs: &[(JobId, Queue)]) -> Result<()> {
        limit("jobs", jobs.len(), 256)?;
        if jobs.is_empty() {
            return Ok(());
        }
        let (mut queues, mut call, keys) = (Vec::new(), Call::new(&GIVE_BACK), Keys(p));
        call.num(p);
        for (id, q) in jobs.iter().rev() {
            call.num(position(&mut queues, *q)).arg(id.as_str());
        }
        for q in queues {
            call.key(keys.active(q));
            call.key(keys.inflight_of(q, who));
        }
        call.run::<i64>(&self.connection.0).await.map(|_| ())
    }
}

fn unexpected(v: &Value) -> EngineError {
    EngineError::Refused(format!("a script answered {v:?}; is another version of Trueup's scripts in this Redis?"))
}

fn bytes(v: Option<Value>) -> Result<Vec<u8>> {
    match v {
        Some(Value::BulkString(b)) => Ok(b),
        Some(Value::SimpleString(s)) => Ok(s.into_bytes()),
        Some(Value::Int(n)) => Ok(n.to_string().into_bytes()),
        other => Err(unexpected(&other.unwrap_or(Value::Nil))),
    }
}

fn text(v: Option<Value>) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(v)?).into_owned())
}

fn parse(parts: Vec<Value>, wanted: &[(Queue, usize)]) -> Result<Leases> {
    let mut parts = parts.into_iter();
    let next_due = from_seconds(&text(parts.next())?);
    let more = text(parts.next())? == "1";
    let mut jobs = Vec::with_capacity(parts.len() / 6);
    while let Some(first) = parts.next() {
        let n: usize = text(Some(first))?.parse().unwrap_or(usize::MAX);
        let Some((queue, _)) = wanted.get(n) else { return Err(unexpected(&Value::Nil)) };
        let id = JobId::from_wire(text(parts.next())?);
        let payload = bytes(parts.next())?;
        let attempts = text(parts.next())?.parse().unwrap_or(0);
        let rescued = text(parts.next())?.parse().unwrap_or(0);
        let traceparent = Some(text(parts.next())?).filter(|t| !t.is_empty());
        jobs.push(LeasedJob { id, queue: *queue, payload, attempts, rescued, traceparent });
    }
    Ok(Leases { jobs, next_due, more })
}
