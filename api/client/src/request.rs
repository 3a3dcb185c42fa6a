//! One request: sent, perhaps again, and its answer read.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, ETAG, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_model::clock::Clock as _;
use trueup_model::{DateTime, SystemClock, Time, Utc};

use crate::{CORRELATION_HEADER, Client, Error, EventStream, Problem, TIME_HEADER};

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
/// Longest time to wait before asking again, whatever the API says.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Longest time for one answer that is read whole.
const TIMEOUT: Duration = Duration::from_secs(75);
/// Most items of one page.
pub const MAX_PAGE: usize = 1000;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// An answer and what its headers said.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    pub body: T,
    /// The time by the clock that decisions use; this host's if the server did not say.
    pub now: Time,
    /// The server's host time (`Date`), to the second.
    pub date: Option<Time>,
    pub etag: Option<String>,
    pub correlation_id: Option<String>,
}

/// Items of a list, and whether there are more.
#[derive(Debug, Clone)]
pub struct Items<T = Value> {
    pub items: Vec<T>,
    pub more: bool,
    pub now: Time,
}

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<(Result<Vec<u8>, String>, String)>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(client: &'a Client, method: Method, url: Url) -> Self {
        Self { client, method, url, headers: Vec::new(), body: None }
    }

    pub fn query<K: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut pairs = pairs.into_iter().peekable();
        // Beginning a query is writing a `?`.
        if pairs.peek().is_some() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        self
    }

    pub fn headers<K: Into<String>, V: Into<String>>(
        mut self,
        all: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.headers.extend(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        let bytes = serde_json::to_vec(body).map_err(|e| e.to_string());
        self.body = Some((bytes, "application/json".into()));
        self
    }

    pub(crate) fn optional_json<T: Serialize>(self, body: Option<&T>) -> Self {
        match body {
            Some(body) => self.json(body),
            None => self,
        }
    }

    /// One JSON value per line.
    pub fn ndjson(mut self, lines: impl Into<Vec<u8>>) -> Self {
        self.body = Some((Ok(lines.into()), "application/x-ndjson".into()));
        self
    }

    /// Of the body.
    pub fn media_type(mut self, name: &str) -> Self {
        if let Some((_, media)) = &mut self.body {
            *media = name.into();
        }
        self
    }

    /// Sends it, and reads JSON.
    pub async fn send<T: DeserializeOwned>(self) -> Result<Answer<T>, Error> {
        let url = self.url.clone();
        let (headers, bytes) = self.whole().await?;
        let body = serde_json::from_slice(&bytes)
            .map_err(|e| foreign(&url, &headers, format!("the answer is not Trueup's: {e}")))?;
        Ok(answer(body, &headers))
    }

    /// Sends it, and reads text.
    pub async fn text(self) -> Result<Answer<String>, Error> {
        let url = self.url.clone();
        let (headers, bytes) = self.whole().await?;
        let text =
            String::from_utf8(bytes).map_err(|_| foreign(&url, &headers, "the answer is not text".into()))?;
        Ok(answer(text, &headers))
    }

    /// Sends it, and follows the events that come.
    pub async fn stream(self) -> Result<EventStream, Error> {
        let (base, url) = (self.client.base().to_owned(), self.url.clone());
        let response = self.accepted(None).await?;
        let media = text(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
        if !media.starts_with("text/event-stream") {
            return Err(foreign(
                &url,
                response.headers(),
                format!("expected a stream of events, got '{media}'"),
            ));
        }
        Ok(EventStream::new(response, base))
    }

    async fn whole(self) -> Result<(HeaderMap, Vec<u8>), Error> {
        let (base, url) = (self.client.base().to_owned(), self.url.clone());
        let response = self.accepted(Some(TIMEOUT)).await?;
        let headers = response.headers().clone();
        Ok((headers, read(response, &base, &url).await?))
    }

    /// Sends it until there is an answer that is no "not now".
    async fn accepted(self, timeout: Option<Duration>) -> Result<Response, Error> {
        let Self { client, method, url, headers, body } = self;
        let twice = matches!(method, Method::GET | Method::HEAD)
            || headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
        let body = match body {
            Some((Ok(bytes), media)) => Some((bytes::Bytes::from(bytes), media)),
            Some((Err(why), _)) => {
                return Err(foreign(&url, &HeaderMap::new(), format!("cannot write the body: {why}")));
            }
            None => None,
        };
        let mut left = if twice { client.retries } else { 0 };
        loop {
            let mut request = client.http.request(method.clone(), url.clone());
            if let Some(timeout) = timeout {
                request = request.timeout(timeout);
            }
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            if let Some((bytes, media)) = &body {
                request = request.header(CONTENT_TYPE, media).body(bytes.clone());
            }
            let response = request.send().await.map_err(|e| Error::unreachable(client.base(), &e))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let not_now = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            match text(response.headers(), RETRY_AFTER.as_str()).and_then(|s| s.parse().ok()) {
                Some(seconds) if not_now && left > 0 => {
                    left -= 1;
                    #[expect(clippy::disallowed_methods, reason = "the API says how long to stay away")]
                    tokio::time::sleep(Duration::from_secs(seconds).min(MAX_WAIT)).await;
                }
                _ => return Err(refused(response, client.base(), &url).await),
            }
        }
    }
}

/// Why it was not done.
async fn refused(response: Response, base: &str, url: &Url) -> Error {
    let (status, headers) = (response.status(), response.headers().clone());
    match read(response, base, url).await {
        Err(error) => error,
        Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Error::Problem(Box::new(problem)),
            Err(_) => {
                foreign(url, &headers, format!("status {status} without a reason that Trueup would give"))
            }
        },
    }
}

async fn read(mut response: Response, base: &str, url: &Url) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Error::unreachable(base, &e))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(foreign(url, response.headers(), "the answer is too large".into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn answer<T>(body: T, headers: &HeaderMap) -> Answer<T> {
    let date = text(headers, DATE.as_str()).and_then(|t| DateTime::parse_from_rfc2822(t).ok());
    Answer {
        body,
        now: text(headers, TIME_HEADER).and_then(|t| t.parse().ok()).unwrap_or_else(|| SystemClock.now()),
        date: date.map(|t| t.with_timezone(&Utc)),
        etag: text(headers, ETAG.as_str()).map(str::to_owned),
        correlation_id: text(headers, CORRELATION_HEADER).map(str::to_owned),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

fn foreign(url: &Url, headers: &HeaderMap, why: String) -> Error {
    let correlation_id = text(headers, CORRELATION_HEADER).map(str::to_owned);
    Error::Foreign { url: url.to_string(), why, correlation_id }
}

impl Client {
    /// Items of a list, over as many pages as it takes.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Items<T>, Error> {
        #[derive(serde::Deserialize)]
        struct Page<T> {
            items: Vec<T>,
            #[serde(default)]
            next: Option<String>,
        }
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let room = most.saturating_sub(items.len()).clamp(1, MAX_PAGE);
            let page = [("limit", Some(room.to_string())), ("cursor", cursor)];
            let page = page.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let query = query.iter().map(|(name, value)| (*name, value.clone())).chain(page);
            let answer: Answer<Page<T>> = self.request(Method::GET, path).query(query).send().await?;
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
