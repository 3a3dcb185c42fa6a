//! A batch of intents that are due: begun together, held back together, and what comes after it.

use trueup_model::{
    ActiveRun, Commit, Duration, IntentKey, IntentRecord, Job, JobId, Next, PlaneKind, Queue, StepName, Time,
    Trigger,
    job::{self, Check, Cx, tick_id},
};

use crate::settings::{BATCH, Settings};
use crate::{events, transitions};

/// When a tick comes back that had to hold intents back, or found a full batch and could do nothing about it.
const HELD_TICK: Duration = Duration::seconds(1);
/// How long intents that were held back make room for those behind them.
const HELD_INTENT: Duration = Duration::seconds(10);

/// An intent, and the run that is to take hold of it.
pub(super) struct Ready {
    pub(super) record: IntentRecord,
    pub(super) run: ActiveRun,
}

impl Ready {
    pub(super) fn place(&self) -> (&trueup_model::Target, &IntentKey) {
        (&self.record.intent.target, &self.record.intent.key)
    }
}

/// Begins the runs of one batch.
pub(super) fn begin(
    cx: &Cx,
    deadline: Duration,
    tenant: &str,
    plane: PlaneKind,
    chunk: &[Ready],
    commit: &mut Commit,
) {
    let mut checks = Vec::with_capacity(chunk.len());
    for Ready { record, run } in chunk {
        let mut free = record.clone();
        if let Some(lost) = free.state.run.take() {
            let not_made = free.state.attempts.take_back();
            commit.events.push(events::run_abandoned(cx, &record.intent.key, &lost, not_made));
        }
        let Ok(write) = transitions::begin(&free, run.clone(), cx.now, deadline) else {
            continue; // cannot be: nobody holds it
        };
        commit.writes.push(write);
        checks.push(Check {
            intent: record.intent.key.clone(),
            run: run.id.clone(),
            target: record.intent.target.clone(),
            // Who asks for a look wants one, not what somebody saw some minutes ago.
            newer_than: match run.trigger {
                Trigger::Request | Trigger::Coalesced => Some(cx.now),
                _ => free.state.attempts.last_at.filter(|_| free.state.attempts.open),
            },
        });
    }
    let Some(queue) = Queue::new(StepName::Query, Some(plane)) else { return };
    // Named by its runs, not by this job: a tick has one id for ever.
    let now = cx.now.timestamp_millis().to_string();
    let parts: Vec<&str> =
        ["query", now.as_str()].into_iter().chain(checks.iter().map(|c| c.run.as_str())).collect();
    let id = JobId::derive(&parts);
    let job = Job::Query(job::Query { tenant: tenant.to_owned(), plane, checks, swept: cx.span() });
    commit.next.push(Next { id, queue, job, at: None });
}

/// The plane's queue is full. A request becomes due, so that the tick finds it; if more is due than one tick sees, the
/// intents held back step aside for a moment, so that one plane's trouble delays nobody else.
pub(super) fn hold_back(cx: &Cx, job: &job::Sweep, full: bool, chunk: &[Ready], commit: &mut Commit) {
    let due = match (&job.only, full) {
        (Some(_), _) => cx.now,
        (None, true) => cx.now + HELD_INTENT,
        (None, false) => return,
    };
    commit.writes.extend(chunk.iter().map(|ready| transitions::postpone(&ready.record, Some(due))));
}

/// When the next tick comes, seen from this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// There is more to do that can be done.
    pub(super) at_once: bool,
    /// Something due had to be left as it is.
    pub(super) held: bool,
    pub(super) next_due: Option<Time>,
}

/// The next tick; or the rest of a request that was too long for one sweep.
pub(super) fn follow_up(cx: &Cx, job: &job::Sweep, pace: Pace, settings: &Settings) -> Option<Next> {
    let queue = Queue::new(StepName::Sweep, None)?;
    let Some(only) = &job.only else {
        let tick = settings.tick();
        let latest = cx.now + if pace.held { HELD_TICK.min(tick) } else { tick };
        // Not at the very millisecond of the next one: what becomes due right after it belongs to the same query.
        let earliest = latest.min(cx.now + settings.gather());
        let at = pace.next_due.map_or(latest, |t| t.clamp(earliest, latest));
        let at = (!pace.at_once).then_some(at);
        return Some(Next { id: tick_id(job.partition), queue, job: Job::Sweep(job.clone()), at });
    };
    let rest = only.get(BATCH..).filter(|rest| !rest.is_empty())?.to_vec();
    let job = Job::Sweep(job::Sweep { only: Some(rest), ..job.clone() });
    Some(Next { id: cx.next_id(0), queue, job, at: None })
}
