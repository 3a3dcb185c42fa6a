//! Talking to the API, with `trueup-client`; and its errors as the user is told them.

use std::ops::Deref;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_client::Method;
pub(crate) use trueup_client::{Answer, Items};
use trueup_client::{Error, Problem, Setting};

use crate::failure::{Exit, Failure};

/// The client, and requests by path for what is shown as it comes.
#[derive(Debug)]
pub(crate) struct Client(trueup_client::Client);

/// What to send.
pub(crate) enum Body {
    None,
    Json(Value),
    Ndjson(String),
}

impl Deref for Client {
    type Target = trueup_client::Client;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Client {
    /// `key`: an API key or bearer token to send with every request.
    /// `ca_file`: the only certificate authorities to trust; `None`: those that this host trusts.
    pub(crate) fn new(url: &str, key: Option<String>, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let mut builder =
            trueup_client::Client::builder(url).user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = key {
            builder = builder.key(key);
        }
        if let Some(path) = ca_file {
            builder = builder.ca_file(path);
        }
        Ok(Self(builder.build().map_err(|e| not_set_up(e, url))?))
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, Failure> {
        self.ask(Method::GET, path, query, Body::None).await
    }

    /// Asks; every path segment and parameter is encoded on the way.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<Answer<T>, Failure> {
        let request = self.request(method, path).query(query.iter().map(|(name, value)| (name, value)));
        let request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Ndjson(text) => request.ndjson(text),
        };
        Ok(request.send().await?)
    }

    /// Items of a list, over as many pages as it takes.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Items, Failure> {
        Ok(self.0.list(path, query, most).await?)
    }
}

fn not_set_up(error: Error, url: &str) -> Failure {
    let Error::Setup { what, why } = error else { return error.into() };
    let failure = Failure::usage(why);
    match what {
        Setting::Url => failure.at("--url or TRUEUP_URL").advise("use a URL like http://127.0.0.1:7171"),
        Setting::Unencrypted => {
            failure.at(url).advise("use https, or a tunnel to this host (ssh -L, kubectl port-forward)")
        }
        Setting::Key => failure.at("--api-key-file or TRUEUP_API_KEY"),
        Setting::CaFile => failure.at("--ca-file or TRUEUP_CA_FILE"),
        Setting::Http => Failure { exit: Exit::Failed, ..failure },
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Problem(problem) => of_problem(*problem, text),
            Error::Unreachable { url, .. } => Self::new(Exit::Unreachable, text)
                .at(url)
                .advise("start it with `trueup serve`, or say where it is with --url or TRUEUP_URL"),
            Error::Foreign { url, correlation_id, .. } => Self {
                correlation_id,
                ..Self::new(Exit::Failed, text)
                    .at(url)
                    .advise("see whether this is Trueup's API, and of the same version as this program")
            },
            Error::Setup { .. } => Self::usage(text),
        }
    }
}

fn of_problem(problem: Problem, text: String) -> Failure {
    let exit = match problem.status {
        404 => Exit::NotFound,
        503 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let mut failure = Failure::new(exit, text);
    if !problem.instance.is_empty() {
        failure.places.push(problem.instance);
    }
    let advice = match problem.status {
        401 => Some("log in with `trueup login`, or name a key with --api-key-file or TRUEUP_API_KEY"),
        403 => Some(
            "`trueup whoami` shows what you may; an admin makes a key that may more: `trueup key create --grant TENANT:ROLE`",
        ),
        503 => Some("ask again in a moment; `trueup doctor` says what is wrong if it stays so"),
        _ => None,
    };
    failure.advice = advice.map(Into::into);
    // One flaw is in the detail already.
    if problem.errors.len() > 1 {
        failure.places =
            problem.errors.iter().take(20).map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
    }
    failure.correlation_id = problem.correlation_id;
    failure.status = Some(problem.status);
    failure
}
