//! Traces, as a real OTLP receiver gets them from a real process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trueup_engine::{By, EventFilter, JobState, NewJob, RedisOptions, RedisStore, Store};
use trueup_model::commit::MAX_PARTS;
use trueup_model::job::{Check, Query, Span as Passed};
use trueup_model::{
    Condition, CorrelationId, Event, EventKind, Job, JobId, Partition, PlaneKind, Queue, RunId, SharedClock,
    StepName, SystemClock,
};
use trueup_simulators::{Mischief, WaitStyle, app_id};
use trueup_tests::fleet::world_graph::{Graph, TENANT, assigned, key, seed};
use trueup_tests::fleet::world_rotel::{Received, Rotel, agent, spans};
use trueup_tests::fleet::world_wait::wait_for;

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is needed for a fleet of one process, whose spans a real receiver gets.
struct Rig {
    rotel: Rotel,
    graph: Graph,
    redis: trueup_boot::embedded::Redis,
    store: Arc<RedisStore>,
    clock: SharedClock,
}

impl Rig {
    /// Some intents, all as they were meant; if `drifted`, but for one missing assignment. Nothing where there is no receiver.
    async fn start(drifted: bool) -> Option<Self> {
        let rotel = Rotel::start(&agent()?).await;
        let clock: SharedClock = Arc::new(SystemClock);
        let graph = Graph::start(&clock, &seed(), WaitStyle::Whole).await.expect("a simulated Graph");
        if drifted {
            harm(&graph);
        }
        let redis = trueup_tests::world::redis().await.expect("a private Redis");
        let options = RedisOptions::new(redis.url(), clock.clone());
        let store = Arc::new(RedisStore::connect(options).await.expect("a store"));
        let correlation_id = CorrelationId::derive(&["traces"]);
        let by = By { actor: "operator".into(), correlation_id, now: clock.now() };
        let intents: Vec<_> = (0..4).map(|n| assigned(TENANT, n)).collect();
        store.apply(&intents, &by).await.expect("applied");
        Some(Self { rotel, graph, redis, store, clock })
    }

    /// A worker process. `env`: besides where to send.
    fn worker(&self, env: &[(&str, &str)]) -> Worker {
        self.process(&self.graph.origin, env)
    }

    fn process(&self, what: &str, env: &[(&str, &str)]) -> Worker {
        let child = Command::new(env!("CARGO_BIN_EXE_trace_worker"))
            .args([self.redis.url().as_str(), what])
            .env_remove("OTEL_SDK_DISABLED")
            .env_remove("OTEL_TRACES_EXPORTER")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.rotel.http))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Worker(child.expect("a worker starts"))
    }

    /// Waits for an event of the drifted intent; gives all of them.
    async fn sees(&self, kind: EventKind) -> Vec<Event> {
        let filter = EventFilter { intent: Some(key(TENANT, 0)), ..EventFilter::default() };
        wait_for(kind.as_str(), Duration::from_secs(60), async || {
            let found = self.store.events(&filter, &BTreeMap::new(), 100).await.map_err(|e| e.to_string())?;
            let events: Vec<Event> = found.into_iter().map(|(_, e)| e).collect();
            if events.iter().any(|e| e.event_type == kind) { Ok(events) } else { Err(format!("{events:#?}")) }
        })
        .await
    }

    /// Ends a worker gracefully, which sends its last spans, and waits for what is to be received.
    async fn end(&self, mut worker: Worker, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        kill_process(Pid::from_child(&worker.0), Signal::TERM).expect("a signal");
        let status = wait_for("a graceful end", Duration::from_secs(30), async || {
            worker.0.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| "still running".to_owned())
        });
        assert!(status.await.success());
        // The receiver shows them within its batch's time.
        wait_for("the spans", Duration::from_secs(20), async || {
            let received = spans(&self.rotel.output());
            let names: Vec<&str> = received.iter().map(|s| s.name.as_str()).collect();
            if wanted(&received) { Ok(received.clone()) } else { Err(format!("{names:?}")) }
        })
        .await
    }
}

