//! What cases are told from: small fleets, jobs, workers and commits.

use trueup_engine::store::{
    Applied, By, Ended, EventFilter, Incarnation, JobState, LeasedJob, NewJob, Store,
};
use trueup_model::commit::Committed;
use trueup_model::intent::{Desired, Manifest};
use trueup_model::job::Sweep;
use trueup_model::{
    ActiveRun, Commit, CorrelationId, Criticality, Event, EventId, EventKind, Intent, IntentKey,
    IntentRecord, IntentState, Job, JobId, Mode, Next, Outcome, Partition, Queue, Ring, RunId, Status, Time,
    Trigger, Write,
};

/// The partition of the cases that need only one.
pub(super) const P: Partition = Partition(0);

/// Seconds after an arbitrary beginning.
pub(super) fn t(seconds: i64) -> Time {
    Time::from_timestamp(1_767_657_600 + seconds, 0).unwrap()
}

pub(super) fn queue(name: &str) -> Queue {
    name.parse().unwrap()
}
/// The queue of the cases that need only one.
pub(super) fn emit() -> Queue {
    queue("emit")
}

pub(super) fn id(name: &str) -> JobId {
    JobId::derive(&[name])
}
pub(super) fn ids(names: &[&str]) -> Vec<JobId> {
    names.iter().map(|n| id(n)).collect()
}
pub(super) fn leased_ids(jobs: &[LeasedJob]) -> Vec<JobId> {
    jobs.iter().map(|j| j.id.clone()).collect()
}

/// Any job that encodes; the store does not look into it.
pub(super) fn some_job() -> Job {
    Job::Sweep(Sweep { partition: P, only: None, correlation_id: None })
}
pub(super) fn job(name: &str, queue: Queue) -> NewJob {
    NewJob::of(id(name), queue, &some_job(), None)
}
pub(super) fn delayed(name: &str, queue: Queue, at: Time) -> NewJob {
    NewJob::of(id(name), queue, &some_job(), Some(at))
}

/// A worker with a heartbeat.
pub(super) async fn worker(store: &dyn Store, name: &str) -> Incarnation {
    let who = Incarnation(name.to_owned());
    assert!(!store.beat(P, &who).await.unwrap().declared_dead);
    who
}

/// Leases from one queue.
pub(super) async fn lease(
    store: &dyn Store,
    who: &Incarnation,
    q: Queue,
    n: usize,
    now: Time,
) -> Vec<LeasedJob> {
    store.lease(P, who, &[(q, n)], now).await.unwrap().jobs
}

/// A job of that name in this worker's hands, from the queue `emit`.
pub(super) async fn held(store: &dyn Store, who: &Incarnation, name: &str) -> JobId {
    assert_eq!(store.enqueue(P, &[job(name, emit())]).await.unwrap(), 1);
    let jobs = lease(store, who, emit(), 1, t(0)).await;
    assert_eq!(leased_ids(&jobs), [id(name)]);
    id(name)
}

pub(super) fn ended(job: &JobId, outcome: Outcome) -> Ended {
    Ended { job: job.clone(), queue: emit(), outcome, traceparent: None }
}
pub(super) fn done(job: &JobId, commit: Commit) -> Ended {
    ended(job, Outcome::Done(commit))
}

