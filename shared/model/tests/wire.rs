//! The wire forms, one snapshot each. A snapshot that changes is a change of the wire: raise `job::VERSION`, and add a
//! function that upgrades the old form, with its snapshot kept as the fixture.

use std::collections::BTreeSet;

use chrono::DateTime;
use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::job::{
    self, Check, Compare, Cx, Emit, Escalate, Notify, Query, Remediate, Seen, Span, Sweep, Undecodable,
};
use trueup_model::notice::NoticeGroup;
use trueup_model::observed::{AssignmentSeen, Assignments, ComplianceSeen, Observed, VersionSeen};
use trueup_model::plan::Planned;
use trueup_model::target::IntuneTarget;
use trueup_model::*;

fn at(seconds: i64) -> Time {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap_or_default()
}

fn key() -> IntentKey {
    IntentKey::new("contoso", "vpn-lab")
}

fn run() -> RunId {
    RunId::derive(&["contoso", "vpn-lab", "0", "1"])
}

fn span(from: i64) -> Span {
    Span { from: at(from), to: at(from + 1), link: Some(TraceParent::root(&["batch"]).as_str().to_owned()) }
}

fn target() -> Target {
    Target::Intune(IntuneTarget {
        app_id: "7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e".into(),
        app_name: "Contoso VPN".into(),
        replaces: vec!["591620b7-20b7-5916-b720-1659b7201659".into()],
    })
}

fn group() -> Scope {
    Scope::Group("11111111-0000-4000-8000-000000000001".into())
}

fn drift() -> Drift {
    let delta =
        Delta { path: "version".into(), desired: "4.2.1".into(), observed: "4.1.0 on 3 devices".into() };
    Drift { affected_devices: 3, ..Drift::new(DriftKind::VersionMismatch, vec![delta], at(2)) }
}

fn plan() -> Plan {
    let action = Action::Assign {
        app: "7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e".into(),
        install: Install::Required,
        include: BTreeSet::from([group()]),
        exclude: BTreeSet::from([Scope::AllUsers]),
        remove: BTreeSet::new(),
    };
    let planned = Planned { action, kind: DriftKind::VersionMismatch, summary: "assign 4.2.1".into() };
    Plan::new(1, &[&drift().digest], vec![planned])
}

fn observed() -> Observed {
    Observed {
        at: at(1),
        assignments: Some(Assignments {
            here: vec![AssignmentSeen {
                app: "7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e".into(),
                scope: group(),
                install: Install::Required,
                excluded: false,
            }],
            replaced: Vec::new(),
        }),
        versions: Some(vec![VersionSeen { version: "4.1.0".into(), devices: 3, reported: Some(at(0)) }]),
        compliance: Some(ComplianceSeen {
            devices: 3,
            noncompliant: 1,
            failing: vec!["d1".into()],
            ..Default::default()
        }),
    }
}

fn jobs() -> Vec<(&'static str, Job)> {
    let throttled = Fault::Throttled { until: at(30), what: "429".into() };
    vec![
        ("tick", Job::Sweep(Sweep { partition: Partition(3), only: None, correlation_id: None })),
        ("request", job::request(Partition(3), vec![key()], CorrelationId::derive(&["r"])).1),
        (
            "query",
            Job::Query(Query {
                tenant: "contoso".into(),
                plane: PlaneKind::Intune,
                checks: vec![Check { intent: key(), run: run(), target: target(), newer_than: Some(at(0)) }],
                swept: span(0),
            }),
        ),
        (
            "compare",
            Job::Compare(Compare {
                plane: PlaneKind::Intune,
                seen: vec![
                    Seen { intent: key(), run: run(), observation: Observation::Seen(observed()) },
                    Seen { intent: key(), run: run(), observation: Observation::Unreachable(throttled) },
                ],
                swept: span(0),
                queried: span(1),
            }),
        ),
        (
            "emit",
            Job::Emit(Emit {
                intent: key(),
                run: run(),
                generation: 1,
                drifts: vec![drift()],
                unjudged: vec!["compliance: no device has reported".into()],
                unjudged_kinds: vec![DriftKind::ComplianceDrift],
                condition: Condition::Drifted,
                ignored: Vec::new(),
                passed: [span(0), span(1), span(2)],
                trace: None,
            }),
        ),
        (
            "remediate",
            Job::Remediate(Remediate {
                intent: key(),
                run: run(),
                plan: plan(),
                index: 0,
                attempt: 1,
                generation: 1,
            }),
        ),
        (
            "escalate",
            Job::Escalate(Escalate {
                intent: key(),
                run: run(),
                drifts: vec![drift()],
                attempts: 3,
                plan: plan(),
            }),
        ),
        ("collect", Job::Notify(Notify { deliver: None, kept: None })),
        ("deliver", Job::Notify(Notify { deliver: Some(delivery()), kept: None })),
    ]
}

fn delivery() -> Delivery {
    let finding = Finding::id_of(&key(), DriftKind::VersionMismatch);
    let notice = Notice {
        id: Notice::id_of(Topic::Escalated, &finding, at(0)),
        topic: Topic::Escalated,
        at: at(1),
        intent: key(),
        plane: PlaneKind::Intune,
        kind: DriftKind::VersionMismatch,
        severity: Severity::High,
        finding,
        causes: vec!["app:7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e".into()],
        subject: "Drift not remediated".into(),
        text: "version: meant 4.2.1, is 4.1.0".into(),
        correlation_id: job::correlation_of(&run()),
    };
    let group = NoticeGroup {
        topic: notice.topic,
        plane: notice.plane,
        kind: notice.kind,
        cause: notice.causes[0].clone(),
        members: 400,
        severity: notice.severity,
        examples: vec![notice],
    };
    Delivery { channel: "ops".into(), tenant: "contoso".into(), at: at(2), groups: vec![group] }
}

