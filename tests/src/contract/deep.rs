//! Queues as long as they are after a bad night: more jobs than a store may walk over in one call.

use trueup_engine::operate::{Act, JobFilter};
use trueup_engine::store::{JobState, NewJob, Store};
use trueup_model::{JobId, Partition};

use super::Fresh;
use super::given::*;

/// Beyond 100,000, so that nothing a store does only for short lists helps.
const DEEP: usize = 100_400;

fn nth(n: usize) -> JobId {
    JobId::from_wire(format!("job_{n}"))
}

/// Ready jobs, the first in front; the last 400 are of the tenants `acme` and `zeta` in turn.
async fn fill(store: &dyn Store) {
    let tenant = |n: usize| match n + 400 {
        m if m < DEEP => "deep",
        _ if n.is_multiple_of(2) => "acme",
        _ => "zeta",
    };
    let new = |n: usize| NewJob {
        id: nth(n),
        queue: emit(),
        payload: format!(r#"{{"v":1,"step":"query","tenant":"{}","checks":[]}}"#, tenant(n)).into_bytes(),
        at: None,
        traceparent: None,
    };
    for from in (0..DEEP).step_by(256) {
        let jobs: Vec<NewJob> = (from..DEEP.min(from + 256)).map(new).collect();
        store.enqueue(P, &jobs).await.unwrap();
    }
}

pub(crate) async fn what_is_discarded_leaves_no_hole_in_the_queue(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    fill(&*store).await;
    let w = worker(&*store, "w").await;
    let act = async |jobs: Vec<(Partition, JobId)>, act| {
        let moved = store.operations().act(emit(), JobState::Ready, &jobs, act, &by("operator"), "").await;
        assert_eq!(moved.unwrap(), jobs.len() as u64);
    };
    act((0..250).map(|n| (P, nth(n))).collect(), Act::Discard).await;
    act(vec![(P, nth(300))], Act::Front).await;
    let left = (DEEP - 250) as u64;
    assert_eq!(store.backlog(P, emit()).await.unwrap(), left);
    let depths = store.depths().await.unwrap();
    let depth = depths.iter().find(|d| d.queue == "emit").unwrap();
    assert_eq!((depth.ready, depth.oldest_ms.is_some()), (left, true));
    let jobs = lease(&*store, &w, emit(), 100, t(0)).await;
    let expected: Vec<JobId> = [300].into_iter().chain(250..300).chain(301..350).map(nth).collect();
    assert_eq!(leased_ids(&jobs), expected, "as many as were asked for, whatever is gone");
    let first = store.jobs(emit(), JobState::Ready, 1).await.unwrap();
    assert_eq!(first[0].id, nth(350));
}

pub(crate) async fn an_act_on_all_that_match_skips_nothing_while_workers_lease(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    fill(&*store).await;
    let w = worker(&*store, "w").await;
    let filter = JobFilter { tenant: Some("acme".into()), ..JobFilter::of(JobState::Ready) };
    let (mut cursor, mut moved) = (None::<String>, 0);
    // The queue is as long as before and then shorter, as workers lease from its front.
    for _ in 0..20 {
        let looked = store.operations().look(emit(), &filter, cursor.as_deref(), 50, true).await.unwrap();
        let jobs: Vec<_> = looked.jobs.iter().map(|j| (j.partition, j.id.clone())).collect();
        moved += store
            .operations()
            .act(emit(), JobState::Ready, &jobs, Act::Discard, &by("operator"), "")
            .await
            .unwrap();
        assert_eq!(lease(&*store, &w, emit(), 256, t(0)).await.len(), 256);
        cursor = looked.next;
        assert!(cursor.is_some(), "the others have still to be looked at");
    }
    assert_eq!(moved, 200);
}

pub(crate) async fn all_that_is_in_flight_is_looked_through(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let mut all = Vec::new();
    for (p, who) in [(0, "v"), (0, "w"), (1, "w")] {
        let (p, who) = (Partition(p), trueup_engine::store::Incarnation(who.into()));
        store.beat(p, &who).await.unwrap();
        let jobs: Vec<NewJob> = (0..256).map(|n| job(&format!("{p} {} {n}", who.0), emit())).collect();
        store.enqueue(p, &jobs).await.unwrap();
        assert_eq!(store.lease(p, &who, &[(emit(), 256)], t(0)).await.unwrap().jobs.len(), 256);
        all.extend(jobs.into_iter().map(|j| j.id));
    }
    all.sort();
    for limit in [100, 256, 10_000] {
        let (mut shown, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let filter = JobFilter::of(JobState::InFlight);
            let looked =
                store.operations().look(emit(), &filter, cursor.as_deref(), limit, false).await.unwrap();
            assert!(looked.jobs.iter().all(|j| j.held_by.is_some()));
            shown.extend(looked.jobs.into_iter().map(|j| j.id));
            cursor = looked.next;
            if cursor.is_none() {
                break;
            }
        }
        shown.sort();
        assert!(shown == all, "{} of {} by {limit}", shown.len(), all.len());
    }
}
