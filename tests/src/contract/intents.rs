//! Manifests: applied, deleted, listed, due.

use std::collections::BTreeSet;

use trueup_engine::EngineError;
use trueup_engine::store::{Applied, By, Change};
use trueup_model::{
    DriftKind, EventKind, Intent, IntentKey, IntentState, Mode, Partition, Status, Target, Write,
};

use super::Fresh;
use super::given::*;

pub(crate) async fn apply_tells_created_changed_and_unchanged(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let i = intent("i");
    let told = |a: Applied| (a.intent, a.change, a.generation);
    let answer = |change| (key("i"), change, 1);
    let first = applied(&*store, &i).await;
    assert_eq!(told(first.clone()), answer(Change::Created));
    let same = applied(&*store, &i).await;
    assert_eq!(same.version, first.version);
    assert_eq!(told(same), answer(Change::Unchanged));
    let changed = applied(&*store, &relabelled(i.clone(), "red")).await;
    assert!(changed.version > first.version);
    assert_eq!(told(changed), answer(Change::Changed));
    assert_eq!(told(applied(&*store, &relabelled(i.clone(), "red")).await), answer(Change::Unchanged));
    assert_eq!(
        record(&*store, "i").await.intent,
        relabelled(i, "red"),
        "the last manifest is the one that is kept"
    );

    let batch: Vec<Intent> = ["x", "i", "y"].map(intent).to_vec();
    let answers = store.apply(&batch, &by("tester")).await.unwrap();
    let changes: Vec<_> = answers.iter().map(|a| (a.intent.clone(), a.change)).collect();
    let expected = [("x", Change::Created), ("i", Change::Changed), ("y", Change::Created)];
    assert_eq!(changes, expected.map(|(name, change)| (key(name), change)), "in order, over partitions");
}

pub(crate) async fn the_generation_grows_with_target_and_desired_only(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let mut i = intent("i");
    applied(&*store, &i).await;
    type Edit = fn(&mut Intent);
    let edits: [(&str, Edit, u64); 7] = [
        ("labels", |i| i.labels.clear(), 1),
        ("mode", |i| i.mode = Mode::Observe, 1),
        ("privileged", |i| i.privileged = true, 1),
        ("status", |i| i.status = Status::Completed, 1),
        ("desired", |i| i.desired.version = Some("2".into()), 2),
        ("desired again", |i| i.desired.version = None, 3),
        (
            "target",
            |i| {
                if let Target::Intune(target) = &mut i.target {
                    target.app_name = "Contoso Tunnel".into();
                }
            },
            4,
        ),
    ];
    for (what, edit, generation) in edits {
        edit(&mut i);
        let answer = applied(&*store, &i).await;
        assert_eq!((answer.change, answer.generation), (Change::Changed, generation), "{what}");
        assert_eq!(record(&*store, "i").await.generation, generation, "{what}");
    }
}

pub(crate) async fn apply_keeps_state_and_rev(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    let first = record(&*store, "i").await;
    let new = IntentState { born: first.state.born, ..IntentState::default() };
    assert_eq!((first.generation, first.rev, &first.state), (1, 0, &new));
    carried_out(&*store, P, "a", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    applied(&*store, &relabelled(intent("i"), "red")).await;
    let second = record(&*store, "i").await;
    assert_eq!((second.rev, second.state), (1, running("i", 1)));
}

pub(crate) async fn apply_leaves_an_event_where_something_changed(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let mut i = intent("i");
    applied(&*store, &i).await;
    applied(&*store, &i).await;
    i.desired.version = Some("2".into());
    let operator = by("operator");
    store.apply(&[i], &operator).await.unwrap();

    let events = all_events(&*store).await;
    let seen: Vec<_> =
        events.iter().map(|e| (e.seq, e.event_type, e.event_data["generation"].as_u64())).collect();
    let kind = EventKind::IntentApplied;
    assert_eq!(seen, [(1, kind, Some(1)), (2, kind, Some(2))], "none for what was unchanged");
    let event = &events[1];
    assert_eq!((event.tenant.as_str(), event.intent.as_str()), ("acme", "i"));
    assert_eq!((&event.actor, &event.correlation_id), (&operator.actor, &operator.correlation_id));
    assert_eq!(event.created_at, operator.now);
    assert_ne!(events[0].event_id, event.event_id);
}

pub(crate) async fn what_was_applied_is_due_at_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    assert_eq!(due(&*store, t(0)).await, [key("i")]);

    let checked = writes(vec![write("i", 0, idle(1), Some(t(3600)), true)]);
    carried_out(&*store, P, "a", checked).await;
    applied(&*store, &intent("i")).await;
    assert!(due(&*store, t(10)).await.is_empty(), "unchanged: it keeps its time");
    applied(&*store, &relabelled(intent("i"), "red")).await;
    assert_eq!(due(&*store, t(10)).await, [key("i")]);
}

