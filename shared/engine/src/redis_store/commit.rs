//! Turns outcomes into the flat arguments of `commit.lua`.

use std::collections::HashMap;

use serde::Serialize;
use trueup_model::commit::Committed;
use trueup_model::event::LOOP;
use trueup_model::job::tick_id;
use trueup_model::{
    ApprovalState, Commit, CorrelationId, Event, EventId, EventKind, IntentKey, JobId, Outcome, Partition,
    Queue, Time, Write,
};

use super::jobs::{plain_trace, position};
use super::{Call, RedisStore, Result, limit, script, seconds};
use crate::EngineError;
use crate::census::Row;
use crate::keys::Keys;
use crate::store::{Ended, Incarnation, MAX_OUTBOX, TOLD_FOR, well_formed};

script!(COMMIT, "commit");

/// The event that a job went to the dead letters.
pub(crate) fn job_dead(job: &JobId, queue: Queue, because: &str, now: Time) -> Event {
    let at = now.timestamp_millis().to_string();
    Event {
        event_id: EventId::derive(&["dead", job.as_str(), &at]),
        seq: 0,
        schema: 1,
        event_type: EventKind::JobDead,
        tenant: String::new(),
        intent: String::new(),
        correlation_id: CorrelationId::derive(&[job.as_str()]),
        causation_id: Some(job.clone()),
        trace_id: None,
        actor: LOOP.into(),
        created_at: now,
        event_data: serde_json::json!({"job": job, "queue": queue.to_string(), "reason": because}),
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| EngineError::Refused(format!("cannot be written as JSON: {e}")))
}

/// Collects queues and document keys while arguments are written.
struct Encoder {
    keys: Keys,
    queues: Vec<Queue>,
    docs: Vec<String>,
    known: HashMap<String, usize>,
}

impl Encoder {
    /// Number of a document key, from 1.
    fn doc(&mut self, key: String) -> usize {
        *self.known.entry(key).or_insert_with_key(|key| {
            self.docs.push(key.clone());
            self.docs.len()
        })
    }

    fn intent(&mut self, i: &IntentKey) -> usize {
        self.doc(self.keys.intent(i))
    }

    fn done(&mut self, call: &mut Call, job: usize, commit: &Commit, trace: &str) -> Result<()> {
        let count = |f: fn(&Write) -> bool| commit.writes.iter().filter(|w| f(w)).count();
        let states = count(|w| matches!(w, Write::State { .. }));
        let dirties = count(|w| matches!(w, Write::Dirty { .. }));
        let documents = count(|w| matches!(w, Write::Finding(_) | Write::Approval(_)));
        let notices = count(|w| matches!(w, Write::Notice(_)));
        let taken = commit.writes.iter().map(|w| if let Write::Taken(ids) = w { ids.len() } else { 0 });
        let (events, nexts, taken) = (commit.events.len(), commit.next.len(), taken.sum::<usize>());
        call.arg(format!("D {job} {states} {dirties} {documents} {events} {nexts} {notices} {taken}"));
        call.arg(trace);
        for write in &commit.writes {
            if let Write::State { intent, rev, state, due, ends_run } = write {
                call.num(self.intent(intent)).arg(intent.to_string()).num(rev).arg(json(state)?);
                call.arg(due.map(|d| d.timestamp_millis().to_string()).unwrap_or_default());
                call.arg(format!("{}{}", u8::from(*ends_run), u8::from(state.run.is_some())));
            }
        }
        for write in &commit.writes {
            if let Write::Dirty { intent } = write {
                call.num(self.intent(intent)).arg(intent.to_string());
            }
        }
        for write in &commit.writes {
            match write {
                Write::Finding(f) => {
                    call.num(self.doc(self.keys.finding(&f.id))).num(self.intent(&f.intent)).arg(json(f)?);
                    call.num(3).num(f.last_seen_at.timestamp_millis()).arg(f.id.as_str());
                    call.num(self.doc(self.keys.census()));
                    call.arg(Row::of_finding(f).map(|row| row.text()).unwrap_or_default());
                }
                Write::Approval(a) => {
                    call.num(self.doc(self.keys.approval(&a.id))).num(self.intent(&a.intent)).arg(json(a)?);
                    call.num(4).num(a.opened_at.timestamp_millis()).arg(a.id.as_str());
                    call.num(self.doc(self.keys.approvals_of(&a.intent)))
                        .num(u8::from(a.state == ApprovalState::Open));
                }
                Write::State { .. } | Write::Dirty { .. } | Write::Notice(_) | Write::Taken(_) => {}
            }
        }
        for event in &commit.events {
            call.arg(json(event)?);
        }
        for next in &commit.next {
            call.num(position(&mut self.queues, next.queue)).arg(next.id.as_str()).arg(next.job.encode());
            call.arg(next.at.map(seconds).unwrap_or_default());
        }
        for write in &commit.writes {
            if let Write::Notice(n) = write {
                call.num(self.doc(self.keys.outbox())).num(self.doc(self.keys.census()));
                call.arg(n.id.as_str()).num(n.at.timestamp_millis()).arg(json(n)?);
            }
        }
        if taken > 0 {
            call.num(self.doc(self.keys.taken()));
            for write in &commit.writes {
                if let Write::Taken(ids) = write {
                    ids.iter().for_each(|id| {
                        call.arg(id.as_str());
                    });
                }
            }
        }
        Ok(())
    }
}