/// Somebody takes the assignment of the first application away.
fn harm(graph: &Graph) {
    graph.tenant(TENANT).mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) }).expect("done");
}

/// The trace that an event names.
fn trace_of(events: &[Event], kind: EventKind) -> String {
    let event = events.iter().find(|e| e.event_type == kind).expect("it happened");
    event.trace_id.clone().expect("events name their trace")
}

/// Every span of a trace is reached from its one root by parents that were received. Gives the root.
fn one_tree<'a>(tree: &[&'a Received], root: &str) -> &'a Received {
    let ids: BTreeSet<&str> = tree.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids.len(), tree.len(), "span ids repeat: {tree:#?}");
    let tops: Vec<&&Received> = tree.iter().filter(|s| !ids.contains(s.parent.as_str())).collect();
    assert_eq!(tops.len(), 1, "{tops:#?} in {tree:#?}");
    assert_eq!(tops[0].name, root);
    let parents: BTreeMap<&str, &str> = tree.iter().map(|s| (s.id.as_str(), s.parent.as_str())).collect();
    for span in tree {
        let (mut at, mut steps) = (span.id.as_str(), 0);
        while at != tops[0].id {
            at = parents.get(at).copied().unwrap_or_else(|| panic!("{span:?} hangs in the air: {tree:#?}"));
            steps += 1;
            assert!(steps <= tree.len(), "in circles");
        }
    }
    tops[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drifted_run_is_one_tree_from_sweep_to_the_look_that_verifies() {
    let Some(rig) = Rig::start(true).await else { return };
    let worker = rig.worker(&[]);
    let events = rig.sees(EventKind::RemediationVerified).await;
    let trace = trace_of(&events, EventKind::RemediationStarted);
    for kind in [
        EventKind::DriftDetected,
        EventKind::PolicyDecided,
        EventKind::RemediationApplied,
        EventKind::DriftResolved,
        EventKind::RemediationVerified,
    ] {
        assert_eq!(trace_of(&events, kind), trace, "{kind:?}");
    }
    let both =
        |all: &[Received]| all.iter().filter(|s| s.name == "reconcile" && s.trace == trace).count() == 2;
    let received = rig.end(worker, both).await;
    let tree: Vec<&Received> = received.iter().filter(|s| s.trace == trace).collect();
    let root = one_tree(&tree, "reconcile");
    let run = root.attributes.get("run").expect("the root names its run").clone();
    let of_run = |run: &str| -> Vec<&Received> {
        tree.iter().filter(|s| s.attributes.get("run").is_some_and(|r| r == run)).copied().collect()
    };
    let first = of_run(&run);
    for step in ["reconcile", "sweep", "query", "compare", "emit", "remediate"] {
        assert_eq!(first.iter().filter(|s| s.name == step).count(), 1, "{step}: {tree:#?}");
    }
    // What was done to the plane is below the step that did it.
    let remediate = first.iter().find(|s| s.name == "remediate").expect("checked above");
    let below: Vec<&str> =
        tree.iter().filter(|s| s.parent == remediate.id).map(|s| s.name.as_str()).collect();
    assert!(below.contains(&"POST /deviceAppManagement/mobileApps/{id}/assign"), "{below:?}");
    // So is the look that verified it: a run of its own.
    let verified: Vec<&&Received> =
        tree.iter().filter(|s| s.name == "reconcile" && s.parent == remediate.id).collect();
    assert_eq!(verified.len(), 1, "{tree:#?}");
    let second = of_run(&verified[0].attributes["run"]);
    let names: Vec<&str> = second.iter().map(|s| s.name.as_str()).collect();
    for step in ["sweep", "query", "compare", "emit"] {
        assert!(names.contains(&step), "{names:?}");
    }
    assert!(!names.contains(&"remediate"));
    batches_are_traces_of_their_own(&received, &first, &trace);
    by_the_conventions(&received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_what_it_found_what_was_done_and_the_look_that_verified_it_are_one_trace() {
    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let Some(rig) = Rig::start(false).await else { return };
    let worker = rig.worker(&[]);
    let mut api = rig.process("api", &[]);
    let mut addr = String::new();
    BufReader::new(api.0.stdout.take().expect("piped")).read_line(&mut addr).expect("an address");
    wait_for("all in sync", Duration::from_secs(60), async || {
        let found = rig.store.intents(&[key(TENANT, 0)]).await.map_err(|e| e.to_string())?;
        let state = found.into_iter().flatten().next().expect("it is there").state;
        if state.condition == Condition::InSync { Ok(()) } else { Err(format!("{state:?}")) }
    })
    .await;
    harm(&rig.graph);
    let asked = key(TENANT, 0);
    let mut stream = TcpStream::connect(addr.trim()).expect("the API listens");
    write!(
        stream,
        "POST /v1/intents/{}/{}/checks HTTP/1.0\r\nhost: localhost\r\ntraceparent: {CALLER}\r\n\r\n",
        asked.tenant, asked.id
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 202 "), "{answer}");
    let (trace, caller) = (&CALLER[3..35], &CALLER[36..52]);
    let given = answer.lines().find_map(|l| l.strip_prefix("traceparent: ")).expect("one is given back");
    assert_eq!(&given[3..35], trace, "the caller's trace goes on");
    assert_ne!(&given[36..52], caller, "in a span of ours");

    let events = rig.sees(EventKind::RemediationVerified).await;
    for kind in [EventKind::DriftDetected, EventKind::RemediationApplied, EventKind::RemediationVerified] {
        assert_eq!(trace_of(&events, kind), trace, "{kind:?}");
    }
    rig.end(api, |all| all.iter().any(|s| s.name.starts_with("POST /v1/intents/"))).await;
    let of_trace = |all: &[Received], name: &str| all.iter().any(|s| s.trace == trace && s.name == name);
    let received = rig.end(worker, |all| of_trace(all, "reconcile")).await;
    let tree: Vec<&Received> = received.iter().filter(|s| s.trace == trace).collect();
    let root = one_tree(&tree, "POST /v1/intents/{tenant}/{id}/checks");
    assert_eq!(root.parent, caller);
    for (name, value) in [("http.request.method", "POST"), ("http.route", "/v1/intents/{tenant}/{id}/checks")]
    {
        assert_eq!(root.attributes.get(name).map(String::as_str), Some(value), "{root:?}");
    }
    // request → sweep → query → compare → emit → remediate → (verified by) reconcile → emit
    let published = |s: &Received| s.name == "publish" && s.parent == root.id;
    let asked = |s: &Received| s.parent == root.id || tree.iter().any(|p| p.id == s.parent && published(p));
    let mut below = *tree.iter().find(|s| s.name == "sweep" && asked(s)).expect("a sweep of the request");
    for name in ["query", "compare", "emit", "remediate", "reconcile", "emit"] {
        let found = tree.iter().find(|s| s.name == name && s.parent == below.id);
        below = found.unwrap_or_else(|| panic!("no {name} below {below:?} in {tree:#?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_exported_although_its_run_is_not() {
    let Some(rig) = Rig::start(false).await else { return };
    let check = |n: usize| Check {
        intent: key(TENANT, n),
        run: RunId::derive(&[&n.to_string()]),
        target: assigned(TENANT, n).target,
        newer_than: None,
    };
    let at = rig.clock.now();
    let query = Query {
        tenant: TENANT.into(),
        plane: PlaneKind::Intune,
        // More than any job may have: it goes to the dead letters.
        checks: (0..=MAX_PARTS).map(check).collect(),
        swept: Passed { from: at, to: at, link: None },
    };
    let queue = Queue::new(StepName::Query, Some(PlaneKind::Intune)).expect("a queue");
    let job = NewJob::of(JobId::derive(&["too many"]), queue, &Job::Query(query), None);
    rig.store.enqueue(Partition(0), &[job]).await.expect("enqueued");
    let worker =
        rig.worker(&[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")]);
    wait_for("a dead letter", Duration::from_secs(60), async || {
        let dead = rig.store.jobs(queue, JobState::Dead, 10).await.map_err(|e| e.to_string())?;
        if dead.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let received = rig.end(worker, |all| !all.is_empty()).await;
    assert_eq!(received.len(), 1, "{received:#?}");
    assert_eq!(received[0].name, "query");
    assert_eq!(received[0].attributes.get("trueup.keep").map(String::as_str), Some("fault"), "{received:#?}");
}

/// What spans are called and carry, as OpenTelemetry's conventions for messaging and HTTP have it.
fn by_the_conventions(received: &[Received]) {
    let jobs = received.iter().filter(|s| s.attributes.contains_key("messaging.message.id"));
    let mut seen = 0;
    for job in jobs.filter(|s| s.attributes.contains_key("attempt")) {
        for (name, value) in [("messaging.system", "trueup"), ("messaging.operation.type", "process")] {
            assert_eq!(job.attributes.get(name).map(String::as_str), Some(value), "{job:?}");
        }
        let queue = &job.attributes["messaging.destination.name"];
        assert!(queue.starts_with(&job.name), "{job:?}");
        seen += 1;
    }
    assert!(seen > 5, "{seen} jobs");
    let published: Vec<&Received> = received.iter().filter(|s| s.name == "publish").collect();
    assert!(!published.is_empty());
    for publish in published {
        assert_eq!(publish.attributes["messaging.operation.type"], "send", "{publish:?}");
        assert!(publish.attributes.contains_key("messaging.batch.message_count"), "{publish:?}");
    }
    let calls: Vec<&Received> =
        received.iter().filter(|s| s.attributes.contains_key("url.template")).collect();
    assert!(!calls.is_empty());
    for call in calls {
        let expected =
            format!("{} {}", call.attributes["http.request.method"], call.attributes["url.template"]);
        assert_eq!(call.name, expected, "the name has no ids in it");
        for name in ["server.address", "server.port", "http.response.status_code"] {
            assert!(call.attributes.contains_key(name), "{name}: {call:?}");
        }
    }
}

/// `sweep`, `query` and `compare` served several runs: the run's tree links to the spans in which they really worked.
fn batches_are_traces_of_their_own(received: &[Received], tree: &[&Received], trace: &str) {
    for step in ["sweep", "query", "compare"] {
        let shown = tree.iter().find(|s| s.name == step).expect("checked above");
        assert_eq!(shown.links.len(), 1, "{shown:?}");
        let (batch, id) = &shown.links[0];
        assert_ne!(batch, trace, "{step}");
        let real = received.iter().find(|s| s.trace == *batch && s.id == *id);
        let real = real.unwrap_or_else(|| panic!("{step}: links to a span nobody received: {shown:?}"));
        assert_eq!(real.name, step);
        // A batch begins with its sweep, and ends: a tick is not the child of the tick before it.
        let sweeps = received.iter().filter(|s| s.trace == *batch && s.name == "sweep");
        let parents: Vec<&str> = sweeps.map(|s| s.parent.as_str()).collect();
        assert_eq!(parents, [""], "{step}");
        assert!(!real.attributes.contains_key("run"), "a batch is no run's: {real:?}");
    }
    let emit = tree.iter().find(|s| s.name == "emit").expect("checked above");
    let compare = tree.iter().find(|s| s.name == "compare").expect("checked above");
    assert_eq!(emit.links, compare.links, "emit came from the comparison of its batch");
}
