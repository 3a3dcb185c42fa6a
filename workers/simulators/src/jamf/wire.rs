//! Requests and replies as data.

use serde_json::{Value, json};
use trueup_model::Time;

use super::xml::Node;

/// A request with a good token, below the tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) body: &'a [u8],
    /// Which node of the cluster was asked.
    pub(crate) node: u8,
    pub(crate) now: Time,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<String>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, content_type: "application/json".into(), body, retry_after: None }
    }

    pub(crate) fn xml(status: u16, root: Node) -> Self {
        let content_type = "application/xml;charset=UTF-8".into();
        Self { status, content_type, body: root.document(), retry_after: None }
    }
}

/// An error of the Jamf Pro API.
pub(crate) fn refused(status: u16, code: &str, field: &str, description: &str) -> Reply {
    let error = json!({"code": code, "field": field, "description": description, "id": "0"});
    Reply::json(status, json!({"httpStatus": status, "errors": [error]}))
}

/// An error of the Classic API.
pub(crate) fn html(status: u16, title: &str, text: &str) -> Reply {
    let page = format!(
        "<html>\n<head>\n   <title>Status page</title>\n</head>\n<body style=\"font-family: sans-serif;\">\n\
         <p style=\"font-size: 1.2em;font-weight: bold;margin: 1em 0px;\">{title}</p>\n<p>{text}</p>\n\
         <p>You can get technical details <a href=\"http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html\">here</a>.<br>\n\
         Please continue your visit at our <a href=\"/\">home page</a>.\n</p>\n</body>\n</html>\n"
    );
    Reply {
        status,
        content_type: "text/html;charset=UTF-8".into(),
        body: page.into_bytes(),
        retry_after: None,
    }
}
