//! Intents: manifests, their state, when they are due, and what is kept beside them.
//!
//! # Guarantees
//! A trigger on an intent with an active run is remembered (`dirty`) and makes the intent due when that run ends; on
//! one without, it makes the intent due at once (E9).

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Approval, ApprovalId, DateTime, Duration, EventKind, Finding, FindingId, Intent, IntentKey, IntentRecord,
    IntentState, Time, Write,
};

use crate::manifests::{Expect, Manifests, Put};
use crate::store::{Applied, By, Change, Page};

use super::part::{Now, Part};
use super::{MAX_JOBS, MemoryStore, Result, at_most};

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
    pub(super) fn put(&mut self, put: &Put, by: &By) -> Applied {
        let (intent, key) = (&put.intent, &put.intent.key);
        let old = self.intents.get(key).map(|kept| &kept.record);
        let answer =
            |change, generation, version| Applied { intent: key.clone(), change, generation, version };
        let (generation, version) = old.map_or((0, 0), |r| (r.generation, r.version));
        let same = old.is_some_and(|r| r.intent == *intent);
        let fits = match put.expect {
            Expect::Anything => same || put.owners.is_some() || old.is_none_or(|r| r.owners.is_empty()),
            Expect::Absent => old.is_none(),
            Expect::Version(wanted) => old.is_some() && version == wanted,
        };
        if !fits {
            return answer(Change::Conflict, generation, version);
        }
        let owners = put.owners.clone().or_else(|| old.map(|r| r.owners.clone())).unwrap_or_default();
        if same && old.is_some_and(|r| r.owners == owners) {
            return answer(Change::Unchanged, generation, version);
        }
        let now = by.now.timestamp_millis().unsigned_abs();
        // The time keeps the versions of an intent that is deleted and applied anew apart.
        let version = now.max(version + 1);
        let meant = |i: &Intent| (i.target.clone(), i.desired.clone());
        let grows = old.is_none_or(|r| meant(&r.intent) != meant(intent));
        let generation = generation + u64::from(grows);
        let change = if old.is_none() { Change::Created } else { Change::Changed };
        let kept = self.intents.entry(key.clone()).or_insert_with(|| Kept {
            record: IntentRecord {
                intent: intent.clone(),
                generation,
                state: IntentState { born: now, ..IntentState::default() },
                rev: 0,
                version,
                owners: owners.clone(),
            },
            due: None,
            dirty: false,
            findings: BTreeMap::new(),
            approvals: BTreeMap::new(),
        });
        let record = &mut kept.record;
        (record.generation, record.version, record.owners) = (generation, version, owners);
        let word = match (same, change) {
            (true, _) => "owners",
            (false, Change::Created) => "created",
            (false, _) => "changed",
        };
        if !same {
            record.intent = intent.clone();
            // A sweep that has read the old manifest must not begin a run with it.
            record.rev += u64::from(change == Change::Changed && record.state.run.is_none());
            self.triggered(key, intent.status.is_reconciled());
        }
        let about = json!({"deployment_intent_id": key.id, "change": word, "generation": generation});
        self.append_about_intent(EventKind::IntentApplied, key, by, about);
        answer(if same { Change::Unchanged } else { change }, generation, version)
    }

    pub(super) fn forget(&mut self, key: &IntentKey, expect: Expect, by: &By) -> Applied {
        let answer = |change, generation| Applied { intent: key.clone(), change, generation, version: 0 };
        let Some(version) = self.intents.get(key).map(|kept| kept.record.version) else {
            return answer(Change::NotFound, 0);
        };
        if let Expect::Version(wanted) = expect
            && wanted != version
        {
            return answer(Change::Conflict, 0);
        }
        self.set_due(key, None);
        let generation = self.intents.remove(key).map_or(0, |kept| kept.record.generation);
        let about = json!({"deployment_intent_id": key.id, "generation": generation});
        self.append_about_intent(EventKind::IntentRetired, key, by, about);
        answer(Change::Deleted, generation)
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

#[async_trait]
impl Manifests for MemoryStore {
    async fn put(&self, puts: &[Put], by: &By) -> Result<Vec<Applied>> {
        at_most(MAX_JOBS, puts.len(), "intents")?;
        puts.iter().map(|put| self.on_intent(&put.intent.key, |part| part.put(put, by))).collect()
    }
    async fn forget(&self, key: &IntentKey, expect: Expect, by: &By) -> Result<Applied> {
        self.on_intent(key, |part| part.forget(key, expect, by))
    }
}

/// By partition and name; the cursor is the last one seen.
pub(super) fn list(parts: &[Part], cursor: Option<&str>, limit: usize) -> Page<IntentRecord> {
    let limit = limit.max(1);
    let seen = cursor
        .and_then(|c| c.split_once(':'))
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
    let last = page.last().map(|(p, key, _)| format!("{p}:{key}"));
    let items = page.into_iter().map(|(_, _, kept)| kept.record.clone()).collect();
    Page { items, next: last.filter(|_| rest.next().is_some()), missing: Vec::new() }
}