/// Ends one execution.
pub(super) async fn end(store: &dyn Store, who: &Incarnation, ended: Ended) -> Committed {
    let answers = store.commit(P, who, &[ended]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers[0]
}

/// Carries out a commit by way of a job made for it.
pub(super) async fn carried_out(store: &dyn Store, p: Partition, name: &str, commit: Commit) -> Committed {
    let who = Incarnation("carrier".to_owned());
    store.beat(p, &who).await.unwrap();
    assert_eq!(store.enqueue(p, &[job(name, emit())]).await.unwrap(), 1);
    let jobs = store.lease(p, &who, &[(emit(), 1)], t(0)).await.unwrap().jobs;
    let answers = store.commit(p, &who, &[done(&jobs[0].id, commit)]).await.unwrap();
    if answers[0] != Committed::Yes {
        store.commit(p, &who, &[done(&jobs[0].id, Commit::default())]).await.unwrap();
    }
    answers[0]
}

pub(super) fn next(name: &str, q: Queue, at: Option<Time>) -> Next {
    Next { id: id(name), queue: q, job: some_job(), at }
}

/// An event about an intent, as a step would write it.
pub(super) fn event(name: &str, kind: EventKind, about: &IntentKey, at: Time) -> Event {
    Event {
        event_id: EventId::derive(&[name]),
        seq: 0,
        schema: 1,
        event_type: kind,
        tenant: about.tenant.clone(),
        intent: about.id.clone(),
        correlation_id: CorrelationId::derive(&[name]),
        causation_id: None,
        trace_id: None,
        actor: trueup_model::event::LOOP.to_owned(),
        created_at: at,
        event_data: serde_json::json!({"name": name}),
    }
}
pub(super) fn an_event(name: &str) -> Event {
    event(name, EventKind::ConditionChanged, &key("anything"), t(0))
}

pub(super) fn by(name: &str) -> By {
    By { actor: name.to_owned(), correlation_id: CorrelationId::derive(&[name]), now: t(0) }
}

pub(super) fn key(name: &str) -> IntentKey {
    IntentKey::new("acme", name)
}

/// An application that all devices shall have.
pub(super) fn intent(name: &str) -> Intent {
    let manifest = Manifest {
        id: name.to_owned(),
        tenant: "acme".to_owned(),
        workspace: None,
        plane: "intune".to_owned(),
        target: serde_json::json!({"app_id": "00000000-0000-4000-8000-000000000001", "app_name": "Contoso VPN"}),
        desired: Desired { assignment: None, version: None, compliant: true },
        criticality: Criticality::Standard,
        ring: Ring::Lab,
        privileged: false,
        mode: Mode::Enforce,
        status: Status::Pending,
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        windows: Vec::new(),
    };
    Intent::try_from(manifest).unwrap()
}
/// The same intent with another label: a change that is no change of what is desired.
pub(super) fn relabelled(mut intent: Intent, label: &str) -> Intent {
    intent.labels.insert("team".to_owned(), label.to_owned());
    intent
}

pub(super) async fn applied(store: &dyn Store, intent: &Intent) -> Applied {
    let mut answers = store.apply(std::slice::from_ref(intent), &by("tester")).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}
pub(super) async fn record(store: &dyn Store, name: &str) -> IntentRecord {
    store.intents(&[key(name)]).await.unwrap().remove(0).unwrap()
}
pub(super) async fn due(store: &dyn Store, now: Time) -> Vec<IntentKey> {
    store.due(P, now, 1000).await.unwrap().0
}

/// A state in which a run is active.
pub(super) fn running(name: &str, n: u64) -> IntentState {
    let id = RunId::derive(&[name, &n.to_string()]);
    let correlation_id = trueup_model::job::correlation_of(&id);
    let run = ActiveRun { id, trigger: Trigger::Schedule, correlation_id, started_at: t(0) };
    IntentState { run: Some(run), runs: n, ..IntentState::default() }
}
/// A state in which none is.
pub(super) fn idle(runs: u64) -> IntentState {
    IntentState { runs, ..IntentState::default() }
}
pub(super) fn write(name: &str, rev: u64, state: IntentState, due: Option<Time>, ends_run: bool) -> Write {
    Write::State { intent: key(name), rev, state: Box::new(state), due, ends_run }
}
pub(super) fn writes(writes: Vec<Write>) -> Commit {
    Commit { writes, ..Commit::default() }
}
pub(super) fn dirty(name: &str) -> Write {
    Write::Dirty { intent: key(name) }
}

pub(super) async fn all_events(store: &dyn Store) -> Vec<Event> {
    let events = store.events(&EventFilter::default(), &Default::default(), 100_000).await.unwrap();
    events.into_iter().map(|(_, e)| e).collect()
}
pub(super) async fn events_of(store: &dyn Store, kind: EventKind) -> Vec<Event> {
    all_events(store).await.into_iter().filter(|e| e.event_type == kind).collect()
}

/// Every place in which a job of the queue `emit` is listed: one for a job that exists, none for another (E4).
pub(super) async fn places(store: &dyn Store, job: &JobId) -> Vec<JobState> {
    let mut places = Vec::new();
    for state in [JobState::Ready, JobState::Scheduled, JobState::InFlight, JobState::Dead] {
        let listed = store.jobs(emit(), state, 10_000).await.unwrap();
        places.extend(listed.iter().filter(|v| v.id == *job).map(|_| state));
    }
    places
}
