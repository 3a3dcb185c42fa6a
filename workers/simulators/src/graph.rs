//! Graph v1.0: from a request to a reply. No I/O.

use serde_json::{Value, json};

use crate::tenant::Tenant;
use crate::throttle::Kind;

mod apps;
mod assign;
mod batch;
mod devices;
pub(crate) mod odata;
pub mod vocabulary;

pub(crate) use assign::write as served;
use odata::Options;

/// A request with a good token, below the version root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// `/deviceAppManagement/mobileApps`, still encoded.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// Where links lead.
    pub(crate) origin: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
    /// Whose token it is.
    pub(crate) client: &'a str,
    /// `client-request-id`.
    pub(crate) key: Option<&'a str>,
    pub(crate) in_batch: bool,
    pub(crate) link: LinkStyle,
}

/// Whether `@odata.nextLink` is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkStyle {
    Right,
    Foreign,
    Circular,
    Looping,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }
    pub(crate) fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: None }
    }
}

/// Graph's error shape.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    let inner = json!({"date": "2026-01-01T00:00:00", "request-id": ZERO, "client-request-id": ZERO});
    Reply::json(status, json!({"error": {"code": code, "message": message, "innerError": inner}}))
}

const ZERO: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn unauthorized(message: &str) -> Reply {
    refuse(401, "InvalidAuthenticationToken", message)
}

pub(crate) fn bad_request(message: &str) -> Reply {
    refuse(400, "BadRequest", message)
}

pub(crate) fn not_found(kind: &str, id: &str) -> Reply {
    let id: String = id.chars().take(64).collect();
    refuse(404, "ResourceNotFound", &format!("{kind} '{id}' does not exist."))
}

pub(crate) fn too_many(retry_after: Option<String>) -> Reply {
    let mut reply = refuse(429, "TooManyRequests", "Please retry again later.");
    reply.headers.extend(retry_after.map(|t| ("Retry-After", t)));
    reply
}

/// As Intune answers a verb or an action it does not have.
fn no_route(asked: &Asked<'_>) -> Reply {
    let message = format!(
        "No OData route exists that match template ~{} with http verb {} for request /StatelessService{}.",
        if asked.method == "GET" { "/singleton/navigation" } else { "/singleton/navigation/key/action" },
        asked.method,
        asked.path.chars().take(200).collect::<String>()
    );
    refuse(400, "No method match route template", &message)
}

fn no_segment(segment: &str) -> Reply {
    let segment: String = segment.chars().take(64).collect();
    bad_request(&format!("Resource not found for the segment '{segment}'."))
}

/// Counts the request against the limits, then answers it.
pub(crate) fn serve(tenant: &Tenant, asked: &Asked<'_>) -> Reply {
    let segments: Option<Vec<String>> = asked.path.split('/').skip(1).map(odata::decode).collect();
    let Some(segments) = segments else { return bad_request("The path is not UTF-8.") };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if segments == ["$batch"] {
        return if asked.in_batch { bad_request("A batch in a batch.") } else { batch::serve(tenant, asked) };
    }
    let kind = Kind { devices: segments.first() == Some(&"deviceManagement"), write: asked.method != "GET" };
    if let Err(too) = tenant.admit(asked.client, kind, asked.in_batch) {
        return too_many(too.0);
    }
    let options = match Options::parse(asked.query) {
        Ok(options) => options,
        Err(why) => return bad_request(&why),
    };
    route(tenant, asked, &segments, &options)
}

fn route(tenant: &Tenant, asked: &Asked<'_>, segments: &[&str], options: &Options) -> Reply {
    match (asked.method, segments) {
        ("GET", ["deviceAppManagement", "mobileApps"]) => apps::list(tenant, asked, options),
        ("GET", ["deviceAppManagement", "mobileApps", id]) => apps::one(tenant, id, options),
        ("GET", ["deviceAppManagement", "mobileApps", id, "assignments"]) => {
            apps::assignments(tenant, asked, id, options)
        }
        ("POST", ["deviceAppManagement", "mobileApps", id, "assign"]) => {
            apps::assign(tenant, asked, id, options)
        }
        ("GET", ["deviceManagement", "detectedApps"]) => devices::detected(tenant, asked, options),
        ("GET", ["deviceManagement", "detectedApps", id, "managedDevices"]) => {
            devices::of_detected(tenant, asked, id, options)
        }
        ("GET", ["deviceManagement", "managedDevices"]) => devices::list(tenant, asked, options),
        ("GET", ["deviceManagement", "managedDevices", id]) => devices::one(tenant, id, options),
        ("POST", ["deviceManagement", "managedDevices", id, "syncDevice"]) => {
            devices::sync(tenant, asked, id, options)
        }
        (
            _,
            ["deviceAppManagement", "mobileApps", ..]
            | ["deviceManagement", "detectedApps" | "managedDevices", ..],
        ) => no_route(asked),
        (_, ["deviceAppManagement" | "deviceManagement", segment, ..]) => no_segment(segment),
        (_, [segment, ..]) => no_segment(segment),
        (_, []) => no_segment(""),
    }
}
