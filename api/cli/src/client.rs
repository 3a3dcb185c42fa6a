//! Talking to the API.
//!
//! # Guarantees
//! - No proxy and no redirect: a key is sent to the host that was named, and to no other.
//! - Answers are bounded in size and time; what is no answer of ours is an error that says so.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_model::{DateTime, SystemClock, Time, Utc, clock::Clock as _};
use trueup_server::{CORRELATION_HEADER, Problem, TIME_HEADER};

use crate::failure::{Exit, Failure};

/// Longest time for one request; the server gives up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Client {
    base: Url,
    http: reqwest::Client,
}

/// An answer and what its headers said about time.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) body: T,
    /// The time by the clock that decisions use; this host's if the server did not say.
    pub(crate) now: Time,
    /// The server's host time (`Date`), to the second.
    pub(crate) date: Option<Time>,
}

/// What to send.
pub(crate) enum Body {
    None,
    Json(Value),
    Ndjson(String),
}

impl Client {
    /// `key`: an API key or bearer token to send with every request.
    /// `ca_file`: the only certificate authorities to trust; `None`: those that this host trusts.
    pub(crate) fn new(url: &str, key: Option<String>, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::usage(why).at("--url or TRUEUP_URL").advise("use a URL like http://127.0.0.1:7171")
        };
        let base = Url::parse(url).map_err(|e| wrong(format!("'{url}' is not a URL: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong(format!("'{url}' is not an http or https URL")));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            if base.scheme() == "http" && !is_loopback(&base) {
                return Err(Failure::usage("the API key would go over the network unencrypted")
                    .at(base.as_str())
                    .advise("use https, or a tunnel to this host (ssh -L, kubectl port-forward)"));
            }
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                Failure::usage("the API key holds characters that no key has")
                    .at("--api-key-file or TRUEUP_API_KEY")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder();
        if let Some(path) = ca_file {
            let wrong = |why: String| {
                Failure::usage(format!("{}: {why}", path.display())).at("--ca-file or TRUEUP_CA_FILE")
            };
            let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
            if trusted.is_empty() {
                return Err(wrong("there is no certificate in it (PEM)".into()));
            }
            http = http.tls_certs_only(trusted);
        }
        let http = http
            .default_headers(headers)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot set up HTTP: {e}")))?;
        Ok(Self { base, http })
    }

    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, Failure> {
        self.ask(Method::GET, path, query, Body::None).await
    }

    /// Asks; every path segment and parameter is encoded here.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<Answer<T>, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url.clone()).query(query);
        request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Ndjson(text) => request.header(CONTENT_TYPE, "application/x-ndjson").body(text),
        };
        let mut response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(foreign(&url, &headers, "the answer is too large"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => of_problem(problem),
                Err(_) => foreign(
                    &url,
                    &headers,
                    &format!("status {status} without a reason that Trueup would give"),
                ),
            });
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|e| foreign(&url, &headers, &format!("the answer is not Trueup's: {e}")))?;
        let now =
            text(&headers, TIME_HEADER).and_then(|t| t.parse().ok()).unwrap_or_else(|| SystemClock.now());
        let date = text(&headers, DATE.as_str())
            .and_then(|t| DateTime::parse_from_rfc2822(t).ok())
            .map(|t| t.with_timezone(&Utc));
        Ok(Answer { body, now, date })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why = String::new();
        let mut source: Option<&dyn std::error::Error> = Some(error);
        while let Some(e) = source {
            why = e.to_string();
            source = e.source();
        }
        let what = if error.is_timeout() { "the API did not answer in time" } else { "cannot reach the API" };
        Failure::new(Exit::Unreachable, format!("{what}: {why}"))
            .at(self.base())
            .advise("start it with `trueup serve`, or say where it is with --url or TRUEUP_URL")
    }
}

/// Whether nobody else can listen on the way.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

fn foreign(url: &Url, headers: &HeaderMap, what: &str) -> Failure {
    let mut failure = Failure::new(Exit::Failed, what)
        .at(url.as_str())
        .advise("see whether this is Trueup's API, and of the same version as this program");
    failure.correlation_id = text(headers, CORRELATION_HEADER).map(str::to_owned);
    failure
}

fn of_problem(problem: Problem) -> Failure {
    let exit = match problem.status {
        404 => Exit::NotFound,
        503 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let mut failure = Failure::new(exit, format!("{}: {}", problem.title, problem.detail));
    if !problem.instance.is_empty() {
        failure.places.push(problem.instance.into());
    }
    if exit == Exit::Unreachable {
        failure.advice =
            Some("ask again in a moment; `trueup doctor` says what is wrong if it stays so".into());
    }
    match problem.status {
        401 => {
            let advice = "log in with `trueup login`, or name a key with --api-key-file or TRUEUP_API_KEY";
            failure.advice = Some(advice.into());
        }
        403 => {
            let advice = "`trueup whoami` shows what you may; an admin makes a key that may more: `trueup key create --grant TENANT:ROLE`";
            failure.advice = Some(advice.into());
        }
        _ => {}
    }
    // One flaw is in the detail already.
    if problem.errors.len() > 1 {
        failure.places =
            problem.errors.iter().take(20).map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
    }
    failure.correlation_id = problem.correlation_id.map(|id| id.to_string());
    failure
}

/// The items of a list and whether there are more.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) items: Vec<Value>,
    pub(crate) more: bool,
    pub(crate) now: Time,
}

impl Client {
    /// Items of a list, over as many pages as it takes.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Items, Failure> {
        #[derive(serde::Deserialize)]
        struct Page {
            items: Vec<Value>,
            #[serde(default)]
            next: Option<String>,
        }
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            let room = most.saturating_sub(items.len()).clamp(1, trueup_server::MAX_LIMIT);
            query.push(("limit", room.to_string()));
            query.extend(cursor.map(|c| ("cursor", c)));
            let answer: Answer<Page> = self.get(path, &query).await?;
            items.extend(answer.body.items);
            cursor = answer.body.next;
            if cursor.is_none() || items.len() >= most {
                let more = cursor.is_some() || items.len() > most;
                items.truncate(most);
                return Ok(Items { items, more, now: answer.now });
            }
        }
    }
}
