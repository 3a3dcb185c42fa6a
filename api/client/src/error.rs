//! Why a request has no answer.

use serde::Deserialize;

/// A problem document (RFC 9457), as the API answers whatever it does not do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// `urn:trueup:problem:<name>`; programs may match on it.
    #[serde(rename = "type", default)]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What happened, and what to do.
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub instance: String,
    #[serde(default)]
    pub correlation_id: Option<String>,
    #[serde(default)]
    pub errors: Vec<Flaw>,
}

/// One flaw of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Flaw {
    /// JSON pointer into the body (`/desired/version`), or `?name` for a query parameter.
    pub pointer: String,
    pub detail: String,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The API says why not.
    #[error("{}: {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// Nothing came back; whether a change was made is not known.
    #[error("{}: {why}", if *.timed_out { "the API did not answer in time" } else { "cannot reach the API" })]
    Unreachable { url: String, why: String, timed_out: bool },
    /// Something else than Trueup's API answered, or another version of it.
    #[error("{why}")]
    Foreign { url: String, why: String, correlation_id: Option<String> },
    /// The client cannot be set up so.
    #[error("{why}")]
    Setup { what: Setting, why: String },
}

/// What of the client's settings is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Url,
    Key,
    /// A key, and a URL over which everyone on the way could read it.
    Unencrypted,
    CaFile,
    Http,
}

impl Error {
    /// HTTP status, if the API answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    pub(crate) fn unreachable(url: &str, error: &reqwest::Error) -> Self {
        // The innermost says it best: "connection refused".
        let (mut why, mut source) = (String::new(), Some(error as &dyn std::error::Error));
        while let Some(e) = source {
            why = e.to_string();
            source = e.source();
        }
        Self::Unreachable { url: url.to_owned(), why, timed_out: error.is_timeout() }
    }
}
