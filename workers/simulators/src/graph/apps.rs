//! `/deviceAppManagement/mobileApps`.

use serde_json::{Map, Value};

use super::odata::{Options, page, project};
use super::vocabulary::MOBILE_APP;
use super::{Asked, Reply, assign as body, bad_request, not_found};
use crate::mischief::List;
use crate::state::{App, Reach, State};
use crate::tenant::Tenant;

/// Applications on a page unless asked otherwise.
const PAGE: usize = 100;
const CREATED: &str = "2026-01-01T00:00:00Z";

pub(super) fn list(tenant: &Tenant, asked: &Asked<'_>, options: &Options) -> Reply {
    if let Err(why) = options.allow(true, Some(&MOBILE_APP), &["assignments"], false) {
        return bad_request(&why);
    }
    let size = options.top.unwrap_or(PAGE);
    tenant.with_state(|state, _| {
        let there = |app: &&App| state.app_at.contains_key(&app.id);
        let shown = state.apps.iter().take(state.shown(List::Applications));
        let mut apps = shown.skip(options.skip).filter(there);
        let value: Vec<Value> = apps.by_ref().take(size).map(|app| object(state, app, options)).collect();
        let next = apps.next().and_then(|app| state.app_at.get(&app.id)).copied();
        Reply::json(200, page(asked, "deviceAppManagement/mobileApps", options, value, next))
    })
}

pub(super) fn one(tenant: &Tenant, id: &str, options: &Options) -> Reply {
    if let Err(why) = options.allow(false, Some(&MOBILE_APP), &["assignments"], false) {
        return bad_request(&why);
    }
    tenant.with_state(|state, _| match find(state, id) {
        None => not_found("mobileApp", id),
        Some(app) => Reply::json(200, object(state, &state.apps[app], options)),
    })
}

pub(super) fn assignments(tenant: &Tenant, asked: &Asked<'_>, id: &str, options: &Options) -> Reply {
    if let Err(why) = options.allow(false, None, &[], false) {
        return bad_request(&why);
    }
    tenant.with_state(|state, _| match find(state, id) {
        None => not_found("mobileApp", id),
        Some(app) => {
            let context = format!("deviceAppManagement/mobileApps('{id}')/assignments");
            Reply::json(200, page(asked, &context, options, written(&state.apps[app]), None))
        }
    })
}

pub(super) fn assign(tenant: &Tenant, asked: &Asked<'_>, id: &str, options: &Options) -> Reply {
    if *options != Options::default() {
        return bad_request("An action takes no query options.");
    }
    if !asked.content_type.starts_with("application/json") {
        return bad_request("A Content-Type of application/json is needed.");
    }
    let reply = tenant.with_state(|state, now| {
        let Some(app) = find(state, id) else { return not_found("mobileApp", id) };
        let before = &state.apps[app].assignments;
        let set = match body::read(asked.body, before) {
            Ok(set) => set,
            Err(why) => return bad_request(&why),
        };
        let is_new = |reach: &Reach| !before.iter().any(|a| a.reach == *reach);
        let gone = set.iter().find_map(|a| match &a.reach {
            Reach::Group(id) | Reach::Exclusion(id) if is_new(&a.reach) => state.deleted_groups.get(id),
            _ => None,
        });
        if let Some(group) = gone {
            return bad_request(&format!("The group '{group}' does not exist or one of its queried reference-property objects are not present."));
        }
        state.assign(app, set, now);
        Reply::no_content()
    });
    if reply.status == 204 {
        tenant.note_write(asked.path, asked.key);
    }
    reply
}

/// GUIDs are found in any case.
fn find(state: &State, id: &str) -> Option<usize> {
    state.app_at.get(id).or_else(|| state.app_at.get(&id.to_ascii_lowercase())).copied()
}

fn written(app: &App) -> Vec<Value> {
    app.assignments.iter().enumerate().map(|(n, a)| body::write(a, n)).collect()
}

fn object(state: &State, app: &App, options: &Options) -> Value {
    let name = &state.products[app.product].name;
    let fields: [(&str, Value); 10] = [
        ("id", app.id.as_str().into()),
        ("displayName", format!("{name} {}", app.version).into()),
        ("description", name.as_str().into()),
        ("publisher", "Contoso".into()),
        ("createdDateTime", CREATED.into()),
        ("lastModifiedDateTime", CREATED.into()),
        ("isFeatured", false.into()),
        ("owner", "".into()),
        ("developer", "".into()),
        ("publishingState", "published".into()),
    ];
    let mut out: Map<String, Value> = project(options, fields);
    out.insert("@odata.type".into(), "#microsoft.graph.win32LobApp".into());
    if options.expand.is_some() && state.shown(List::Expansion) > 0 {
        let shown = written(app).into_iter().take(state.shown(List::Assignments));
        out.insert("assignments".into(), shown.collect());
    }
    Value::Object(out)
}
