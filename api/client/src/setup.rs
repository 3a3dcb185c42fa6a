//! Which API, and how to be let in.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use crate::Request;
use crate::error::{Error, Setting};

/// Longest time for one answer; the server gives up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One API. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) base: Url,
    pub(crate) http: reqwest::Client,
    pub(crate) retries: u32,
}

/// How to reach an API.
#[must_use]
pub struct Builder {
    url: String,
    key: Option<String>,
    ca_file: Option<PathBuf>,
    retries: u32,
    user_agent: String,
}

impl Builder {
    /// An API key or bearer token, to be sent with every request.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The only certificate authorities to trust (PEM); else those that this host trusts.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// How often to ask again where the API says that it cannot answer now; 2 unless told otherwise.
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    pub fn build(self) -> Result<Client, Error> {
        let wrong = |what, why: String| Error::Setup { what, why };
        let url = &self.url;
        let base = Url::parse(url).map_err(|e| wrong(Setting::Url, format!("'{url}' is not a URL: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong(Setting::Url, format!("'{url}' is not an http or https URL")));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong(
                Setting::Url,
                "a user or password in the URL is not how the API lets somebody in".into(),
            ));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            if base.scheme() == "http" && !is_loopback(&base) {
                let why = "the API key would go over the network unencrypted";
                return Err(wrong(Setting::Unencrypted, why.into()));
            }
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| wrong(Setting::Key, "the API key holds characters that no key has".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Whoever chose a provider before keeps it; to be the second is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder();
        if let Some(path) = &self.ca_file {
            let wrong = |why: String| wrong(Setting::CaFile, format!("{}: {why}", path.display()));
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
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(TIMEOUT)
            .user_agent(self.user_agent)
            .build()
            .map_err(|e| wrong(Setting::Http, format!("cannot set up HTTP: {e}")))?;
        Ok(Client { base, http, retries: self.retries })
    }
}

impl Client {
    /// For the API at `url`, like `https://trueup.example`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            key: None,
            ca_file: None,
            retries: 2,
            user_agent: concat!("trueup-client/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// Where the API is.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A request of your own; every segment of the path is encoded.
    pub fn request(&self, method: Method, path: &[&str]) -> Request<'_> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Request::new(self, method, url)
    }
}

/// Whether nobody else can listen on the way.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
