//! What can be seen of a story's fleet: records, findings, approvals, events, messages, dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use trueup_engine::{EventFilter, JobState, Store};
use trueup_model::notice::NoticeGroup;
use trueup_model::{Approval, Event, EventKind, Finding, IntentKey, IntentRecord, Queue, Topic};
use trueup_simulators::Tenant;

use super::world_graph::TENANT;
use super::world_story::Story;

impl Story {
    pub fn sim(&self) -> Arc<Tenant> {
        self.graph.tenant(TENANT)
    }

    pub fn do_mischief(&self, what: &trueup_simulators::Mischief) {
        self.sim().mischief(what).expect("done");
    }

    pub async fn record(&self, key: &IntentKey) -> IntentRecord {
        let found = self.store.intents(std::slice::from_ref(key)).await.expect("an answer");
        found.into_iter().next().flatten().expect("the intent is there")
    }

    /// Whether the intent is known.
    pub async fn store_has(&self, key: &IntentKey) -> bool {
        let found = self.store.intents(std::slice::from_ref(key)).await.expect("an answer");
        found[0].is_some()
    }

    pub async fn condition(&self, key: &IntentKey) -> trueup_model::Condition {
        self.record(key).await.state.condition
    }

    pub async fn finding(&self, key: &IntentKey) -> Finding {
        let mut all = Store::findings(&*self.store, key).await.expect("an answer");
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    pub async fn open_approvals(&self, key: &IntentKey) -> Vec<Approval> {
        Store::approvals(&*self.store, key).await.expect("an answer")
    }

    pub async fn events_of(&self, key: &IntentKey) -> Vec<Event> {
        let filter = EventFilter { intent: Some(key.clone()), ..EventFilter::default() };
        let found = self.store.events(&filter, &BTreeMap::new(), 10_000).await.expect("events");
        found.into_iter().map(|(_, event)| event).collect()
    }

    /// When events of a kind happened, in minutes since the beginning.
    pub async fn minutes(&self, key: &IntentKey, kind: EventKind) -> Vec<i64> {
        let events = self.events_of(key).await.into_iter();
        let of_kind = events.filter(|e| e.event_type == kind);
        of_kind.map(|e| (e.created_at - self.began).num_minutes()).collect()
    }

    pub async fn happened(&self, key: &IntentKey, kind: EventKind) -> usize {
        self.minutes(key, kind).await.len()
    }

    /// What people were told about one topic, message by message.
    pub fn told(&self, topic: Topic) -> Vec<NoticeGroup> {
        let all = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.into_iter().flat_map(|d| d.groups).filter(|g| g.topic == topic).collect()
    }

    /// All events of a kind, of all intents.
    pub async fn all_events(&self, kind: EventKind) -> Vec<Event> {
        let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
        let found = self.store.events(&filter, &BTreeMap::new(), 1_000_000).await.expect("events");
        found.into_iter().map(|(_, event)| event).collect()
    }

    /// All findings.
    pub async fn findings(&self) -> Vec<Finding> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.store.list_findings(cursor.as_deref(), 1_000).await.expect("findings");
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    }

    /// Reasons of all dead letters.
    pub async fn dead(&self) -> Vec<String> {
        let mut all = Vec::new();
        for queue in Queue::all() {
            for view in self.store.jobs(queue, JobState::Dead, 100).await.expect("jobs") {
                all.push(format!("{queue}: {}", view.reason.unwrap_or_default()));
            }
        }
        all
    }
}
