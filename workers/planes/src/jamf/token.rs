//! The access token of a connection: by OAuth (an API client) or by an account's name and password.
//!
//! # Guarantees
//! One token for all calls, fetched by one caller at a time, renewed before it ends (it may live for 60 s only). A refused
//! token is renewed once: whoever comes with the same refused token gets the new one. An answer with a token in it is
//! never quoted.

use std::sync::{Arc, PoisonError, RwLock};

use reqwest::{Method, Url};
use serde::Deserialize;
use trueup_model::{DateTime, Duration, Fault, Time, Utc};

use crate::Secret;
use crate::broker::Lane;
use crate::http::{Auth, Call, Cost, Http, Payload, parse_json};

/// A token is renewed this long before its end, or a tenth of its life if that is less.
const MARGIN_S: i64 = 120;
/// A token that was just issued is good for a while, whatever a clock that differs from ours makes of its end.
const SHORTEST_S: i64 = 30;
const LONGEST_S: i64 = 86_400;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Client { id: String, secret: Secret },
    Account { name: String, password: Secret },
}

/// `/api/oauth/token`
#[derive(Deserialize)]
struct OauthWire {
    access_token: String,
    /// Seconds.
    expires_in: i64,
}

/// `/api/v1/auth/token`
#[derive(Deserialize)]
struct AccountWire {
    token: String,
    expires: DateTime<Utc>,
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
    /// `base`: the server's URL, without a slash at its end.
    pub(crate) fn new(http: Arc<Http>, base: &str, credential: Credential) -> Result<Self, String> {
        let (template, payload, auth) = match credential {
            Credential::Client { id, secret } => {
                let form = vec![
                    ("client_id", Secret::new(id)),
                    ("client_secret", secret),
                    ("grant_type", Secret::new("client_credentials")),
                ];
                ("/api/oauth/token", Payload::Form(Arc::new(form)), Auth::None)
            }
            Credential::Account { name, password } => {
                ("/api/v1/auth/token", Payload::None, Auth::Basic { user: name, password })
            }
        };
        let call = Call {
            method: Method::POST,
            url: Url::parse(&format!("{base}{template}")).map_err(|e| e.to_string())?,
            template,
            headers: vec![("accept", "application/json".into())],
            payload,
            auth,
            // Whoever is first needs it, and it uses up no budget.
            lane: Lane::Write,
            cost: Cost::free(),
        };
        Ok(Self { http, call, current: RwLock::default(), flight: tokio::sync::Mutex::default() })
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
        let (bearer, life) = read(&self.call, answer.status, &answer.body, asked)?;
        let life = life.num_seconds().clamp(SHORTEST_S, LONGEST_S);
        let renew_at = asked + Duration::milliseconds((life * 1000 - MARGIN_S * 1000).max(life * 900));
        Ok(Token { bearer: Secret::new(bearer), renew_at })
    }
}

/// The token, and how long it is good for.
fn read(call: &Call, status: u16, body: &[u8], asked: Time) -> Result<(String, Duration), Fault> {
    let parsed = if matches!(call.auth, Auth::Basic { .. }) {
        serde_json::from_slice(body).map(|w: AccountWire| (w.token, w.expires - asked))
    } else {
        let seconds = |w: &OauthWire| Duration::seconds(w.expires_in.clamp(0, LONGEST_S));
        serde_json::from_slice(body).map(|w: OauthWire| (seconds(&w), w)).map(|(s, w)| (w.access_token, s))
    };
    let Err(why) = parsed else { return parsed.map_err(|e| Fault::bug(e.to_string())) };
    if body.windows(5).any(|w| w.eq_ignore_ascii_case(b"token")) {
        let what = if why.is_data() { "a token of an unexpected shape" } else { "half a token" };
        return Err(Fault::transient(format!("{} answered {status} with {what}", call.name())));
    }
    parse_json::<serde_json::Value>(&call.name(), status, body)?;
    Err(Fault::permanent(format!("{} answered {status} without a token", call.name())))
}
