//! The audit: every event of the fleet against every piece of its state.
//!
//! # Guarantees
//! Passes only if no run was lost and no commit was doubled: each run ended, each fact is in the events exactly once,
//! findings, attempts and approvals are what the events say, no job is anywhere but the ticks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use trueup_engine::keys::Keys;
use trueup_engine::{EventFilter, Store};
use trueup_model::{Event, EventKind, Finding, Intent, IntentKey, IntentRecord, Partition, Queue, StepName};

use super::Fleet;
use super::plane::CALLS;

/// What the plane was asked, from its own notes.
#[derive(Debug, Default)]
pub struct Calls {
    /// First run of each `query` job → how often it was asked.
    pub queries: HashMap<String, usize>,
    /// Effect key → how often it was asked for.
    pub effects: HashMap<String, usize>,
}

impl Calls {
    /// Calls that were made more than once, counting each repetition.
    pub fn repeated(counts: &HashMap<String, usize>) -> usize {
        counts.values().map(|n| n - 1).sum()
    }
}

/// What the audit read, for further questions.
pub struct Audited {
    pub records: HashMap<IntentKey, IntentRecord>,
    pub events: Vec<(Partition, Event)>,
    pub calls: Calls,
}

impl Audited {
    /// The events of one kind about one intent.
    pub fn of(&self, intent: &IntentKey, kind: EventKind) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .map(|(_, e)| e)
            .filter(move |e| e.event_type == kind && e.intent == intent.id && e.tenant == intent.tenant)
    }
}

