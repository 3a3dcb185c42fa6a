//! Notices: told once, whatever is written twice and whoever dies when.

use trueup_engine::store::{MAX_OUTBOX, MAX_TAKEN, Store};
use trueup_model::commit::{Committed, MAX_PARTS};
use trueup_model::{
    Commit, CorrelationId, DriftKind, Finding, Notice, NoticeId, Partition, PlaneKind, Severity, Time, Topic,
    Write,
};

use super::Fresh;
use super::given::*;

/// Something to be told about that intent.
fn notice(intent: &str, at: Time) -> Notice {
    let kind = DriftKind::ScopeMismatch;
    let finding = Finding::id_of(&key(intent), kind);
    Notice {
        id: Notice::id_of(Topic::Escalated, &finding, at),
        topic: Topic::Escalated,
        at,
        intent: key(intent),
        plane: PlaneKind::Intune,
        kind,
        severity: Severity::High,
        finding,
        causes: vec!["group:1".into()],
        subject: format!("{intent} is still drifted"),
        text: "three attempts did not bring it back".into(),
        correlation_id: CorrelationId::derive(&[intent]),
    }
}

fn tells(notices: &[Notice]) -> Commit {
    writes(notices.iter().map(|n| Write::Notice(Box::new(n.clone()))).collect())
}
fn takes(notices: &[Notice]) -> Commit {
    writes(vec![Write::Taken(notices.iter().map(|n| n.id.clone()).collect())])
}
async fn told(store: &dyn Store, p: Partition, job: &str, notices: &[Notice]) {
    assert_eq!(carried_out(store, p, job, tells(notices)).await, Committed::Yes);
}
async fn waiting(store: &dyn Store) -> Vec<Notice> {
    store.notices(1000).await.unwrap()
}

/// Writes a notice in partition 0, by way of a job of that name.
pub async fn tell(store: &dyn Store, job: &str, notice: &Notice) {
    told(store, P, job, std::slice::from_ref(notice)).await;
}

/// A notice that was told, taken, and cleared away.
pub async fn told_and_taken(store: &dyn Store, job: &str) -> Notice {
    let n = notice("i", t(1));
    tell(store, job, &n).await;
    let taken = carried_out(store, P, &format!("{job} taken"), takes(std::slice::from_ref(&n))).await;
    assert_eq!(taken, Committed::Yes);
    assert!(waiting(store).await.is_empty());
    n
}

pub(crate) async fn notices_of_all_partitions_are_listed_oldest_first(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    assert!(waiting(&*store).await.is_empty());
    let all: Vec<Notice> = (0..9).map(|n| notice(&format!("i{n}"), t(n))).collect();
    for (n, one) in all.iter().enumerate().rev() {
        let p = Partition(u16::try_from(n % 3).unwrap());
        told(&*store, p, &one.subject, std::slice::from_ref(one)).await;
    }
    assert_eq!(waiting(&*store).await, all);
    assert_eq!(waiting(&*store).await, all, "asking takes nothing");
    assert_eq!(store.notices(4).await.unwrap(), all[..4]);
    assert!(store.notices(0).await.unwrap().is_empty());
    assert_eq!(store.census().await.unwrap().notices_waiting, 9);
}

pub(crate) async fn e1_what_is_written_twice_is_told_once(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let n = notice("i", t(1));
    let other_words = Notice { subject: "other words".into(), at: t(5), ..n.clone() };
    told(&*store, P, "1", &[n.clone(), other_words.clone()]).await;
    told(&*store, P, "2", std::slice::from_ref(&other_words)).await;
    assert_eq!(waiting(&*store).await, std::slice::from_ref(&n), "the first stays as it was");

    assert_eq!(carried_out(&*store, P, "3", takes(std::slice::from_ref(&n))).await, Committed::Yes);
    // Again before anybody has asked, after somebody has, and after that was cleared away.
    for again in ["4", "5", "6"] {
        told(&*store, P, again, std::slice::from_ref(&other_words)).await;
        assert!(waiting(&*store).await.is_empty(), "told again in {again}");
    }
    told(&*store, P, "7", std::slice::from_ref(&other_words)).await;
    assert_eq!(store.census().await.unwrap().notices_waiting, 0, "it does not even enter the outbox again");
    let next = notice("i", t(2));
    told(&*store, P, "8", std::slice::from_ref(&next)).await;
    assert_eq!(waiting(&*store).await, [next], "another occurrence is another notice");
}