pub(crate) async fn what_is_not_reconciled_is_parked(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let with = |status| Intent { status, ..intent("i") };
    for status in [Status::Paused, Status::Retired] {
        applied(&*store, &with(status)).await;
        assert_eq!(store.due(P, t(1_000_000), 9).await.unwrap(), (vec![], None), "{status:?}");
        assert_eq!(store.list_intents(None, 9).await.unwrap().items.len(), 1, "{status:?}: still listed");
        for reconciled in [Status::Pending, Status::InProgress, Status::Completed] {
            applied(&*store, &with(reconciled)).await;
            assert_eq!(due(&*store, t(0)).await, [key("i")], "{status:?} → {reconciled:?}");
        }
    }
}

pub(crate) async fn more_than_256_intents_are_refused(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let many: Vec<Intent> = (0..257).map(|n| intent(&n.to_string())).collect();
    assert!(matches!(store.apply(&many, &by("x")).await, Err(EngineError::Refused(_))));
    assert!(store.list_intents(None, 9).await.unwrap().items.is_empty(), "not even some of them");
    assert_eq!(store.apply(&many[..256], &by("x")).await.unwrap().len(), 256);
    assert!(store.apply(&[], &by("x")).await.unwrap().is_empty());
}

pub(crate) async fn delete_forgets_all_of_it(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let p = key("i").partition(4);
    applied(&*store, &intent("i")).await;
    applied(&*store, &intent("other")).await;
    let finding = super::records::finding("i", DriftKind::VersionMismatch, t(0));
    let approval = super::records::approval("i", DriftKind::VersionMismatch, t(0));
    let (f, a) = (finding.id.clone(), approval.id.clone());
    let both = vec![Write::Finding(Box::new(finding)), Write::Approval(Box::new(approval))];
    carried_out(&*store, p, "a", writes(both)).await;

    let operator = by("operator");
    let answers = store.delete(&[key("i")], &operator).await.unwrap();
    assert_eq!(answers, [Applied { intent: key("i"), change: Change::Deleted, generation: 1, version: 0 }]);
    assert_eq!(store.intents(&[key("i")]).await.unwrap(), [None]);
    assert!(store.findings(&key("i")).await.unwrap().is_empty());
    assert!(store.approvals(&key("i")).await.unwrap().is_empty());
    assert_eq!((store.finding(&f).await.unwrap(), store.approval(&a).await.unwrap()), (None, None));
    assert!(store.list_findings(None, 9).await.unwrap().items.is_empty());
    assert!(store.list_approvals(None, 9).await.unwrap().items.is_empty());
    assert!(!store.due(p, t(1_000_000), 9).await.unwrap().0.contains(&key("i")));
    let listed = store.list_intents(None, 9).await.unwrap().items;
    assert_eq!(listed.iter().map(|r| r.intent.key.clone()).collect::<Vec<_>>(), [key("other")]);

    let events = events_of(&*store, EventKind::IntentRetired).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].tenant.as_str(), events[0].intent.as_str()), ("acme", "i"));
    assert_eq!((&events[0].actor, &events[0].correlation_id), (&operator.actor, &operator.correlation_id));
}

pub(crate) async fn delete_of_the_unknown_says_so(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    applied(&*store, &intent("i")).await;
    let answers = store.delete(&[key("x"), key("i"), key("i")], &by("operator")).await.unwrap();
    let changes: Vec<Change> = answers.iter().map(|a| a.change).collect();
    assert_eq!(changes, [Change::NotFound, Change::Deleted, Change::NotFound]);
    assert_eq!(events_of(&*store, EventKind::IntentRetired).await.len(), 1);
}

