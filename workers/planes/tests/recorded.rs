//! Parsers against recorded answers (`fixtures/SOURCES.md`).

use serde_json::Value;
use trueup_model::{Fault, Time};
use trueup_planes::ansible::report;
use trueup_planes::intune::parse::{self, App, Batch, DetectedApp, DeviceWire, Page, Standing};
use trueup_planes::intune::request;

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn page<T: serde::de::DeserializeOwned>(name: &str) -> Page<T> {
    serde_json::from_str(&fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn documented_examples_of_graph() {
    let apps: Page<DetectedApp> = page("graph/detectedApps.list.response.json");
    let app = &apps.value[0];
    assert_eq!(
        (app.name.as_deref(), app.version.as_deref(), app.devices),
        (Some("Display Name value"), Some("Version value"), 11)
    );

    let now: Time = "2026-11-21T00:00:00Z".parse().unwrap();
    let devices: Page<DeviceWire> = page("graph/managedDevices.list.response.json");
    let device = devices.value.into_iter().next().unwrap().read(now);
    assert_eq!((device.standing, device.last_sync.unwrap().timestamp()), (Standing::Fine, 1_483_257_769));

    // The example's target is the abstract type: nobody we have a word for.
    let assignments: Page<Value> = page("graph/mobileApps-assignments.list.response.json");
    assert_eq!(parse::assignments("a", &assignments.value), Ok(Vec::new()));

    let batch: Batch = serde_json::from_str(&fixture("graph/batch.response.json")).unwrap();
    let statuses: Vec<_> = batch.responses.iter().map(|r| (r.id.as_str(), r.status)).collect();
    assert_eq!(statuses, [("1", 200), ("2", 403), ("3", 403), ("4", 405), ("5", 200)]);
    assert_eq!(batch.responses[0].header("cache-control"), Some("no-cache"));
}

#[test]
fn mocks_of_another_client() {
    let apps: Page<App> = page("graph/m365-mobile-apps.json");
    assert_eq!(apps.value.len(), 4);
    assert!(apps.value.iter().all(|a| a.assignments.is_none() && a.more_assignments.is_none()));
    let now: Time = "2026-11-21T00:00:00Z".parse().unwrap();
    let devices: Page<DeviceWire> = page("graph/m365-managed-devices.json");
    let standings: Vec<_> = devices.value.into_iter().map(|d| d.read(now).standing).collect();
    assert_eq!(standings.len(), 3);
    assert_eq!(&standings[..2], [Standing::Fine, Standing::Failing]);
}

/// The schema is shared with the simulator's tests.
#[test]
fn names_that_are_read_are_in_the_schema() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../simulators/tests/fixtures/graph-v1.0-intune-subset.csdl.xml"
    );
    let schema = std::fs::read_to_string(path).unwrap();
    let section = |start: &str, end: &str| {
        let from = schema.find(start).unwrap_or_else(|| panic!("no {start}"));
        schema[from..][..schema[from..].find(end).unwrap()].to_owned()
    };
    for (kind, fields) in [
        ("detectedApp", vec!["displayName", "version", "deviceCount"]),
        ("managedDevice", request::DEVICE_FIELDS[1..].to_vec()),
        ("mobileAppAssignment", vec!["intent", "target", "settings"]),
        ("mobileApp", vec!["assignments"]),
    ] {
        let text = section(&format!("<EntityType Name=\"{kind}\""), "</EntityType>");
        for field in fields {
            assert!(text.contains(&format!("Property Name=\"{field}\"")), "{kind} has no {field}");
        }
    }
    for target in [parse::GROUP, parse::EXCLUSION, parse::ALL_USERS, parse::ALL_DEVICES] {
        assert!(schema.contains(&format!("<ComplexType Name=\"{target}\"")), "{target}");
    }
    // Each state of the schema means something to us, and only `unknown` is unknown.
    let states = section("<EnumType Name=\"complianceState\"", "</EnumType>");
    let names: Vec<&str> =
        states.split("Member Name=\"").skip(1).filter_map(|t| t.split('"').next()).collect();
    assert_eq!(names.len(), 7);
    for name in names {
        assert_eq!(Standing::of(Some(name)) == Standing::Unknown, name == "unknown", "{name}");
    }
    use trueup_model::intent::Install::*;
    let intents = section("<EnumType Name=\"installIntent\"", "</EnumType>");
    for install in [Required, Available, AvailableWithoutEnrollment, Uninstall] {
        assert!(intents.contains(&format!("\"{}\"", parse::install_name(install))), "{install:?}");
    }
}

