//! A store that keeps the engine's rules, and stops the test when a decision breaks one.

use std::collections::BTreeMap;

use trueup_model::{
    Approval, ApprovalId, Commit, Event, Finding, FindingId, Intent, IntentKey, IntentRecord, IntentState,
    Job, JobId, Notice, Outcome, Queue, Time, Write, commit::Committed,
};

pub struct Entry {
    pub record: IntentRecord,
    pub due: Option<Time>,
    pub dirty: bool,
}

#[derive(Default)]
pub struct FakeStore {
    /// Due for ever, without a record.
    pub unreadable: Vec<IntentKey>,
    pub entries: BTreeMap<IntentKey, Entry>,
    findings: BTreeMap<FindingId, Finding>,
    approvals: BTreeMap<ApprovalId, Approval>,
    pub events: Vec<Event>,
    pub jobs: BTreeMap<JobId, (Queue, Job, Option<Time>)>,
    /// How often a job of this id was enqueued: who executes the one before has lost its lease.
    pub enqueued: BTreeMap<JobId, u32>,
    /// Tries that failed, of jobs that wait for another one.
    pub tries: BTreeMap<JobId, u32>,
    /// Notices no delivery has taken, in order, and all that were ever written.
    pub outbox: Vec<Notice>,
    pub written: Vec<Notice>,
    /// Reasons of dead letters.
    pub dead: Vec<String>,
    /// Runs begun, with their times.
    pub begun: Vec<(IntentKey, Time)>,
}

impl FakeStore {
    pub fn enqueue(&mut self, id: JobId, queue: Queue, job: Job, at: Option<Time>) {
        let bytes = job.encode();
        assert_eq!(Job::decode(&bytes).unwrap(), job, "every job survives its wire form");
        if !self.jobs.contains_key(&id) {
            *self.enqueued.entry(id.clone()).or_default() += 1;
            self.jobs.insert(id, (queue, job, at));
        }
    }

    pub fn apply(&mut self, intent: Intent, now: Time) {
        let key = intent.key.clone();
        let Some(entry) = self.entries.get_mut(&key) else {
            let record = IntentRecord {
                intent,
                generation: 1,
                state: IntentState::default(),
                rev: 0,
                version: 0,
                owners: Default::default(),
            };
            self.entries.insert(key, Entry { record, due: Some(now), dirty: false });
            return;
        };
        let old = &entry.record.intent;
        if (&old.desired, &old.target) != (&intent.desired, &intent.target) {
            entry.record.generation += 1;
        }
        entry.record.intent = intent;
        if entry.record.state.run.is_some() {
            entry.dirty = true;
        } else {
            entry.due = Some(now);
        }
    }

    pub fn due(&self, now: Time, limit: usize) -> (Vec<IntentKey>, Option<Time>) {
        let mut all: Vec<_> = self.entries.iter().filter_map(|(k, e)| Some((e.due?, k.clone()))).collect();
        all.sort();
        let due = all.iter().filter(|(at, _)| *at <= now).map(|(_, k)| k);
        let due = self.unreadable.iter().chain(due).take(limit).cloned().collect();
        (due, all.iter().map(|(at, _)| *at).find(|at| *at > now))
    }

    /// The ready jobs, in the order in which a single worker would take them.
    pub fn all_ready(&self, now: Time) -> Vec<(JobId, Queue, Job)> {
        let order = Queue::all();
        let ready = self.jobs.iter().filter(|(_, (_, _, at))| at.is_none_or(|at| at <= now));
        let mut ready: Vec<_> = ready.map(|(id, (q, job, _))| (id.clone(), *q, job.clone())).collect();
        ready.sort_by_key(|(id, queue, _)| (order.iter().position(|q| q == queue), id.clone()));
        ready
    }

    pub fn ready(&self, now: Time) -> Option<(JobId, Queue, Job)> {
        self.all_ready(now).into_iter().next()
    }