impl Fleet {
    pub fn calls(&self) -> Calls {
        let text = std::fs::read_to_string(self.dir.path().join(CALLS)).unwrap_or_default();
        let mut calls = Calls::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let counts = match words.next() {
                Some("Q") => &mut calls.queries,
                Some("A") => &mut calls.effects,
                _ => panic!("not a call: {line}"),
            };
            *counts.entry(words.next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        calls
    }

    /// Audits a fleet that has come to rest.
    ///
    /// # Panics
    /// At the first contradiction; says which.
    pub async fn audit(&self, intents: &[Intent]) -> Audited {
        let audited = self.audit_events(intents).await;
        let applied = audited.events.iter().filter(|(_, e)| e.event_type == EventKind::RemediationApplied);
        let keys: Vec<&str> = applied.filter_map(|(_, e)| e.event_data["effect_key"].as_str()).collect();
        let asked: BTreeSet<&str> = audited.calls.effects.keys().map(String::as_str).collect();
        assert_eq!(
            keys.iter().copied().collect::<BTreeSet<_>>(),
            asked,
            "effects in the events, effects of the plane"
        );
        assert_eq!(keys.len(), asked.len(), "each effect is in the events once");
        audited
    }

    /// As [`Fleet::audit`], but effects may have been forgotten: what Redis lost, the plane still has.
    pub async fn audit_events(&self, intents: &[Intent]) -> Audited {
        self.hold_still().await;
        let mut records = HashMap::new();
        for chunk in intents.chunks(256) {
            let keys: Vec<IntentKey> = chunk.iter().map(|i| i.key.clone()).collect();
            let found = self.store.intents(&keys).await.expect("intents");
            for (key, record) in keys.into_iter().zip(found) {
                records.insert(key.clone(), record.unwrap_or_else(|| panic!("{key} is gone")));
            }
        }
        let mut events =
            self.store.events(&EventFilter::default(), &BTreeMap::new(), usize::MAX).await.expect("events");
        for p in self.partitions() {
            let seqs: Vec<u64> = events.iter().filter(|(q, _)| *q == p).map(|(_, e)| e.seq).collect();
            assert!(
                seqs.iter().copied().eq(1..=seqs.len() as u64),
                "events of partition {p} are not 1, 2, 3, …"
            );
        }
        let ids: HashSet<_> = events.iter().map(|(_, e)| e.event_id.clone()).collect();
        assert_eq!(ids.len(), events.len(), "an event was appended twice");
        self.audit_jobs().await;

        let mut by_intent: HashMap<IntentKey, Vec<Event>> = HashMap::new();
        for (_, e) in events.iter_mut() {
            if !e.intent.is_empty() {
                by_intent.entry(IntentKey::new(&e.tenant, &e.intent)).or_default().push(e.clone());
            }
        }
        let mut findings: HashMap<IntentKey, Vec<Finding>> = HashMap::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.store.list_findings(cursor.as_deref(), 2_000).await.expect("findings");
            page.items.into_iter().for_each(|f| findings.entry(f.intent.clone()).or_default().push(f));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        for intent in intents {
            let none = Vec::new();
            let (key, none_f) = (&intent.key, Vec::new());
            judge(&records[key], by_intent.get(key).unwrap_or(&none), findings.get(key).unwrap_or(&none_f));
        }
        let open: usize = self.open_approvals().await;
        let count = |k| events.iter().filter(|(_, e)| e.event_type == k).count();
        assert_eq!(
            open,
            count(EventKind::ApprovalOpened) - count(EventKind::ApprovalWithdrawn),
            "open approvals"
        );
        let calls = self.calls();
        self.go_on().await;
        Audited { records, events, calls }
    }

    async fn open_approvals(&self) -> usize {
        let (mut open, mut cursor) = (0, None);
        loop {
            let page = self.store.list_approvals(cursor.as_deref(), 2_000).await.expect("approvals");
            open += page.items.iter().filter(|a| a.closed_at.is_none()).count();
            cursor = page.next;
            if cursor.is_none() {
                return open;
            }
        }
    }

    /// A job that is finished has left nothing behind; what is left are the ticks (E4, E10).
    async fn audit_jobs(&self) {
        for p in self.partitions() {
            for q in Queue::all() {
                let k = Keys(p);
                let mut pipe = redis::pipe();
                pipe.hkeys(k.data(q)).zcard(k.dead(q));
                let (jobs, dead): (Vec<String>, u64) =
                    pipe.query_async(&mut self.connection.clone()).await.expect("queues are read");
                let ticks = usize::from(q.step() == StepName::Sweep);
                assert_eq!(
                    (jobs.len(), dead),
                    (ticks, 0),
                    "payloads and dead letters in {q} of partition {p}: {jobs:?}"
                );
            }
        }
    }
}

/// One intent: its state and its findings against its events.
fn judge(record: &IntentRecord, events: &[Event], findings: &[Finding]) {
    let (key, state) = (&record.intent.key, &record.state);
    let count = |k: EventKind| events.iter().filter(|e| e.event_type == k).count();
    assert!(state.run.is_none(), "{key}: run {:?} never ended", state.run);
    assert!(state.runs >= 1 && state.checked_at.is_some(), "{key} was never checked");
    assert_eq!(count(EventKind::IntentApplied), 1, "{key}: applied");
    assert_eq!(count(EventKind::RunAbandoned), 0, "{key}: runs given up");
    let drifted = super::plane::drifts(&record.intent);
    assert_eq!(count(EventKind::DriftDetected), usize::from(drifted), "{key}: drift detected");
    assert_eq!(findings.len(), usize::from(drifted), "{key}: findings");
    let facts: usize = findings.iter().map(|f| f.facts.len()).sum();
    let told =
        count(EventKind::DriftDetected) + count(EventKind::DriftChanged) + count(EventKind::DriftResolved);
    assert_eq!(facts, told, "{key}: facts of its findings, and events about them");
    let started = count(EventKind::RemediationStarted);
    assert_eq!(usize::from(state.attempts.made), started, "{key}: attempts in the state, and in the events");
    let attempts: Vec<_> = (events.iter().filter(|e| e.event_type == EventKind::RemediationApplied))
        .map(|e| e.event_data["attempt"].as_u64())
        .collect();
    let expected: Vec<_> = (1..=started as u64).map(Some).collect();
    assert_eq!(attempts, expected, "{key}: one applied remediation per attempt");
}
