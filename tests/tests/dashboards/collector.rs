//! The collector's configuration: what can be known of it without a collector.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn config() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/collector/collector.yaml");
    let text = std::fs::read_to_string(file).expect("readable");
    serde_saphyr::from_str(&text).expect("YAML")
}

fn names(of: &Value) -> BTreeSet<&str> {
    of.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn list(of: &Value) -> Vec<&str> {
    of.as_array().into_iter().flatten().map(|v| v.as_str().expect("a name")).collect()
}

/// The components that this file may use: those of the Contrib distribution that it was written for.
const KNOWN: [&str; 10] = [
    "health_check",
    "otlp",
    "filelog",
    "memory_limiter",
    "resource",
    "tail_sampling",
    "batch",
    "spanmetrics",
    "otlphttp",
    "prometheusremotewrite",
];

/// What is wrong with it, as far as one can see.
fn flaws(config: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    let of = |kind: &str| names(&config[kind]);
    let connectors = of("connectors");
    let mut used: BTreeSet<&str> = list(&config["service"]["extensions"]).into_iter().collect();
    let mut sent: BTreeSet<&str> = BTreeSet::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (name, pipeline) in config["service"]["pipelines"].as_object().into_iter().flatten() {
        for (kind, at_least) in [("receivers", 1), ("processors", 2), ("exporters", 1)] {
            let parts = list(&pipeline[kind]);
            if parts.len() < at_least {
                flaws.push(format!("{name}: too few {kind}"));
            }
            for part in parts {
                let bridge = kind != "processors" && connectors.contains(part);
                if !of(kind).contains(part) && !bridge {
                    flaws.push(format!("{name}: {kind}: {part} is not defined"));
                }
                match kind {
                    "receivers" if bridge => drop(taken.insert(part)),
                    "exporters" if bridge => drop(sent.insert(part)),
                    _ => {}
                }
                used.insert(part);
            }
        }
        let processors = list(&pipeline["processors"]);
        if processors.first() != Some(&"memory_limiter") || processors.last() != Some(&"batch") {
            flaws.push(format!("{name}: memory_limiter comes first and batch last"));
        }
    }
    for kind in ["extensions", "receivers", "processors", "exporters", "connectors"] {
        for name in of(kind) {
            if !used.contains(name) {
                flaws.push(format!("{kind}: {name} is used nowhere"));
            }
            let component = name.split('/').next().unwrap_or_default();
            if !KNOWN.contains(&component) {
                flaws.push(format!("{kind}: {component} is not a component that we know"));
            }
        }
    }
    if sent != taken {
        flaws.push(format!("connectors are an end and a beginning: {sent:?}, {taken:?}"));
    }
    flaws
}

#[test]
fn every_part_is_defined_and_used_and_every_pipeline_is_whole() {
    assert_eq!(flaws(&config()), Vec::<String>::new());
    // The test sees what it is there for.
    let broken = [
        ("/service/pipelines/metrics/exporters/0", "is not defined"),
        ("/service/pipelines/traces~1kept/processors/1", "is not defined"),
        ("/service/pipelines/logs/processors/0", "memory_limiter comes first"),
        ("/service/pipelines/traces~1measured/exporters/0", "an end and a beginning"),
    ];
    for (at, said) in broken {
        let mut config = config();
        *config.pointer_mut(at).expect("it is there") = "nonsense".into();
        let found = flaws(&config);
        assert!(found.iter().any(|f| f.contains(said)), "{at}: {found:?}");
    }
}

#[test]
fn what_went_wrong_is_always_kept_and_of_the_rest_a_share() {
    let config = config();
    let policies = config["processors"]["tail_sampling"]["policies"].as_array().expect("policies");
    let policy =
        |kind: &str| policies.iter().find(|p| p["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let kept = &policy("string_attribute")["string_attribute"];
    assert_eq!(kept["key"], trueup_boot::telemetry::spans::KEEP);
    assert_eq!(list(&kept["values"]), ["escalation", "fault"], "as the runner marks them");
    assert_eq!(list(&policy("status_code")["status_code"]["status_codes"]), ["ERROR"]);
    let share = policy("probabilistic")["probabilistic"]["sampling_percentage"].as_str();
    assert!(share.is_some_and(|s| s.starts_with("${env:TRUEUP_KEEP_PERCENT:-")), "{share:?}");
    for name in ["TEMPO_ENDPOINT", "LOKI_ENDPOINT", "REMOTE_WRITE_ENDPOINT"] {
        assert!(config["exporters"].to_string().contains(&format!("${{env:{name}:-")), "{name}");
    }
    assert_eq!(config["connectors"]["spanmetrics"]["exemplars"]["enabled"], true);
    for protocol in ["grpc", "http"] {
        let endpoint = config["receivers"]["otlp"]["protocols"][protocol]["endpoint"].as_str();
        assert!(
            endpoint.is_some_and(|e| e.starts_with("127.0.0.1:")),
            "open to this host alone: {endpoint:?}"
        );
    }
}
