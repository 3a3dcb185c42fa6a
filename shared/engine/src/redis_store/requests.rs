//! Reconciliations and idempotency keys in Redis.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use trueup_model::{Condition, IntentKey, Partition, Queue, ReconciliationId, StepName, Trigger};

use super::jobs::plain_trace;
use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::keys::Keys;
use crate::requests::{
    Accepted, Answer, Asked, CLAIMED_FOR, Claim, Claimed, KEPT_FOR, MAX_ANSWER, MAX_ANSWERS,
    MAX_ANSWERS_BYTES, MAX_ASKED, MAX_READY, MAX_RECONCILIATIONS, Part, Reconciliation, Requests, Standing,
    check_part, share,
};
use crate::store::Page;

script!(REQUEST, "request");
script!(CLAIM, "request_claim");
script!(ANSWER, "request_answer");

/// As much of a state as progress needs: there are many to read.
#[derive(Deserialize)]
struct Lean {
    #[serde(default)]
    run: Option<LeanRun>,
    #[serde(default)]
    runs: u64,
    #[serde(default)]
    condition: Condition,
}

#[derive(Deserialize)]
struct LeanRun {
    trigger: Trigger,
}

fn unwritten(e: serde_json::Error) -> EngineError {
    EngineError::Refused(format!("cannot be written as JSON: {e}"))
}

fn unread(what: &str, e: &serde_json::Error) -> EngineError {
    EngineError::Refused(format!("a stored {what} cannot be read ({e}); a newer version may have written it"))
}

fn sizes(of: &str) -> String {
    format!("{of}:sizes")
}

/// State, and what the census counts the intent as: nothing if it is not reconciled.
type Row = (Option<Vec<u8>>, Option<Vec<u8>>);

fn standing((state, counted): Row) -> Option<Standing> {
    let lean: Lean = serde_json::from_slice(&state?).ok()?;
    Some(Standing {
        runs: lean.runs,
        active: lean.run.map(|r| r.trigger),
        condition: lean.condition,
        // Stored by a version that did not count: the sweep will tell.
        reconciled: counted.is_none_or(|row| !row.is_empty()),
    })
}

#[async_trait]
impl Requests for RedisStore {
    async fn names_of(
        &self,
        p: Partition,
        tenant: &str,
        after: Option<&IntentKey>,
        n: usize,
    ) -> Result<Vec<IntentKey>> {
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(Keys(p).names()).arg(after.map_or_else(|| format!("[{tenant}/"), |a| format!("({a}")));
        // The character behind the slash.
        cmd.arg(format!("({tenant}0")).arg("LIMIT").arg(0).arg(n);
        let names: Vec<String> = self.query(&cmd).await?;
        Ok(names.into_iter().filter_map(|n| n.try_into().ok()).collect())
    }

    async fn standings(&self, keys: &[IntentKey]) -> Result<Vec<Option<Standing>>> {
        limit("intents", keys.len(), 1024)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for key in keys {
            let place = Keys(key.partition(self.partitions)).intent(key);
            pipe.cmd("HMGET").arg(place).arg(&["s", "c"]);
        }
        let rows: Vec<Row> = self.pipe(&pipe).await?;
        Ok(rows.into_iter().map(standing).collect())
    }

    async fn accept(&self, part: &Part) -> Result<Accepted> {
        check_part(part)?;
        let (keys, mut call) = (Keys(part.home), Call::new(&REQUEST));
        let Some(sweeps) = Queue::new(StepName::Sweep, None) else {
            return Err(EngineError::Refused("a sweep has no queue".into()));
        };
        call.key(keys.request());
        let index = keys.requests();
        for key in [index.clone(), sizes(&index), keys.events(), keys.active(sweeps), keys.data(sweeps)] {
            call.key(key);
        }
        let (head, event) = match &part.head {
            None => (Vec::new(), Vec::new()),
            Some((head, event)) => {
                (serde_json::to_vec(head).map_err(unwritten)?, serde_json::to_vec(event).map_err(unwritten)?)
            }
        };
        call.arg(part.id.as_str()).num(KEPT_FOR.as_secs());
        call.num(share(MAX_RECONCILIATIONS, self.partitions)).num(share(MAX_ASKED, self.partitions));
        call.num(MAX_READY).num(part.chunks.iter().map(Vec::len).sum::<usize>());
        call.arg(head).arg(event).num(part.home);
        match &part.sweep {
            None => call.arg("").arg("").arg(""),
            Some(job) => call
                .arg(job.id.as_str())
                .arg(job.payload.clone())
                .arg(plain_trace(job.traceparent.as_deref())),
        };
        for (n, chunk) in (part.first..).zip(&part.chunks) {
            call.num(n).arg(serde_json::to_vec(chunk).map_err(unwritten)?);
        }
        Ok(match call.run::<i8>(&self.connection.0).await? {
            1 => Accepted::Yes,
            0 => Accepted::Before,
            _ => Accepted::Full,
        })
    }

    async fn reconciliation(&self, id: &ReconciliationId) -> Result<Option<Reconciliation>> {
        limit("characters in an id", id.as_str().len(), 64)?;
        self.document_anywhere(|k| k.request_of(id)).await
    }