pub(crate) async fn what_is_deleted_can_be_applied_again(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    let begun = writes(vec![write("i", 0, running("i", 1), None, false)]);
    carried_out(&*store, P, "a", begun).await;
    carried_out(&*store, P, "b", writes(vec![dirty("i")])).await;
    store.delete(&[key("i")], &by("operator")).await.unwrap();
    assert_eq!(applied(&*store, &intent("i")).await.change, Change::Created);
    let record = record(&*store, "i").await;
    let new = IntentState { born: record.state.born, ..IntentState::default() };
    assert_eq!((record.generation, record.rev, record.state), (1, 0, new), "nothing is left of it");
    assert_eq!(due(&*store, t(0)).await, [key("i")]);
    // Not even the old trigger: the end of a new run sets the time it says.
    carried_out(&*store, P, "c", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    carried_out(&*store, P, "d", writes(vec![write("i", 1, idle(1), Some(t(99)), true)])).await;
    assert!(due(&*store, t(98)).await.is_empty());
}

pub(crate) async fn runs_of_an_intent_that_was_deleted_and_applied_again_are_others(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let mut runs = BTreeSet::new();
    for life in 0..3 {
        let at = By { now: t(life), ..by("operator") };
        store.apply(&[intent("i")], &at).await.unwrap();
        let born = record(&*store, "i").await;
        assert!(runs.insert(born.state.next_run(&born.intent)), "life {life} has a run of one before it");
        // Another manifest is no other life.
        store.apply(&[relabelled(intent("i"), "red")], &at).await.unwrap();
        let later = record(&*store, "i").await;
        assert!(runs.contains(&later.state.next_run(&later.intent)));
        store.delete(&[key("i")], &at).await.unwrap();
        fresh.lease_time_passes().await;
    }
}

pub(crate) async fn intents_are_answered_in_the_order_asked_for(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let all = ["a", "b", "c", "d"].map(intent);
    store.apply(&all, &by("x")).await.unwrap();
    let found = store.intents(&["d", "nobody", "a", "d"].map(key)).await.unwrap();
    let names: Vec<_> = found.into_iter().map(|r| r.map(|r| r.intent.key.id)).collect();
    assert_eq!(names, [Some("d".into()), None, Some("a".into()), Some("d".into())]);
    assert!(store.intents(&[]).await.unwrap().is_empty());
}

pub(crate) async fn due_is_ordered_limited_and_names_the_next(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let times = [("b", Some(20)), ("d", Some(40)), ("a", Some(10)), ("parked", None), ("c", Some(30))];
    for (name, at) in times {
        applied(&*store, &intent(name)).await;
        carried_out(&*store, P, name, writes(vec![write(name, 0, idle(1), at.map(t), true)])).await;
    }
    let keys = |names: &[&str]| names.iter().map(|n| key(n)).collect::<Vec<_>>();
    let cases = [
        (5, 9, keys(&[]), Some(t(10))),
        (10, 9, keys(&["a"]), Some(t(20))),
        (30, 9, keys(&["a", "b", "c"]), Some(t(40))),
        (30, 2, keys(&["a", "b"]), Some(t(40))),
        (99, 9, keys(&["a", "b", "c", "d"]), None),
    ];
    for (now, limit, expected, next) in cases {
        assert_eq!(store.due(P, t(now), limit).await.unwrap(), (expected, next), "at {now}, up to {limit}");
    }
}

pub(crate) async fn a_page_after_the_other_shows_each_intent_once(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let mut all: Vec<Intent> = (0..60).map(|n| intent(&format!("i{n}"))).collect();
    all.iter_mut().step_by(5).for_each(|i| i.status = Status::Paused);
    store.apply(&all, &by("x")).await.unwrap();
    let here: BTreeSet<Partition> = all.iter().map(|i| i.key.partition(4)).collect();
    assert_eq!(here.len(), 4, "the case needs intents in every partition");
    for limit in [1, 7, 60, 1000] {
        let (mut seen, mut cursor): (Vec<IntentKey>, Option<String>) = (Vec::new(), None);
        for call in 0.. {
            assert!(call <= 80, "no end with pages of {limit}");
            let page = store.list_intents(cursor.as_deref(), limit).await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.into_iter().map(|r| r.intent.key));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 60, "pages of {limit}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 60, "pages of {limit}");
    }
}

pub(crate) async fn a_cursor_from_elsewhere_does_no_harm(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    applied(&*store, &intent("i")).await;
    for cursor in ["", "nonsense", "9999999999 x", "1:", "-1", "\0\u{fffd}", "0 acme/i", "0:acme/i"] {
        let intents = store.list_intents(Some(cursor), 5).await.map(|_| ());
        let findings = store.list_findings(Some(cursor), 5).await.map(|_| ());
        let approvals = store.list_approvals(Some(cursor), 5).await.map(|_| ());
        for answer in [intents, findings, approvals] {
            assert!(matches!(answer, Ok(()) | Err(EngineError::Refused(_))), "{cursor:?}: {answer:?}");
        }
    }
}
