//! What the two lists of applications are read with: assignments by `mobileApp`, versions by detected name.
//!
//! # Guarantees
//! One application that cannot be read is not another's trouble. An application that came without its assignments is
//! read singly: what is missing in an answer is not "none".

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use trueup_model::Fault;
use trueup_model::observed::AssignmentSeen;

use super::doubt::{Count, Empty};
use super::graph::{Graph, ItemFault};
use super::parse::{self, App, DetectedApp, Page};
use super::request::{self, APPS_PER_PAGE, DETECTED_PER_PAGE, Request};
use super::snapshot::{Loaded, Whole};
use crate::http::parse_json;

pub(super) async fn assignments(
    graph: &Graph,
    keys: Vec<String>,
    everything: bool,
) -> Result<Loaded<Arc<[AssignmentSeen]>>, Fault> {
    let mut loaded = Loaded { whole: None, values: HashMap::new(), faults: HashMap::new() };
    let mut singly = keys;
    if everything {
        let apps: Vec<App> = graph.list(&request::apps_with_assignments()).await?;
        singly.clear();
        let (mut n, mut assigned) = (0, 0);
        for app in apps {
            let id = app.id.to_ascii_lowercase();
            n += 1;
            match app.assignments {
                Some(wire) if app.more_assignments.is_none() => {
                    assigned += wire.len();
                    put(&mut loaded, id, &wire);
                }
                _ => singly.push(id),
            }
        }
        let applications = Count { what: "applications", n, empty: Empty::Never };
        let assignments = Count { what: "assignments", n: assigned, empty: Empty::Possible };
        let calls = n.div_ceil(APPS_PER_PAGE);
        loaded.whole = Some(Whole { calls, counts: vec![applications, assignments] });
    }
    let items: Vec<Request> = singly.iter().map(|id| request::assignments_of(id)).collect();
    for (id, answer) in singly.into_iter().zip(lists(graph, &items).await) {
        match answer {
            Ok(list) => put(&mut loaded, id, &list),
            Err(ItemFault::Absent(_)) => {
                loaded.values.insert(id, None);
            }
            Err(ItemFault::Other(fault)) => {
                loaded.faults.insert(id, fault);
            }
        }
    }
    Ok(loaded)
}

fn put(loaded: &mut Loaded<Arc<[AssignmentSeen]>>, id: String, wire: &[serde_json::Value]) {
    match parse::assignments(&id, wire) {
        Ok(seen) => {
            loaded.values.insert(id, Some(seen.into()));
        }
        Err(why) => {
            let fault = Fault::permanent(format!("assignments of mobileApp {id}: {why}"));
            loaded.faults.insert(id, fault);
        }
    }
}

pub(super) async fn detected(
    graph: &Graph,
    keys: Vec<String>,
    everything: bool,
) -> Result<Loaded<Arc<[DetectedApp]>>, Fault> {
    let mut by_name: HashMap<String, Vec<DetectedApp>> = HashMap::new();
    let mut faults = HashMap::new();
    let mut whole = None;
    if everything {
        let apps = graph.list::<DetectedApp>(&request::detected_apps()).await?;
        let n = apps.len();
        let counts = vec![Count { what: "detected applications", n, empty: Empty::AtFirst }];
        whole = Some(Whole { calls: n.div_ceil(DETECTED_PER_PAGE), counts });
        for app in apps {
            if let Some(name) = app.name.clone() {
                by_name.entry(name).or_default().push(app);
            }
        }
    } else {
        let items: Vec<Request> = keys.iter().map(|name| request::detected_apps_named(name)).collect();
        for (name, answer) in keys.into_iter().zip(lists::<DetectedApp>(graph, &items).await) {
            match answer {
                Ok(apps) => {
                    let apps = apps.into_iter().filter(|a| a.name.as_deref() == Some(&name)).collect();
                    by_name.insert(name, apps);
                }
                Err(fault) => {
                    faults.insert(name, fault.into_fault());
                }
            }
        }
    }
    let values = by_name.into_iter().map(|(name, apps)| (name, Some(apps.into()))).collect();
    Ok(Loaded { whole, values, faults })
}

/// Several lists in batches, with the pages that follow.
pub(super) async fn lists<T: DeserializeOwned>(
    graph: &Graph,
    items: &[Request],
) -> Vec<Result<Vec<T>, ItemFault>> {
    let mut all = Vec::with_capacity(items.len());
    for (item, answer) in items.iter().zip(graph.batch(items, None).await) {
        all.push(match answer {
            Err(fault) => Err(fault),
            Ok(response) => {
                let body = response.body.to_string();
                match parse_json::<Page<T>>(item.template, response.status, body.as_bytes()) {
                    Ok(page) => graph.rest(item, page).await.map_err(ItemFault::Other),
                    Err(fault) => Err(ItemFault::Other(fault)),
                }
            }
        });
    }
    all
}