pub(crate) async fn e1_a_notice_is_listed_until_its_taking_is_committed(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let all: Vec<Notice> = (0..6).map(|n| notice(&format!("i{n}"), t(n))).collect();
    for (n, pair) in all.chunks(2).enumerate() {
        told(&*store, Partition(u16::try_from(n).unwrap()), &n.to_string(), pair).await;
    }
    // The collector dies before its commit: nothing was taken.
    let (v, w) = (worker(&*store, "v").await, worker(&*store, "w").await);
    let collect = held(&*store, &v, "collect").await;
    assert_eq!(end(&*store, &w, done(&collect, takes(&all[..4]))).await, Committed::LeaseLost);
    assert_eq!(waiting(&*store).await, all);
    // It commits; whoever asks next, and after that, sees the rest.
    assert_eq!(end(&*store, &v, done(&collect, takes(&all[..4]))).await, Committed::Yes);
    for _ in 0..3 {
        assert_eq!(waiting(&*store).await, all[4..]);
        assert_eq!(store.notices(1).await.unwrap(), all[4..5], "what was taken leaves room for the next");
    }
    assert_eq!(store.census().await.unwrap().notices_waiting, 2, "what was taken was cleared away");
}

pub(crate) async fn e2_only_partition_0_takes(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let n = notice("i", t(1));
    told(&*store, Partition(1), "1", std::slice::from_ref(&n)).await;
    let events = vec![an_event("e")];
    let both = Commit { events: events.clone(), ..takes(std::slice::from_ref(&n)) };
    assert_eq!(carried_out(&*store, Partition(1), "2", both.clone()).await, Committed::Malformed);
    let ids = (0..=MAX_TAKEN).map(|n| NoticeId::derive(&[&n.to_string()])).collect();
    let too_many = Commit { events, ..writes(vec![Write::Taken(ids)]) };
    assert_eq!(carried_out(&*store, P, "3", too_many).await, Committed::Malformed);
    assert!(all_events(&*store).await.is_empty(), "nothing of it was carried out");
    assert_eq!(waiting(&*store).await, std::slice::from_ref(&n));
    assert_eq!(carried_out(&*store, P, "4", both).await, Committed::Yes);
    assert!(waiting(&*store).await.is_empty());
    let ids = (0..MAX_TAKEN).map(|n| NoticeId::derive(&[&n.to_string()])).collect();
    let most = writes(vec![Write::Taken(ids)]);
    assert_eq!(carried_out(&*store, P, "5", most).await, Committed::Yes, "as many as one collection takes");
}

pub(crate) async fn e2_a_notice_goes_with_the_rest_of_its_commit_or_not_at_all(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    applied(&*store, &intent("i")).await;
    let n = notice("i", t(1));
    let mut commit = tells(std::slice::from_ref(&n));
    commit.writes.insert(0, write("i", 1, idle(1), None, true));
    commit.next.push(next("after", queue("compare"), None));
    assert_eq!(carried_out(&*store, P, "late", commit.clone()).await, Committed::Conflict);
    assert!(waiting(&*store).await.is_empty());
    commit.writes[0] = write("i", 0, idle(1), None, true);
    assert_eq!(carried_out(&*store, P, "in time", commit).await, Committed::Yes);
    assert_eq!((waiting(&*store).await, store.backlog(P, queue("compare")).await.unwrap()), (vec![n], 1));
}

pub(crate) async fn e2_a_full_outbox_fails_no_commit_and_counts_what_it_drops(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let all: Vec<Notice> =
        (0..MAX_OUTBOX + 3).map(|n| notice(&format!("i{n}"), t(i64::try_from(n).unwrap()))).collect();
    for (n, some) in all.chunks(MAX_PARTS).enumerate() {
        told(&*store, P, &n.to_string(), some).await;
    }
    let census = store.census().await.unwrap();
    assert_eq!((census.notices_waiting, census.notices_dropped), (MAX_OUTBOX as u64, 3));
    // What waits is not dropped for being written again, and the other partitions have room.
    told(&*store, P, "again", &all[..5]).await;
    told(&*store, Partition(1), "there", &all[MAX_OUTBOX..]).await;
    assert_eq!(store.census().await.unwrap().notices_dropped, 3);
    let listed = store.notices(usize::MAX).await.unwrap();
    assert_eq!(listed.len(), all.len());
    assert!(listed == all, "the oldest are kept");
    // Taking makes room.
    assert_eq!(carried_out(&*store, P, "take", takes(&all[..MAX_TAKEN])).await, Committed::Yes);
    assert_eq!(store.notices(1).await.unwrap(), all[MAX_TAKEN..=MAX_TAKEN]);
    told(&*store, P, "room", &[notice("new", t(-1))]).await;
    assert_eq!(store.notices(1).await.unwrap(), [notice("new", t(-1))], "oldest first, however late it came");
}
