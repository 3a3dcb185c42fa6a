//! `computers-inventory` v4, counted while it is read: which versions of which application how many computers report.
//! Pure.
//!
//! # Decides
//! How fresh a computer's list of applications is: `reportDate` (the inventory they came with) where Jamf Pro tells it,
//! else `lastCheckIn`, else `lastContact`. A time in the future tells
//! nothing: it must not pass for a report after an action.
//!
//! # Guarantees
//! Memory is bounded by distinct applications and computers, not by their product; a computer that comes twice (it moved
//! between pages) counts once, and so does a version that is installed twice on one computer.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use trueup_model::observed::VersionSeen;
use trueup_model::{DateTime, Duration, Time, Utc};

/// Distinct applications (name, bundle, version) beyond which a fleet is not believed.
const MAX_KINDS: usize = 2_000_000;
/// How far clocks may be apart.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// Longest name or version that is kept, in bytes.
const MAX_NAME: usize = 512;

/// A page of the list.
#[derive(Debug, Deserialize)]
pub struct Page {
    #[serde(rename = "totalCount")]
    pub total: u64,
    pub results: Vec<Computer>,
}

#[derive(Debug, Deserialize)]
pub struct Computer {
    pub id: String,
    pub general: Option<General>,
    /// Absent where the computer has not reported any.
    pub applications: Option<Vec<Application>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct General {
    pub report_date: Option<String>,
    pub last_check_in: Option<String>,
    pub last_contact: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    pub name: Option<String>,
    pub version: Option<String>,
    pub bundle_id: Option<String>,
}

impl Computer {
    /// When it reported what it carries.
    pub fn reported(&self, now: Time) -> Option<Time> {
        let general = self.general.as_ref()?;
        let read = |text: &Option<String>| {
            let time = DateTime::parse_from_rfc3339(text.as_deref()?).ok()?.with_timezone(&Utc);
            (time.timestamp() > 0).then_some(time)
        };
        let told = [&general.report_date, &general.last_check_in, &general.last_contact];
        let time = told.into_iter().find_map(read)?;
        (time <= now + CLOCK_SKEW).then(|| time.min(now))
    }
}

#[derive(Debug)]
struct Installed {
    bundle: Box<str>,
    version: Box<str>,
    devices: u32,
    reported: Option<Time>,
}

/// All computers, counted.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By computer id.
    reported: HashMap<u64, Option<Time>>,
    apps: HashMap<Box<str>, Vec<Installed>>,
    kinds: usize,
    newest: Option<Time>,
}

impl Fleet {
    pub fn computers(&self) -> usize {
        self.reported.len()
    }

    /// The newest report of any computer.
    pub fn newest(&self) -> Option<Time> {
        self.newest
    }

    /// When a computer reported last; `None` if never, or if there is no such computer.
    pub fn reported(&self, computer: u64) -> Option<Time> {
        self.reported.get(&computer).copied().flatten()
    }

    /// Adds a page; gives how many of its computers were new.
    pub fn add(&mut self, page: Vec<Computer>, now: Time) -> Result<usize, String> {
        let before = self.reported.len();
        for computer in page {
            let id: u64 = computer.id.parse().map_err(|_| {
                format!("a computer with the id '{}'", crate::redact::one_line(&computer.id, 40))
            })?;
            if self.reported.contains_key(&id) {
                continue;
            }
            let reported = computer.reported(now);
            self.newest = self.newest.max(reported);
            self.reported.insert(id, reported);
            self.count(computer.applications.unwrap_or_default(), reported)?;
        }
        Ok(self.reported.len() - before)
    }

    fn count(&mut self, applications: Vec<Application>, reported: Option<Time>) -> Result<(), String> {
        let mut seen: HashSet<(String, String, String)> = HashSet::new();
        for app in applications {
            let Some(name) = app.name.filter(|n| !n.is_empty() && n.len() <= MAX_NAME) else { continue };
            let (version, bundle) = (app.version.unwrap_or_default(), app.bundle_id.unwrap_or_default());
            if version.len() > MAX_NAME || bundle.len() > MAX_NAME {
                continue;
            }
            if !seen.insert((name.clone(), bundle.clone(), version.clone())) {
                continue;
            }
            let known = self.apps.entry(name.into()).or_default();
            let found = known.iter_mut().find(|i| *i.version == *version && *i.bundle == *bundle);
            match found {
                Some(installed) => {
                    installed.devices = installed.devices.saturating_add(1);
                    installed.reported = installed.reported.max(reported);
                }
                None => {
                    self.kinds += 1;
                    if self.kinds > MAX_KINDS {
                        return Err(format!("more than {MAX_KINDS} different applications"));
                    }
                    known.push(Installed {
                        bundle: bundle.into(),
                        version: version.into(),
                        devices: 1,
                        reported,
                    });
                }
            }
        }
        Ok(())
    }

