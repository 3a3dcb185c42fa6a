//! The rule file and its own tests, as promtool judges them.

use std::path::PathBuf;
use std::process::Command;

use crate::programs::{PROMTOOL, folder, program};

fn promtool(args: &[&str], files: &[PathBuf]) {
    let Some(promtool) = program(PROMTOOL) else { return };
    assert!(!files.is_empty(), "no file to look at");
    let out = Command::new(promtool).args(args).args(files).output().expect("promtool runs");
    let said = [out.stdout, out.stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).join("\n");
    assert!(out.status.success(), "{args:?}: {said}");
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn promtool_finds_the_rules_sound() {
    promtool(&["check", "rules"], &[folder().join("trueup.rules.yml")]);
}

#[test]
fn each_alert_fires_and_keeps_silent_as_its_cases_say() {
    let tests = std::fs::read_dir(folder().join("tests")).expect("a folder");
    let files: Vec<PathBuf> = tests.map(|e| e.expect("an entry").path()).collect();
    promtool(&["test", "rules"], &files);
}

#[test]
fn every_alert_has_cases_in_which_it_fires_and_in_which_it_does_not() {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).expect("readable");
    let (rules, cases) = (read("trueup.rules.yml"), read("tests/alerts.yml") + &read("tests/engine.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    for alert in ["HighDriftRate", "RemediationFailure", "PersistentDrift", "SecurityDrift"] {
        assert!(alerts.contains(&alert), "{alert} is asked for by the design");
    }
    for alert in alerts {
        assert!(
            cases.contains(&format!("alertname: {alert}}}")),
            "{alert} has no case in which it keeps silent"
        );
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(cases.contains(&fires), "{alert} has no case in which it fires");
    }
    for part in ["summary", "description", "runbook"] {
        let having = rules.matches(&format!("          {part}:")).count();
        assert_eq!(having, rules.matches("- alert: ").count(), "every alert has a {part}");
    }
}