    pub fn next_at(&self) -> Option<Time> {
        self.jobs.values().filter_map(|(_, _, at)| *at).min()
    }

    pub fn backlog(&self, queue: Queue) -> u64 {
        self.jobs.values().filter(|(q, ..)| *q == queue).count() as u64
    }

    pub fn findings_of(&self, key: &IntentKey) -> Vec<Finding> {
        self.findings.values().filter(|f| f.intent == *key).cloned().collect()
    }

    pub fn approvals_of(&self, key: &IntentKey) -> Vec<Approval> {
        self.approvals.values().filter(|a| a.intent == *key).cloned().collect()
    }

    pub fn end(&mut self, id: &JobId, queue: Queue, job: &Job, outcome: Outcome, now: Time) -> Committed {
        let retry = matches!(outcome, Outcome::Retry { .. });
        match outcome {
            Outcome::Done(commit) => return self.commit(id, commit, now),
            Outcome::Defer { at, .. } | Outcome::Retry { at, .. } => {
                assert!(at > now, "a job that waits must wait");
                *self.tries.entry(id.clone()).or_default() += u32::from(retry);
                self.jobs.insert(id.clone(), (queue, job.clone(), Some(at)));
            }
            Outcome::Dead { because } => {
                self.jobs.remove(id);
                self.dead.push(because);
            }
        }
        Committed::Yes
    }

    /// All or nothing.
    pub fn commit(&mut self, id: &JobId, commit: Commit, now: Time) -> Committed {
        for write in &commit.writes {
            if let Write::State { intent, rev, .. } = write
                && self.entries.get(intent).is_none_or(|e| e.record.rev != *rev)
            {
                return Committed::Conflict;
            }
        }
        if self.jobs.remove(id).is_none() {
            return Committed::LeaseLost;
        }
        self.tries.remove(id);
        for write in commit.writes {
            self.write(write, now);
        }
        self.events.extend(commit.events);
        for next in commit.next {
            self.enqueue(next.id, next.queue, next.job, next.at);
        }
        Committed::Yes
    }

    fn write(&mut self, write: Write, now: Time) {
        match write {
            Write::State { intent, state, due, ends_run, .. } => {
                let entry = self.entries.get_mut(&intent).unwrap();
                let before = entry.record.state.run.as_ref();
                if let Some(run) = &state.run {
                    assert!(!ends_run && due.is_some(), "a run that goes on has a deadline");
                    if before.is_none_or(|b| b.id != run.id) {
                        if let Some(lost) = before {
                            assert!(now - lost.started_at >= trueup_model::Duration::hours(1), "two runs");
                        }
                        self.begun.push((intent, now));
                    }
                } else {
                    assert_eq!(before.is_some(), ends_run);
                    let wanted = entry.record.intent.status.is_reconciled() || !state.drifts.is_empty();
                    assert_eq!(
                        due.is_some(),
                        wanted,
                        "a free intent is due, or there is nothing to know of it"
                    );
                }
                entry.record.state = *state;
                entry.record.rev += 1;
                entry.due = due;
                if ends_run && std::mem::take(&mut entry.dirty) {
                    entry.due = Some(now);
                }
            }
            Write::Dirty { intent } => {
                let entry = self.entries.get_mut(&intent).unwrap();
                if entry.record.state.run.is_some() {
                    entry.dirty = true;
                } else {
                    entry.due = Some(now);
                }
            }
            Write::Finding(f) => {
                self.findings.insert(f.id.clone(), *f);
            }
            Write::Approval(a) => {
                self.approvals.insert(a.id.clone(), *a);
            }
            Write::Notice(n) => {
                if self.written.iter().all(|known| known.id != n.id) {
                    self.written.push((*n).clone());
                    self.outbox.push(*n);
                }
            }
            Write::Taken(ids) => self.outbox.retain(|n| !ids.contains(&n.id)),
        }
    }
}
