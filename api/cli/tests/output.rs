//! What people see: help and tables, as snapshots.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::{World, fleet, run};
use trueup_model::{DriftKind, Finding, IntentKey};

#[test]
fn help_teaches() {
    insta::assert_snapshot!("help", run(&["--help"]).ends(0).out);
    for command in [
        "apply",
        "get",
        "delete",
        "check",
        "reconcile",
        "man",
        "explain",
        "causes",
        "queue",
        "blast",
        "doctor",
        "serve",
        "completion",
        "login",
        "profile",
        "worker",
    ] {
        insta::assert_snapshot!(format!("help_{command}"), run(&[command, "--help"]).ends(0).out);
    }
}

#[test]
fn tables() {
    let world = World::drifted();
    let table: [(&str, &[&str]); 9] = [
        ("intents", &["get", "intents", "--tenant", "acme"]),
        ("intents_wide", &["get", "intents", "--tenant", "acme", "-o", "wide"]),
        ("intent", &["get", "intent", "acme/drifted"]),
        ("findings", &["get", "findings"]),
        ("approvals", &["get", "approvals"]),
        ("events", &["get", "events", "--intent", "acme/drifted"]),
        ("queues", &["queue", "ls"]),
        ("jobs", &["queue", "show", "emit"]),
        ("check", &["check", "acme/fine"]),
    ];
    for (name, args) in table {
        let ran = world.run(args).ends(0);
        assert!(!ran.out.contains('\u{1b}'), "no escape sequence may reach a terminal: {ran:?}");
        insta::assert_snapshot!(name, ran.out);
    }
}

#[test]
fn a_finding_is_explained_as_a_story() {
    let world = World::drifted();
    let key = |id| IntentKey::new("acme", id);
    let drifted = Finding::id_of(&key("drifted"), DriftKind::MissingAssignment);
    let scope = Finding::id_of(&key("scope"), DriftKind::ScopeMismatch);
    let whole = world.run(&["explain", drifted.as_str()]).ends(0).out;
    insta::assert_snapshot!("explain_automatic", whole);
    insta::assert_snapshot!("explain_review", world.run(&["explain", scope.as_str()]).ends(0).out);
    // The beginning is enough, with or without the prefix.
    for id in [&drifted.as_str()[..10], &drifted.as_str()[4..12]] {
        assert_eq!(world.run(&["explain", id]).ends(0).out, whole, "{id}");
    }
    assert!(world.run(&["explain", "zzzzzz"]).ends(4).err.contains("no finding's id begins with 'zzzzzz'"));
    assert!(world.run(&["explain", "abc"]).ends(1).err.contains("expected 6 to"));
}

#[test]
fn doctor_finds_what_is_wrong() {
    let world = World::drifted();
    let ran = world.run(&["doctor"]).ends(5);
    // Without the port, and without the column widths that depend on its length.
    let shown = ran.out.replace(&world.url, "http://127.0.0.1:PORT");
    let shown: Vec<String> =
        shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    insta::assert_snapshot!("doctor", shown.join("\n"));
    let told = world.run(&["doctor", "--output", "json"]).ends(5).json();
    assert_eq!(told["well"], false);

    let empty = World::empty();
    let ran = empty.run(&["doctor"]).ends(5);
    assert!(ran.out.contains("none is running: nothing is checked"), "{ran:?}");
    empty.block_on(fleet::tick(empty.store.as_ref()));
    empty.block_on(async {
        use trueup_engine::Store as _;
        empty.store.beat(trueup_model::Partition(0), &fleet::worker()).await.unwrap();
    });
    empty.run(&["doctor"]).ends(0);
}