    async fn reconciliations(&self, cursor: Option<&str>, n: usize) -> Result<Page<Reconciliation>> {
        let id = |text: &str| ReconciliationId::from_wire(text);
        self.newest(cursor, n, |k| k.requests(), |k, text| k.request_of(&id(text))).await
    }

    async fn asked(&self, of: &Reconciliation, from: u32, n: u32) -> Result<Vec<Vec<Asked>>> {
        let upto = of.chunks.min(from.saturating_add(n.min(16)));
        if from >= upto {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(format!("{}:parts", Keys(of.home).request_of(&of.id)));
        (from..upto).for_each(|n| {
            cmd.arg(n);
        });
        let found: Vec<Option<Vec<u8>>> = self.query(&cmd).await?;
        let read = |json: Vec<u8>| serde_json::from_slice(&json).map_err(|e| unread("reconciliation", &e));
        found.into_iter().map(|json| json.map_or(Ok(Vec::new()), read)).collect()
    }

    async fn event_ends(&self) -> Result<BTreeMap<u16, u64>> {
        let mut pipe = redis::pipe();
        for (_, keys) in self.every_partition() {
            pipe.cmd("XREVRANGE").arg(keys.events()).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let newest: Vec<Vec<(String, redis::Value)>> = self.pipe(&pipe).await?;
        let seq = |row: &[(String, redis::Value)]| row.first()?.0.split_once('-')?.1.parse().ok();
        Ok((0..).zip(newest).filter_map(|(p, row)| Some((p, seq(&row)?))).collect())
    }

    async fn claim(&self, claim: Claimed<'_>) -> Result<Claim> {
        claim.check()?;
        let (keys, mut call) = (Keys(claim.home(self.partitions)), Call::new(&CLAIM));
        call.key(format!("{}:{}", keys.once(), claim.scope));
        call.key(keys.onces());
        call.arg(claim.fingerprint).arg(claim.token).num(CLAIMED_FOR.as_millis()).arg(claim.scope);
        let answer: Vec<Vec<u8>> = call.run(&self.connection.0).await?;
        let mut parts = answer.into_iter();
        Ok(match parts.next().as_deref() {
            Some(b"yours") => Claim::Yours,
            Some(b"running") => Claim::Running,
            Some(b"other") => Claim::Other,
            _ => {
                let mut next = || parts.next().unwrap_or_default();
                let status = String::from_utf8_lossy(&next()).parse().unwrap_or(500);
                let headers = serde_json::from_slice(&next()).map_err(|e| unread("answer", &e))?;
                Claim::Answered(Answer { status, headers, body: next() })
            }
        })
    }

    async fn answer(&self, claim: Claimed<'_>, answer: &Answer) -> Result<bool> {
        if answer.size() > MAX_ANSWER {
            return Ok(false);
        }
        let mut call = self.ending(claim)?;
        let headers = serde_json::to_vec(&answer.headers).map_err(unwritten)?;
        call.num(answer.status).arg(headers).arg(answer.body.clone()).num(answer.size());
        Ok(call.run::<u8>(&self.connection.0).await? == 1)
    }

    async fn release(&self, claim: Claimed<'_>) -> Result<()> {
        let mut call = self.ending(claim)?;
        call.arg("").arg("").arg("").num(0);
        call.run::<u8>(&self.connection.0).await.map(|_| ())
    }
}

impl RedisStore {
    fn ending(&self, claim: Claimed<'_>) -> Result<Call> {
        claim.check()?;
        let (keys, mut call) = (Keys(claim.home(self.partitions)), Call::new(&ANSWER));
        let index = keys.onces();
        call.key(format!("{}:{}", keys.once(), claim.scope));
        for key in [index.clone(), sizes(&index), keys.once()] {
            call.key(key);
        }
        call.arg(claim.token).arg(claim.scope).num(KEPT_FOR.as_millis());
        call.num(share(MAX_ANSWERS, self.partitions)).num(share(MAX_ANSWERS_BYTES, self.partitions));
        Ok(call)
    }
}

/// Whoever changes the state's shape meets this: what [`Lean`] reads is written by `IntentState`.
#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::IntentState;

    #[test]
    fn the_lean_form_reads_what_the_state_writes() {
        let run = trueup_model::ActiveRun {
            id: trueup_model::RunId::derive(&["r"]),
            trigger: Trigger::Recovery,
            correlation_id: trueup_model::CorrelationId::derive(&["c"]),
            started_at: trueup_model::Time::UNIX_EPOCH,
        };
        let full = IntentState { runs: 7, condition: Condition::Stale, run: Some(run), ..Default::default() };
        for state in [full, IntentState::default()] {
            let json = serde_json::to_vec(&state).unwrap();
            let read = standing((Some(json), Some(b"row".to_vec())));
            assert_eq!(read, Some(Standing::of(&state, true)));
        }
        assert_eq!(standing((None, None)), None);
        assert_eq!(standing((Some(b"no json".to_vec()), None)), None);
        assert!(!standing((Some(b"{}".to_vec()), Some(Vec::new()))).unwrap().reconciled);
    }
}
