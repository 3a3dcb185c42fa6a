//! What every endpoint plane promises, whatever is behind it: one suite, run against each simulator, and against servers
//! that are out to break it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use trueup_model::intent::{Install, Scope};
use trueup_model::job::Check;
use trueup_model::{
    Action, Clock, DateTime, Duration, EffectKey, Fault, JobId, ManualClock, Observed, PlaneKind, RunId,
    SharedClock, Target,
};
use trueup_planes::{Broker, ConnectionConfig, LocalBroker, Plane, Planes};
use trueup_tests::fleet::sites::{self, ENDPOINT_PLANES, Sites, Wrong};
use trueup_tests::fleet::world_graph::{Graph, TENANT, seed};

struct World {
    clock: ManualClock,
    graph: Graph,
    sites: Sites,
    planes: Planes,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::at(DateTime::from_timestamp(1_795_255_200, 0).expect("a time"));
        let shared: SharedClock = Arc::new(clock.clone());
        let graph =
            Graph::start(&shared, &seed(), trueup_simulators::WaitStyle::Whole).await.expect("a Graph");
        let sites = Sites::start(&shared, &[TENANT], 10).await.expect("sites");
        let mut configs = graph.connections(&[TENANT]).expect("connections");
        configs.extend(sites.connections(&[TENANT]).expect("connections"));
        let planes = connect(&configs, &clock);
        Self { clock, graph, sites, planes }
    }

    fn plane(&self, kind: PlaneKind) -> Arc<dyn Plane> {
        self.planes.get(TENANT, kind).expect("a connection")
    }

    async fn look(&self, kind: PlaneKind, n: usize) -> Result<Observed, Fault> {
        self.clock.advance(Duration::seconds(1));
        let fresh =
            Check { newer_than: Some(self.clock.now() - Duration::milliseconds(500)), ..check(kind, n) };
        self.plane(kind).observe(&[fresh]).await.remove(0)
    }

    async fn scopes(&self, kind: PlaneKind, n: usize) -> BTreeSet<Scope> {
        let seen = self.look(kind, n).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        seen.assignments.expect("assignments").here.into_iter().map(|a| a.scope).collect()
    }

    fn go_wrong(&self, kind: PlaneKind, n: usize, wrong: Wrong) {
        sites::go_wrong(&self.graph, &self.sites, kind, TENANT, n, wrong);
    }

    async fn apply(
        &self,
        kind: PlaneKind,
        n: usize,
        action: &Action,
    ) -> Result<trueup_model::Receipt, Fault> {
        self.plane(kind).apply(&check(kind, n).target, action, &effect()).await
    }
}

fn connect(configs: &[ConnectionConfig], clock: &ManualClock) -> Planes {
    let shared: SharedClock = Arc::new(clock.clone());
    let broker: Arc<dyn Broker> = Arc::new(LocalBroker::new(shared.clone()));
    Planes::connect(configs, &shared, &sites::secrets(&[TENANT]), &broker).expect("planes")
}

fn effect() -> EffectKey {
    EffectKey::of(&JobId::derive(&["contract"]))
}

fn check(kind: PlaneKind, n: usize) -> Check {
    let intent = sites::intent(kind, TENANT, n);
    Check { intent: intent.key, run: RunId::derive(&["r"]), target: intent.target, newer_than: None }
}

fn assign(kind: PlaneKind, n: usize, remove: &[Scope]) -> Action {
    Action::Assign {
        app: check(kind, n).target.app().expect("an application").id,
        install: Install::Required,
        include: BTreeSet::from([sites::group(kind, n)]),
        exclude: BTreeSet::new(),
        remove: remove.iter().cloned().collect(),
    }
}

/// An application that the plane does not have.
fn unknown(kind: PlaneKind) -> Check {
    let mut check = check(kind, 0);
    match &mut check.target {
        Target::Intune(t) => t.app_id = "00000000-0000-4000-8000-00000000dead".into(),
        Target::Jamf(t) => t.policy_id = 4_000_000,
        Target::ConfigMgr(t) => t.ci_id = 4_000_000,
        Target::Ansible(_) => unreachable!("not an endpoint plane"),
    }
    check
}

