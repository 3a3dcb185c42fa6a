//! Sweep: begins the runs of intents that are due.
//!
//! # Purpose
//! The schedule is the guarantee: whatever else fails to happen, an intent that is due is found here.
//! # Reads
//! The intents due in this partition (or just those asked for), how full the `query` queues are, and whether people are
//! to be told something.
//! # Decides
//! For each intent: begin a run; begin anew a run that was lost; remember a request while a run is active; wait because
//! the plane's queue is full (E11); forget it because it is not reconciled, and close what is known of it.
//! # Guarantees
//! A tick always sets the next tick, under its one id; it comes at once only if more is due than one sweep takes and this
//! one got something out of the way, so that a plane whose queue is full costs one batch of writes a second. One active run per intent. Jobs, their order and their ids
//! depend only on the facts: worklists are sorted by tenant, plane, target, id.

mod batch;
mod leave;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use trueup_model::{
    ActiveRun, Commit, Fault, IntentKey, IntentRecord, Job, Next, Outcome, Partition, PlaneKind, Queue,
    StepName, Time, Trigger, Write,
    job::{self, Cx, collect_id, correlation_of, trigger_of},
};

use crate::settings::{BATCH, checks};
use crate::{Ports, Rules, Step, transitions};
use batch::{Pace, Ready};
pub use leave::Left;

/// The partition whose tick has the outboxes collected.
const COLLECTS: Partition = Partition(0);

#[derive(Debug)]
pub struct Sweep<'a>(pub &'a Rules);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub records: Vec<IntentRecord>,
    /// Of those that are not reconciled any more and have drift.
    pub left: BTreeMap<IntentKey, Left>,
    /// More is due than fits one sweep.
    pub full: bool,
    /// When the first intent that is not due yet will be.
    pub next_due: Option<Time>,
    /// Of the query queue of each plane among the records.
    pub backlog: BTreeMap<PlaneKind, u64>,
    /// Something waits in the outboxes. Asked by the tick of one partition, for all.
    pub untold: bool,
}

#[async_trait]
impl Step for Sweep<'_> {
    const NAME: StepName = StepName::Sweep;
    type Payload = job::Sweep;
    type Facts = Facts;

    async fn gather(&self, cx: &Cx, job: &job::Sweep, ports: &dyn Ports) -> Result<Facts, Fault> {
        let (keys, next_due) = match &job.only {
            None => ports.due(job.partition, cx.now, BATCH).await?,
            Some(keys) => (keys.iter().take(BATCH).cloned().collect(), None),
        };
        let full = keys.len() >= BATCH;
        let keys: Vec<_> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let records: Vec<_> = ports.intents(&keys).await?.into_iter().flatten().collect();
        let left = leave::known(&records, ports).await?;
        let mut backlog = BTreeMap::new();
        for plane in records.iter().map(|r| r.intent.plane()).collect::<BTreeSet<_>>() {
            if let Some(queue) = Queue::new(StepName::Query, Some(plane)) {
                backlog.insert(plane, ports.backlog(job.partition, queue).await?);
            }
        }
        let collects = job.only.is_none() && job.partition == COLLECTS;
        let untold = collects && !ports.notices(1).await?.is_empty();
        Ok(Facts { records, left, full, next_due, backlog, untold })
    }

    fn decide(&self, cx: &Cx, job: &job::Sweep, facts: Facts) -> Outcome {
        let mut commit = Commit::default();
        let mut work: BTreeMap<(String, PlaneKind), Vec<Ready>> = BTreeMap::new();
        for record in facts.records {
            match self.sort(cx, job, &record) {
                Found::Ready(run) => {
                    let key = &record.intent.key;
                    let place = (key.tenant.clone(), record.intent.plane());
                    work.entry(place).or_default().push(Ready { record, run });
                }
                Found::Only(write) => commit.writes.push(write),
                Found::Left => leave::leave(cx, &record, facts.left.get(&record.intent.key), &mut commit),
            }
        }
        let mut room: BTreeMap<PlaneKind, u64> = facts.backlog;
        for left in room.values_mut() {
            *left = u64::from(self.0.settings.high_water).saturating_sub(*left);
        }
        // Nothing but what is held back, or has no record: looking again at once would find just that.
        let mut moved = !commit.writes.is_empty();
        let mut held = false;
        for ((tenant, plane), mut ready) in work {
            ready.sort_by(|a, b| a.place().cmp(&b.place()));
            for chunk in ready.chunks(checks(plane)) {
                match room.get_mut(&plane) {
                    Some(left) if *left > 0 => *left -= 1,
                    _ => {
                        held = true;
                        batch::hold_back(cx, job, facts.full, chunk, &mut commit);
                        continue;
                    }
                }
                moved = true;
                let deadline = self.0.settings.run_deadline();
                batch::begin(cx, deadline, &tenant, plane, chunk, &mut commit);
            }
        }
        let pace = Pace {
            at_once: facts.full && moved,
            held: held || (facts.full && !moved),
            next_due: facts.next_due,
        };
        commit.next.extend(batch::follow_up(cx, job, pace, &self.0.settings));
        if facts.untold {
            let collect = job::Notify { deliver: None, kept: None };
            commit.next.extend(Queue::new(StepName::Notify, None).map(|queue| Next {
                id: collect_id(),
                queue,
                job: Job::Notify(collect),
                // What drifts together is found within seconds, and told together.
                at: Some(cx.now + self.0.settings.tick()),
            }));
        }
        Outcome::Done(commit)
    }
}

/// What is to be done about one intent.
enum Found {
    Ready(ActiveRun),
    Only(Write),
    /// Not reconciled any more.
    Left,
}

impl Sweep<'_> {
    fn sort(&self, cx: &Cx, job: &job::Sweep, record: &IntentRecord) -> Found {
        let intent = &record.intent;
        let state = &record.state;
        let deadline = self.0.settings.run_deadline();
        let lost = match &state.run {
            Some(run) if cx.now < run.started_at + deadline => {
                // A request is remembered until the run ends. A tick that meets a young run found a wrong due time.
                return Found::Only(if job.only.is_some() {
                    Write::Dirty { intent: intent.key.clone() }
                } else {
                    transitions::postpone(record, Some(run.started_at + deadline))
                });
            }
            lost => lost.is_some(),
        };
        if !intent.status.is_reconciled() {
            return Found::Left;
        }
        let id = state.next_run(intent);
        let correlation_id = job.correlation_id.clone().unwrap_or_else(|| correlation_of(&id));
        // Looked at before, and due although nothing said so when that look ended: somebody asked since, or meant else.
        let asked = state.checked_at.is_some() && state.due().is_some_and(|t| t > cx.now);
        let trigger = if lost {
            Trigger::Recovery
        } else if asked && job.only.is_none() {
            Trigger::Coalesced
        } else {
            trigger_of(job, state.look_at.is_some_and(|t| t <= cx.now))
        };
        Found::Ready(ActiveRun { id, trigger, correlation_id, started_at: cx.now })
    }
}
