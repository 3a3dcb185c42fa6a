//! Intents: manifests, their state, when they are due, and what is kept beside them.
//!
//! # Guarantees
//! A trigger on an intent with an active run is remembered (`dirty`) and makes the intent due when that run ends; on
//! one without, it makes the intent due at once (E9).

use std::collections::BTreeMap;
use std::ops::Bound;

use serde_json::json;
use trueup_model::{
    Approval, ApprovalId, DateTime, Duration, EventKind, Finding, FindingId, Intent, IntentKey, IntentRecord,
    IntentState, Time, Write,
};

use crate::store::{Applied, By, Change, Page};

use super::part::{Now, Part};

/// Before every other time: a trigger is not made to wait behind what is overdue.
const AT_ONCE: Time = DateTime::UNIX_EPOCH;

/// An intent with all that hangs on it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: IntentRecord,
    /// `None`: parked.
    due: Option<Time>,
    /// A trigger arrived while a run was active.
    dirty: bool,
    pub(super) findings: BTreeMap<FindingId, Finding>,
    pub(super) approvals: BTreeMap<ApprovalId, Approval>,
}

impl Part {
    pub(super) fn apply(&mut self, intent: &Intent, by: &By) -> Applied {
        let key = &intent.key;
        let (change, generation) = match self.intents.get_mut(key) {
            None => {
                let record = IntentRecord {
                    intent: intent.clone(),
                    generation: 1,
                    state: IntentState {
                        born: by.now.timestamp_millis().unsigned_abs(),
                        ..IntentState::default()
                    },
                    rev: 0,
                };
                let (findings, approvals) = Default::default();
                self.intents
                    .insert(key.clone(), Kept { record, due: None, dirty: false, findings, approvals });
                (Change::Created, 1)
            }
            Some(kept) if kept.record.intent == *intent => (Change::Unchanged, kept.record.generation),
            Some(Kept { record, .. }) => {
                let meant = |i: &Intent| (i.target.clone(), i.desired.clone());
                record.generation += u64::from(meant(&record.intent) != meant(intent));
                record.intent = intent.clone();
                // A sweep that has read the old manifest must not begin a run with it.
                record.rev += u64::from(record.state.run.is_none());
                (Change::Changed, record.generation)
            }
        };
        if change != Change::Unchanged {
            self.triggered(key, intent.status.is_reconciled());
            let change = if change == Change::Created { "created" } else { "changed" };
            let about = json!({"deployment_intent_id": key.id, "change": change, "generation": generation});
            self.append_about_intent(EventKind::IntentApplied, key, by, about);
        }
        Applied { intent: key.clone(), change, generation }
    }

    pub(super) fn delete(&mut self, key: &IntentKey, by: &By) -> Applied {
        self.set_due(key, None);
        let Some(kept) = self.intents.remove(key) else {
            return Applied { intent: key.clone(), change: Change::NotFound, generation: 0 };
        };
        let generation = kept.record.generation;
        let about = json!({"deployment_intent_id": key.id, "generation": generation});
        self.append_about_intent(EventKind::IntentRetired, key, by, about);
        Applied { intent: key.clone(), change: Change::Deleted, generation }
    }

    /// Carries out one validated write.
    pub(super) fn write(&mut self, write: &Write, at: Now) {
        match write {
            Write::State { intent, state, due, ends_run, .. } => {
                let Some(kept) = self.intents.get_mut(intent) else { return };
                kept.record.state = (**state).clone();
                kept.record.rev += 1;
                let missed_trigger = *ends_run && std::mem::take(&mut kept.dirty);
                self.set_due(intent, if missed_trigger { Some(AT_ONCE) } else { *due });
            }
            Write::Dirty { intent } => self.triggered(intent, true),
            Write::Finding(finding) => {
                if let Some(kept) = self.intents.get_mut(&finding.intent) {
                    kept.findings.insert(finding.id.clone(), (**finding).clone());
                }
            }
            Write::Notice(notice) => self.outbox.tell(notice, at),
            Write::Taken(ids) => self.outbox.take(ids, at),
            Write::Approval(approval) => {
                if let Some(kept) = self.intents.get_mut(&approval.intent) {
                    kept.approvals.insert(approval.id.clone(), (**approval).clone());
                }
            }
        }
    }

    fn triggered(&mut self, key: &IntentKey, reconciled: bool) {
        let Some(kept) = self.intents.get_mut(key) else { return };
        if kept.record.state.run.is_some() {
            kept.dirty = true;
        } else {
            self.set_due(key, reconciled.then_some(AT_ONCE));
        }
    }

    /// Keeps the intent and the index in step.
    fn set_due(&mut self, key: &IntentKey, due: Option<Time>) {
        let Some(kept) = self.intents.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut kept.due, due) {
            self.due.remove(&(old, key.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, key.clone()));
        }
    }

    pub(super) fn due(&self, now: Time, limit: usize) -> (Vec<IntentKey>, Option<Time>) {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, key)| key.clone());
        let after = (now + Duration::nanoseconds(1), IntentKey::new("", ""));
        let next = self.due.range(after..).next().map(|(at, _)| *at);
        (due.collect(), next)
    }
}

/// By partition and name; the cursor is the last one seen.
pub(super) fn list(parts: &[Part], cursor: Option<&str>, limit: usize) -> Page<IntentRecord> {
    let limit = limit.max(1);
    let seen = cursor
        .and_then(|c| c.split_once(' '))
        .and_then(|(p, key)| Some((p.parse().ok()?, key.parse().ok()?)));
    let from = seen.as_ref().map(|(p, _): &(u16, IntentKey)| *p);
    let after = |part: &Part| match &seen {
        Some((p, key)) if *p == part.id.0 => (Bound::Excluded(key.clone()), Bound::Unbounded),
        _ => (Bound::Unbounded, Bound::Unbounded),
    };
    let left = parts.iter().filter(|part| from.is_none_or(|p| part.id.0 >= p));
    let mut rest =
        left.flat_map(|part| part.intents.range(after(part)).map(move |(key, kept)| (part.id, key, kept)));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let last = page.last().map(|(p, key, _)| format!("{p} {key}"));
    let items = page.into_iter().map(|(_, _, kept)| kept.record.clone()).collect();
    Page { items, next: last.filter(|_| rest.next().is_some()) }
}
