//! The requests this plane makes to Jamf Pro, as data. Pure.

use reqwest::Method;

use super::xml::Element;
use crate::http::Cost;

/// The one budget: Jamf Pro counts all calls alike.
pub(crate) const CALLS: &str = "calls";
/// Largest page that Jamf Pro gives.
pub const MAX_PAGE_SIZE: u32 = 2000;

pub(crate) const XML: &str = "application/xml";
pub(crate) const JSON: &str = "application/json";

/// A request below the server's URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    /// Path and query, encoded, beginning with `/`.
    pub path: String,
    /// The path with names for ids.
    pub template: &'static str,
    pub accept: &'static str,
    /// XML: the Classic API takes nothing else.
    pub body: Option<String>,
}

impl Request {
    pub(crate) fn cost(&self) -> Cost {
        Cost::of(CALLS, 1)
    }
}

fn read(path: String, template: &'static str, accept: &'static str) -> Request {
    Request { method: Method::GET, path, template, accept, body: None }
}

/// The answer to [`version`].
#[derive(Debug, serde::Deserialize)]
pub struct Version {
    #[serde(alias = "Version")]
    pub version: String,
}

/// The cheapest call that needs a token.
pub fn version() -> Request {
    let path = "/api/v1/jamf-pro-version";
    read(path.into(), path, JSON)
}

/// One policy, whole. The list of policies has ids and names only.
pub fn policy(id: u32) -> Request {
    read(format!("/JSSResource/policies/id/{id}"), "/JSSResource/policies/id/{id}", XML)
}

/// Changes the elements that are sent; a list that is sent replaces the one there.
pub fn put_policy(id: u32, change: &Element) -> Result<Request, String> {
    let body = Some(change.to_document()?);
    Ok(Request { method: Method::PUT, body, ..policy(id) })
}

/// A computer group with its members.
pub fn group(id: u32) -> Request {
    read(format!("/JSSResource/computergroups/id/{id}"), "/JSSResource/computergroups/id/{id}", XML)
}

pub fn put_group(id: u32, change: &Element) -> Result<Request, String> {
    let body = Some(change.to_document()?);
    Ok(Request { method: Method::PUT, body, ..group(id) })
}

/// A page of all computers with what they report. Version 4: 1 to 3 are deprecated. Sorted, so that pages do not shift.
pub fn inventory(page: u64, size: u32) -> Request {
    let template = "/api/v4/computers-inventory";
    let query = format!("section=GENERAL&section=APPLICATIONS&page={page}&page-size={size}&sort=id%3Aasc");
    read(format!("{template}?{query}"), template, JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_is_version_4() {
        assert_eq!(
            inventory(3, 100).path,
            "/api/v4/computers-inventory?section=GENERAL&section=APPLICATIONS&page=3&page-size=100&sort=id%3Aasc"
        );
    }

    #[test]
    fn the_classic_api_is_written_in_xml() {
        let put = put_policy(7, &Element::with("policy", [])).unwrap();
        assert_eq!((put.method.as_str(), put.path.as_str()), ("PUT", "/JSSResource/policies/id/7"));
        assert_eq!(put.body.as_deref(), Some("<?xml version=\"1.0\" encoding=\"UTF-8\"?><policy/>"));
        assert_eq!(put.template, policy(7).template);
    }
}