/// Whether serde_json keeps the order of keys depends on what else is built (a feature of its own); nothing of ours does.
fn sorted() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_sort_maps(true);
    settings
}

#[test]
fn every_job_has_its_wire_form_and_comes_back_from_it() {
    for (name, job) in jobs() {
        let bytes = job.encode();
        let tree: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        sorted().bind(|| insta::assert_json_snapshot!(format!("job_{name}"), tree));
        assert_eq!(Job::decode(&bytes), Ok(job), "{name}");
    }
}

#[test]
fn what_is_no_job_says_why() {
    let newer = br#"{"v":2,"step":"sweep","something":"new"}"#;
    assert_eq!(Job::decode(newer), Err(Undecodable::Newer(2)));
    let table: [&[u8]; 6] = [
        b"",
        b"\xff\xfe",
        b"{",
        br#"{"step":"sweep"}"#,
        br#"{"v":1,"step":"fly"}"#,
        br#"{"v":1,"step":"sweep"}"#,
    ];
    for bytes in table {
        assert!(matches!(Job::decode(bytes), Err(Undecodable::Broken(_))), "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_stored_documents_have_their_wire_forms() {
    let manifest = Intent {
        key: key(),
        workspace: None,
        target: target(),
        desired: Desired {
            assignment: Some(Assignment {
                install: Install::Required,
                include: BTreeSet::from([group()]),
                exclude: BTreeSet::new(),
                exclusive: true,
            }),
            version: Some("4.2.1".into()),
            compliant: true,
        },
        criticality: Criticality::Standard,
        ring: Ring::Lab,
        privileged: false,
        mode: Mode::Enforce,
        status: Status::Pending,
        labels: [("team".to_owned(), "net".to_owned())].into(),
        windows: Vec::new(),
    };
    insta::assert_json_snapshot!("intent", manifest);

    let active = ActiveRun {
        id: run(),
        trigger: Trigger::Schedule,
        correlation_id: job::correlation_of(&run()),
        started_at: at(0),
    };
    let mut state = IntentState::default().begin(active).expect("no run is active");
    state.now_is(Condition::Drifted, at(1));
    state.drifts.insert(DriftKind::VersionMismatch, drift().digest);
    insta::assert_json_snapshot!("state", state);

    let decision = Decision {
        verdict: Verdict::Review,
        reasons: vec![Reason {
            rule: "production-ring".into(),
            says: Verdict::Review,
            because: "production".into(),
        }],
        policy: "dig_x".into(),
        would_change: "another ring".into(),
        not_before: None,
    };
    let id = Finding::id_of(&key(), DriftKind::VersionMismatch);
    let mut finding = Finding {
        plane: trueup_model::PlaneKind::Intune,
        persistent: false,
        security: false,
        causes: Vec::new(),
        id: id.clone(),
        intent: key(),
        kind: DriftKind::VersionMismatch,
        open: true,
        severity: Severity::Medium,
        digest: drift().digest,
        affected_devices: 3,
        delta: drift().delta,
        opened_at: at(2),
        last_seen_at: at(2),
        resolved_at: None,
        recurrences: 0,
        attempts: 0,
        decision,
        next_at: None,
        correlation_id: job::correlation_of(&run()),
        facts: Vec::new(),
    };
    for (n, drifted) in [true, false].into_iter().enumerate() {
        finding.append(Fact {
            drifted,
            desired: "4.2.1".into(),
            observed: "4.1.0".into(),
            valid_from: at(n as i64),
            valid_to: None,
            recorded_at: at(n as i64 + 1),
            superseded_at: None,
        });
    }
    insta::assert_json_snapshot!("finding", finding);

    let approval = Approval {
        id: Approval::id_of(&id, ApprovalKind::Review, &drift().digest, at(3)),
        kind: ApprovalKind::Review,
        state: ApprovalState::Open,
        intent: key(),
        finding: id,
        drift: DriftKind::VersionMismatch,
        digest: drift().digest,
        plan: plan(),
        because: vec!["production".into()],
        opened_at: at(3),
        closed_at: None,
        correlation_id: job::correlation_of(&run()),
    };
    insta::assert_json_snapshot!("approval", approval);

    let cx = Cx {
        now: at(3),
        job: JobId::derive(&["emit"]),
        partition: Partition(0),
        attempt: 1,
        started_at: at(2),
        trace: TraceParent::root(&[run().as_str()]),
    };
    let event = Event {
        event_id: EventId::derive(&[cx.job.as_str(), "0"]),
        seq: 4711,
        schema: 1,
        event_type: EventKind::DriftDetected,
        tenant: "contoso".into(),
        intent: "vpn-lab".into(),
        correlation_id: job::correlation_of(&run()),
        causation_id: Some(cx.job.clone()),
        trace_id: cx.trace.trace_id().map(str::to_owned),
        actor: event::LOOP.into(),
        created_at: cx.now,
        event_data: serde_json::json!({"deployment_intent_id": "vpn-lab", "effect_key": cx.effect()}),
    };
    insta::assert_json_snapshot!("event", event);
}
