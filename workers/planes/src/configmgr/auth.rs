//! As whom the AdminService is called: with a bearer token from Entra (through a cloud management gateway), or with one
//! that something else puts into a file. Negotiate (Kerberos) is not built.
//!
//! # Guarantees
//! One token for all calls, fetched by one caller at a time, renewed before it ends. A refused token is renewed once: a file
//! is read again. No token and no secret is in an error.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::{Duration, Fault, Time};

use crate::http::{Auth, Call, Cost, Http, Lane, Payload, base_url, parse_json};
use crate::{ConfigError, HostSecrets, Secret, SecretRef, Secrets};

/// A token is renewed this long before its end, or a tenth of its life if that is less.
const MARGIN_S: i64 = 300;

/// How the connection proves who it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigMgrAuth {
    Entra(EntraAuth),
    Token(TokenAuth),
}

/// OAuth 2 client credentials of Microsoft Entra, for an AdminService behind a cloud management gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntraAuth {
    /// Default `https://login.microsoftonline.com`.
    #[serde(default = "login_url")]
    pub login_url: String,
    /// The Entra directory: a GUID or a domain.
    pub directory_tenant: String,
    pub client_id: String,
    /// A file that holds the client secret. Exactly one of this and `client_secret_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds the client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_env: Option<String>,
    /// The application ID URI of the gateway's server application, and `/.default`.
    pub scope: String,
}

/// A bearer token that something else renews.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAuth {
    /// A file that holds the token; read again when the token is refused. Exactly one of this and `token_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
}

fn login_url() -> String {
    "https://login.microsoftonline.com".into()
}

#[derive(Debug)]
struct Token {
    bearer: Secret,
    renew_at: Time,
}

#[derive(Debug)]
enum Source {
    Login(Box<Call>),
    File(SecretRef),
    Fixed,
}

#[derive(Debug)]
pub(crate) struct Tokens {
    source: Source,
    current: RwLock<Option<Token>>,
    flight: tokio::sync::Mutex<()>,
}

impl Tokens {
    pub(crate) fn new(auth: &ConfigMgrAuth, secrets: &dyn Secrets) -> Result<Self, ConfigError> {
        let (source, first) = match auth {
            ConfigMgrAuth::Entra(entra) => (Source::Login(Box::new(login(entra, secrets)?)), None),
            ConfigMgrAuth::Token(token) => {
                let from = SecretRef::one_of(
                    "auth.token.token",
                    token.token_file.as_ref(),
                    token.token_env.as_ref(),
                )?;
                let first = Token { bearer: secrets.read(&from)?, renew_at: Time::MAX_UTC };
                let source =
                    if matches!(from, SecretRef::File(_)) { Source::File(from) } else { Source::Fixed };
                (source, Some(first))
            }
        };
        Ok(Self { source, current: RwLock::new(first), flight: tokio::sync::Mutex::default() })
    }

    /// A token that is still good for a while. `refused`: one that the server did not take.
    pub(crate) async fn get(&self, http: &Http, refused: Option<&Secret>) -> Result<Secret, Fault> {
        if let Some(bearer) = self.usable(http, refused) {
            return Ok(bearer);
        }
        let _one = self.flight.lock().await;
        if let Some(bearer) = self.usable(http, refused) {
            return Ok(bearer);
        }
        let token = match &self.source {
            Source::Login(call) => crate::retry::transient(|| fetch(http, call)).await?,
            Source::File(from) => Token {
                bearer: HostSecrets.read(from).map_err(|e| Fault::permanent(e.to_string()))?,
                renew_at: Time::MAX_UTC,
            },
            // The refused one is all there is.
            Source::Fixed => return refused.cloned().ok_or_else(|| Fault::bug("no token was read")),
        };
        let bearer = token.bearer.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(bearer)
    }

    fn usable(&self, http: &Http, refused: Option<&Secret>) -> Option<Secret> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let token = current.as_ref().filter(|t| http.clock().now() < t.renew_at)?;
        (Some(&token.bearer) != refused).then(|| token.bearer.clone())
    }
}

fn login(entra: &EntraAuth, secrets: &dyn Secrets) -> Result<Call, ConfigError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if entra.directory_tenant.is_empty() || !entra.directory_tenant.bytes().all(plain) {
        let why = "auth.entra.directory_tenant: must be the directory's GUID or one of its domains";
        return Err(ConfigError::Invalid(why.into()));
    }
    let base = base_url("auth.entra.login_url", &entra.login_url)?;
    let url = format!("{}/{}/oauth2/v2.0/token", base.as_str().trim_end_matches('/'), entra.directory_tenant);
    let url: Url = base_url("auth.entra.login_url", &url)?;
    let (file, env) = (entra.client_secret_file.as_ref(), entra.client_secret_env.as_ref());
    let secret = secrets.read(&SecretRef::one_of("auth.entra.client_secret", file, env)?)?;
    let form = vec![
        ("client_id", Secret::new(&entra.client_id)),
        ("client_secret", secret),
        ("scope", Secret::new(&entra.scope)),
        ("grant_type", Secret::new("client_credentials")),
    ];
    Ok(Call {
        method: Method::POST,
        url,
        template: "/{tenant}/oauth2/v2.0/token",
        headers: Vec::new(),
        payload: Payload::Form(Arc::new(form)),
        auth: Auth::None,
        // Whoever is first needs it, and it uses up no budget.
        lane: Lane::Write,
        cost: Cost::free(),
    })
}

#[derive(Deserialize)]
struct TokenWire {
    access_token: String,
    /// Seconds; some servers send it as text.
    expires_in: Value,
}

async fn fetch(http: &Http, call: &Call) -> Result<Token, Fault> {
    let asked = http.clock().now();
    let answer = http.judge(call, http.send(call).await?)?;
    let wire: TokenWire = match serde_json::from_slice(&answer.body) {
        Ok(wire) => wire,
        // An answer with a token in it is never quoted.
        Err(_) if answer.body.windows(12).any(|w| w == b"access_token") => {
            return Err(Fault::transient(format!(
                "{} answered {} with half a token",
                call.name(),
                answer.status
            )));
        }
        Err(_) => parse_json(&call.name(), answer.status, &answer.body)?,
    };
    let life = match &wire.expires_in {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    let life = life.unwrap_or(0).clamp(0, 86_400);
    let renew_at = asked + Duration::milliseconds((life * 1000 - MARGIN_S * 1000).max(life * 900));
    Ok(Token { bearer: Secret::new(wire.access_token), renew_at })
}
