//! Parsers against the answers that another client's tests hold (`fixtures/SOURCES.md`): every file that is there, the
//! whole collection where it is at hand, else our copy of what concerns us.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use trueup_model::Time;
use trueup_planes::jamf::inventory::{Computer, Fleet, Page};
use trueup_planes::jamf::request::Version;
use trueup_planes::jamf::{group, policy, xml};

fn roots() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("TRUEUP_FIXTURES")
        .map_or_else(|| here.join("../../../shared/fixtures"), PathBuf::from)
        .join("jamf/mocks");
    let mut all = vec![here.join("tests/fixtures/jamf")];
    all.extend(shared.is_dir().then_some(shared));
    all
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Reads one file as the plane would, or says why it would not.
fn read(path: &str, body: &[u8]) -> Result<&'static str, String> {
    let (folder, name) = path.rsplit_once('/').unwrap();
    let json = |e: serde_json::Error| e.to_string();
    match (folder, name) {
        ("classic_api/policies", "validate_get_policy.xml") => {
            let policy = policy::read(&xml::parse(body)?)?;
            assert_eq!((policy.id, policy.enabled, policy.self_service), (1, true, false));
            let seen = policy.assignments();
            assert_eq!((seen.len(), &seen[0].scope), (1, &trueup_model::intent::Scope::AllDevices));
            Ok("policy")
        }
        // A subset without the scope: whom it reaches is not known, and that is not "nobody".
        ("classic_api/policies", "validate_get_policy_subset.xml") => {
            let error = policy::read(&xml::parse(body)?).unwrap_err();
            assert_eq!(error, "no <scope>: whom the policy reaches is not known");
            Ok("refused")
        }
        ("classic_api/computer_groups", "validate_get_computer_group.xml") => {
            let group = group::read(&xml::parse(body)?)?;
            assert_eq!((group.id, group.smart), (1, true));
            assert_eq!(group.members, [(123, "test-computer-01".into())].into());
            Ok("group")
        }
        // Error pages: no XML.
        (_, name) if name.starts_with("error_") && name.ends_with(".xml") => {
            xml::parse(body).unwrap_err();
            Ok("refused")
        }
        // Other objects, lists, and answers to writes: XML that is read, and taken for nothing that it is not.
        (_, name) if name.ends_with(".xml") => {
            let root = xml::parse(body)?;
            policy::read(&root).unwrap_err();
            group::read(&root).unwrap_err();
            Ok("other XML")
        }
        // Not JSON, on purpose.
        (_, name) if name.ends_with("_invalid.json") => {
            serde_json::from_slice::<Page>(body).unwrap_err();
            Ok("refused")
        }
        ("jamf_pro_api/computer_inventory", "validate_list.json" | "validate_list_v4.json") => {
            let page: Page = serde_json::from_slice(body).map_err(json)?;
            let now: Time = "2026-11-21T00:00:00Z".parse().unwrap();
            let times: Vec<_> = page.results.iter().map(|c| c.reported(now)).collect();
            let checked_in = "2018-10-31T19:12:44Z".parse().ok();
            assert_eq!((page.total, times[0]), (2, checked_in.filter(|_| name.contains("v4"))));
            assert_eq!(Fleet::default().add(page.results, now), Ok(2));
            Ok("computers")
        }
        ("jamf_pro_api/computer_inventory", "validate_get.json" | "validate_get_v4.json") => {
            let computer: Computer = serde_json::from_slice(body).map_err(json)?;
            let now: Time = "2026-11-21T00:00:00Z".parse().unwrap();
            assert_eq!(
                computer.reported(now),
                "2018-10-31T18:04:13Z".parse().ok(),
                "the inventory's own date"
            );
            if let Some(apps) = &computer.applications {
                let (name, version) = (apps[0].name.as_deref(), apps[0].version.as_deref());
                assert_eq!((name, version), (Some("Microsoft Word"), Some("1.0.0")));
            }
            Ok("computer")
        }
        ("jamf_pro_api/jamf_pro_version", _) => {
            let version: Version = serde_json::from_slice(body).map_err(json)?;
            assert_eq!(version.version, "11.0.0");
            Ok("version")
        }
        // Parts of the Jamf Pro API that this plane does not call (roles, packages, MDM commands, groups, FileVault,
        // updates, GSX): not applicable, but a page of theirs is never taken for a page of computers unless it is empty
        // or its entries are numbered alike.
        (
            "jamf_pro_api/api_roles"
            | "jamf_pro_api/computer_extension_attributes"
            | "jamf_pro_api/computer_groups"
            | "jamf_pro_api/computer_inventory"
            | "jamf_pro_api/gsx_connection"
            | "jamf_pro_api/jamf_package"
            | "jamf_pro_api/managed_software_updates"
            | "jamf_pro_api/mdm"
            | "jamf_pro_api/smart_computer_groups"
            | "jamf_pro_api/static_computer_groups",
            _,
        ) => Ok("not applicable"),
        _ => Err("nobody has said what this file is to the plane: add it to this test".into()),
    }
}

#[test]
fn every_file_is_read_as_what_it_is() {
    for root in roots() {
        let mut found = Vec::new();
        files(&root, &mut found);
        let mut kinds = std::collections::BTreeMap::new();
        for path in &found {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let kind =
                read(&name, &std::fs::read(path).unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"));
            *kinds.entry(kind).or_insert(0_usize) += 1;
        }
        for (kind, at_least) in [
            ("policy", 1),
            ("group", 1),
            ("computers", 2),
            ("computer", 2),
            ("version", 1),
            ("refused", 3),
            ("other XML", 4),
        ] {
            assert!(kinds.get(kind).is_some_and(|n| *n >= at_least), "{}: {kinds:?}", root.display());
        }
    }
}