#[tokio::test]
async fn one_answer_per_check_in_order_and_the_same_for_the_same_question() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        let foreign = check(if kind == PlaneKind::Jamf { PlaneKind::Intune } else { PlaneKind::Jamf }, 0);
        let checks = [check(kind, 3), foreign, check(kind, 1), check(kind, 3)];
        let answers = world.plane(kind).observe(&checks).await;
        assert_eq!(answers.len(), 4, "{kind}");
        assert!(matches!(answers[1], Err(Fault::Bug { .. })), "{kind}: {:?}", answers[1]);
        assert_eq!(answers[0], answers[3], "{kind}");
        for (answer, n) in [(&answers[0], 3), (&answers[2], 1)] {
            let seen = answer.as_ref().unwrap_or_else(|e| panic!("{kind}: {e}"));
            let here = &seen.assignments.as_ref().expect("assignments").here;
            assert_eq!(here[0].scope, sites::group(kind, n), "{kind}: answers are in order");
            assert_eq!(seen.at, world.clock.now(), "{kind}: as old as its read");
        }
        let again = world.plane(kind).observe(&checks).await;
        assert_eq!(answers, again, "{kind}: asked twice");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_told_by_name_and_spoils_no_other_answer() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        let missing = unknown(kind);
        let id = missing.target.app().expect("an application").id;
        let answers = world.plane(kind).observe(&[check(kind, 0), missing, check(kind, 1)]).await;
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{kind}: {answers:?}");
        match &answers[1] {
            Err(Fault::Permanent { what }) => assert!(what.contains(&id), "{kind}: {what}"),
            // A site keeps deployments only: an application without any is an application that nobody was given.
            Ok(seen) => {
                assert!(seen.assignments.as_ref().is_some_and(|a| a.here.is_empty()), "{kind}: {seen:?}")
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_verification_is_never_answered_from_before_the_action() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        world
            .plane(kind)
            .observe(&[check(kind, 0)])
            .await
            .remove(0)
            .unwrap_or_else(|e| panic!("{kind}: {e}"));
        world.go_wrong(kind, 0, Wrong::MissingAssignment);
        assert_eq!(world.scopes(kind, 0).await, BTreeSet::new(), "{kind}");
    }
}

#[tokio::test]
async fn an_action_done_twice_does_no_more_than_once_and_leaves_others_entries_alone() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        // Somebody else's group, and ours missing.
        world.go_wrong(kind, 0, Wrong::MissingAssignment);
        world.go_wrong(kind, 0, Wrong::Scope);
        world.clock.advance(Duration::minutes(10));
        let (ours, others) = (sites::group(kind, 0), sites::group(kind, 1));
        assert_eq!(world.scopes(kind, 0).await, BTreeSet::from([others.clone()]), "{kind}");
        let first =
            world.apply(kind, 0, &assign(kind, 0, &[])).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        let second =
            world.apply(kind, 0, &assign(kind, 0, &[])).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert!(first.changed && !second.changed, "{kind}: {first:?} {second:?}");
        world.clock.advance(Duration::minutes(10));
        assert_eq!(world.scopes(kind, 0).await, BTreeSet::from([ours.clone(), others.clone()]), "{kind}");
        world.apply(kind, 0, &assign(kind, 0, &[others])).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        world.clock.advance(Duration::minutes(10));
        assert_eq!(world.scopes(kind, 0).await, BTreeSet::from([ours]), "{kind}: taken away when told so");
    }
}

#[tokio::test]
async fn an_action_on_what_is_not_the_targets_is_refused() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        let fault = world.apply(kind, 0, &assign(kind, 1, &[])).await.expect_err("refused");
        assert!(matches!(fault, Fault::Bug { .. }), "{kind}: {fault}");
        let foreign = if kind == PlaneKind::Jamf { PlaneKind::Intune } else { PlaneKind::Jamf };
        let target = check(foreign, 0).target;
        let fault =
            world.plane(kind).apply(&target, &assign(foreign, 0, &[]), &effect()).await.expect_err("refused");
        assert!(matches!(fault, Fault::Bug { .. }), "{kind}: {fault}");
    }
}

