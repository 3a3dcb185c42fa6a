//! Workers that give back, leave, fall silent and come back.

use std::collections::BTreeSet;

use trueup_engine::store::{Beat, Incarnation, JobState, NewJob, Store};
use trueup_model::commit::Committed;
use trueup_model::{Commit, EventKind, Outcome};

use super::Fresh;
use super::given::*;

/// Beats as one who lives until nothing is left to rescue; returns what all beats brought.
async fn rescue(store: &dyn Store, who: &Incarnation) -> Beat {
    let mut sum = Beat::default();
    for n in 0..100 {
        let beat = store.beat(P, who).await.unwrap();
        assert!(!beat.declared_dead, "{who} is the one that beats");
        sum.rescued += beat.rescued;
        sum.worn_out += beat.worn_out;
        // If it was silent itself, its first beat judges nobody.
        if n > 0 && beat.rescued + beat.worn_out == 0 {
            return sum;
        }
    }
    panic!("there is no end of jobs to rescue: {sum:?}");
}

pub(crate) async fn give_back_puts_to_the_front_and_counts_nothing(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &["a", "b", "c", "d"].map(|n| job(n, emit()))).await.unwrap();
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 3, t(0)).await), ids(&["a", "b", "c"]));
    store.give_back(P, &w, &["a", "b", "c"].map(|n| (id(n), emit()))).await.unwrap();
    let jobs = lease(&*store, &w, emit(), 9, t(0)).await;
    assert_eq!(leased_ids(&jobs), ids(&["a", "b", "c", "d"]), "as if they had never been taken");
    assert!(jobs.iter().all(|j| (j.attempts, j.rescued) == (0, 0)));
}

pub(crate) async fn give_back_passes_over_what_is_not_held(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let a = held(&*store, &w, "a").await;
    store.give_back(P, &v, &[(a.clone(), emit()), (id("unknown"), emit())]).await.unwrap();
    assert_eq!(places(&*store, &a).await, [JobState::InFlight]);
    assert_eq!(store.job(&id("unknown")).await.unwrap(), None);
    for _ in 0..2 {
        store.give_back(P, &w, &[(a.clone(), emit())]).await.unwrap();
        assert_eq!(places(&*store, &a).await, [JobState::Ready], "twice is once");
    }
}

pub(crate) async fn a_worker_that_beats_is_left_alone(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let a = held(&*store, &w, "a").await;
    fresh.lease_time_passes().await;
    // Overdue, but nobody has said so yet: the beat itself is the sign of life.
    assert!(!store.beat(P, &w).await.unwrap().declared_dead);
    store.beat(P, &v).await.unwrap();
    assert_eq!(places(&*store, &a).await, [JobState::InFlight]);
    assert_eq!(end(&*store, &w, done(&a, Commit::default())).await, Committed::Yes);
}

pub(crate) async fn e5_jobs_of_a_dead_worker_are_taken_back_to_the_front(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (dead, w) = (worker(&*store, "dead").await, worker(&*store, "w").await);
    let sweep = queue("sweep");
    store.enqueue(P, &["a", "b", "c"].map(|n| job(n, emit()))).await.unwrap();
    store.enqueue(P, &[job("s", sweep)]).await.unwrap();
    store.lease(P, &dead, &[(emit(), 2), (sweep, 1)], t(0)).await.unwrap();
    fresh.lease_time_passes().await;

    assert_eq!(rescue(&*store, &w).await, Beat { rescued: 3, ..Beat::default() });
    let jobs = lease(&*store, &w, emit(), 9, t(0)).await;
    let first: BTreeSet<_> = jobs[..2].iter().map(|j| j.id.clone()).collect();
    assert_eq!(first, ids(&["a", "b"]).into_iter().collect(), "before c");
    assert_eq!(jobs.iter().map(|j| j.rescued).collect::<Vec<_>>(), [1, 1, 0]);
    assert!(jobs.iter().all(|j| j.attempts == 0), "a rescue is no attempt");
    assert_eq!(leased_ids(&lease(&*store, &w, sweep, 9, t(0)).await), ids(&["s"]));
}

