//! One tenant's Graph answers nonsense, or only "no", or only "later". The other tenant must not notice.

use trueup_boot::embedded::Options;
use trueup_engine::{JobState, NewJob, Store};
use trueup_model::{Condition, EventKind, Intent, JobId, Partition, Queue, StepName};
use trueup_simulators::{Mischief, Planned, Trouble, app_id};
use trueup_tests::fleet::world_graph::{OTHER, TENANT, assigned, key};
use trueup_tests::fleet::world_live::{Live, SOON};
use trueup_tests::fleet::world_wait::wait_for;

/// A fleet of two tenants that both miss an assignment, and one of them is in trouble for ever.
async fn in_trouble(trouble: impl Into<Planned>) -> Live {
    let live = Live::start(Options::default(), Vec::new()).await;
    live.graph.tenant(TENANT).trouble(trouble);
    for tenant in [TENANT, OTHER] {
        let app = app_id(tenant, 0);
        live.graph.tenant(tenant).mischief(&Mischief::RemoveAssignments { app }).expect("done");
    }
    let of = |tenant: &'static str| (0..4).map(move |n| assigned(tenant, n));
    live.apply(&of(TENANT).chain(of(OTHER)).collect::<Vec<Intent>>()).await;
    live
}

/// The other tenant is healed and its other intents are as they were meant.
async fn others_go_on(live: &Live) {
    live.sees(&key(OTHER, 0), EventKind::RemediationVerified).await;
    for n in 0..4 {
        let record = live.becomes(&key(OTHER, n), Condition::InSync).await;
        assert_eq!(record.state.attempts.made, 0);
    }
    assert_eq!(live.graph.tenant(OTHER).writes().len(), 1);
}

/// When the trouble is over, the tenant heals by itself.
async fn recovers(live: Live) {
    assert!(live.graph.tenant(TENANT).writes().is_empty(), "no answer is no drift");
    let dead = live.jobs(JobState::Dead).await;
    assert!(dead.is_empty(), "{dead:#?}");
    live.graph.tenant(TENANT).no_more_trouble();
    live.sees(&key(TENANT, 0), EventKind::RemediationVerified).await;
    for n in 0..4 {
        live.becomes(&key(TENANT, n), Condition::InSync).await;
    }
    let failed = live.events_of(&key(TENANT, 0)).await;
    assert!(failed.iter().all(|e| e.event_type != EventKind::RemediationFailed), "{failed:#?}");
    live.end().await;
}

