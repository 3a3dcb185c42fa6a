//! HTTP for every plane that speaks it: one client per connection, limits, a rate limit, spans, and faults.
//!
//! # Guarantees
//! - Connecting and the whole call have a time limit; an answer is read in pieces and given up past
//!   [`MAX_BODY`] bytes.
//! - Redirects are not followed: a credential is sent to the configured server and nowhere else.
//! - After the server asked to wait, nothing is sent before that time; the caller gets `Throttled` at once.
//! - No error holds a header or a request body; text of the server's is one line, bounded, without control characters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, Url, redirect};
use tracing::Instrument;
use trueup_model::{Duration as Span, Fault, SharedClock, Time};

use crate::{ConfigError, Secret};

mod answer;
mod limits;

pub use answer::Answer;
pub(crate) use answer::{RetryAfter, parse_json, server_error};
pub use limits::Quota;
pub(crate) use limits::{Cost, Limits};

/// Bytes of an answer's body beyond which it is given up.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(30);
/// Wait after a 429 that does not say how long; doubled for each that follows.
const DEFAULT_WAIT_S: i64 = 30;
const LONGEST_DEFAULT_WAIT_S: i64 = 300;

/// What is sent.
#[derive(Debug, Clone)]
pub enum Payload {
    None,
    Json(serde_json::Value),
    /// Never printed: holds credentials.
    Form(Arc<Vec<(&'static str, Secret)>>),
}

/// One call, as data.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub url: Url,
    /// The path with names in place of ids, for spans and errors: bounded in number.
    pub template: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload,
    pub bearer: Option<Secret>,
    pub cost: Cost,
}

impl Call {
    /// `GET /deviceAppManagement/mobileApps`
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

#[derive(Debug, Default)]
struct Pause {
    until: Option<Time>,
    consecutive: u32,
}

/// A connection's HTTP side.
#[derive(Debug)]
pub struct Http {
    client: Client,
    clock: SharedClock,
    limits: Limits,
    pause: Mutex<Pause>,
}

impl Http {
    /// `plain`: every URL is plain http on this host (a simulator), so no certificates are needed.
    pub fn new(clock: SharedClock, quota: &Quota, plain: bool) -> Result<Self, ConfigError> {
        // Installed once in a process; a second time is refused, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")));
        if plain {
            builder = builder.tls_certs_only([]).no_proxy();
        }
        let client =
            builder.build().map_err(|e| ConfigError::Invalid(format!("HTTP client: {}", causes(&e))))?;
        Ok(Self { client, clock, limits: Limits::new(quota), pause: Mutex::default() })
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Sends one call and reads its answer, whatever its status. `Err` only where there is none.
    pub async fn send(&self, call: &Call) -> Result<Answer, Fault> {
        self.not_paused(call)?;
        self.limits.admit(call.cost, &self.clock).await?;
        let span = tracing::info_span!(
            "http.client",
            otel.kind = "client",
            otel.name = %call.name(),
            otel.status_code = tracing::field::Empty,
            http.request.method = %call.method,
            url.template = call.template,
            server.address = call.url.host_str().unwrap_or_default(),
            server.port = call.url.port_or_known_default().unwrap_or_default(),
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let mut result = self.exchange(call).instrument(span.clone()).await;
        match &mut result {
            Ok(answer) => {
                span.record("http.response.status_code", answer.status);
                if answer.status >= 400 {
                    span.record("otel.status_code", "ERROR");
                }
                answer.wait = self.note(call, answer);
            }
            Err(_) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", "no_answer");
            }
        }
        result
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Fault> {
        let mut request = self.client.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(bearer) = &call.bearer {
            request = request.bearer_auth(bearer.expose());
        }
        request = match &call.payload {
            Payload::None => request,
            Payload::Json(body) => request.json(body),
            Payload::Form(fields) => {
                request.form(&fields.iter().map(|(k, v)| (*k, v.expose())).collect::<Vec<_>>())
            }
        };
        let failed = |e: reqwest::Error| {
            let why = causes(&e.without_url());
            Fault::transient(format!("{}: no answer from {}: {why}", call.name(), server(&call.url)))
        };
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_BODY {
                let what = format!("{}: the answer has more than {MAX_BODY} bytes", call.name());
                return Err(Fault::permanent(what));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
            wait: None,
        })
    }

    /// An answer that is not a success, as a fault.
    pub fn judge(call: &Call, answer: Answer) -> Result<Answer, Fault> {
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(server_error(&call.name(), status, &answer.body, answer.wait)),
        }
    }

    /// Remembers that the server asked to wait, or that it no longer does. Gives the time to wait until.
    fn note(&self, call: &Call, answer: &Answer) -> Option<Time> {
        let now = self.clock.now();
        let mut pause = self.pause();
        let running = pause.until.is_some_and(|t| t > now);
        if answer.asks_to_wait() {
            let told = answer.retry_after(now).map(|RetryAfter(until)| until);
            let until = match (told, pause.until) {
                (Some(until), _) => until,
                // Answers to calls that were under way together count as one request to wait.
                (None, Some(until)) if running => until,
                (None, _) => {
                    let doubled = DEFAULT_WAIT_S.saturating_mul(1 << pause.consecutive.min(8));
                    now + Span::seconds(doubled.min(LONGEST_DEFAULT_WAIT_S))
                }
            };
            if !running {
                pause.consecutive += 1;
                pause.until = None;
                tracing::info!(call = call.name(), %until, "the server asked to wait");
            }
            pause.until = pause.until.max(Some(until));
            return Some(until);
        }
        if answer.status < 500 && !running {
            *pause = Pause::default();
        }
        None
    }

    fn not_paused(&self, call: &Call) -> Result<(), Fault> {
        let pause = self.pause();
        match pause.until {
            Some(until) if until > self.clock.now() => {
                let what = format!("{}: not sent, {} asked to wait", call.name(), server(&call.url));
                Err(Fault::Throttled { until, what })
            }
            _ => Ok(()),
        }
    }

    fn pause(&self) -> std::sync::MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

/// The error with its causes, which is where reqwest says what happened.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        next = cause.source();
    }
    crate::redact::one_line(&text, 300)
}

/// A URL of the configuration: https, or plain http to this very host.
pub(crate) fn base_url(field: &str, text: &str) -> Result<Url, ConfigError> {
    let wrong =
        |why: &str| ConfigError::Invalid(format!("{field}: '{}' {why}", crate::redact::one_line(text, 200)));
    let url = Url::parse(text.trim_end_matches('/')).map_err(|e| wrong(&format!("is not a URL: {e}")))?;
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong("must be only scheme, host and path"));
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some("127.0.0.1" | "localhost" | "[::1]")) => Ok(url),
        ("http", _) => {
            Err(wrong("would send credentials unencrypted: use https (plain http only to this host)"))
        }
        _ => Err(wrong("must begin with https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_base_urls() {
        for (text, fine) in [
            ("https://graph.microsoft.com/v1.0", true),
            ("http://127.0.0.1:8080/v1.0", true),
            ("http://graph.microsoft.com/v1.0", false),
            ("https://user:secret@graph.microsoft.com", false),
            ("https://graph.microsoft.com/v1.0?x=1", false),
            ("ftp://graph.microsoft.com", false),
            ("graph", false),
        ] {
            assert_eq!(base_url("graph_url", text).is_ok(), fine, "{text}");
        }
    }
}