    /// Versions that computers report of an application, sorted.
    pub fn versions(&self, name: &str, bundle: Option<&str>) -> Vec<VersionSeen> {
        let installed = self.apps.get(name).map_or(&[][..], Vec::as_slice);
        let mut versions: BTreeMap<&str, VersionSeen> = BTreeMap::new();
        for one in installed.iter().filter(|i| bundle.is_none_or(|b| *i.bundle == *b)) {
            let seen = versions.entry(&one.version).or_insert_with(|| VersionSeen {
                version: one.version.to_string(),
                devices: 0,
                reported: None,
            });
            seen.devices = seen.devices.saturating_add(one.devices);
            seen.reported = seen.reported.max(one.reported);
        }
        versions.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Time {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn computers(value: serde_json::Value) -> Vec<Computer> {
        serde_json::from_value(value).unwrap()
    }

    fn app(name: &str, version: &str, bundle: &str) -> serde_json::Value {
        json!({"name": name, "path": "/Applications/x", "version": version, "bundleId": bundle})
    }

    #[test]
    fn versions_by_name_and_bundle() {
        let mut fleet = Fleet::default();
        let page = computers(json!([
            {"id": "1", "general": {"reportDate": "2026-11-21T08:00:00Z"},
             "applications": [app("Pages.app", "14", "com.apple"), app("Pages.app", "14", "com.apple"), app("Pages.app", "1", "evil")]},
            {"id": "2", "general": {"lastCheckIn": "2026-11-21T09:00:00Z"}, "applications": [app("Pages.app", "14", "com.apple")]},
            {"id": "3", "general": {}, "applications": null},
            {"id": "4"},
        ]));
        assert_eq!(fleet.add(page, now()), Ok(4));
        let again = computers(json!([{"id": "2", "applications": [app("Pages.app", "14", "com.apple")]}]));
        assert_eq!(fleet.add(again, now()), Ok(0), "moved between pages");
        let brief = |bundle| -> Vec<(String, u32)> {
            fleet.versions("Pages.app", bundle).into_iter().map(|v| (v.version, v.devices)).collect()
        };
        assert_eq!(brief(Some("com.apple")), [("14".into(), 2)]);
        assert_eq!(brief(None), [("1".into(), 1), ("14".into(), 2)]);
        assert_eq!(fleet.versions("pages.app", None), []);
        assert_eq!((fleet.computers(), fleet.newest()), (4, "2026-11-21T09:00:00Z".parse().ok()));
        assert_eq!(
            (fleet.reported(1), fleet.reported(3), fleet.reported(99)),
            ("2026-11-21T08:00:00Z".parse().ok(), None, None)
        );
    }

    #[test]
    fn the_same_bundle_under_two_names_of_versions_is_added_up() {
        let mut fleet = Fleet::default();
        let page = computers(json!([
            {"id": "1", "applications": [app("A.app", "1", "x")]}, {"id": "2", "applications": [app("A.app", "1", "y")]}
        ]));
        fleet.add(page, now()).unwrap();
        assert_eq!(fleet.versions("A.app", None)[0].devices, 2);
    }

    #[test]
    fn report_times() {
        let reported = |general: serde_json::Value| {
            computers(json!([{"id": "1", "general": general}]))[0].reported(now())
        };
        let t = |text: &str| text.parse::<Time>().ok();
        for (general, expected) in [
            (
                json!({"lastContact": "2026-11-20T00:00:00Z", "lastCheckIn": "2026-11-19T00:00:00Z"}),
                t("2026-11-19T00:00:00Z"),
            ),
            (
                json!({"lastContact": "2026-11-20T00:00:00Z", "reportDate": "2026-11-18T00:00:00.5Z"}),
                t("2026-11-18T00:00:00.5Z"),
            ),
            (json!({"lastContact": "2026-11-20T02:00:00+02:00"}), t("2026-11-20T00:00:00Z")),
            (json!({"lastCheckIn": "2026-11-21T10:05:00Z"}), Some(now())),
            (json!({"lastCheckIn": "2026-11-21T10:05:01Z"}), None),
            (json!({"reportDate": "2031-01-01T00:00:00Z", "lastContact": "2026-11-20T00:00:00Z"}), None),
            (
                json!({"reportDate": "", "lastCheckIn": "yesterday", "lastContact": "1970-01-01T00:00:00Z"}),
                None,
            ),
            (json!({}), None),
        ] {
            assert_eq!(reported(general.clone()), expected, "{general}");
        }
    }

    #[test]
    fn ids_must_be_numbers() {
        let error = Fleet::default().add(computers(json!([{"id": "../1"}])), now()).unwrap_err();
        assert!(error.contains("'../1'"), "{error}");
    }
}
