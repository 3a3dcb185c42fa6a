//! An Ansible that is missing, hangs, prints garbage, or has no project: a clear reason each, and the rest goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use trueup_boot::embedded::Options;
use trueup_engine::{JobState, Store};
use trueup_model::intent::Desired;
use trueup_model::target::AnsibleTarget;
use trueup_model::{Condition, EventKind, Intent, IntentKey, Target};
use trueup_planes::ConnectionConfig;
use trueup_simulators::{Mischief, app_id};
use trueup_tests::fleet::world_graph::{OTHER, assigned, key};
use trueup_tests::fleet::world_live::Live;

/// A program. Copied by another process: one that this process has written could be "busy" when it is to be run.
fn program(dir: &Path, name: &str, text: &str) -> String {
    let (source, path) = (dir.join(format!("{name}.txt")), dir.join(name));
    std::fs::write(&source, text).expect("a file");
    let done = std::process::Command::new("install").args(["-m", "755"]).arg(&source).arg(&path).status();
    assert!(done.expect("install runs").success());
    path.display().to_string()
}

fn connection(tenant: &str, project: &Path, program: &str) -> ConnectionConfig {
    let config = json!({"plane": "ansible", "name": tenant, "tenant": tenant, "project": project,
        "ansible_playbook": program, "timeout_seconds": 1});
    serde_json::from_value(config).expect("a connection")
}

fn folder(tenant: &str) -> Intent {
    Intent {
        key: IntentKey::new(tenant, "folder"),
        target: Target::Ansible(AnsibleTarget {
            playbook: "site.yml".into(),
            inventory: "hosts.ini".into(),
            limit: None,
        }),
        desired: Desired { assignment: None, version: None, compliant: true },
        labels: BTreeMap::new(),
        windows: Vec::new(),
        ..assigned(tenant, 0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trouble_has_its_reason_and_is_nobody_elses() {
    let dir = tempfile::tempdir().expect("a directory");
    let project = dir.path();
    std::fs::write(project.join("site.yml"), "- hosts: all\n").expect("a file");
    std::fs::write(project.join("hosts.ini"), "[lab]\nweb1\n").expect("a file");
    let hangs = program(project, "hangs", "#!/bin/sh\nsleep 600\n");
    let garbage = program(project, "garbage", "#!/bin/sh\necho '<html>\u{1b}[31mwelcome'\n");
    let fails = program(project, "fails", "#!/bin/sh\necho 'ERROR! something is very wrong' >&2\nexit 5\n");
    let dies = program(project, "dies", "#!/bin/sh\nkill -9 $$\n");
    let nowhere = project.join("nowhere");
    let ok = "ansible-playbook-that-nobody-installed";
    let troubles = [
        ("missing", connection("missing", project, ok), "install ansible-core"),
        ("hangs", connection("hangs", project, &hangs), "raise `timeout_seconds`"),
        ("garbage", connection("garbage", project, &garbage), "something that is no report"),
        ("fails", connection("fails", project, &fails), "something is very wrong"),
        ("dies", connection("dies", project, &dies), "ended by a signal"),
        ("homeless", connection("homeless", &nowhere, &garbage), "correct `project`"),
    ];
    let live = Live::start(Options::default(), troubles.iter().map(|t| t.1.clone()).collect()).await;
    let app = app_id(OTHER, 0);
    live.graph.tenant(OTHER).mischief(&Mischief::RemoveAssignments { app }).expect("done");
    let mut intents: Vec<Intent> = troubles.iter().map(|(tenant, ..)| folder(tenant)).collect();
    intents.push(assigned(OTHER, 0));
    live.apply(&intents).await;

    live.sees(&key(OTHER, 0), EventKind::RemediationVerified).await;
    for (tenant, _, words) in &troubles {
        let it = folder(tenant).key;
        let record = live.becomes(&it, Condition::Unreachable).await;
        assert_eq!(record.state.attempts.made, 0, "{tenant}");
        let reason = live.reason(&it).await;
        assert!(reason.contains(words), "{tenant}: {reason}");
        assert!(!reason.contains('\u{1b}'), "{tenant}: control characters in {reason:?}");
        assert!(live.store.findings(&it).await.expect("an answer").is_empty(), "{tenant}");
    }
    let dead = live.jobs(JobState::Dead).await;
    assert!(dead.is_empty(), "{dead:#?}");
    live.end().await;
}
