//! Payloads that nobody can work on.

use std::time::Duration;

use trueup_engine::{Admin, By, EventFilter, JobState, JobView, NewJob, Store};
use trueup_model::job::request;
use trueup_model::{
    Clock, CorrelationId, EventKind, Job, JobId, Partition, PlaneKind, Queue, StepName, SystemClock,
};
use trueup_tests::fleet::Fleet;
use trueup_tests::fleet::plane::{Behaviour, intent};
use trueup_tests::fleet::wait::wait_until;

use crate::{alone, setting};

const SOON: Duration = Duration::from_secs(30);
const P: Partition = Partition(0);

/// Name, bytes, and what the reason for its death must say.
fn poison() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let sweep =
        Job::Sweep(trueup_model::job::Sweep { partition: P, only: Some(Vec::new()), correlation_id: None });
    let mut huge = br#"{"v":1,"step":"compare","filler":""#.to_vec();
    huge.resize(5 * 1024 * 1024, b'x');
    huge.extend(br#""}"#);
    vec![
        ("invalid UTF-8", b"{\"v\":1,\"step\":\"\xff\xfe\"}".to_vec(), "not a job"),
        ("nothing", Vec::new(), "not a job"),
        ("half of a JSON", br#"{"v":1,"step":"compare","seen":["#.to_vec(), "not a job"),
        ("no version", br#"{"step":"compare"}"#.to_vec(), "missing field `v`"),
        ("an unknown step", br#"{"v":1,"step":"dance"}"#.to_vec(), "unknown variant `dance`"),
        ("brackets", vec![b'['; 200_000], "not a job"),
        ("5 MB", huge, "missing field"),
        ("another queue's", sweep.encode(), "a job of step sweep in queue"),
    ]
}

fn id(name: &str, queue: Queue) -> JobId {
    JobId::derive(&["poison", name, &queue.to_string()])
}

/// Guards: bytes are decoded before apalis sees them; what does not decode goes to the dead letters with its bytes (E7),
/// what a newer version wrote is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_put_away_and_the_worker_goes_on() {
    let _alone = alone().await;
    let mut setting = setting();
    setting.partitions = 1;
    let mut fleet = Fleet::new(setting).await;
    let compare = Queue::new(StepName::Compare, None).expect("a queue");
    let query = Queue::new(StepName::Query, Some(PlaneKind::Intune)).expect("a queue");
    let good = intent("acme", 0, Behaviour::Missing);
    let newer = br#"{"v":999,"step":"compare","who":"knows"}"#.to_vec();
    for queue in [compare, query] {
        for (name, payload, _) in poison() {
            let job = NewJob { id: id(name, queue), queue, payload, at: None, traceparent: None };
            fleet.store.enqueue(P, &[job]).await.expect("enqueued");
        }
    }
    let from_the_future = NewJob {
        id: id("newer", compare),
        queue: compare,
        payload: newer.clone(),
        at: None,
        traceparent: None,
    };
    fleet.store.enqueue(P, std::slice::from_ref(&from_the_future)).await.expect("enqueued");
    fleet.apply(std::slice::from_ref(&good)).await;
    fleet.start_worker();
    let pid = fleet.workers[0].pid();

    let dead = async |queue| -> Vec<JobView> {
        fleet.store.jobs(queue, JobState::Dead, 100).await.unwrap_or_default()
    };
    wait_until(SOON, "all poison is put away", async || {
        dead(compare).await.len() == poison().len() && dead(query).await.len() == poison().len()
    })
    .await;
    for queue in [compare, query] {
        let letters = dead(queue).await;
        for (name, payload, because) in poison() {
            let letter = letters
                .iter()
                .find(|l| l.id == id(name, queue))
                .unwrap_or_else(|| panic!("{name}: {letters:?}"));
            let reason = letter.reason.as_deref().unwrap_or_default();
            assert!(reason.contains(because) && reason.len() < 2_000, "{name}: {reason}");
            let kept: Vec<u8> = redis::cmd("HGET")
                .arg(trueup_engine::keys::Keys(P).data(queue))
                .arg(letter.id.as_str())
                .query_async(&mut fleet.connection.clone())
                .await
                .expect("its bytes");
            // The engine's own header may stand between the opening brace and the rest.
            let rest = payload.get(1..).unwrap_or_default();
            assert!(kept.ends_with(rest), "{name}: its bytes are kept");
            assert_eq!(letter.payload_bytes, payload.len(), "{name}: and shown without the header");
        }
    }
    // What a newer version wrote waits for one, without using up a try.
    wait_until(SOON, "the newer one is given back", async || {
        let given_back = fleet.store.job(&from_the_future.id).await.unwrap_or_default();
        given_back.is_some_and(|j| {
            j.state == JobState::Scheduled && j.attempts == 0 && j.payload_bytes == newer.len()
        })
    })
    .await;

    let remediated = async |i: &trueup_model::Intent| {
        let found = fleet.store.intents(std::slice::from_ref(&i.key)).await.unwrap_or_default();
        found.into_iter().flatten().any(|r| r.state.attempts.made == 1 && r.state.run.is_none())
    };
    wait_until(SOON, "a good job behind the poison is worked on", async || remediated(&good).await).await;

    // An operator tries one again, and discards the rest.
    let by = By {
        actor: "operator".into(),
        correlation_id: CorrelationId::derive(&["op"]),
        now: SystemClock.now(),
    };
    let again = id("an unknown step", compare);
    assert_eq!(
        fleet.store.admin(compare, &Admin::Retry(Some(again.clone())), &by).await.expect("retried"),
        1
    );
    let filter = |kind| EventFilter { kind: Some(kind), ..EventFilter::default() };
    wait_until(SOON, "it is put away again", async || {
        let deaths = fleet.store.last_events(&filter(EventKind::JobDead), 1_000).await.unwrap_or_default();
        deaths
            .iter()
            .filter(|(_, e)| e.event_data["job"] == again.as_str() || e.causation_id.as_ref() == Some(&again))
            .count()
            == 2
    })
    .await;
    assert_eq!(dead(compare).await.len(), poison().len());
    for queue in [compare, query] {
        assert_eq!(
            fleet.store.admin(queue, &Admin::Discard(None), &by).await.expect("discarded"),
            poison().len() as u64
        );
        assert!(dead(queue).await.is_empty());
        assert!(
            fleet.store.job(&id("5 MB", queue)).await.expect("looked up").is_none(),
            "its bytes are gone"
        );
    }
    assert_eq!(fleet.store.last_events(&filter(EventKind::JobDiscarded), 10).await.expect("events").len(), 2);
    assert_eq!(fleet.store.last_events(&filter(EventKind::JobRetried), 10).await.expect("events").len(), 1);

    let (job_id, job) = request(P, vec![good.key.clone()], CorrelationId::derive(&["again"]));
    let sweep = Queue::new(StepName::Sweep, None).expect("a queue");
    fleet.store.enqueue(P, &[NewJob::of(job_id, sweep, &job, None)]).await.expect("enqueued");
    wait_until(SOON, "the same worker goes on", async || {
        let found = fleet.store.intents(std::slice::from_ref(&good.key)).await.unwrap_or_default();
        found.into_iter().flatten().any(|r| r.state.runs == 2 && r.state.run.is_none())
    })
    .await;
    fleet.assert_alive();
    assert_eq!(fleet.workers[0].pid(), pid);
}
