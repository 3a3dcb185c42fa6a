//! HTTP for every plane that speaks it: one client per connection, limits, spans, and faults.
//!
//! # Guarantees
//! - Connecting and the whole call have a time limit; an answer is read in pieces and given up past
//!   [`MAX_BODY`] bytes.
//! - Redirects are not followed: a credential is sent to the configured server and nowhere else.
//! - Nothing is sent that the broker did not admit, and the broker is told what came of everything that was sent.
//! - No error holds a header or a request body; text of the server's is one line, bounded, without control characters.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, Url, redirect};
use tracing::Instrument;
use trueup_model::{Budget, Fault, SharedClock, Time};

use crate::broker::{Broker, Limits, Permit, Said};
pub use crate::broker::{Cost, Lane};
use crate::{ConfigError, Secret};

mod answer;
mod errors;

pub use answer::Answer;
pub(crate) use answer::{RetryAfter, parse_json};
pub use errors::Hints;

/// Bytes of an answer's body beyond which it is given up.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
/// A call takes no longer than this, its answer's body included.
pub const TOTAL: Duration = Duration::from_secs(30);

/// What is sent.
#[derive(Debug, Clone)]
pub enum Payload {
    None,
    Json(serde_json::Value),
    /// Never printed: holds credentials.
    Form(Arc<Vec<(&'static str, Secret)>>),
    Text {
        content_type: &'static str,
        body: String,
    },
}

/// As whom.
#[derive(Debug, Clone)]
pub enum Auth {
    None,
    Bearer(Secret),
    Basic { user: String, password: Secret },
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
    pub auth: Auth,
    pub lane: Lane,
    pub cost: Cost,
}

impl Call {
    /// `GET /deviceAppManagement/mobileApps`
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// What a connection's HTTP side is made from.
#[derive(Debug)]
pub struct HttpOptions {
    pub clock: SharedClock,
    /// The connection's name.
    pub connection: String,
    pub budgets: Vec<Budget>,
    /// Calls under way at once, in the whole fleet.
    pub at_most: Option<u32>,
    /// Certificates (PEM) of an authority of one's own, trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Every URL is plain http on this host (a simulator), so no certificates are needed.
    pub plain: bool,
    /// Send back the cookies that the server set: load balancers that tie a client to one node want it.
    pub cookies: bool,
    pub hints: Hints,
}

/// A connection's HTTP side.
#[derive(Debug)]
pub struct Http {
    client: Client,
    clock: SharedClock,
    limits: Limits,
    hints: Hints,
    broker: Arc<dyn Broker>,
}

impl Http {
    pub fn new(options: HttpOptions, broker: Arc<dyn Broker>) -> Result<Self, ConfigError> {
        // Installed once in a process; a second time is refused, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(redirect::Policy::none())
            .referer(false)
            .cookie_store(options.cookies)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")));
        if options.at_most.is_some() {
            // An idle connection is one too.
            builder = builder.pool_max_idle_per_host(1);
        }
        if let Some(pem) = &options.ca {
            let wrong = |why: String| ConfigError::Invalid(format!("ca_file: {why}"));
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|e| wrong(format!("holds no readable certificate: {}", causes(&e))))?;
            if certificates.is_empty() {
                return Err(wrong("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if options.plain {
            builder = builder.tls_certs_only([]).no_proxy();
        }
        let client =
            builder.build().map_err(|e| ConfigError::Invalid(format!("HTTP client: {}", causes(&e))))?;
        let limits =
            Limits { connection: options.connection, budgets: options.budgets, at_most: options.at_most };
        broker.enlist(&limits);
        Ok(Self { client, clock: options.clock, limits, hints: options.hints, broker })
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// How many parts of one cost may be sent as one call (a batch), so that no budget is drained by a burst.
    pub fn at_once(&self, part: &Cost) -> usize {
        let of = |(name, n): (&str, u32)| {
            let budget = self.limits.budgets.iter().find(|b| b.name == name)?;
            Some((budget.at_once() / n).max(1) as usize)
        };
        part.iter().filter_map(of).min().unwrap_or(usize::MAX)
    }

    /// Sends one call and reads its answer, whatever its status. `Err` only where there is none.
    pub async fn send(&self, call: &Call) -> Result<Answer, Fault> {
        let permit = self.broker.admit(&self.limits, call.lane, &call.cost).await;
        let _permit = permit.map_err(|fault| fault.about(&call.name()))?;
        let span = tracing::info_span!(
            "http.client",
            otel.kind = "client",
            otel.name = %call.name(),
            otel.status_code = tracing::field::Empty,
            http.request.method = %call.method,
            url.template = call.template,
            url.scheme = call.url.scheme(),
            server.address = call.url.host_str().unwrap_or_default(),
            server.port = call.url.port_or_known_default().unwrap_or_default(),
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let mut result = self.exchange(call).instrument(span.clone()).await;
        let status = result.as_ref().ok().map(|answer| answer.status);
        crate::metrics::called(&self.limits.connection, call.lane, status);
        match &mut result {
            Ok(answer) => {
                span.record("http.response.status_code", answer.status);
                // To be told to wait is how a plane sets our pace: no error, and no reason to keep a trace.
                if answer.status >= 400 && answer.status != 429 {
                    span.record("otel.status_code", "ERROR");
                    span.record("error.type", answer.status.to_string());
                }
                answer.wait = self.note(call, answer).await;
            }
            Err(fault) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", "no_answer");
                let said = match fault {
                    Fault::Transient { what } => Said::Failed { why: what.clone() },
                    _ => Said::Fine,
                };
                self.learn(&call.cost, said).await;
            }
        }
        result
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Fault> {
        let mut request = self.client.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        request = match &call.auth {
            Auth::None => request,
            Auth::Bearer(token) => request.bearer_auth(token.expose()),
            Auth::Basic { user, password } => request.basic_auth(user, Some(password.expose())),
        };
        request = match &call.payload {
            Payload::None => request,
            Payload::Json(body) => request.json(body),
            Payload::Form(fields) => {
                request.form(&fields.iter().map(|(k, v)| (*k, v.expose())).collect::<Vec<_>>())
            }
            Payload::Text { content_type, body } => {
                request.header("content-type", *content_type).body(body.clone())
            }
        };
        let failed = |e: reqwest::Error| {
            let ours = e.is_builder();
            let why = causes(&e.without_url());
            if ours {
                return Fault::bug(format!("{}: cannot be sent: {why}", call.name()));
            }
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
    pub fn judge(&self, call: &Call, answer: Answer) -> Result<Answer, Fault> {
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(self.refusal(&call.name(), status, &answer.body, answer.wait)),
        }
    }

    /// A refusal as a fault. `wait`: until when, if the server asked to.
    pub fn refusal(&self, call: &str, status: u16, body: &[u8], wait: Option<Time>) -> Fault {
        errors::refusal(call, status, body, wait, &self.hints)
    }

    /// Waits until nobody else of the fleet changes `what` through this connection.
    pub(crate) async fn alone(&self, what: &str) -> Result<Permit, Fault> {
        self.broker.alone(&self.limits, what).await
    }

    /// Tells the broker what an answer means. Gives the time to wait until, if the server asked to.
    async fn note(&self, call: &Call, answer: &Answer) -> Option<Time> {
        if answer.asks_to_wait() {
            let now = self.clock.now();
            let told = answer.retry_after(now).map(|RetryAfter(until)| until);
            let until = self.learn(&call.cost, Said::AskedToWait { until: told }).await;
            // Told to wait, we wait, whatever the broker thinks.
            return until.max(told).or(Some(now));
        }
        let said = match answer.status {
            ..500 => Said::Fine,
            status => {
                Said::Failed { why: self.refusal(&call.name(), status, &answer.body, None).to_string() }
            }
        };
        self.learn(&call.cost, said).await;
        None
    }

    /// For answers that hold several: what they told.
    pub(crate) async fn learn(&self, cost: &Cost, said: Said) -> Option<Time> {
        self.broker.learn(&self.limits, cost, said).await
    }
}

fn server(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

/// The error with its causes, which is where reqwest says what happened.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
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
    use crate::broker::LocalBroker;

    #[test]
    fn a_batch_is_as_large_as_its_budgets_bear() {
        let clock: SharedClock = Arc::new(trueup_model::SystemClock);
        let options = HttpOptions {
            clock: clock.clone(),
            connection: "c".into(),
            budgets: vec![Budget::new("devices", 2000, 20), Budget::new("writes", 100, 20)],
            at_most: None,
            ca: None,
            plain: true,
            cookies: false,
            hints: Hints::default(),
        };
        let http = Http::new(options, Arc::new(LocalBroker::new(clock))).unwrap();
        for (part, parts) in [
            (Cost::of("devices", 1), 40),
            (Cost::of("devices", 1).and("writes", 1), 2),
            (Cost::of("writes", 9), 1),
            (Cost::of("unknown", 1), usize::MAX),
            (Cost::free(), usize::MAX),
        ] {
            assert_eq!(http.at_once(&part), parts, "{part:?}");
        }
    }

    #[test]
    fn a_ca_file_that_holds_none_is_refused() {
        for (pem, said) in [
            ("", "no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "ca_file"),
        ] {
            let clock: SharedClock = Arc::new(trueup_model::SystemClock);
            let options = HttpOptions {
                clock: clock.clone(),
                connection: "c".into(),
                budgets: Vec::new(),
                at_most: None,
                ca: Some(pem.into()),
                plain: false,
                cookies: true,
                hints: Hints::default(),
            };
            let e = Http::new(options, Arc::new(LocalBroker::new(clock))).unwrap_err().to_string();
            assert!(e.contains(said), "{e}");
        }
    }

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
