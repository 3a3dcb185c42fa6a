//! `trueup policy`: what it says about a file, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::PathBuf;

use common::{World, fleet, run};
use serde_json::{Value, json};
use trueup_model::{Commit, Drift, DriftKind, Duration, Event, EventKind, IntentKey, Severity, Time};
use trueup_runner::policy::{Case, Policy};

/// Files of one test, and their folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn help_teaches() {
    insta::assert_snapshot!("help", run(&["policy", "--help"]).ends(0).out);
    for command in ["check", "test", "replay"] {
        insta::assert_snapshot!(format!("help_{command}"), run(&["policy", command, "--help"]).ends(0).out);
    }
}

#[test]
fn the_shipped_policy_is_shown_whole_and_sound() {
    let shown = run(&["policy", "show"]).ends(0).out;
    let files = Files::new();
    let file = files.write("policy.toml", &shown);
    let told = run(&["policy", "check", &file]).ends(0).out;
    assert!(told.contains("policy.toml is sound: 0 warnings, version dig_"), "{told}");
    let json = run(&["policy", "check", &file, "-o", "json"]).ends(0).json();
    assert_eq!((&json["warnings"], &json["version"]), (&json!([]), &json!(Policy::default().digest())));
}

#[test]
fn mistakes_are_told_all_at_once_with_their_places() {
    let files = Files::new();
    let file = files.write("policy.toml", "[[rule]]\nname = 'x'\nsay = 'review'\nrings = ['prod']\n");
    let ran = run(&["policy", "check", &file]).ends(1);
    assert!(ran.out.is_empty());
    assert!(ran.err.starts_with("error: the policy has 2 mistakes, so it is not used\n"), "{}", ran.err);
    for place in
        [":1:1: rule 'x': because: is missing\n", ":4:10: rule 'x': rings: unknown ring 'prod' (known: lab, "]
    {
        assert!(ran.err.contains(&format!("  where: {file}{place}")), "{}", ran.err);
    }
    for command in ["test", "replay"] {
        assert_eq!(run(&["policy", command, &file]).ends(1).err, ran.err);
    }
    let missing = run(&["policy", "check", "no/such.toml"]).ends(1).err;
    assert!(missing.contains("cannot read the policy") && missing.contains("no/such.toml"), "{missing}");
    run(&["policy"]).ends(2);
    run(&["policy", "replay", &file, "--since", "yesterday"]).ends(2);
}

#[test]
fn warnings_are_listed_and_do_not_fail() {
    let files = Files::new();
    let lease = "[[exception]]\nname = 'e'\nsay = 'review'\nowner = 'o'\nticket = 't'\nexpires = 2026-01-06T00:00:00Z\n";
    let file = files.write("policy.toml", lease);
    let told = run(&["policy", "check", &file, "--at", "2026-01-07T00:00:00Z"]).ends(0).out;
    assert!(
        told.starts_with(&format!("warning: {file}:1:1: exception 'e': it expired 2026-01-06T00:00:00Z")),
        "{told}"
    );
    assert!(told.contains("is sound: 1 warning, version "), "{told}");
    let told = run(&["policy", "check", &file, "--at", "2026-01-05T00:00:00Z"]).ends(0).out;
    assert!(told.contains("is sound: 0 warnings"), "{told}");
}

#[test]
fn cases_are_tried_from_the_file_from_beside_it_and_from_others() {
    let files = Files::new();
    let case = |name: &str, expect: &str| {
        format!(
            "[[case]]\nname = '{name}'\ndrift = 'version_mismatch'\nnow = 2026-01-06T00:00:00Z\nexpect = '{expect}'\n"
        )
    };
    let shown = run(&["policy", "show"]).out;
    let file = files.write("policy.toml", &shown);
    let none = run(&["policy", "test", &file]).ends(1).err;
    assert!(none.contains("there is no case to try") && none.contains("[[case]]"), "{none}");

    let file = files.write("policy.toml", &format!("{shown}\n{}", case("inside", "automatic")));
    files.write("policy.cases.toml", &case("beside", "automatic"));
    let ran = run(&["policy", "test", &file]).ends(0);
    assert!(ran.err.contains("0 of 2 cases failed"), "{ran:?}");
    let other = files.write("more.toml", &case("other", "cab"));
    let ran = run(&["policy", "test", &file, "--cases", &other]).ends(5);
    let row: Vec<&str> =
        ran.out.lines().last().unwrap().split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(row[..4], ["other", "FAIL", "automatic", "expected cab, got automatic"]);
    assert_eq!(run(&["policy", "test", &file, "--cases", &other, "-o", "name"]).ends(5).out, "other\n");
    let json = run(&["policy", "test", &file, "--cases", &other, "-o", "json"]).ends(5).json();
    assert_eq!((&json["failed"], &json["cases"][2]["passed"]), (&json!(1), &json!(false)));
}

/// One decision of the shipped policy about drift in some ring, as `emit` records it.
fn decided(n: u32, ring: &str, now: Time) -> (IntentKey, Event) {
    let mut manifest = fleet::manifest("acme", &format!("i{n:04}"));
    manifest["ring"] = json!(ring);
    manifest["criticality"] = json!("critical");
    let intent: trueup_model::Intent = serde_json::from_value(manifest).unwrap();
    let drift = Drift::new(DriftKind::MissingAssignment, vec![], now);
    let case = Case {
        intent: &intent,
        drift: &drift,
        opened_at: now,
        now,
        remedy: true,
        exhausted: false,
        held: None,
    };
    let decided = Policy::default().decide(&case);
    assert_eq!(decided.severity, Severity::High);
    let data = json!({
        "drift_type": drift.kind, "severity": decided.severity, "decision": decided.decision, "case": case.record(),
    });
    let mut event = fleet::event(&intent.key, EventKind::PolicyDecided, n, data);
    event.created_at = now;
    (intent.key, event)
}

