//! Targets of every plane: their wire form, and what a plane cannot carry out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]

use trueup_model::Intent;

#[test]
fn targets_of_every_plane_have_their_wire_form() {
    let manifest = |plane: &str, target: serde_json::Value, include: serde_json::Value| {
        serde_json::json!({"id": "vpn", "tenant": "contoso", "plane": plane, "target": target, "criticality": "high",
            "ring": "lab", "windows": ["nights"], "desired": {"assignment": {"include": include}, "compliant": true}})
    };
    let jamf = serde_json::json!({"policy_id": 7, "app_name": "VPN.app", "replaces": [6],
        "compliance": {"failing_group": 20, "remedy_group": 21}});
    let configmgr = serde_json::json!({"ci_id": 16777300, "app_name": "VPN", "device_collection": "ABC00124",
        "compliance": {"baseline_assignment": 16777400,
            "remedy": {"client_operation": {"type": 8, "collection": "ABC00124"}}}});
    for (plane, target, include) in [
        ("jamf", jamf, serde_json::json!(["all_devices", {"group": "4"}, {"building": "1"}])),
        ("configmgr", configmgr, serde_json::json!([{"group": "ABC00123"}, {"device": "16777200"}])),
    ] {
        let written = manifest(plane, target, include);
        let intent: Intent = serde_json::from_value(written).unwrap_or_else(|e| panic!("{plane}: {e}"));
        // Whether serde_json keeps the order of keys depends on what else is built.
        insta::with_settings!({sort_maps => true}, {
            insta::assert_json_snapshot!(format!("intent_{plane}"), intent);
        });
        let again: Intent = serde_json::from_value(serde_json::json!(intent)).expect("it comes back");
        assert_eq!(again, intent);
    }
}

#[test]
fn what_a_plane_cannot_carry_out_is_refused_when_it_is_applied() {
    let jamf = serde_json::json!({"policy_id": 7, "app_name": "VPN.app"});
    let configmgr = serde_json::json!({"ci_id": 1, "app_name": "VPN"});
    let single = serde_json::json!({"ci_id": 1, "app_name": "VPN", "device_collection": "ABC00124"});
    let intune = serde_json::json!({"app_id": "7ebd0f2b-3f0c-8a57-9d5f-9a4a0d3c2b1e", "app_name": "VPN"});
    let include = |scope: serde_json::Value| serde_json::json!({"assignment": {"include": [scope]}});
    let group = |id: &str| serde_json::json!({"group": id});
    let table = [
        ("jamf", &jamf, include("all_users".into()), "no such scope"),
        ("jamf", &jamf, include(group("abc")), "are numbers"),
        ("jamf", &jamf, serde_json::json!({"compliant": true}), "needs target.compliance"),
        (
            "jamf",
            &jamf,
            serde_json::json!({"assignment": {"install": "uninstall", "include": [group("1")]}}),
            "does not exist",
        ),
        ("configmgr", &configmgr, include("all_devices".into()), "SMS00001"),
        ("configmgr", &single, include(group("ABC00124")), "name its devices"),
        ("configmgr", &configmgr, include(group("abc")), "CollectionID"),
        ("configmgr", &configmgr, include(serde_json::json!({"device": "1"})), "device_collection"),
        (
            "configmgr",
            &configmgr,
            serde_json::json!({"assignment": {"include": [group("ABC00123")], "exclude": [group("ABC00124")]}}),
            "no exclusions",
        ),
        (
            "intune",
            &intune,
            include(serde_json::json!({"building": "1"})),
            "all_devices, all_users or a group",
        ),
        ("mdm", &intune, include(group("x")), "known: intune, jamf, configmgr, ansible"),
    ];
    for (plane, target, desired, expected) in table {
        let manifest = serde_json::json!({"id": "vpn", "tenant": "contoso", "plane": plane, "target": target,
            "criticality": "high", "ring": "lab", "desired": desired});
        let e = serde_json::from_value::<Intent>(manifest).expect_err("refused").to_string();
        assert!(e.contains(expected), "{plane} {desired}: {e}");
    }
}
