//! What the commands do, and how they end when it goes wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::io::{Read as _, Write as _};

use common::{World, fleet, run};
use serde_json::json;
use trueup_engine::Store as _;
use trueup_model::IntentKey;

#[test]
fn apply_stores_from_files_and_stdin() {
    let world = World::empty();
    let line = |id: &str| fleet::manifest("acme", id).to_string() + "\n";
    let ran = world.run_with(&["apply", "-f", "-", "--dry-run"], &line("a")).ends(0);
    assert!(ran.err.contains("1 created (dry run: nothing was stored)"), "{ran:?}");
    assert!(world.run(&["get", "intents"]).ends(0).err.contains("no intents match"));

    let ran = world.run_with(&["apply", "-f", "-"], &(line("a") + &line("b"))).ends(0);
    assert_eq!(ran.out, "INTENT  CHANGE   GENERATION\nacme/a  created  1\nacme/b  created  1\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.json");
    let mut changed = fleet::manifest("acme", "a");
    changed["desired"]["version"] = json!("127.0");
    std::fs::write(&file, json!([changed, fleet::manifest("acme", "b")]).to_string()).unwrap();
    let ran = world.run(&["apply", "-f", file.to_str().unwrap(), "-o", "json"]).ends(0);
    assert_eq!(ran.json()["counts"], json!({"changed": 1, "unchanged": 1}));
    assert_eq!(world.run(&["get", "intents", "-o", "name"]).ends(0).out, "acme/a\nacme/b\n");
    assert_eq!(world.run(&["delete", "intent", "acme/a"]).ends(0).out, "acme/a deleted\n");
    world.run(&["delete", "intent", "acme/a"]).ends(4);
}

#[test]
fn nothing_is_sent_if_anything_is_wrong() {
    let world = World::empty();
    let text = fleet::manifest("acme", "a").to_string() + "\n{\"id\": 7}\n";
    let ran = world.run_with(&["apply", "-f", "-"], &text).ends(1);
    assert_eq!(ran.out, "");
    assert!(ran.err.starts_with("error: id: invalid type"), "{ran:?}");
    assert!(ran.err.contains("\n  where: stdin:2 (document 2)\n  do: "), "{ran:?}");
    assert!(world.run(&["get", "intents", "-o", "name"]).ends(0).out.is_empty());
}

#[test]
fn a_thousand_and_more_are_sent_in_parts_with_progress() {
    let world = World::empty();
    let lines: String =
        (0..1_100).map(|n| fleet::manifest("acme", &format!("i{n:04}")).to_string() + "\n").collect();
    let ran = world.run_with(&["apply", "-f", "-", "-o", "json"], &lines).ends(0);
    assert_eq!(ran.json()["counts"], json!({"created": 1_100}));
    assert!(ran.err.contains("256 of 1100") && ran.err.contains("1100 of 1100"), "{}", ran.err);
    let list = world.run(&["get", "intents", "--all", "-o", "name"]).ends(0);
    let mut names: Vec<&str> = list.out.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1_100);
    let some = world.run(&["get", "intents", "--limit", "3", "-o", "json"]).ends(0);
    assert_eq!((some.json()["items"].as_array().unwrap().len(), &some.json()["more"]), (3, &json!(true)));
    assert!(some.err.contains("there are more"));
}

#[test]
fn queues_are_operated() {
    let world = World::drifted();
    let dead = world.block_on(fleet::bury(world.store.as_ref(), 2, "worn out")).to_string();
    assert_eq!(world.run(&["queue", "pause", "emit"]).ends(0).out, "queue emit paused\n");
    assert_eq!(world.run(&["queue", "resume", "emit"]).ends(0).out, "queue emit resumed\n");
    assert_eq!(
        world.run(&["queue", "retry", "emit", "--job", &dead]).ends(0).out,
        "queue emit: 1 job put back\n"
    );
    let ran = world.run(&["queue", "retry", "emit", "--job", &dead]).ends(1);
    assert!(ran.err.contains("it waits for its turn already"), "{ran:?}");
    world.run(&["queue", "retry", "emit", "--job", "job_nobody"]).ends(4);
    let ran = world.run(&["queue", "discard", "emit", "--all"]).ends(2);
    assert!(ran.err.contains("then add --yes"), "{ran:?}");
    let ran = world.run(&["queue", "discard", "emit", "--all", "--yes"]).ends(0);
    assert_eq!(ran.out, "queue emit: 1 dead job deleted\n");
    world.run(&["queue", "retry", "emit"]).ends(2);
    many_are_operated(&world);
    let ran = world.run(&["queue", "pause", "emti"]).ends(4);
    assert!(ran.err.contains("did you mean 'emit'?") && ran.err.contains("correlation id: "), "{ran:?}");
}