#[tokio::test]
async fn failing_devices_are_named_and_the_remedy_reaches_them() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        world.go_wrong(kind, 0, Wrong::Compliance);
        let seen = world.look(kind, 0).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        let compliance = seen.compliance.expect("compliance");
        assert_eq!((compliance.noncompliant, compliance.failing.len()), (2, 2), "{kind}");
        let comply = Action::Comply { devices: compliance.failing };
        world.apply(kind, 0, &comply).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        world.apply(kind, 0, &comply).await.unwrap_or_else(|e| panic!("again on {kind}: {e}"));
        world.clock.advance(Duration::hours(1));
        let seen = world.look(kind, 0).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(seen.compliance.expect("compliance").noncompliant, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_probe_proves_the_connection() {
    let world = World::new().await;
    for kind in ENDPOINT_PLANES {
        let said = world.plane(kind).probe().await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert!(!said.is_empty() && !said.contains('\n'), "{kind}: {said}");
    }
}

/// A connection of each plane to whatever answers there.
fn to(origin: &str) -> Vec<ConnectionConfig> {
    let configs = [
        json!({"plane": "intune", "name": "a", "tenant": TENANT, "directory_tenant": TENANT, "client_id": "i",
            "client_secret_env": "SECRET_OF_CONTOSO", "graph_url": format!("{origin}/v1.0"), "login_url": origin}),
        json!({"plane": "jamf", "name": "b", "tenant": TENANT, "url": origin, "client_id": "i",
            "client_secret_env": "SECRET_OF_CONTOSO"}),
        json!({"plane": "configmgr", "name": "c", "tenant": TENANT, "url": format!("{origin}/AdminService"),
            "auth": {"entra": {"login_url": origin, "directory_tenant": TENANT, "client_id": "i",
                "client_secret_env": "SECRET_OF_CONTOSO", "scope": "s"}}}),
    ];
    configs.into_iter().map(|c| serde_json::from_value(c).expect("a connection")).collect()
}

#[derive(Debug, PartialEq)]
enum Kind {
    Passes,
    Waits,
    Stays,
}

fn kind_of(fault: &Fault) -> Kind {
    match fault {
        Fault::Transient { .. } => Kind::Passes,
        Fault::Throttled { .. } | Fault::Away { .. } => Kind::Waits,
        Fault::Permanent { .. } => Kind::Stays,
        Fault::Bug { what } => panic!("{what}"),
    }
}

/// Answers everything with this, but logins with a token.
async fn hostile(status: u16, header: (&'static str, &'static str), body: Vec<u8>) -> String {
    let answer = move |uri: axum::http::Uri| {
        let body = body.clone();
        async move {
            if uri.path().ends_with("/token") {
                let token = json!({"access_token": "t", "expires_in": 3599, "token_type": "Bearer"});
                return (StatusCode::OK, [("x-none", "")], token.to_string().into_bytes());
            }
            (StatusCode::from_u16(status).expect("a status"), [header], body)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    origin
}

#[tokio::test]
async fn whatever_a_server_answers_becomes_a_fault_that_says_what_and_where() {
    let clock = ManualClock::at(DateTime::from_timestamp(1_795_255_200, 0).expect("a time"));
    let none = ("x-none", "");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let bomb = r#"<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><policy><general><name>&b;</name></general></policy>"#;
    type Row<'a> = (u16, (&'static str, &'static str), Vec<u8>, &'a [Kind]);
    let table: Vec<Row<'_>> = vec![
        // After several of them the plane is left alone for a while: then it is a wait.
        (500, none, b"<html><p>oops</p></html>".to_vec(), &[Kind::Passes, Kind::Waits]),
        (502, none, vec![], &[Kind::Passes, Kind::Waits]),
        (429, ("retry-after", "7"), vec![], &[Kind::Waits]),
        (429, none, vec![], &[Kind::Waits]),
        (503, ("retry-after", "2.5"), vec![], &[Kind::Waits]),
        (401, none, vec![], &[Kind::Stays]),
        (403, none, vec![], &[Kind::Stays]),
        (302, ("location", "http://127.0.0.1:1/"), vec![], &[Kind::Stays]),
        (200, none, b"<html>sign in</html>".to_vec(), &[Kind::Passes, Kind::Stays]),
        (
            200,
            none,
            b"{\"value\": 7, \"results\": 7, \"totalCount\": \"x\"}".to_vec(),
            &[Kind::Passes, Kind::Stays],
        ),
        (200, none, vec![0xff; 64], &[Kind::Passes, Kind::Stays]),
        (200, none, deep.into_bytes(), &[Kind::Passes, Kind::Stays]),
        (200, none, bomb.into(), &[Kind::Passes, Kind::Stays]),
        (200, none, vec![b' '; 17 * 1024 * 1024], &[Kind::Passes, Kind::Stays]),
    ];
    for (status, header, body, expected) in table {
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        let origin = hostile(status, header, body).await;
        // Each case from the beginning: nothing is remembered of the last one.
        let planes = connect(&to(&origin), &clock);
        for kind in ENDPOINT_PLANES {
            let plane = planes.get(TENANT, kind).expect("a connection");
            for answer in plane.observe(&[check(kind, 0), check(kind, 1)]).await {
                let Err(fault) = answer else { panic!("{kind} believed {status} '{start}': {answer:?}") };
                let text = fault.to_string();
                assert!(expected.contains(&kind_of(&fault)), "{kind}, {status} '{start}': {fault:?}");
                assert!(text.len() < 1_000 && !text.contains(char::is_control), "{kind}: {text}");
            }
            let fault = plane.apply(&check(kind, 0).target, &assign(kind, 0, &[]), &effect()).await;
            kind_of(&fault.expect_err("nothing was done"));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_named() {
    let clock = ManualClock::at(DateTime::from_timestamp(1_795_255_200, 0).expect("a time"));
    let nobody =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let planes = connect(&to(&format!("http://{nobody}")), &clock);
    for kind in ENDPOINT_PLANES {
        let plane = planes.get(TENANT, kind).expect("a connection");
        let fault = plane.observe(&[check(kind, 0)]).await.remove(0).expect_err("nobody answers");
        assert!(matches!(kind_of(&fault), Kind::Passes | Kind::Waits), "{kind}: {fault:?}");
        assert!(fault.to_string().contains("no answer from 127.0.0.1"), "{kind}: {fault}");
    }
}
