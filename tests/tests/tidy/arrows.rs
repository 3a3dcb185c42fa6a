//! Direction of knowledge: which crate may depend on which. A crate may use what the crates it is built on use; nothing
//! points the other way, and nothing points sideways.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crate, and what it may depend on. `trueup-tests` may use everything; nothing may use it.
const ARROWS: [(&str, &[&str]); 10] = [
    ("trueup-model", &[]),
    ("trueup-workflows", &["trueup-model"]),
    ("trueup-engine", &["trueup-model"]),
    ("trueup-boot", &["trueup-model"]),
    ("trueup-planes", &["trueup-model"]),
    ("trueup-simulators", &["trueup-model", "trueup-boot"]),
    ("trueup-runner", &["trueup-model", "trueup-workflows", "trueup-engine", "trueup-planes", "trueup-boot"]),
    // What other programs link: nothing but the vocabulary.
    ("trueup-client", &["trueup-model"]),
    // Neither planes nor workflows: the API never talks to a plane and never decides.
    ("trueup-server", &["trueup-model", "trueup-engine", "trueup-boot"]),
    (
        "trueup",
        &[
            "trueup-model",
            "trueup-engine",
            "trueup-boot",
            "trueup-runner",
            "trueup-client",
            "trueup-server",
            "trueup-simulators",
        ],
    ),
];

const TESTS: &str = "trueup-tests";

/// What a crate's own tests may use on top: a real Redis to run on, and the stand-ins for planes.
const FOR_TESTS: [&str; 2] = ["trueup-boot", "trueup-simulators"];

/// Outside crates that only some of ours may use, with the reason. `true`: also not in tests.
const RESERVED: [(&str, &[&str], bool, &str); 3] = [
    ("redis", &["trueup-engine"], true, "only shared/engine talks to Redis"),
    ("apalis-redis", &["trueup-engine"], true, "only shared/engine talks to Redis"),
    (
        "reqwest",
        &["trueup-planes", "trueup-client", "trueup-server", "trueup-boot"],
        false,
        "only planes and the client are HTTP clients (server: the keys of an OIDC issuer; boot: the OTLP exporter)",
    ),
];

/// A line of a manifest: `from` depends on `to`.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) from: String,
    pub(crate) to: String,
    /// In `[dev-dependencies]`.
    pub(crate) dev: bool,
}

pub(crate) fn complaints(dependencies: &[Dependency]) -> Vec<String> {
    let complain = |d: &Dependency| -> Option<String> {
        let Dependency { from, to, dev } = d;
        if to == TESTS {
            return Some(format!("{from} depends on {to}: nothing uses tests"));
        }
        if from == TESTS {
            return None;
        }
        if let Some((_, users, always, why)) = RESERVED.iter().find(|(name, ..)| name == to) {
            return ((*always || !dev) && !users.contains(&from.as_str()))
                .then(|| format!("{from} depends on {to}: {why}"));
        }
        if !to.starts_with("trueup") {
            return None;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == from) else {
            return Some(format!("{from} is a crate that the architecture does not know"));
        };
        let may = allowed.contains(&to.as_str()) || (*dev && FOR_TESTS.contains(&to.as_str()));
        (!may).then(|| format!("{from} must not depend on {to} (allowed: {})", allowed.join(", ")))
    };
    dependencies.iter().filter_map(complain).collect()
}

/// All dependencies of the workspace's crates, as cargo reads them.
pub(crate) fn of_workspace(root: &Path) -> Vec<Dependency> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let dependencies = parse(&serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON"));
    assert!(dependencies.len() > 20, "only {} dependencies found", dependencies.len());
    dependencies
}

fn parse(metadata: &Value) -> Vec<Dependency> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_package = |package: &Value| {
        let from = text(&package["name"]);
        list(&package["dependencies"])
            .into_iter()
            .map(|d| Dependency { from: from.clone(), to: text(&d["name"]), dev: d["kind"] == "dev" })
            .collect::<Vec<_>>()
    };
    list(&metadata["packages"]).iter().flat_map(of_package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complains(from: &str, to: &str, dev: bool) -> bool {
        !complaints(&[Dependency { from: from.into(), to: to.into(), dev }]).is_empty()
    }

    #[test]
    fn wrong_arrows_are_seen_and_right_ones_are_not() {
        for (from, to, dev, wrong) in [
            ("trueup-model", "trueup-engine", false, true),
            ("trueup-workflows", "trueup-engine", false, true),
            ("trueup-workflows", "trueup-planes", false, true),
            ("trueup-engine", "trueup-workflows", false, true),
            ("trueup-engine", "trueup-boot", false, true),
            ("trueup-engine", "trueup-boot", true, false),
            ("trueup-planes", "trueup-engine", false, true),
            ("trueup-planes", "trueup-simulators", false, true),
            ("trueup-planes", "trueup-simulators", true, false),
            ("trueup-planes", "trueup-engine", true, true),
            ("trueup-server", "trueup-planes", false, true),
            ("trueup-server", "trueup-workflows", false, true),
            ("trueup-server", "trueup-runner", false, true),
            ("trueup-boot", "trueup-engine", false, true),
            ("trueup-runner", "trueup-server", false, true),
            ("trueup-runner", "trueup-planes", false, false),
            ("trueup", "trueup-server", false, false),
            ("trueup", "trueup-planes", false, true),
            ("trueup", "trueup-tests", true, true),
            ("trueup-new", "trueup-model", false, true),
            ("trueup-model", "trueup-new", false, true),
            ("trueup-tests", "trueup-planes", false, false),
            ("trueup-model", "serde", false, false),
            ("trueup-runner", "redis", false, true),
            ("trueup-boot", "redis", true, true),
            ("trueup-server", "apalis-redis", false, true),
            ("trueup-engine", "redis", false, false),
            ("trueup-tests", "redis", false, false),
            ("trueup-workflows", "reqwest", false, true),
            ("trueup-workflows", "reqwest", true, false),
            ("trueup-runner", "reqwest", false, true),
            ("trueup", "reqwest", false, true),
            ("trueup-planes", "reqwest", false, false),
        ] {
            assert_eq!(complains(from, to, dev), wrong, "{from} -> {to} dev={dev}");
        }
    }

    #[test]
    fn the_table_has_no_cycle() {
        for (at, (from, allowed)) in ARROWS.iter().enumerate() {
            for to in *allowed {
                assert!(ARROWS[..at].iter().any(|(name, _)| name == to), "{from} -> {to} points upwards");
            }
        }
    }

    #[test]
    fn cargos_answer_is_read() {
        let metadata = serde_json::json!({"packages": [{"name": "a", "dependencies": [
            {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}, {"name": "d", "kind": "build"}]}]});
        let read: Vec<_> = parse(&metadata).into_iter().map(|d| (d.from, d.to, d.dev)).collect();
        let want = [("b", false), ("c", true), ("d", false)].map(|(to, dev)| ("a".into(), to.into(), dev));
        assert_eq!(read, want);
    }
}
