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
            call.arg(job.at.map(seconds).unwrap_or_default()).arg(plain_trace(job.traceparent.as_deref()));
        }
        let keys = Keys(p);
        for q in queues {
            for key in [keys.active(q), keys.scheduled(q), keys.data(q)] {
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
            for key in [
                keys.active(*q),
                keys.scheduled(*q),
                keys.data(*q),
                keys.meta(*q),
                keys.inflight_of(*q, who),
                keys.troubled(*q),
            ] {
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

    pub(super) async fn do_give_back(
        &self,
        p: Partition,
        who: &Incarnation,
        jobs: &[(JobId, Queue)],
    ) -> Result<()> {
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

/// A traceparent as the scripts may paste it into JSON; nothing if it is anything else.
pub(super) fn plain_trace(text: Option<&str>) -> &str {
    text.filter(|t| t.len() <= 64 && t.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')).unwrap_or("")
}

/// What the scripts put in front of a payload of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// When it was enqueued, in milliseconds of Redis's clock.
    pub(super) enqueued_ms: Option<u64>,
    pub(super) traceparent: Option<String>,
}

/// Takes the header off; a payload that has none (a stock producer's) is left as it is.
pub(super) fn off_header(stored: Vec<u8>) -> (Header, Vec<u8>) {
    fn header(stored: &[u8]) -> Option<(Header, usize)> {
        let rest = stored.strip_prefix(br#"{"at":"#)?;
        let comma = rest.iter().position(|b| *b == b',')?;
        let at = std::str::from_utf8(rest.get(..comma)?).ok()?.parse().ok()?;
        let rest = rest.get(comma..)?.strip_prefix(br#","tp":""#)?;
        let quote = rest.iter().position(|b| *b == b'"')?;
        let trace = std::str::from_utf8(rest.get(..quote)?).ok()?;
        let rest = rest.get(quote..)?.strip_prefix(br#"","#)?;
        let traceparent = Some(trace.to_owned()).filter(|t| !t.is_empty());
        Some((Header { enqueued_ms: Some(at), traceparent }, rest.len()))
    }
    match header(&stored) {
        Some((header, left)) => {
            let mut payload = Vec::with_capacity(left + 1);
            payload.push(b'{');
            payload.extend_from_slice(&stored[stored.len() - left..]);
            (header, payload)
        }
        None => (Header::default(), stored),
    }
}

fn unexpected(v: &Value) -> EngineError {
    EngineError::Refused(format!(
        "a script answered {v:?}; is another version of Trueup's scripts in this Redis?"
    ))
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
    let mut jobs = Vec::with_capacity(parts.len() / 5);
    while let Some(first) = parts.next() {
        let n: usize = text(Some(first))?.parse().unwrap_or(usize::MAX);
        let Some((queue, _)) = wanted.get(n) else { return Err(unexpected(&Value::Nil)) };
        let id = JobId::from_wire(text(parts.next())?);
        let (header, payload) = off_header(bytes(parts.next())?);
        let attempts = text(parts.next())?.parse().unwrap_or(0);
        let rescued = text(parts.next())?.parse().unwrap_or(0);
        jobs.push(LeasedJob {
            id,
            queue: *queue,
            payload,
            attempts,
            rescued,
            traceparent: header.traceparent,
        });
    }
    Ok(Leases { jobs, next_due, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_off_and_anything_else_is_left_alone() {
        let (header, payload) = off_header(br#"{"at":17,"tp":"00-ab-cd-01","v":1,"step":"sweep"}"#.to_vec());
        assert_eq!(header, Header { enqueued_ms: Some(17), traceparent: Some("00-ab-cd-01".into()) });
        assert_eq!(payload, br#"{"v":1,"step":"sweep"}"#);
        let table: [&[u8]; 6] =
            [b"", b"{", br#"{"v":1}"#, br#"{"at":x,"tp":"","v":1}"#, br#"{"at":1,"tp":"#, b"\xff\xfe"];
        for raw in table {
            assert_eq!(off_header(raw.to_vec()), (Header::default(), raw.to_vec()));
        }
    }
}
