//! Every name the simulator serves or accepts is in Graph's own schema, in this casing.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};

use trueup_simulators::vocabulary as v;

/// As much of a CSDL as is needed: properties by type, base types, members by enumeration, actions.
#[derive(Debug, Default)]
struct Schema {
    properties: BTreeMap<String, BTreeSet<String>>,
    navigation: BTreeSet<(String, String)>,
    base: BTreeMap<String, String>,
    members: BTreeMap<String, BTreeSet<String>>,
    /// Name, bound type, parameters.
    actions: BTreeSet<(String, String, Vec<String>)>,
}

fn attribute(line: &str, name: &str) -> Option<String> {
    let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(line[start..].split('"').next()?.to_owned())
}

impl Schema {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/graph-v1.0-intune-subset.csdl.xml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut schema = Self::default();
        let mut inside = String::new();
        let mut action: Option<(String, Vec<(String, String)>)> = None;
        for line in text.lines().map(str::trim) {
            let name = attribute(line, "Name").unwrap_or_default();
            match line.trim_start_matches('<').split([' ', '>', '/']).next().unwrap_or_default() {
                "EnumType" | "EntityType" | "ComplexType" => {
                    inside = name.clone();
                    if let Some(base) = attribute(line, "BaseType") {
                        schema.base.insert(name, base.trim_start_matches("graph.").to_owned());
                    }
                }
                "Member" => {
                    schema.members.entry(inside.clone()).or_default().insert(name);
                }
                "Property" => {
                    schema.properties.entry(inside.clone()).or_default().insert(name);
                }
                "NavigationProperty" => {
                    schema.navigation.insert((inside.clone(), name));
                }
                "Action" => action = Some((name, Vec::new())),
                "Parameter" => {
                    if let Some((_, parameters)) = &mut action {
                        parameters.push((name, attribute(line, "Type").unwrap_or_default()));
                    }
                }
                _ => {}
            }
            if line.starts_with("</Action")
                && let Some((name, parameters)) = action.take()
            {
                let bound = parameters[0].1.trim_start_matches("graph.").to_owned();
                let rest = parameters[1..].iter().map(|(n, _)| n.clone()).collect();
                schema.actions.insert((name, bound, rest));
            }
        }
        assert!(
            schema.properties.len() > 20 && schema.members.len() > 20 && schema.actions.len() > 10,
            "not a schema"
        );
        schema
    }

    fn has(&self, kind: &str, property: &str) -> bool {
        let own = |p: &BTreeSet<String>| p.contains(property);
        self.properties.get(kind).is_some_and(own)
            || self.navigation.contains(&(kind.to_owned(), property.to_owned()))
            || self.base.get(kind).is_some_and(|base| self.has(base, property))
    }
}

#[test]
fn properties() {
    let schema = Schema::read();
    let types: [(&str, &[&str]); 4] = [
        ("mobileApp", &v::MOBILE_APP),
        ("mobileAppAssignment", &v::ASSIGNMENT),
        ("detectedApp", &v::DETECTED_APP),
        ("managedDevice", &v::MANAGED_DEVICE),
    ];
    let types = types.into_iter().chain(v::TARGETS).chain(v::SETTINGS);
    for (kind, fields) in types {
        assert!(schema.properties.contains_key(kind) || schema.base.contains_key(kind), "no type {kind}");
        for field in fields {
            assert!(schema.has(kind, field), "{kind} has no {field}");
        }
    }
    for (name, expected) in v::TARGETS
        .map(|(n, _)| (n, "deviceAndAppManagementAssignmentTarget"))
        .into_iter()
        .chain(v::SETTINGS.map(|(n, _)| (n, "mobileAppAssignmentSettings")))
    {
        let mut base = name;
        while let Some(next) = schema.base.get(base) {
            base = next;
        }
        assert_eq!(base, expected, "{name}");
    }
    for (kind, property) in v::NAVIGATION {
        assert!(schema.navigation.contains(&(kind.into(), property.into())), "{kind}/{property}");
    }
    assert!(
        !schema.has("managedDevice", "detectedApps"),
        "v1.0 has no such navigation; the product relies on that"
    );
}

#[test]
fn enumerations_and_actions() {
    let schema = Schema::read();
    let members = |kind: &str| schema.members.get(kind).cloned().unwrap_or_default();
    assert_eq!(members("installIntent"), v::INTENTS.iter().map(ToString::to_string).collect());
    for state in v::COMPLIANCE {
        assert!(members("complianceState").contains(state), "{state}");
    }
    for (kind, member) in v::FIXED {
        assert!(members(kind).contains(member), "{kind}: {member}");
    }
    for (name, bound, parameters) in v::ACTIONS {
        let action =
            (name.to_owned(), bound.to_owned(), parameters.iter().map(ToString::to_string).collect());
        assert!(schema.actions.contains(&action), "{action:?}");
    }
}
