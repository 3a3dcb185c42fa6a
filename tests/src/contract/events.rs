//! The event stream: numbering, reading on, filtering.

use std::collections::BTreeMap;

use trueup_engine::store::{EventFilter, Store};
use trueup_model::{Commit, CorrelationId, Event, EventKind, Partition};

use super::Fresh;
use super::given::*;

fn told(events: Vec<Event>) -> Commit {
    Commit { events, ..Commit::default() }
}

/// 30 events about 10 intents of 3 partitions, one second apart; three of each intent, of two kinds.
async fn history(fresh: &dyn Fresh) -> std::sync::Arc<dyn Store> {
    let store = fresh.store(3).await;
    for n in 0..30 {
        let about = key(&format!("i{}", n % 10));
        let kind = if n < 10 { EventKind::DriftDetected } else { EventKind::ConditionChanged };
        let one = event(&format!("e{n}"), kind, &about, t(n));
        carried_out(&*store, about.partition(3), &format!("j{n}"), told(vec![one])).await;
    }
    store
}

fn names(events: &[(Partition, Event)]) -> Vec<String> {
    events.iter().map(|(_, e)| e.event_data["name"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) async fn e2_events_are_numbered_without_gaps(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    for n in 0..6 {
        let events = (0..n).map(|k| an_event(&format!("{n} {k}"))).collect();
        carried_out(&*store, Partition(n % 2), &n.to_string(), told(events)).await;
    }
    let all = store.events(&EventFilter::default(), &BTreeMap::new(), 1000).await.unwrap();
    for p in [Partition(0), Partition(1)] {
        let seqs: Vec<u64> = all.iter().filter(|(q, _)| *q == p).map(|(_, e)| e.seq).collect();
        let count = if p.0 == 0 { 2 + 4 } else { 1 + 3 + 5 };
        assert_eq!(seqs, (1..=count).collect::<Vec<_>>(), "in partition {p}");
    }
}

pub(crate) async fn events_can_be_read_on_from_where_one_was(fresh: &dyn Fresh) {
    let store = history(fresh).await;
    let all = store.events(&EventFilter::default(), &BTreeMap::new(), 1000).await.unwrap();
    assert_eq!(all.len(), 30);
    for filter in [
        EventFilter::default(),
        EventFilter { kind: Some(EventKind::ConditionChanged), ..Default::default() },
    ] {
        let expected: Vec<_> = all.iter().filter(|(_, e)| filter.admits(e)).cloned().collect();
        for limit in [1, 4, 30] {
            let (mut seen, mut after) = (Vec::new(), BTreeMap::new());
            loop {
                let some = store.events(&filter, &after, limit).await.unwrap();
                assert!(some.len() <= limit);
                if some.is_empty() {
                    break;
                }
                for (p, e) in some {
                    assert!(after.insert(p.0, e.seq).is_none_or(|last| last < e.seq), "oldest first");
                    seen.push((p, e));
                }
                assert!(seen.len() <= 30, "events without end");
            }
            seen.sort_by_key(|(p, e)| (*p, e.seq));
            let mut expected = expected.clone();
            expected.sort_by_key(|(p, e)| (*p, e.seq));
            assert_eq!(seen, expected, "{limit} at a time, each once");
        }
    }
}

pub(crate) async fn events_are_filtered(fresh: &dyn Fresh) {
    let store = history(fresh).await;
    let correlation_id = Some(CorrelationId::derive(&["e7"]));
    let intent = Some(key("i4"));
    let kind = Some(EventKind::DriftDetected);
    let none = EventFilter::default;
    let cases: [(EventFilter, &[&str]); 8] = [
        (EventFilter { correlation_id: correlation_id.clone(), ..none() }, &["e7"]),
        (EventFilter { intent: intent.clone(), ..none() }, &["e4", "e14", "e24"]),
        (EventFilter { intent: intent.clone(), kind, ..none() }, &["e4"]),
        (EventFilter { intent: intent.clone(), since: Some(t(14)), ..none() }, &["e14", "e24"]),
        (EventFilter { correlation_id, intent, ..none() }, &[]),
        (EventFilter { since: Some(t(28)), ..none() }, &["e28", "e29"]),
        (EventFilter { kind: Some(EventKind::Escalated), ..none() }, &[]),
        (EventFilter { intent: Some(trueup_model::IntentKey::new("other", "i4")), ..none() }, &[]),
    ];
    for (filter, expected) in cases {
        let mut found = store.events(&filter, &BTreeMap::new(), 100).await.unwrap();
        found.sort_by_key(|(_, e)| e.created_at);
        assert_eq!(names(&found), expected, "{filter:?}");
        assert_eq!(names(&store.last_events(&filter, 100).await.unwrap()), expected, "{filter:?}, the last");
    }
}

pub(crate) async fn the_last_events_are_the_newest_oldest_first(fresh: &dyn Fresh) {
    let store = history(fresh).await;
    let last = store.last_events(&EventFilter::default(), 4).await.unwrap();
    assert_eq!(names(&last), ["e26", "e27", "e28", "e29"]);
    for (p, e) in &last {
        assert_eq!(key(&e.intent).partition(3), *p);
        assert!(e.seq >= 1);
    }
    let drift = EventFilter { kind: Some(EventKind::DriftDetected), ..EventFilter::default() };
    assert_eq!(names(&store.last_events(&drift, 2).await.unwrap()), ["e8", "e9"]);
    assert!(store.last_events(&EventFilter::default(), 0).await.unwrap().is_empty());
}
