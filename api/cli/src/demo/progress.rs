//! What happened so far, read from the event store.

use std::collections::{BTreeMap, BTreeSet};

use trueup_engine::EventFilter;
use trueup_model::{Condition, DriftKind, Event, EventKind, Intent, IntentKey, PlaneKind, Time};

use super::story::Counted;
use crate::dev::Dev;
use crate::failure::{Exit, Failure};

/// Shown hours of a time span, for people.
fn hours(from: Time, to: Time) -> String {
    let minutes = (to - from).num_minutes();
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[derive(Debug)]
pub(crate) struct Progress {
    began: Time,
    broken: Option<Time>,
    after: BTreeMap<u16, u64>,
    /// Have been in sync, with nothing open. Not all of them at this moment: on a host that is busy some are always being
    /// looked at again.
    fine: BTreeSet<IntentKey>,
    last_line: String,
    /// Times of what matters, by intent, in order.
    pub(crate) by_intent: BTreeMap<IntentKey, Vec<(EventKind, Time)>>,
    planes: BTreeMap<IntentKey, PlaneKind>,
    /// The last kind of drift found: nothing here breaks in two ways, but what just moved from one policy to another may be
    /// found missing first, since a plane does not tell both in one moment.
    drift: BTreeMap<IntentKey, DriftKind>,
    /// Messages to people: the tenant, and what the event says of them.
    pub(crate) messages: Vec<(String, serde_json::Value)>,
    pub(crate) counts: BTreeMap<EventKind, u64>,
}

impl Progress {
    pub(crate) fn new(intents: &[Intent], now: Time) -> Self {
        Self {
            planes: intents.iter().map(|i| (i.key.clone(), i.plane())).collect(),
            messages: Vec::new(),
            began: now,
            broken: None,
            after: BTreeMap::new(),
            fine: BTreeSet::new(),
            last_line: String::new(),
            by_intent: BTreeMap::new(),
            drift: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    pub(crate) async fn look(&mut self, dev: &Dev) -> Result<(), Failure> {
        let failed = |e: trueup_engine::EngineError| Failure::new(Exit::Failed, e.to_string());
        loop {
            let events =
                dev.store.events(&EventFilter::default(), &self.after, 1_000).await.map_err(failed)?;
            if events.is_empty() {
                break;
            }
            for (p, event) in events {
                self.after.insert(p.0, event.seq);
                self.note(&event);
            }
        }
        if self.broken.is_none() {
            let mut cursor = None;
            loop {
                let page = dev.store.list_intents(cursor.as_deref(), 500).await.map_err(failed)?;
                let fine = page
                    .items
                    .into_iter()
                    .filter(|r| r.state.condition == Condition::InSync && r.state.drifts.is_empty());
                self.fine.extend(fine.map(|r| r.intent.key));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        *self.counts.entry(event.event_type).or_default() += 1;
        if event.event_type == EventKind::NotificationSent {
            self.messages.push((event.tenant.clone(), event.event_data.clone()));
        }
        if !event.intent.is_empty() {
            let key = IntentKey::new(event.tenant.clone(), event.intent.clone());
            let kind = event.event_data.get("drift_type").cloned().map(serde_json::from_value);
            if let (EventKind::DriftDetected, Some(Ok(kind))) = (event.event_type, kind) {
                self.drift.insert(key.clone(), kind);
            }
            self.by_intent.entry(key).or_default().push((event.event_type, event.created_at));
        }
    }

    pub(crate) fn all_true(&self, intents: usize) -> bool {
        self.fine.len() >= intents
    }

    /// Seconds of shown time since the start.
    pub(crate) fn seconds(&self, now: Time) -> u64 {
        u64::try_from((now - self.began).num_seconds()).unwrap_or(0)
    }

    /// From here on counts what follows from the breakage, and nothing before it (the folder's first creation).
    pub(crate) fn broken_at(&mut self, now: Time) {
        self.broken = Some(now);
        self.by_intent.clear();
        self.drift.clear();
        self.messages.clear();
        self.counts.clear();
    }

    /// How many intents drifted.
    pub(crate) fn drift(&self) -> Counted {
        let mut all = Counted::new();
        for (intent, kind) in &self.drift {
            if let Some(plane) = self.planes.get(intent) {
                *all.entry(*plane).or_default().entry(*kind).or_default() += 1;
            }
        }
        all
    }

    pub(crate) fn count(&self, kind: EventKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Intents to which this has happened.
    pub(crate) fn with(&self, kind: EventKind) -> BTreeSet<&IntentKey> {
        self.by_intent
            .iter()
            .filter(|(_, all)| all.iter().any(|(k, _)| *k == kind))
            .map(|(key, _)| key)
            .collect()
    }

    /// A line when something changed.
    pub(crate) fn line(&mut self, now: Time) -> Option<String> {
        let text = match self.broken {
            None => format!("first look: {} intents are as they were meant", self.fine.len()),
            Some(_) => {
                let drift: Vec<String> = (self.drift().iter())
                    .map(|(plane, kinds)| format!("{} on {plane}", kinds.values().sum::<usize>()))
                    .collect();
                format!(
                    "drift: {}; attempts {}, verified {}, failed {}; waiting for people {}; escalated {}{}",
                    if drift.is_empty() { "none yet".to_owned() } else { drift.join(", ") },
                    self.count(EventKind::RemediationStarted),
                    self.count(EventKind::RemediationVerified),
                    self.count(EventKind::RemediationFailed),
                    self.count(EventKind::ApprovalOpened)
                        .saturating_sub(self.count(EventKind::ApprovalWithdrawn)),
                    self.count(EventKind::Escalated),
                    if self.count(EventKind::BlastRadiusTripped) > 0 { "; a switch tripped" } else { "" },
                )
            }
        };
        let since = self.broken.unwrap_or(self.began);
        if text == self.last_line {
            return None;
        }
        self.last_line.clone_from(&text);
        Some(format!("[{} h] {text}", hours(since, now)))
    }
}