/// A reason may quote what it is about, which may be megabytes.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(1024)]
}

impl RedisStore {
    pub(super) async fn do_commit(
        &self,
        p: Partition,
        who: &Incarnation,
        ended: &[Ended],
    ) -> Result<Vec<Committed>> {
        limit("executions", ended.len(), 64)?;
        let keys = Keys(p);
        let mut encoder = Encoder { keys, queues: Vec::new(), docs: Vec::new(), known: HashMap::new() };
        let mut body = Call::new(&COMMIT);
        let mut sent = Vec::new();
        for (n, end) in ended.iter().enumerate() {
            if matches!(&end.outcome, Outcome::Done(commit) if !well_formed(commit, p)) {
                continue;
            }
            sent.push(n);
            let queue = position(&mut encoder.queues, end.queue);
            body.arg(end.job.as_str());
            match &end.outcome {
                Outcome::Done(commit) => {
                    encoder.done(&mut body, queue, commit, plain_trace(end.traceparent.as_deref()))?
                }
                other => self.other(&mut body, queue, end, other)?,
            }
        }
        let mut results = vec![Committed::Malformed; ended.len()];
        if sent.is_empty() {
            return Ok(results);
        }
        let mut call = Call::new(&COMMIT);
        for key in [keys.events(), keys.due(), keys.findings(), keys.approvals(), keys.ticks(), keys.nudge()]
        {
            call.key(key);
        }
        for q in &encoder.queues {
            for key in [
                keys.active(*q),
                keys.scheduled(*q),
                keys.data(*q),
                keys.meta(*q),
                keys.dead(*q),
                keys.inflight_of(*q, who),
                keys.troubled(*q),
            ] {
                call.key(key);
            }
        }
        encoder.docs.into_iter().for_each(|key| {
            call.key(key);
        });
        call.num(encoder.queues.len()).num(p).arg(tick_id(p).as_str());
        call.num(MAX_OUTBOX).num(TOLD_FOR.as_millis());
        call.append(body);
        let codes: Vec<i64> = call.run(&self.connection.0).await?;
        for (n, code) in sent.into_iter().zip(codes) {
            results[n] = match code {
                1 => Committed::Yes,
                0 => Committed::LeaseLost,
                2 => Committed::Conflict,
                _ => Committed::Malformed,
            };
        }
        Ok(results)
    }

    fn other(&self, call: &mut Call, queue: usize, end: &Ended, outcome: &Outcome) -> Result<()> {
        let mut head = |verb: &str| {
            call.arg(format!("{verb} {queue} 0 0 0 0 0 0 0")).arg("");
        };
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Defer { at, because } => {
                head("W");
                call.arg(seconds(*at)).arg(cut(because.as_deref().unwrap_or_default()));
            }
            Outcome::Retry { at, because } => {
                head("R");
                call.arg(seconds(*at)).arg(cut(because));
            }
            Outcome::Dead { because } => {
                head("X");
                let because = cut(because);
                let now = self.clock.now();
                call.arg(because)
                    .num(now.timestamp_millis())
                    .arg(json(&job_dead(&end.job, end.queue, because, now))?);
            }
        }
        Ok(())
    }
}
