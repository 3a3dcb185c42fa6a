//! From a request with a good token to a reply. No I/O.

use serde_json::{Value, json};
use trueup_model::Time;

use super::odata::{self, Query};
use super::schema::{self, Class};
use super::state::State;
use super::{rows, write};
use crate::graph::odata::decode;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }
    pub(crate) fn no_content() -> Self {
        Self { status: 204, body: None }
    }
    /// As the service refuses without a word.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None }
    }
}

pub(crate) fn refuse(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"error": {"code": "", "message": message}}))
}

pub(crate) fn bad_request(message: &str) -> Reply {
    refuse(400, message)
}

pub(crate) fn not_found() -> Reply {
    refuse(404, "No HTTP resource was found that matches the request URI.")
}

/// What was asked, below `/AdminService/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// `wmi/SMS_Collection('ABC00001')`, still encoded.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
    /// Rows on a page of the server's own.
    pub(crate) page: usize,
    pub(crate) link: Link,
}

/// Whether `@odata.nextLink` is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Right,
    Foreign,
    Circular,
    /// Back and forth between the list's beginning and its second row.
    Looping,
}

pub(crate) fn serve(state: &mut State, asked: &Asked<'_>, now: Time) -> Reply {
    let segments: Option<Vec<String>> = asked.path.split('/').map(decode).collect();
    let Some(segments) = segments else { return bad_request("The path is not UTF-8.") };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if asked.method == "POST" {
        if !asked.content_type.starts_with("application/json") {
            return refuse(415, "The request entity's media type is not supported.");
        }
        if !asked.query.is_empty() {
            return bad_request("A creation or a method takes no query options.");
        }
    }
    match (asked.method, segments.as_slice()) {
        ("GET", ["wmi", name]) => get(state, asked, name, now),
        ("GET", ["wmi", name, key]) => by_key(state, asked, name, key, now),
        ("POST", ["wmi", "SMS_ApplicationAssignment"]) => write::deploy(state, asked.body, asked.origin, now),
        ("DELETE", ["wmi", path]) => match keyed(path) {
            Some(("SMS_ApplicationAssignment", id)) => write::undeploy(state, id, now),
            _ => refuse(405, "The requested resource does not support http method 'DELETE'."),
        },
        ("DELETE", ["wmi", "SMS_ApplicationAssignment", id]) => write::undeploy(state, id, now),
        ("POST", ["wmi", "SMS_ClientOperation.InitiateClientOperation"]) => {
            write::client_operation(state, asked.body, now)
        }
        (
            "POST",
            ["wmi", path, method @ ("AdminService.AddMembershipRule" | "AdminService.DeleteMembershipRule")],
        ) => {
            let add = *method == "AdminService.AddMembershipRule";
            match keyed(path) {
                Some(("SMS_Collection", id)) => {
                    write::rule(state, id.trim_matches('\''), asked.body, add, now)
                }
                _ => not_found(),
            }
        }
        ("POST", ["v1.0", path, "AdminService.RunScript"]) => match keyed(path) {
            Some(("Device", id)) => write::run_script(state, id, asked.body, now),
            _ => not_found(),
        },
        (_, ["wmi", name, ..]) if schema::class(name).is_some() => {
            refuse(405, &format!("The requested resource does not support http method '{}'.", asked.method))
        }
        _ => not_found(),
    }
}

/// `SMS_Collection('ABC')` is the class and the key, as written.
fn keyed(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.split_once('(')?;
    Some((name, rest.strip_suffix(')')?))
}

fn get(state: &State, asked: &Asked<'_>, path: &str, now: Time) -> Reply {
    if let Some((name, key)) = keyed(path) {
        return by_key(state, asked, name, key, now);
    }
    list(state, asked, path, now)
}

fn rows_of(state: &State, name: &str, now: Time) -> Result<(&'static Class, Vec<odata::Row>), Reply> {
    let class = schema::class(name).ok_or_else(not_found)?;
    let rows = rows::of(name, state, now).ok_or_else(not_found)?;
    Ok((class, rows))
}

fn list(state: &State, asked: &Asked<'_>, name: &str, now: Time) -> Reply {
    let (class, rows) = match rows_of(state, name, now) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    let query = match Query::parse(name, class, asked.query) {
        Ok(query) => query,
        Err(why) => return bad_request(&why),
    };
    let (rows, next) = query.run(class, rows, asked.page);
    let (origin, token) = match asked.link {
        Link::Right => (asked.origin, next),
        Link::Foreign => ("https://provider.example", Some(next.unwrap_or(0))),
        Link::Circular => (asked.origin, Some(0)),
        Link::Looping => (asked.origin, Some(usize::from(query.token == 0))),
    };
    let kept: Vec<&str> =
        asked.query.split('&').filter(|p| !p.is_empty() && !p.starts_with("$skiptoken")).collect();
    let link = |token: usize| {
        let and = if kept.is_empty() { "" } else { "&" };
        format!("{origin}/AdminService/{}?{}{and}$skiptoken={token}", asked.path, kept.join("&"))
    };
    Reply::json(200, odata::page(asked.origin, name, rows, token.map(link)))
}

/// By key the answer is a list too.
fn by_key(state: &State, asked: &Asked<'_>, name: &str, key: &str, now: Time) -> Reply {
    let (class, rows) = match rows_of(state, name, now) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    if !asked.query.is_empty() {
        return bad_request("This simulator knows no query options on one object.");
    }
    let plain = key.trim_matches('\'');
    let row = match (name, class.keys.as_slice()) {
        ("SMS_Collection", _) => rows::collection_with_rules(class, state, plain),
        (_, [field]) => rows
            .into_iter()
            .find(|row| match &row[field] {
                Value::String(text) => text == plain,
                Value::Number(n) => n.to_string() == key,
                _ => false,
            })
            .map(|row| rows::whole(class, row)),
        _ => return bad_request("The number of keys does not match the class."),
    };
    match row {
        None => not_found(),
        Some(row) => Reply::json(200, odata::page(asked.origin, name, vec![row], None)),
    }
}
