//! Metrics and alerts, as the command line knows them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::run;

#[test]
fn metrics_go_to_other_hosts_only_over_tls_or_behind_a_proxy() {
    let ran = run(&["work", "--metrics-listen", "0.0.0.0:0"]).ends(2);
    assert!(ran.err.contains("can be reached from other hosts"), "{ran:?}");
    assert!(ran.err.contains("--metrics-plain-http"), "{ran:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ran = run(&["work", "--metrics-listen", &addr]).ends(1);
    assert!(ran.err.contains("cannot listen") && ran.err.contains("--metrics-listen"), "{ran:?}");
    run(&["work", "--metrics-plain-http"]).ends(2);
}

/// What an alert advises at 3 a.m. must be a command that exists, with the flags it is given.
#[test]
fn the_runbooks_of_the_alerts_name_commands_that_exist() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus/trueup.rules.yml");
    let rules = std::fs::read_to_string(file).unwrap();
    let mut checked = 0;
    for line in rules.lines().filter_map(|l| l.trim().strip_prefix("runbook: ")) {
        for advice in line.split("trueup ").skip(1) {
            let advice = advice.split([';', '#', '"']).next().unwrap_or_default();
            let (flags, words): (Vec<&str>, Vec<&str>) =
                advice.split_whitespace().partition(|w| w.starts_with("--"));
            let is_word = |w: &&&str| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            let mut command: Vec<&str> = words.iter().take_while(is_word).copied().collect();
            command.push("--help");
            let help = run(&command).ends(0).out;
            for flag in flags {
                assert!(help.contains(flag), "`trueup {advice}`: no {flag} in\n{help}");
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} commands found");
}
