//! Traces, as a real OTLP receiver gets them from a real process.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trueup_engine::{By, EventFilter, RedisOptions, RedisStore, Store};
use trueup_model::{CorrelationId, Event, EventKind, SharedClock, SystemClock};
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

/// The events of a run with one missing assignment, among intents that are as they were meant, worked on by one process
/// that then ended gracefully; and what the receiver got.
async fn one_drifted_run() -> Option<(Vec<Event>, Vec<Received>)> {
    let rotel = Rotel::start(&agent()?).await;
    let clock: SharedClock = Arc::new(SystemClock);
    let graph = Graph::start(&clock, &seed(), WaitStyle::Whole).await.expect("a simulated Graph");
    graph.tenant(TENANT).mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 0) }).expect("done");
    let redis = trueup_tests::world::redis().await.expect("a private Redis");
    let store = RedisStore::connect(RedisOptions::new(redis.url(), clock.clone())).await.expect("a store");
    let correlation_id = CorrelationId::derive(&["traces"]);
    let by = By { actor: "operator".into(), correlation_id, now: clock.now() };
    let intents: Vec<_> = (0..4).map(|n| assigned(TENANT, n)).collect();
    store.apply(&intents, &by).await.expect("applied");

    let mut worker = Worker(
        Command::new(env!("CARGO_BIN_EXE_trace_worker"))
            .args([redis.url(), graph.origin.clone()])
            .env_remove("OTEL_SDK_DISABLED")
            .env_remove("OTEL_TRACES_EXPORTER")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", rotel.http))
            .stdin(Stdio::null())
            .spawn()
            .expect("a worker starts"),
    );
    let filter = EventFilter { intent: Some(key(TENANT, 0)), ..EventFilter::default() };
    let events = wait_for("verified", Duration::from_secs(60), async || {
        let found = store.events(&filter, &BTreeMap::new(), 100).await.map_err(|e| e.to_string())?;
        let events: Vec<Event> = found.into_iter().map(|(_, e)| e).collect();
        let verified = events.iter().any(|e| e.event_type == EventKind::RemediationVerified);
        if verified { Ok(events) } else { Err(format!("{events:#?}")) }
    })
    .await;
    kill_process(Pid::from_child(&worker.0), Signal::TERM).expect("a signal");
    let status = wait_for("a graceful end", Duration::from_secs(30), async || {
        worker.0.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| "still running".to_owned())
    });
    assert!(status.await.success());
    // All spans were sent before it ended; the receiver shows them within its batch's time.
    let wanted = |kind| events.iter().find(|e| e.event_type == kind).and_then(|e| e.trace_id.clone());
    let roots = [EventKind::RemediationStarted, EventKind::RemediationVerified].map(wanted);
    let received = wait_for("the runs' roots", Duration::from_secs(20), async || {
        let received = spans(&rotel.output());
        let is_root = |s: &&Received| s.name == "reconcile" && roots.contains(&Some(s.trace.clone()));
        match received.iter().filter(is_root).count() {
            2 => Ok(received),
            n => Err(format!("{n} roots among {} spans", received.len())),
        }
    });
    Some((events.clone(), received.await))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drifted_run_is_one_tree_from_sweep_to_remediate() {
    let Some((events, received)) = one_drifted_run().await else { return };
    let of = |kind: EventKind| events.iter().find(|e| e.event_type == kind).expect("it happened");
    let trace = of(EventKind::RemediationStarted).trace_id.clone().expect("events name their trace");
    for kind in [EventKind::DriftDetected, EventKind::PolicyDecided, EventKind::RemediationApplied] {
        assert_eq!(of(kind).trace_id.as_ref(), Some(&trace), "{kind:?}");
    }

    let tree: Vec<&Received> = received.iter().filter(|s| s.trace == trace).collect();
    let roots: Vec<&&Received> = tree.iter().filter(|s| s.parent.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{tree:#?}");
    assert_eq!(roots[0].name, "reconcile");
    let ids: BTreeSet<&str> = tree.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids.len(), tree.len(), "span ids repeat: {tree:#?}");
    // Every span is reached from the root by parents that were received.
    let parents: BTreeMap<&str, &str> = tree.iter().map(|s| (s.id.as_str(), s.parent.as_str())).collect();
    for span in &tree {
        let mut at = span.id.as_str();
        let mut steps = 0;
        while at != roots[0].id {
            at = parents.get(at).copied().unwrap_or_else(|| panic!("{span:?} hangs in the air: {tree:#?}"));
            steps += 1;
            assert!(steps <= tree.len(), "in circles");
        }
    }
    let steps = ["reconcile", "sweep", "query", "compare", "emit", "remediate"];
    let run = roots[0].attributes.get("run").expect("the root names its run").clone();
    for step in steps {
        let named: Vec<&&Received> = tree.iter().filter(|s| s.name == step).collect();
        assert_eq!(named.len(), 1, "{step}: {tree:#?}");
        assert_eq!(named[0].attributes.get("run"), Some(&run), "{step}");
    }
    // What was done to the plane is below the step that did it.
    let remediate = tree.iter().find(|s| s.name == "remediate").expect("checked above");
    let below = tree.iter().filter(|s| s.parent == remediate.id).map(|s| s.name.as_str());
    let below: Vec<&str> = below.collect();
    assert!(below.contains(&"POST /deviceAppManagement/mobileApps/{id}/assign"), "{below:?}");

    batches_are_traces_of_their_own(&received, &tree, &trace);
    // The look that verified it is another run, and another trace.
    let verified = of(EventKind::RemediationVerified).trace_id.clone().expect("events name their trace");
    assert_ne!(verified, trace);
    let names: BTreeSet<&str> =
        received.iter().filter(|s| s.trace == verified).map(|s| s.name.as_str()).collect();
    assert!(
        BTreeSet::from(["reconcile", "sweep", "query", "compare", "emit"]).is_subset(&names),
        "{names:?}"
    );
    assert!(!names.contains("remediate"));
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