pub(crate) async fn e5_a_worker_that_leases_before_its_first_beat_is_not_forgotten(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &[job("a", emit())]).await.unwrap();
    let hasty = Incarnation("hasty".into());
    lease(&*store, &hasty, emit(), 1, t(0)).await;
    fresh.lease_time_passes().await;
    rescue(&*store, &w).await;
    // Whether the hasty one was given the job or not, it is there again.
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(0)).await), ids(&["a"]));
}

pub(crate) async fn e5_at_most_256_jobs_are_taken_back_in_one_beat(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (dead, w) = (worker(&*store, "dead").await, worker(&*store, "w").await);
    for half in 0..2 {
        let jobs: Vec<NewJob> = (0..200).map(|n| job(&format!("{half} {n}"), emit())).collect();
        store.enqueue(P, &jobs).await.unwrap();
        assert_eq!(lease(&*store, &dead, emit(), 200, t(0)).await.len(), 200);
    }
    fresh.lease_time_passes().await;
    let silent = store.beat(P, &w).await.unwrap();
    assert_eq!(silent.rescued, 0, "who was silent itself judges nobody");
    let first = store.beat(P, &w).await.unwrap();
    assert_eq!(first.rescued, 256);
    assert_eq!(
        rescue(&*store, &w).await.rescued,
        144,
        "the dead one was not forgotten before all were moved"
    );
    assert_eq!(store.backlog(P, emit()).await.unwrap(), 400);
    assert!(store.beat(P, &dead).await.unwrap().declared_dead);
}

pub(crate) async fn e5_dead_workers_are_found_one_by_one(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    for n in 0..5 {
        let dead = worker(&*store, &format!("dead {n}")).await;
        held(&*store, &dead, &n.to_string()).await;
    }
    worker(&*store, "idle").await;
    fresh.lease_time_passes().await;
    let mut rescued = 0;
    for _ in 0..7 {
        rescued += store.beat(P, &w).await.unwrap().rescued;
    }
    assert_eq!(rescued, 5);
    let left: Vec<_> = store.workers().await.unwrap().into_iter().map(|v| v.incarnation).collect();
    assert_eq!(left, [w]);
}

pub(crate) async fn e6_a_job_that_outlives_five_workers_is_dead(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let w = worker(&*store, "w").await;
    store.enqueue(P, &[job("killer", emit())]).await.unwrap();
    for n in 1..=5 {
        let victim = worker(&*store, &format!("victim {n}")).await;
        let jobs = lease(&*store, &victim, emit(), 1, t(0)).await;
        assert_eq!((jobs[0].id.clone(), jobs[0].rescued), (id("killer"), n - 1));
        fresh.lease_time_passes().await;
        let beat = rescue(&*store, &w).await;
        assert_eq!((beat.rescued, beat.worn_out), if n < 5 { (1, 0) } else { (0, 1) }, "death {n}");
    }
    assert_eq!(places(&*store, &id("killer")).await, [JobState::Dead]);
    let view = store.job(&id("killer")).await.unwrap().unwrap();
    let reason = "its worker died 5 times while running it";
    assert_eq!((view.reason.as_deref(), view.payload_bytes), (Some(reason), some_job().encode().len()));

    let events = all_events(&*store).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].event_type, events[0].seq), (EventKind::JobDead, 1));
    assert_eq!(events[0].actor, trueup_model::event::LOOP);
    assert_eq!(events[0].event_data["job"], id("killer").as_str());
    assert_eq!(events[0].event_data["queue"], "emit");
    assert_eq!(events[0].event_data["reason"], reason);
}

