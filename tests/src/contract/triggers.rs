//! One active run per intent; triggers that arrive meanwhile coalesce, none is dropped (E9).

use trueup_engine::store::Change;
use trueup_model::commit::Committed;

use super::Fresh;
use super::given::*;

pub(crate) async fn e9_a_trigger_during_a_run_is_kept_until_its_end(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    carried_out(&*store, P, "begin", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    assert_eq!(store.due(P, t(1_000_000), 9).await.unwrap(), (vec![], None), "a run holds it");

    carried_out(&*store, P, "trigger", writes(vec![dirty("i")])).await;
    assert!(due(&*store, t(1_000_000)).await.is_empty(), "no second run beside the first");
    assert_eq!(record(&*store, "i").await.rev, 1, "a trigger is no conflict for the run");

    carried_out(&*store, P, "end", writes(vec![write("i", 1, idle(1), Some(t(3600)), true)])).await;
    assert_eq!(due(&*store, t(0)).await, [key("i")], "at once, not in an hour");

    // The trigger is used up: the next run ends as it says.
    carried_out(&*store, P, "begin 2", writes(vec![write("i", 2, running("i", 2), None, false)])).await;
    carried_out(&*store, P, "end 2", writes(vec![write("i", 3, idle(2), Some(t(3600)), true)])).await;
    assert_eq!(store.due(P, t(0), 9).await.unwrap(), (vec![], Some(t(3600))));
}

pub(crate) async fn e9_many_triggers_during_a_run_are_one(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    carried_out(&*store, P, "begin", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    for n in 0..5 {
        carried_out(&*store, P, &format!("trigger {n}"), writes(vec![dirty("i"), dirty("i")])).await;
    }
    // Even where the run would park the intent, a trigger makes it due.
    carried_out(&*store, P, "end", writes(vec![write("i", 1, idle(1), None, true)])).await;
    assert_eq!(due(&*store, t(0)).await, [key("i")]);
    carried_out(&*store, P, "begin 2", writes(vec![write("i", 2, running("i", 2), None, false)])).await;
    carried_out(&*store, P, "end 2", writes(vec![write("i", 3, idle(2), None, true)])).await;
    assert!(due(&*store, t(1_000_000)).await.is_empty());
}

pub(crate) async fn e9_a_trigger_without_a_run_makes_the_intent_due_at_once(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("late")).await;
    applied(&*store, &intent("parked")).await;
    let checked =
        vec![write("late", 0, idle(1), Some(t(-50)), true), write("parked", 0, idle(1), None, true)];
    carried_out(&*store, P, "checked", writes(checked)).await;
    assert_eq!(due(&*store, t(0)).await, [key("late")]);
    carried_out(&*store, P, "trigger", writes(vec![dirty("parked")])).await;
    assert_eq!(due(&*store, t(0)).await, [key("parked"), key("late")], "before what is merely overdue");
    assert_eq!(record(&*store, "parked").await.rev, 1);
}

pub(crate) async fn e9_a_write_that_ends_no_run_keeps_the_trigger(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    carried_out(&*store, P, "begin", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    carried_out(&*store, P, "trigger", writes(vec![dirty("i")])).await;
    carried_out(&*store, P, "step", writes(vec![write("i", 1, running("i", 1), None, false)])).await;
    assert!(due(&*store, t(1_000_000)).await.is_empty(), "still running");
    carried_out(&*store, P, "end", writes(vec![write("i", 2, idle(1), Some(t(3600)), true)])).await;
    assert_eq!(due(&*store, t(0)).await, [key("i")]);
}

pub(crate) async fn e9_a_new_manifest_during_a_run_is_a_trigger(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    carried_out(&*store, P, "begin", writes(vec![write("i", 0, running("i", 1), None, false)])).await;
    assert_eq!(applied(&*store, &intent("i")).await.change, Change::Unchanged);
    assert_eq!(applied(&*store, &relabelled(intent("i"), "red")).await.change, Change::Changed);
    assert!(due(&*store, t(1_000_000)).await.is_empty(), "no second run beside the first");
    carried_out(&*store, P, "end", writes(vec![write("i", 1, idle(1), Some(t(3600)), true)])).await;
    assert_eq!(due(&*store, t(0)).await, [key("i")]);
}

pub(crate) async fn e9_a_trigger_on_a_missing_intent_is_ignored(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let answer = carried_out(&*store, P, "trigger", writes(vec![dirty("nobody")])).await;
    assert_eq!(answer, Committed::Yes);
    assert_eq!(store.intents(&[key("nobody")]).await.unwrap(), [None]);
    assert_eq!(store.due(P, t(1_000_000), 9).await.unwrap(), (vec![], None));
    assert!(store.list_intents(None, 9).await.unwrap().items.is_empty());
}

pub(crate) async fn e9_a_trigger_in_the_commit_that_begins_a_run_is_kept(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    for (n, name) in ["before", "after"].into_iter().enumerate() {
        applied(&*store, &intent(name)).await;
        let mut both = vec![write(name, 0, running(name, 1), None, false)];
        // Wherever it stands in the list: nobody can say that the run will see what the trigger was about.
        both.insert(n, dirty(name));
        carried_out(&*store, P, name, writes(both)).await;
        assert!(due(&*store, t(1_000_000)).await.is_empty(), "{name}: a run holds it");
        let end = writes(vec![write(name, 1, idle(1), Some(t(3600)), true)]);
        carried_out(&*store, P, &format!("end {name}"), end).await;
        assert_eq!(due(&*store, t(0)).await, [key(name)], "{name}");
        store.delete(&[key(name)], &by("tester")).await.unwrap();
    }
}

pub(crate) async fn e9_only_one_of_two_sweeps_begins_a_run(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    // Both saw rev 0 and no run.
    let begin = |n| writes(vec![write("i", 0, running("i", n), None, false)]);
    assert_eq!(carried_out(&*store, P, "sweep 1", begin(1)).await, Committed::Yes);
    assert_eq!(carried_out(&*store, P, "sweep 2", begin(2)).await, Committed::Conflict);
    assert_eq!(record(&*store, "i").await.state, running("i", 1));
}

pub(crate) async fn a_write_sets_when_the_intent_is_due(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    let times = [Some(30), Some(10), None, Some(20), None];
    for (n, at) in times.into_iter().enumerate() {
        let state = idle(n as u64);
        let name = n.to_string();
        carried_out(&*store, P, &name, writes(vec![write("i", n as u64, state, at.map(t), true)])).await;
        assert_eq!(store.due(P, t(0), 9).await.unwrap(), (vec![], at.map(t)), "only the last one counts");
    }
    assert_eq!(store.list_intents(None, 9).await.unwrap().items.len(), 1, "parked is not gone");
}
