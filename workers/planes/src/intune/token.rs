//! The access token of a connection (OAuth 2 client credentials).
//!
//! # Guarantees
//! One token for all calls, fetched by one caller at a time, renewed before it ends. A refused token is renewed once:
//! whoever comes with the same refused token gets the new one.

use std::sync::{Arc, PoisonError, RwLock};

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use trueup_model::{Duration, Fault, Time};

use crate::Secret;
use crate::http::{Auth, Call, Cost, Http, Lane, Payload, parse_json};

/// A token is renewed this long before its end, or a tenth of its life if that is less.
const MARGIN_S: i64 = 300;

#[derive(Deserialize)]
struct TokenWire {
    access_token: String,
    /// Seconds; some servers send it as text.
    expires_in: Value,
}

#[derive(Debug, Clone)]
struct Token {
    bearer: Secret,
    renew_at: Time,
}

#[derive(Debug)]
pub(crate) struct Tokens {
    http: Arc<Http>,
    call: Call,
    current: RwLock<Option<Token>>,
    flight: tokio::sync::Mutex<()>,
}

impl Tokens {
    pub(crate) fn new(http: Arc<Http>, url: Url, client_id: &str, client_secret: Secret) -> Self {
        let form = vec![
            ("client_id", Secret::new(client_id)),
            ("client_secret", client_secret),
            ("scope", Secret::new("https://graph.microsoft.com/.default")),
            ("grant_type", Secret::new("client_credentials")),
        ];
        let call = Call {
            method: Method::POST,
            url,
            template: "/{tenant}/oauth2/v2.0/token",
            headers: Vec::new(),
            payload: Payload::Form(Arc::new(form)),
            auth: Auth::None,
            // Whoever is first needs it, and it uses up no budget.
            lane: Lane::Write,
            cost: Cost::free(),
        };
        Self { http, call, current: RwLock::default(), flight: tokio::sync::Mutex::default() }
    }

    /// A token that is still good for a while. `refused`: one that the server did not take.
    pub(crate) async fn get(&self, refused: Option<&Secret>) -> Result<Secret, Fault> {
        if let Some(bearer) = self.usable(refused) {
            return Ok(bearer);
        }
        let _one = self.flight.lock().await;
        if let Some(bearer) = self.usable(refused) {
            return Ok(bearer);
        }
        let token = crate::retry::transient(|| self.fetch()).await?;
        let bearer = token.bearer.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(bearer)
    }

    fn usable(&self, refused: Option<&Secret>) -> Option<Secret> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let token = current.as_ref().filter(|t| self.http.clock().now() < t.renew_at)?;
        (Some(&token.bearer) != refused).then(|| token.bearer.clone())
    }

    async fn fetch(&self) -> Result<Token, Fault> {
        let asked = self.http.clock().now();
        let answer = self.http.send(&self.call).await?;
        let answer = self.http.judge(&self.call, answer)?;
        let wire: TokenWire = parse_token(&self.call.name(), answer.status, &answer.body)?;
        let life = match &wire.expires_in {
            Value::String(s) => s.parse().ok(),
            other => other.as_i64(),
        };
        let life = life.unwrap_or(0).clamp(0, 86_400);
        let renew_at = asked + Duration::milliseconds((life * 1000 - MARGIN_S * 1000).max(life * 900));
        Ok(Token { bearer: Secret::new(wire.access_token), renew_at })
    }
}

/// As `parse_json`, but an answer with a token in it is never quoted.
fn parse_token(call: &str, status: u16, body: &[u8]) -> Result<TokenWire, Fault> {
    match serde_json::from_slice(body) {
        Ok(wire) => Ok(wire),
        Err(_) if body.windows(12).any(|w| w == b"access_token") => {
            Err(Fault::transient(format!("{call} answered {status} with half a token")))
        }
        Err(_) => parse_json(call, status, body),
    }
}