pub(crate) async fn e3_a_worker_declared_dead_learns_it_once_and_its_commits_are_lost(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (asleep, w) = (worker(&*store, "asleep").await, worker(&*store, "w").await);
    let a = held(&*store, &asleep, "a").await;
    fresh.lease_time_passes().await;
    rescue(&*store, &w).await;

    let says = Commit { events: vec![an_event("late")], ..Commit::default() };
    assert_eq!(end(&*store, &asleep, done(&a, says.clone())).await, Committed::LeaseLost, "taken back");
    assert_eq!(leased_ids(&lease(&*store, &w, emit(), 1, t(0)).await), ids(&["a"]));
    assert_eq!(end(&*store, &asleep, done(&a, says.clone())).await, Committed::LeaseLost, "another's");
    assert_eq!(end(&*store, &w, done(&a, says)).await, Committed::Yes);
    assert_eq!(all_events(&*store).await.len(), 1);

    let beat = store.beat(P, &asleep).await.unwrap();
    assert_eq!(beat, Beat { declared_dead: true, ..Beat::default() });
    let listed = store.workers().await.unwrap();
    assert!(listed.iter().all(|v| v.incarnation != asleep), "not registered again by that beat");
    let reborn = Incarnation("asleep, second life".into());
    assert_eq!(store.beat(P, &reborn).await.unwrap(), Beat::default());
    assert_eq!(held(&*store, &reborn, "b").await, id("b"));
}

pub(crate) async fn e3_a_worker_declared_dead_leases_nothing_and_still_learns_it(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (asleep, w) = (worker(&*store, "asleep").await, worker(&*store, "w").await);
    fresh.lease_time_passes().await;
    rescue(&*store, &w).await;
    store.enqueue(P, &[job("a", emit())]).await.unwrap();
    // It wakes and asks for work before its heart beats: nobody would notice its second death.
    assert!(lease(&*store, &asleep, emit(), 1, t(0)).await.is_empty());
    assert_eq!(places(&*store, &id("a")).await, [JobState::Ready]);
    assert!(store.beat(P, &asleep).await.unwrap().declared_dead);
}

pub(crate) async fn leaving_gives_everything_back(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (leaver, w) = (worker(&*store, "leaver").await, worker(&*store, "w").await);
    let sweep = queue("sweep");
    let many: Vec<NewJob> = (0..150).map(|n| job(&n.to_string(), emit())).collect();
    let more: Vec<NewJob> = (0..150).map(|n| job(&format!("s {n}"), sweep)).collect();
    store.enqueue(P, &many).await.unwrap();
    store.enqueue(P, &more).await.unwrap();
    let held = store.lease(P, &leaver, &[(emit(), 150), (sweep, 150)], t(0)).await.unwrap().jobs;
    assert_eq!(held.len(), 300);
    store.enqueue(P, &[job("behind", emit())]).await.unwrap();

    store.leave(P, &leaver).await.unwrap();
    let jobs = lease(&*store, &w, emit(), 151, t(0)).await;
    assert_eq!(jobs.len(), 151, "all at once");
    assert_eq!(jobs.last().unwrap().id, id("behind"));
    assert!(jobs.iter().all(|j| (j.attempts, j.rescued) == (0, 0)), "nothing is counted");
    assert_eq!(store.backlog(P, sweep).await.unwrap(), 150);
    assert_eq!(
        end(&*store, &leaver, ended(&held[0].id, Outcome::Defer { at: t(1), because: None })).await,
        Committed::LeaseLost
    );
    store.leave(P, &leaver).await.unwrap();
    store.leave(P, &Incarnation("never seen".into())).await.unwrap();
    assert_eq!(store.jobs(emit(), JobState::InFlight, 1000).await.unwrap().len(), 151, "w keeps its own");
}

pub(crate) async fn a_worker_is_listed_from_its_beat_until_it_leaves(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let w = worker(&*store, "w").await;
    store.beat(trueup_model::Partition(1), &w).await.unwrap();
    let v = worker(&*store, "v").await;
    let names = |views: Vec<trueup_engine::store::WorkerView>| -> BTreeSet<_> {
        let all: Vec<_> = views.into_iter().map(|v| v.incarnation).collect();
        let set: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(set.len(), all.len(), "once, however many partitions it beats in");
        set
    };
    assert_eq!(names(store.workers().await.unwrap()), [v.clone(), w.clone()].into());
    fresh.lease_time_passes().await;
    store.beat(P, &v).await.unwrap();
    let views = store.workers().await.unwrap();
    let age = |who| views.iter().find(|view| view.incarnation == who).map(|view| view.last_beat_ms);
    assert!(age(w.clone()) > age(v.clone()) || age(w.clone()).is_none(), "{views:?}");

    store.leave(P, &v).await.unwrap();
    assert!(!names(store.workers().await.unwrap()).contains(&v));
}