/// By conditions, with a count first, and on a list.
fn many_are_operated(world: &World) {
    let ran = world.run(&["queue", "discard", "emit", "--state", "ready", "--yes"]).ends(0);
    assert_eq!(ran.out, "queue emit: 1 ready job deleted\n");
    let dead: Vec<String> = (10..15)
        .map(|n| if n % 2 == 0 { (n, "Timeout after 30 s") } else { (n, "refused") })
        .map(|(n, why)| world.block_on(fleet::bury(world.store.as_ref(), n, why)).to_string())
        .collect();
    let timeouts = ["--where", "reason~timeout"];
    let dry = world.run(&[&["queue", "retry", "emit", "--dry-run"][..], &timeouts].concat()).ends(0);
    assert_eq!(dry.out, "queue emit: 3 dead jobs would be put back\n");
    let shown = world.run(&[&["queue", "show", "emit", "-o", "name"][..], &timeouts].concat()).ends(0);
    assert_eq!(shown.out.lines().collect::<Vec<_>>(), [&dead[0], &dead[2], &dead[4]]);
    let all = world.run(&[&["queue", "retry", "all", "--rate", "1000"][..], &timeouts].concat()).ends(0);
    assert_eq!(all.out, "queue emit: 3 dead jobs put back\n", "queues without a match are not named");
    let front = ["queue", "front", "emit", "--job", &dead[4], "--job", &dead[0]];
    assert_eq!(world.run(&front).ends(0).out, "queue emit: 2 jobs moved to the front\n");
    let story = world.run(&["queue", "job", &dead[1]]).ends(0).out;
    assert!(story.contains("refused") && story.contains("attempts, rescued, deliveries"), "{story}");
    let ran = world.run(&["queue", "discard", "emit", "--older-than", "0s"]).ends(2);
    assert!(ran.err.contains("this would delete 2 dead jobs for good"), "{ran:?}");
    let ran = world.run(&["queue", "discard", "emit", "--older-than", "0s", "--yes", "-o", "json"]).ends(0);
    assert_eq!(ran.json()["changed"], 2);
    world.run(&["queue", "retry", "emit", "--where", "nonsense"]).ends(2);
    world.run(&["queue", "retry", "emit", "--where", "state=ready"]).ends(1);
    world.run(&["queue", "top"]).ends(2);
    let workers = world.run(&["worker", "ls"]).ends(0).out;
    assert!(workers.starts_with("WORKER ") && workers.contains("host-1"), "{workers}");
    world.run(&["worker", "drain", "nobody"]).ends(4);
}

#[test]
fn check_waits_for_the_run_to_end() {
    let world = World::drifted();
    // Nobody works here: the wait is bounded, and says what to do.
    let ran = world.run(&["check", "acme/fine", "--wait", "--timeout", "1"]).ends(1);
    assert!(ran.err.contains("was not looked at within 1 s") && ran.err.contains("trueup doctor"), "{ran:?}");
    let jobs = world.run(&["queue", "show", "sweep", "--state", "ready", "-o", "json"]).ends(0).json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    world.run(&["check", "acme/none"]).ends(4);

    // Somebody works: as soon as the job is there, the run it asks for begins and ends.
    let (store, key) = (world.store.clone(), IntentKey::new("acme", "drifted"));
    let works = async move {
        let sweep = trueup_model::Queue::new(trueup_model::StepName::Sweep, None).unwrap();
        loop {
            let jobs = store.jobs(sweep, trueup_engine::JobState::Ready, 10).await.unwrap();
            if jobs.iter().any(|j| j.payload["only"][0] == "acme/drifted") {
                break;
            }
            tokio::task::yield_now().await;
        }
        let record = store.intents(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
        let mut state = record.state;
        state.runs += 1;
        let write = trueup_model::Write::State {
            intent: key.clone(),
            rev: record.rev,
            state: Box::new(state),
            due: None,
            ends_run: true,
        };
        let commit = trueup_model::Commit { writes: vec![write], ..Default::default() };
        fleet::commit(store.as_ref(), &key, "run", commit).await;
    };
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| world.run(&["check", "acme/drifted", "--wait"]));
        world.block_on(works);
        waits.join().unwrap()
    });
    // It is still drifted: status 5.
    assert!(waits.ends(5).out.contains("acme/drifted"));
}

#[test]
fn an_api_that_is_away_or_not_ours() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let ran = run(&["get", "intents", "--url", &url]).ends(3);
    assert!(
        ran.err.contains("cannot reach the API") && ran.err.contains(&format!("where: {url}")),
        "{ran:?}"
    );
    assert!(run(&["doctor", "--url", &url]).ends(3).out.contains("cannot reach the API"));

    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(answer.as_bytes());
        });
        let ran = run(&["queue", "ls", "--url", &url]);
        assert!(
            [1, 3].contains(&ran.status) && ran.err.starts_with("error: ") && ran.out.is_empty(),
            "{ran:?}"
        );
    }
}

#[test]
fn wrong_usage() {
    let table: [&[&str]; 9] = [
        &[],
        &["aply"],
        &["apply"],
        &["get", "intent", "no-slash"],
        &["get", "intents", "--limit", "0"],
        &["get", "intents", "--url", "not a url"],
        &["get", "intents", "--url", "ftp://127.0.0.1"],
        &["get", "events", "--since", "yesterday"],
        &["serve", "--listen", "0.0.0.0:7171"],
    ];
    for args in table {
        let ran = run(args).ends(2);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}: {ran:?}");
    }
    let ran = run(&["serve", "--listen", "0.0.0.0:7171"]);
    assert!(ran.err.contains("add --require-authentication"), "{ran:?}");
    for url in ["nonsense", "redis://127.0.0.1:1"] {
        let ran = run(&["serve", "--redis-url", url, "--listen", "127.0.0.1:0"]).ends(1);
        assert!(ran.err.starts_with("error: opening the store"), "{ran:?}");
    }
    let ran =
        run(&["serve", "--redis-url", "redis://u:hunter2@127.0.0.1:1", "--listen", "127.0.0.1:0"]).ends(1);
    assert!(!ran.err.contains("hunter2"), "{ran:?}");
}

#[test]
fn completion_is_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completion", shell]).ends(0).out.contains("trueup"), "{shell}");
    }
}
