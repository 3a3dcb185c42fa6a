//! What goes on until ctrl-c: lists that change, and events as they happen, also over a connection that is cut.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use common::{World, fleet, run, spawn};
use serde_json::Value;

/// Stands between a client and the API, and can cut it off.
struct Gate {
    url: String,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Gate {
    fn before(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let (gate, to) = (open.clone(), world.url.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let api = TcpStream::connect(&to).unwrap();
                match gate.lock().unwrap().as_mut() {
                    Some(all) => all.extend([client.try_clone().unwrap(), api.try_clone().unwrap()]),
                    None => continue,
                }
                let (mut from, mut back) = (client.try_clone().unwrap(), api.try_clone().unwrap());
                let (mut up, mut down) = (api, client);
                std::thread::spawn(move || copy(&mut from, &mut up));
                std::thread::spawn(move || copy(&mut back, &mut down));
            }
        });
        Self { url, open }
    }

    fn cut(&self) {
        let all = self.open.lock().unwrap().take().unwrap();
        assert!(!all.is_empty());
        all.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

fn apply(world: &World, id: &str) {
    let line = fleet::manifest("acme", id).to_string() + "\n";
    world.run_with(&["apply", "-f", "-"], &line).ends(0);
}

fn intents(lines: &[String]) -> Vec<String> {
    let of = |line: &String| serde_json::from_str::<Value>(line).unwrap()["intent"].to_string();
    lines.iter().map(of).map(|id| id.trim_matches('"').to_owned()).collect()
}

#[test]
fn events_are_followed_over_a_cut() {
    let world = World::empty();
    let gate = Gate::before(&world);
    apply(&world, "a");
    let following = spawn(&["get", "events", "--watch", "--last", "1", "-o", "json", "--url", &gate.url]);
    let mut seen = following.lines(1);

    // Nothing came over the stream yet, so it has no position to come back to.
    gate.cut();
    apply(&world, "b");
    gate.mend();
    seen.extend(following.lines(1));
    apply(&world, "c");
    seen.extend(following.lines(1));
    // Now it has.
    gate.cut();
    apply(&world, "d");
    apply(&world, "e");
    gate.mend();
    seen.extend(following.lines(2));
    apply(&world, "f");
    seen.extend(following.lines(1));
    let (rest, status) = following.interrupt();
    assert_eq!((rest.as_slice(), status), (&[][..], 0));
    assert_eq!(intents(&seen), ["a", "b", "c", "d", "e", "f"], "none is missed, none is shown twice");
}

#[test]
fn only_what_is_asked_for_is_followed() {
    let world = World::empty();
    apply(&world, "mine");
    let of_type = spawn(&["get", "events", "-w", "--type", "INTENT_APPLIED", "--url", &world.url]);
    let of_intent = spawn(&["get", "events", "--follow", "--intent", "acme/mine", "--url", &world.url]);
    // The title comes with what was there before.
    for process in [&of_type, &of_intent] {
        let lines = process.lines(2);
        assert!(lines[0].starts_with("TIME ") && lines[1].contains("acme/mine"), "{lines:?}");
    }
    apply(&world, "other");
    world.run(&["delete", "intent", "acme/mine"]).ends(0);
    apply(&world, "last");
    let lines = of_type.lines(2);
    assert!(lines[0].contains("acme/other") && lines[1].contains("acme/last"), "{lines:?}");
    assert!(of_intent.line_with("acme/").contains("acme/mine"));
    for process in [of_type, of_intent] {
        let (rest, status) = process.interrupt();
        assert_eq!((rest.len(), status), (0, 0), "{rest:?}");
    }

    run(&["get", "events", "--watch", "--url", "http://127.0.0.1:1"]).ends(3);
    let wrong = world.run(&["get", "events", "--watch", "--type", "NONSENSE"]).ends(1);
    assert!(wrong.err.contains("NONSENSE"), "{wrong:?}");
    world.run(&["get", "events", "--last", "0"]).ends(2);
    world.run(&["get", "events", "--watch", "--last", "1001"]).ends(2);
}

#[test]
fn a_list_is_shown_again_when_it_changes() {
    let world = World::empty();
    apply(&world, "a");
    let args = ["get", "intents", "--watch", "--every", "1", "--url", &world.url];
    let names = spawn(&[&args[..], &["-o", "name"]].concat());
    let yaml = spawn(&[&args[..], &["-o", "yaml"]].concat());
    let table = spawn(&args);
    assert_eq!(names.lines(1), ["acme/a"]);
    assert_eq!(yaml.lines(1), ["items:"]);
    assert!(table.lines(2)[1].starts_with("acme/a "));
    apply(&world, "b");
    assert_eq!(names.lines(2), ["acme/a", "acme/b"]);
    assert_eq!(yaml.line_with("---"), "---");
    assert!(table.lines(4)[3].starts_with("acme/b "));
    for process in [names, yaml, table] {
        assert_eq!(process.interrupt().1, 0);
    }
    world.run(&["get", "intents", "--watch", "--every", "0"]).ends(2);
    world.run(&["get", "intents", "--watch", "--condition", "nonsense"]).ends(1);
    run(&["get", "intents", "--watch", "--url", "http://127.0.0.1:1"]).ends(3);
}
