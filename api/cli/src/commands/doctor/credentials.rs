//! Credentials: those of connections, as planes judged them in the last day; and API keys that end soon.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trueup_model::{Duration, Event, EventKind, Time};

use super::{Check, State, list};
use crate::context::Context;
use crate::failure::Exit;
use crate::text::{clean, relative};
use crate::views;

/// How far back refusals are looked for.
const LATELY: Duration = Duration::hours(24);
/// An API key that ends within this time is worth a word.
const SOON: Duration = Duration::days(14);
/// Events looked at, of each type.
const EVENTS: usize = 1_000;

pub(super) async fn examine(cx: &Context, now: Time) -> Vec<Check> {
    let mut events: Vec<Event> = Vec::new();
    for kind in [EventKind::ConditionChanged, EventKind::RemediationRefused] {
        let query = [
            ("type", kind.as_str().to_owned()),
            ("since", (now - LATELY).to_rfc3339()),
            ("last", EVENTS.to_string()),
        ];
        match cx
            .client
            .get::<Value>(&["v1", "events"], &query)
            .await
            .and_then(|a| views::read(&list(&a.body)))
        {
            Ok(found) => events.extend(found),
            Err(e) => return vec![Check::unknown("credentials", e)],
        }
    }
    let mut checks = refused(&events);
    match cx.client.get::<Value>(&["v1", "keys"], &[("limit", EVENTS.to_string())]).await {
        Ok(answer) => checks.extend(ending(&list(&answer.body), now)),
        // Of an older version, or not for us to see.
        Err(e) if matches!(e.exit, Exit::NotFound | Exit::Failed) => {}
        Err(e) => checks.push(Check::unknown("api keys", e)),
    }
    checks
}

/// Which planes refused a credential, for as much as nothing better was heard of the intent since.
pub(super) fn refused(events: &[Event]) -> Vec<Check> {
    let mut last: BTreeMap<(&str, &str), &Event> = BTreeMap::new();
    for event in events {
        let known = last.entry((&event.tenant, &event.intent)).or_insert(event);
        if event.created_at >= known.created_at {
            *known = event;
        }
    }
    let mut found: BTreeMap<(String, String), (BTreeSet<&str>, String)> = BTreeMap::new();
    for ((tenant, intent), event) in last {
        let Some(why) = refusal(&event.event_data["because"]) else { continue };
        let plane = event.event_data["plane"].as_str().unwrap_or("a plane");
        let entry = found.entry((tenant.to_owned(), plane.to_owned())).or_default();
        entry.0.insert(intent);
        entry.1 = why;
    }
    if found.is_empty() {
        return vec![Check::ok("credentials", "no plane refused one in the last day")];
    }
    found
        .into_iter()
        .map(|((tenant, plane), (intents, why))| {
            let found = format!("{tenant} on {plane}: refused for {}: {}", crate::text::count(intents.len(), "intent"), clean(&why));
            let advice = "renew the connection's credential or give it the permission, then `trueup check` one of the intents";
            Check::not(State::Bad, "credentials", found, advice)
        })
        .collect()
}

/// The line of a 401 or 403, if there is one.
fn refusal(because: &Value) -> Option<String> {
    let lines: Vec<&str> = match because {
        Value::String(line) => vec![line],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |line: &&str| line.contains(" answered 401") || line.contains(" answered 403");
    lines.into_iter().find(is).map(str::to_owned)
}

/// API keys that end soon. `keys`: as the API lists them.
pub(super) fn ending(keys: &[Value], now: Time) -> Vec<Check> {
    let active = keys.iter().filter(|k| k["state"] == "active");
    active
        .filter_map(|key| {
            let ends: Time = key["expires_at"].as_str()?.parse().ok()?;
            (ends - now < SOON).then(|| {
                let name = |field: &str| clean(key[field].as_str().unwrap_or_default());
                let found = format!("{} ({}) ends {}", name("id"), name("label"), relative(ends, now));
                let advice = format!("rotate it: `trueup key rotate {}`", name("id"));
                Check::not(State::Warning, "api key", found, advice)
            })
        })
        .collect()
}
