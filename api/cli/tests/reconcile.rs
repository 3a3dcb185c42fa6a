//! Asking for looks, at many intents at once, and what became of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::{World, run};
use trueup_engine::Store as _;
use trueup_model::{ActiveRun, Condition, CorrelationId, IntentKey, Trigger, Write};

/// Ends a run of each of these, with a condition.
async fn look(world: &World, found: &[(&str, Condition)]) {
    for (id, condition) in found {
        let key = IntentKey::new("acme", *id);
        let record = world.store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
        let mut state = record.state;
        (state.runs, state.condition) = (state.runs + 1, *condition);
        let write = Write::State {
            intent: key.clone(),
            rev: record.rev,
            state: Box::new(state),
            due: None,
            ends_run: true,
        };
        let commit = trueup_model::Commit { writes: vec![write], ..Default::default() };
        common::fleet::commit(world.store.as_ref(), &key, "run", commit).await;
    }
}

/// Begins a run that somebody asked for; its id.
async fn begin(world: &World, id: &str) -> String {
    let key = IntentKey::new("acme", id);
    let record = world.store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let mut state = record.state;
    let run = state.next_run(&record.intent);
    let correlation_id = CorrelationId::derive(&["asked"]);
    let (trigger, started_at) = (Trigger::Request, common::fleet::start());
    state.run = Some(ActiveRun { id: run.clone(), trigger, correlation_id, started_at });
    let write = Write::State {
        intent: key.clone(),
        rev: record.rev,
        state: Box::new(state),
        due: None,
        ends_run: false,
    };
    let commit = trueup_model::Commit { writes: vec![write], ..Default::default() };
    common::fleet::commit(world.store.as_ref(), &key, "begin", commit).await;
    run.to_string()
}

#[test]
fn many_are_looked_at_and_waited_for() {
    let world = World::drifted();
    let ran = world.run(&["reconcile", "acme/fine", "acme/drifted"]).ends(0);
    let id = ran.out.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(ran.out, format!("2 intents will be looked at now: {id}\n"));
    assert!(ran.err.contains(&format!("trueup get reconciliation {id} --wait")), "{ran:?}");

    // Nobody works here: the wait is bounded, says how far it is, and that it goes on.
    let ran = world.run(&["get", "reconciliation", &id, "--wait", "--timeout", "1"]).ends(1);
    assert!(
        ran.err.contains("not done within 1s: 0 of 2 looked at") && ran.err.contains("trueup doctor"),
        "{ran:?}"
    );

    world.block_on(look(&world, &[("fine", Condition::InSync), ("drifted", Condition::Drifted)]));
    let ran = world.run(&["get", "reconciliation", &id, "--wait"]).ends(5);
    assert_eq!(ran.out, "2 intents looked at: 1 in sync, 1 drifted\n");
    assert!(ran.err.contains("trueup get findings --open --tenant acme"), "{ran:?}");
    let json = world.run(&["get", "reconciliation", &id, "-o", "json"]).ends(0).json();
    assert_eq!((&json["done"], &json["progress"]["finished"]["drifted"]), (&true.into(), &1.into()));
    let shown = world.run(&["get", "reconciliation", &id]).ends(0).out;
    assert!(shown.contains("done: 2 of 2 looked at") && shown.contains("1 in sync, 1 drifted"), "{shown}");
    assert_eq!(world.run(&["get", "reconciliation", &id, "-o", "name"]).ends(0).out, format!("{id}\n"));
    let listed = world.run(&["get", "reconciliations", "--tenant", "acme"]).ends(0).out;
    assert!(listed.contains(&id) && listed.starts_with("RECONCILIATION "), "{listed}");
    assert!(world.run(&["get", "reconciliations", "--tenant", "other"]).ends(0).out.is_empty());

    // All in sync: status 0, in every form.
    let asked = world.run(&["reconcile", "acme/fine", "-o", "name"]).ends(0).out;
    world.block_on(look(&world, &[("fine", Condition::InSync)]));
    let ran = world.run(&["get", "reconciliation", asked.trim(), "--wait"]).ends(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("1 intent looked at: 1 in sync\n", ""));
}

