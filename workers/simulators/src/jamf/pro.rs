//! The Jamf Pro API with a good token: version and inventory. JSON, errors included. No I/O.

use serde_json::{Map, Value, json};

use super::seed::udid;
use super::state::{Computer, State};
use super::wire::{Asked, Reply, refused};

const MAX_PAGE_SIZE: usize = 2000;
const SECTIONS: [&str; 8] = [
    "GENERAL",
    "APPLICATIONS",
    "HARDWARE",
    "OPERATING_SYSTEM",
    "USER_AND_LOCATION",
    "GROUP_MEMBERSHIPS",
    "EXTENSION_ATTRIBUTES",
    "SECURITY",
];

/// Answers a request below `/api`. `lie`: `totalCount` is this much too high.
pub(crate) fn serve(state: &State, asked: &Asked<'_>, lie: u64) -> Reply {
    match (asked.method, asked.path) {
        ("GET", "/api/v1/jamf-pro-version") => Reply::json(200, json!({"version": "11.30.0-t1790000000"})),
        ("GET", "/api/v4/computers-inventory") => inventory(state, asked, lie),
        (_, "/api/v4/computers-inventory" | "/api/v1/jamf-pro-version") => {
            refused(405, "METHOD_NOT_ALLOWED", "", "The method is not allowed.")
        }
        // Deprecated, and gone from this server.
        (_, path) if path.contains("/computers-inventory") => {
            refused(404, "NOT_FOUND", "", "This version of the endpoint was removed; use v4.")
        }
        _ => refused(404, "NOT_FOUND", "", "The resource was not found."),
    }
}

struct Paging<'a> {
    sections: Vec<&'a str>,
    page: usize,
    size: usize,
}

fn paging(query: &str) -> Result<Paging<'_>, Reply> {
    let bad = |field: &str| refused(400, "INVALID_FIELD", field, "The parameter is not valid.");
    let mut paging = Paging { sections: Vec::new(), page: 0, size: 100 };
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "section" if SECTIONS.contains(&value) => paging.sections.push(value),
            "page" => paging.page = value.parse().map_err(|_| bad("page"))?,
            "page-size" => {
                let size = value.parse().ok().filter(|n| (1..=MAX_PAGE_SIZE).contains(n));
                paging.size = size.ok_or_else(|| bad("page-size"))?;
            }
            "sort" if matches!(value, "id:asc" | "id%3Aasc") => {}
            // RSQL filters exist; this simulator has none, and says so rather than answer everything.
            other => return Err(bad(other)),
        }
    }
    if paging.sections.is_empty() {
        paging.sections.push("GENERAL");
    }
    Ok(paging)
}

fn inventory(state: &State, asked: &Asked<'_>, lie: u64) -> Reply {
    let paging = match paging(asked.query) {
        Ok(paging) => paging,
        Err(reply) => return reply,
    };
    let (from, size) = (paging.page.saturating_mul(paging.size), paging.size);
    let here = state.computers.iter().skip(from).take(size);
    let results: Vec<Value> = here.map(|(id, c)| computer(state, *id, c, &paging.sections, asked)).collect();
    Reply::json(200, json!({"totalCount": state.computers.len() as u64 + lie, "results": results}))
}

fn computer(state: &State, id: u32, known: &Computer, sections: &[&str], asked: &Asked<'_>) -> Value {
    let at = known.last_report(asked.now).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let mut out = Map::new();
    out.insert("id".into(), id.to_string().into());
    out.insert("udid".into(), udid(&state.tenant, id).into());
    for section in SECTIONS {
        let value = match section {
            _ if !sections.contains(&section) => Value::Null,
            "GENERAL" => {
                json!({"name": known.name, "platform": "Mac", "jamfBinaryVersion": "11.30.0", "reportDate": at,
                "lastContact": at, "lastCheckIn": at, "site": {"id": "-1", "name": "None"}})
            }
            "APPLICATIONS" => {
                let carried = known.carries.iter().map(|(app, version)| {
                    let app = &state.apps[*app];
                    let path = format!("/Applications/{}", app.name);
                    json!({"name": app.name, "path": path, "version": version, "bundleId": app.bundle,
                        "macAppStore": false, "sizeMegabytes": 25, "updateAvailable": false})
                });
                let safari = json!({"name": "Safari.app", "path": "/Applications/Safari.app", "version": "26.1",
                    "bundleId": "com.apple.Safari", "macAppStore": false, "sizeMegabytes": 20, "updateAvailable": false});
                carried.chain([safari]).collect()
            }
            _ => json!({}),
        };
        out.insert(camel(section), value);
    }
    Value::Object(out)
}

/// `USER_AND_LOCATION` as `userAndLocation`.
fn camel(section: &str) -> String {
    let mut out = String::new();
    for (i, word) in section.to_ascii_lowercase().split('_').enumerate() {
        let (first, rest) = word.split_at(usize::from(i > 0));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}
