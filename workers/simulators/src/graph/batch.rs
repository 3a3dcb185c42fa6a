//! `POST /$batch`: up to 20 requests, answered in another order than asked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Asked, LinkStyle, Reply, bad_request, refuse, serve as serve_one, too_many};
use crate::tenant::Tenant;
use crate::trouble::Trouble;

const MAX: usize = 20;

struct Item {
    id: String,
    method: String,
    url: String,
    content_type: String,
    body: Vec<u8>,
    depends_on: Vec<String>,
}

pub(super) fn serve(tenant: &Tenant, asked: &Asked<'_>) -> Reply {
    if asked.method != "POST" || !asked.query.is_empty() {
        return refuse(
            405,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        );
    }
    if !asked.content_type.starts_with("application/json") {
        return bad_request("A Content-Type of application/json is needed.");
    }
    let items = match read(asked.body) {
        Ok(items) => items,
        Err(why) => return bad_request(&why),
    };
    let mut done: BTreeMap<&str, u16> = BTreeMap::new();
    let mut responses = Vec::with_capacity(items.len());
    for item in &items {
        let failed =
            item.depends_on.iter().any(|id| done.get(id.as_str()).is_none_or(|status| *status >= 400));
        let reply = if failed {
            Some(refuse(424, "FailedDependency", "A request this one depends on failed."))
        } else {
            one(tenant, asked, item)
        };
        let Some(reply) = reply else { continue };
        done.insert(&item.id, reply.status);
        responses.push(response(&item.id, reply));
    }
    Reply::json(200, json!({ "responses": shuffled(responses) }))
}

/// `None`: not answered, on demand.
fn one(tenant: &Tenant, asked: &Asked<'_>, item: &Item) -> Option<Reply> {
    match tenant.take_trouble(&format!("{} {}", item.method, item.url), true, false) {
        Some(Trouble::ItemLost) => return None,
        Some(Trouble::Item { status: 429, retry_after }) => return Some(too_many(retry_after)),
        Some(Trouble::Item { status, .. }) => {
            return Some(refuse(status, "UnknownError", "An error has occurred."));
        }
        _ => {}
    }
    let (path, query) = item.url.split_once('?').unwrap_or((&item.url, ""));
    Some(serve_one(
        tenant,
        &Asked {
            method: &item.method,
            path,
            query,
            content_type: &item.content_type,
            body: &item.body,
            in_batch: true,
            link: LinkStyle::Right,
            ..*asked
        },
    ))
}

fn response(id: &str, reply: Reply) -> Value {
    let mut headers: Map<String, Value> =
        reply.headers.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
    if reply.body.is_some() {
        headers.insert("Content-Type".into(), "application/json".into());
    }
    let mut out = json!({"id": id, "status": reply.status, "headers": headers});
    if let Some(body) = reply.body {
        out["body"] = body;
    }
    out
}

/// Another order, the same each time.
fn shuffled(responses: Vec<Value>) -> Vec<Value> {
    let mut keyed: Vec<(usize, Value)> =
        responses.into_iter().enumerate().map(|(i, r)| ((i * 7 + 3) % 23, r)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, r)| r).collect()
}

fn read(body: &[u8]) -> Result<Vec<Item>, String> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "Invalid batch payload format.")?;
    let list = body.get("requests").and_then(Value::as_array).ok_or("Invalid batch payload format.")?;
    if body.as_object().is_some_and(|o| o.len() != 1) {
        return Err("Invalid batch payload format.".into());
    }
    if list.len() > MAX {
        return Err(format!("Number of batch request steps exceeds the maximum value of {MAX}."));
    }
    let mut items: Vec<Item> = Vec::with_capacity(list.len());
    for value in list {
        let item = item(value)?;
        if items.iter().any(|i| i.id == item.id) {
            return Err(format!("Duplicate request id '{}'.", item.id));
        }
        items.push(item);
    }
    Ok(items)
}

fn item(value: &Value) -> Result<Item, String> {
    let map = value.as_object().ok_or("A batch request must be an object.")?;
    let known = ["id", "method", "url", "headers", "body", "dependsOn"];
    if let Some(k) = map.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!(
            "Unknown property '{}' in a batch request.",
            k.chars().take(40).collect::<String>()
        ));
    }
    let text = |name: &str| {
        let text = map.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        text.map(str::to_owned).ok_or_else(|| format!("A batch request needs '{name}'."))
    };
    let (id, method, url) = (text("id")?, text("method")?, text("url")?);
    if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
        return Err("Invalid method in a batch request.".into());
    }
    if url.contains("://") {
        return Err("A batch request needs a relative url.".into());
    }
    let url = if url.starts_with('/') { url } else { format!("/{url}") };
    let headers = map.get("headers").and_then(Value::as_object);
    let content_type = headers
        .and_then(|h| h.iter().find(|(k, _)| k.eq_ignore_ascii_case("content-type")))
        .and_then(|(_, v)| v.as_str())
        .unwrap_or_default()
        .to_owned();
    let body =
        map.get("body").filter(|b| !b.is_null()).map(|b| b.to_string().into_bytes()).unwrap_or_default();
    if !body.is_empty() && content_type.is_empty() {
        return Err("A batch request with a body needs a Content-Type header.".into());
    }
    let depends_on = map.get("dependsOn").and_then(Value::as_array).into_iter().flatten();
    let depends_on = depends_on.filter_map(|v| v.as_str().map(str::to_owned)).collect();
    Ok(Item { id, method, url, content_type, body, depends_on })
}