#[test]
fn a_key_asks_once() {
    let world = World::drifted();
    let args = ["reconcile", "--tenant", "acme", "--idempotency-key", "release-1", "-o", "name"];
    let first = world.run(&args).ends(0).out;
    assert_eq!(world.run(&args).ends(0).out, first);
    let other = world.run(&["reconcile", "acme/fine", "--idempotency-key", "release-1"]).ends(1);
    assert!(other.err.contains("dempotency"), "{other:?}");
    assert_ne!(world.run(&["reconcile", "--tenant", "acme", "-o", "name"]).ends(0).out, first);
    let labelled = world.run(&["reconcile", "--tenant", "acme", "-l", "team=browsers", "-o", "json"]).ends(0);
    assert!(labelled.json()["accepted"].as_u64() >= Some(1));
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let world = World::drifted();
    let ran = world.run(&["reconcile", "acme/fine", "acme/nobody"]).ends(1);
    assert!(ran.out.starts_with("1 intent will be looked at now: "), "{ran:?}");
    assert!(
        ran.err.contains("1 intent cannot be looked at") && ran.err.contains("where: acme/nobody: "),
        "{ran:?}"
    );
    world.run(&["reconcile", "acme/nobody"]).ends(4);
    world.run(&["reconcile", "acme/nobody", "acme/none"]).ends(1);
    world.run(&["reconcile", "--tenant", "nobody"]).ends(4);
    let none = world.run(&["reconcile", "--tenant", "acme", "-l", "team=nobody"]).ends(1);
    assert!(none.err.contains("none of the"), "{none:?}");
    world.run(&["reconcile", "--tenant", "acme", "-l", "=="]).ends(1);
    world.run(&["get", "reconciliation", "rec_0v2c4ae9k1m7q3x5z8bd"]).ends(4);
    world.run(&["get", "reconciliation", "../etc", "--wait"]).ends(4);
}

#[test]
fn runs_are_shown_and_told() {
    let world = World::drifted();
    assert!(world.run(&["get", "runs"]).ends(0).err.contains("no run goes on"));
    assert_eq!(
        world.run(&["get", "runs", "-o", "json"]).ends(0).json()["items"].as_array().map(Vec::len),
        Some(0)
    );
    world.run(&["get", "runs", "--trigger", "nonsense"]).ends(1);
    let none = world.run(&["get", "run", "run_0v2c4ae9k1m7q3x5z8bd"]).ends(4);
    assert!(none.err.contains("do: `trueup get runs`") && none.err.contains("--intent"), "{none:?}");

    let id = world.block_on(begin(&world, "fine"));
    let listed = world.run(&["get", "runs"]).ends(0).out;
    assert!(
        listed.starts_with("RUN ") && listed.contains(&format!("{id}  acme/fine  intune  request ")),
        "{listed}"
    );
    assert_eq!(
        world.run(&["get", "runs", "--intent", "acme/fine", "-o", "name"]).ends(0).out,
        format!("{id}\n")
    );
    assert!(world.run(&["get", "runs", "--plane", "jamf"]).ends(0).out.is_empty());
    let story = world.run(&["get", "run", &id, "--intent", "acme/fine"]).ends(0).out;
    assert!(story.contains("goes on (request), begun") && story.contains("no events: "), "{story}");
    let yaml = world.run(&["get", "run", &id, "--intent", "acme/fine", "-o", "yaml"]).ends(0).out;
    assert!(yaml.starts_with(&format!("id: {id}\n")) && yaml.contains("trigger: request"), "{yaml}");
}

#[test]
fn wrong_usage() {
    let table: [&[&str]; 10] = [
        &["reconcile"],
        &["reconcile", "no-slash"],
        &["reconcile", "acme/a", "--tenant", "acme"],
        &["reconcile", "acme/a", "-l", "a=b"],
        &["reconcile", "acme/a", "--timeout", "5"],
        &["reconcile", "acme/a", "--wait", "--timeout", "0"],
        &["reconcile", "acme/a", "--idempotency-key", "a b"],
        &["get", "reconciliation"],
        &["get", "reconciliation", "rec_1", "--wait", "--watch"],
        &["man"],
    ];
    for args in table {
        let ran = run(args);
        assert!(ran.status == 2 && ran.out.is_empty() && !ran.err.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn there_is_a_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man/man1");
    let ran = run(&["man", "--dir", dir.to_str().unwrap(), "-o", "json"]).ends(0).json();
    let pages: Vec<&str> = ran["pages"].as_array().unwrap().iter().filter_map(|p| p.as_str()).collect();
    for page in
        ["trueup.1", "trueup-apply.1", "trueup-queue-retry.1", "trueup-get-events.1", "trueup-reconcile.1"]
    {
        assert!(pages.contains(&page), "{page} is not in {pages:?}");
    }
    for page in &pages {
        let text = std::fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), pages.len());
    let retry = std::fs::read_to_string(dir.join("trueup-queue-retry.1")).unwrap();
    assert!(retry.contains("trueup queue retry") || retry.contains("trueup\\-queue\\-retry"), "{retry}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    run(&["man", "--dir", file.to_str().unwrap()]).ends(1);
}