#[test]
fn ansible_posix_json() {
    let at: Time = "2026-11-21T00:00:00Z".parse().unwrap();
    for name in ["ansible/check-diff.json", "ansible/check-free.json"] {
        let report = report::parse(&fixture(name)).unwrap();
        let seen = report.observed(at).unwrap().compliance.unwrap();
        assert_eq!((seen.devices, seen.noncompliant, seen.unknown), (3, 2, 1), "{name}");
        assert_eq!(seen.failing, ["web1", "web2"]);
        for line in [
            "web1: sshd hardening: /srv/lab/tgt/web1/sshd_config",
            "web1: secret file (no_log)",
            "web1: looped files: /srv/lab/tgt/web1/loop-a, /srv/lab/tgt/web1/loop-b",
            "web1: absent dir: /srv/lab/tgt/web1/conf.d",
            "web2: failing assert on web2: failed: Assertion failed",
            "web2: command skipped in check mode: not verified, cannot run in check mode",
        ] {
            assert!(seen.details.iter().any(|d| d == line), "{name}: no '{line}' in {:#?}", seen.details);
        }
        assert!(
            !seen.details.iter().any(|d| d.contains("web2: sshd hardening")),
            "a diff on an unchanged task is no drift"
        );
        let all = seen.details.join("\n");
        assert!(!all.contains("PermitRootLogin") && !all.contains("token="), "no content: {all}");
    }
    let clean = report::parse(&fixture("ansible/check-clean.json"))
        .unwrap()
        .observed(at)
        .unwrap()
        .compliance
        .unwrap();
    assert_eq!((clean.devices, clean.noncompliant, clean.unknown, clean.details.len()), (1, 0, 0, 0));
}

#[test]
fn ansible_output_that_is_no_report() {
    let whole = fixture("ansible/check-diff.json");
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        "hello\n{not json}",
        &whole[..whole.len() / 2],
        r#"{"trueup":1,"event":"result","host":"h"}"#,
    ] {
        assert_eq!(report::parse(text), None, "{text:.40}");
    }
}

#[test]
fn ansible_callback_lines() {
    let at: Time = "2026-11-21T00:00:00Z".parse().unwrap();
    let line = |host: &str, status: &str| {
        format!(
            r#"{{"event":"result","host":"{host}","status":"{status}","task":"t","msg":"m","paths":[],"trueup":1}}"#
        )
    };
    let stats = |hosts: &str| format!(r#"{{"cut":false,"event":"stats","hosts":{{{hosts}}},"trueup":1}}"#);
    let cases = [
        (vec![stats(r#""a":{"ok":1}"#)], Ok((1, 0, 0))),
        (
            vec![line("a", "changed"), "noise".into(), stats(r#""a":{"ok":1,"changed":1},"b":{"ok":1}"#)],
            Ok((2, 1, 0)),
        ),
        (vec![line("a", "unverified"), stats(r#""a":{"skipped":1}"#)], Ok((1, 0, 1))),
        (vec![line("a", "unreachable"), stats(r#""a":{"unreachable":1},"b":{"ok":1}"#)], Ok((2, 0, 1))),
        (
            vec![line("a", "changed"), line("a", "failed"), stats(r#""a":{"changed":1,"failures":1}"#)],
            Ok((1, 1, 0)),
        ),
        (vec![line("a", "unreachable"), stats(r#""a":{"unreachable":1}"#)], Err('t')),
        (vec![line("a", "failed"), stats(r#""a":{"failures":1}"#)], Err('p')),
        (vec![stats("")], Err('p')),
    ];
    for (lines, expected) in cases {
        let seen = report::parse(&lines.join("\n")).unwrap().observed(at);
        let got = match seen.map(|o| o.compliance.unwrap()) {
            Ok(c) => Ok((c.devices, c.noncompliant, c.unknown)),
            Err(Fault::Transient { .. }) => Err('t'),
            Err(Fault::Permanent { .. }) => Err('p'),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(got, expected, "{lines:?}");
    }
}

proptest::proptest! {
    /// Whatever a plane prints, reading it ends and does not panic.
    #[test]
    fn no_input_breaks_a_parser(text in ".{0,400}") {
        let _ = report::parse(&text);
        let _ = report::parse(&format!("{{\"trueup\":1,{text}"));
        let _ = serde_json::from_str::<Page<App>>(&text);
        let _ = serde_json::from_str::<Batch>(&text);
    }
}
