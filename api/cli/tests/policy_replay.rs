//! `trueup policy replay` on what a fleet recorded. The record (first decisions of each intent and kind)
//! and what each policy changes in it come from `tests/tests/replay.rs`, which lives the same story under each of these
//! policies for real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::run;
use serde_json::Value;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/replay");

#[test]
fn the_count_is_that_of_living_under_the_policy() {
    let counts = std::fs::read_to_string(format!("{RECORDED}/counts.json")).unwrap();
    let policies: Vec<Value> = serde_json::from_str(&counts).unwrap();
    assert!(policies.len() >= 10);
    let dir = tempfile::tempdir().unwrap();
    for policy in policies {
        let (name, text) = (policy["name"].as_str().unwrap(), policy["policy"].as_str().unwrap());
        let file = dir.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let archive = format!("{RECORDED}/archive");
        let args = ["policy", "replay", file.to_str().unwrap(), "--archive", &archive];
        let json = run(&[&args[..], &["-o", "json"]].concat()).ends(0).json();
        let changed = json["changed"].as_array().unwrap();
        assert_eq!((&json["cases"], &json["unreadable"]), (&policy["cases"], &0.into()), "{name}");
        assert_eq!(policy["changed"], changed.len(), "{name}");

        let shown = run(&args).ends(0).out;
        let last = format!("{} of {} recorded decisions would change", changed.len(), policy["cases"]);
        assert!(shown.lines().any(|line| line == last), "{name}: {shown}");
    }
}