const STRICTER: &str = "[[rule]]\nname = 'board'\nsay = 'cab'\nrings = ['canary']\nbecause = 'b'\n";

#[test]
fn recorded_decisions_are_decided_again() {
    let world = World::empty();
    // More than one page, an old one, and one without its case.
    let mut events: Vec<(IntentKey, Event)> = (0..1_100)
        .map(|n| decided(n, if n % 100 == 0 { "canary" } else { "lab" }, fleet::start() - Duration::days(2)))
        .collect();
    events.push(decided(2_000, "canary", fleet::start() - Duration::days(31)));
    let (key, mut bare) = decided(2_001, "canary", fleet::start());
    bare.event_data["case"] = Value::Null;
    events.push((key, bare));
    for (n, chunk) in events.chunks(60).enumerate() {
        let commit = Commit { events: chunk.iter().map(|(_, e)| e.clone()).collect(), ..Default::default() };
        world.block_on(fleet::commit(world.store.as_ref(), &chunk[0].0, &format!("c{n}"), commit));
    }
    let files = Files::new();
    let shown = run(&["policy", "show"]).out;
    let same = files.write("same.toml", &shown);
    let ran = world.run(&["policy", "replay", &same]).ends(0);
    assert_eq!(ran.out, "0 of 1100 recorded decisions would change\n");
    assert!(ran.err.contains("1 decision could not be decided again"), "{}", ran.err);

    let file = files.write("policy.toml", &format!("{shown}\n{STRICTER}"));
    let ran = world.run(&["policy", "replay", &file, "--since", "30d", "--limit", "3"]).ends(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "DECIDED              INTENT      DRIFT               WAS        WOULD BE  RULES");
    assert_eq!(
        lines[1],
        "2026-01-04 08:00:00  acme/i0000  missing_assignment  automatic  cab       low-risk, board"
    );
    assert_eq!(lines[5..], ["11 of 1100 recorded decisions would change", "      11  automatic → cab"]);
    assert!(ran.err.contains("there are more changes"), "{}", ran.err);

    let json = world
        .run(&["policy", "replay", &file, "--since", "2025-01-01T00:00:00Z", "-o", "json"])
        .ends(0)
        .json();
    assert_eq!(json["changed"].as_array().unwrap().len(), 12);
    assert_eq!(
        (&json["same"], &json["unreadable"], &json["cases"]),
        (&json!(1_089), &json!(1), &json!(1_102))
    );
    assert_eq!(json["totals"], json!([{"was": "automatic", "would_be": "cab", "count": 12}]));
    let names = world.run(&["policy", "replay", &file, "-o", "name"]).ends(0).out;
    assert_eq!(names.lines().next(), Some("acme/i0000"));

    let none = world.run(&["policy", "replay", &file, "--since", "2027-01-01T00:00:00Z"]).ends(0);
    assert!(none.err.contains("no decision is recorded since then"), "{none:?}");
}

#[test]
fn the_archive_is_read_as_it_was_written() {
    let files = Files::new();
    let file = files.write("policy.toml", &format!("{}\n{STRICTER}", run(&["policy", "show"]).out));
    let day = |n: i64| fleet::start() + Duration::days(n);
    let line = |seq: u64, ring: &str, now: Time| {
        let mut event = decided(u32::try_from(seq).unwrap(), ring, now).1;
        event.seq = seq;
        serde_json::to_string(&event).unwrap() + "\n"
    };
    // Partition 0: two segments; the store went back to 2, and what follows replaces what it had lost. The last line has no
    // end yet.
    let first = line(1, "canary", day(0))
        + &line(2, "canary", day(40))
        + &line(3, "canary", day(40))
        + "{\"seq\":4,\"undecodable\":\"\"}\n";
    let second = "{\"rewound_to\":2}\n".to_owned() + &line(3, "lab", day(41)) + &line(4, "canary", day(41));
    files.write("archive/p0/00000000000000000001.ndjson", &first);
    files.write("archive/p0/00000000000000000005.ndjson", &(second + line(5, "canary", day(41)).trim_end()));
    files.write("archive/p1/00000000000000000001.ndjson", &line(1, "canary", day(41)));
    files.write("archive/p1/lock", "");
    files.write("archive/id", "abcdefgh\n");
    let archive = files.path("archive");
    let archive = archive.to_str().unwrap();

    let read = |since: &str| {
        run(&["policy", "replay", &file, "--archive", archive, "--since", since, "-o", "json"]).ends(0).json()
    };
    let all = read("2026-01-01T00:00:00Z");
    let of = |json: &Value| (json["changed"].as_array().unwrap().len(), json["same"].as_u64().unwrap());
    assert_eq!(of(&all), (4, 1), "{all}");
    // Back from the newest event, not from this host's clock.
    assert_eq!(of(&read("30d")), (3, 1));
    assert_eq!(of(&read("1h")), (2, 1));

    let wrong =
        run(&["policy", "replay", &file, "--archive", files.0.path().join("p").to_str().unwrap()]).ends(1);
    assert!(wrong.err.contains("the archive cannot be read"), "{wrong:?}");
    let empty = files.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    let wrong = run(&["policy", "replay", &file, "--archive", empty.to_str().unwrap()]).ends(1);
    assert!(wrong.err.contains("there is no folder p0"), "{wrong:?}");
}