/// An answer that is none makes the tenant's intents unreachable, with a reason in which these words are.
async fn is_unreachable(trouble: impl Into<Planned>, words: &[&str]) {
    let live = in_trouble(trouble).await;
    for n in 0..4 {
        live.becomes(&key(TENANT, n), Condition::Unreachable).await;
    }
    others_go_on(&live).await;
    for n in 0..4 {
        let reason = live.reason(&key(TENANT, n)).await;
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in: {reason}");
        }
        assert!(!reason.contains("sim-secret") && !reason.contains("sim.contoso"), "a secret: {reason}");
        let findings = live.store.findings(&key(TENANT, n)).await.expect("an answer");
        assert!(findings.is_empty(), "no answer is no drift: {findings:#?}");
    }
    recovers(live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html() {
    is_unreachable(Trouble::Html, &["not JSON", "Please sign in"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing() {
    is_unreachable(Trouble::Empty, &["not JSON", "(empty)"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_json() {
    is_unreachable(Trouble::HalfJson, &["not JSON"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks() {
    is_unreachable(Trouble::Drop, &["no answer from 127.0.0.1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthorized_for_ever() {
    is_unreachable(Trouble::Unauthorized, &["401", "check client_id, client_secret"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_for_ever() {
    let login = Planned { only: Some("/oauth2/v2.0/token".into()), ..Trouble::Status(401).into() };
    is_unreachable(login, &["401", "check client_id, client_secret"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html_instead_of_a_token() {
    let login = Planned { only: Some("/oauth2/v2.0/token".into()), ..Trouble::Html.into() };
    is_unreachable(login, &["token", "not JSON"]).await;
}

/// 429 for ever: the looks wait in their queue, the run stays open, and that is all.
async fn waits(retry_after: Option<&str>) {
    let live = in_trouble(Trouble::Throttle { retry_after: retry_after.map(str::to_owned) }).await;
    others_go_on(&live).await;
    // Refused again and again, and still waiting: as many refusals as it takes to be sure that it goes on.
    wait_for("more refusals", SOON, async || match live.graph.tenant(TENANT).counts().requests {
        n if n >= 4 => Ok(()),
        n => Err(format!("{n} requests")),
    })
    .await;
    for n in 0..4 {
        let state = live.record(&key(TENANT, n)).await.state;
        assert_eq!((state.condition, state.runs, state.attempts.made), (Condition::Unknown, 1, 0));
        assert!(state.run.is_some(), "it waits");
    }
    let waiting = wait_for("the look waits", SOON, async || {
        let scheduled = live.jobs(JobState::Scheduled).await;
        let looks: Vec<_> = scheduled.into_iter().filter(|j| j.queue == "query.intune").collect();
        if looks.is_empty() { Err("none".to_owned()) } else { Ok(looks) }
    });
    assert_eq!(waiting.await[0].attempts, 0, "to wait costs no try");
    recovers(live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_for_ever_and_a_time() {
    waits(Some("45")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_for_ever_and_no_time() {
    waits(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_without_a_connection_says_what_to_do() {
    let live = Live::start(Options::default(), Vec::new()).await;
    live.apply(&[assigned("stranger", 0), assigned(OTHER, 1)]).await;
    live.becomes(&key("stranger", 0), Condition::Unreachable).await;
    live.becomes(&key(OTHER, 1), Condition::InSync).await;
    let reason = live.reason(&key("stranger", 0)).await;
    assert!(reason.contains("no connection") && reason.contains("'connections'"), "{reason}");
    assert!(live.jobs(JobState::Dead).await.is_empty());
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_job_are_kept_with_a_reason_and_stop_nobody() {
    let live = Live::start(Options::default(), Vec::new()).await;
    let queue = Queue::new(StepName::Emit, None).expect("a queue");
    let poison = |n: usize, payload: &[u8]| NewJob {
        id: JobId::derive(&["poison", &n.to_string()]),
        queue,
        payload: payload.to_vec(),
        at: None,
        traceparent: None,
    };
    let payloads: [&[u8]; 4] = [b"", b"\xff\xfe\x00", b"{\"v\":1,\"step\":\"dance\"}", b"<html>"];
    let jobs: Vec<NewJob> = payloads.iter().enumerate().map(|(n, p)| poison(n, p)).collect();
    live.store.enqueue(Partition(0), &jobs).await.expect("enqueued");
    live.apply(&[assigned(OTHER, 1)]).await;
    live.becomes(&key(OTHER, 1), Condition::InSync).await;
    let dead = wait_for("the dead letters", SOON, async || match live.jobs(JobState::Dead).await {
        dead if dead.len() == payloads.len() => Ok(dead),
        dead => Err(format!("{dead:#?}")),
    });
    for view in dead.await {
        let reason = view.reason.unwrap_or_default();
        assert!(reason.contains("not a job"), "{reason}");
    }
    let of_kind = trueup_engine::EventFilter { kind: Some(EventKind::JobDead), ..Default::default() };
    let told = live.store.last_events(&of_kind, 100).await.expect("events");
    assert_eq!(told.len(), payloads.len(), "no dead letter is silent: {told:#?}");
    live.end().await;
}

/// What counts panics must see one, or its zero means nothing.
#[test]
fn a_panic_would_be_counted() {
    let program = std::env::current_exe().expect("this program");
    let run = std::process::Command::new(program)
        .args(["--exact", "graph::a_panic_in_a_process_of_its_own", "--ignored"])
        .output()
        .expect("it runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "run by the test above, in a process of its own"]
async fn a_panic_in_a_process_of_its_own() {
    trueup_tests::fleet::world_live::count_panics();
    let caught = tokio::spawn(async { panic!("on purpose") }).await;
    assert!(caught.is_err());
    assert_eq!(trueup_tests::fleet::world_live::panics(), 1);
}
