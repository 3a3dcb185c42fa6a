//! `Idempotency-Key`: a POST that is sent again is carried out once, and answered the same (draft-ietf-httpapi-idempotency-key).
//!
//! # Expected flow
//! The key is claimed in the store, the handler runs, its answer is left there. Who comes with the same key gets that answer,
//! with `Idempotency-Replayed: true`.
//!
//! # Guarantees
//! - A key belongs to who sent it and to the route. Same key, other request or other grants: 422 while the first is remembered, and an operation
//!   of its own once it is not. While the first is being answered: 409.
//! - What succeeded (2xx) is remembered for 24 h; of more than 100,000 keys, or 64 MiB of answers, the oldest are forgotten
//!   earlier. An answer above 1 MiB, or with a secret, is not remembered. What was refused or failed has changed nothing, is not remembered, and is
//!   judged anew.
//! - Without the header nothing changes and nothing is asked of the store. Where an answer shows a secret (API keys) it is never
//!   remembered, and the header changes nothing.
//! - A process that dies before it has answered leaves a claim, which ends after a minute. The request is then carried out
//!   again; what it makes has ids derived from the key and the content, so what was made before is found, not doubled.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use trueup_engine::requests::{Answer, Claim, Claimed, MAX_ANSWER};
use trueup_model::CorrelationId;

use crate::identity::{Access, Secret};
use crate::problem::Flaw;
use crate::{ApiState, CORRELATION_HEADER, Problem};

/// The request's header.
pub(crate) const KEY: &str = "idempotency-key";
/// The answer's, where it was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
const MAX_KEY: usize = 255;
/// Headers of an answer that belong to it.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// Routes whose answers show a secret, which nobody may keep: known before the handler runs, so that no key is claimed there and
/// the document offers none. The [`Secret`] beside an answer comes from where the secret is made: should a route be missing
/// here, its answer is still not stored. Each fails safe without the other.
pub(crate) const SECRET: [&str; 2] = ["/v1/keys", "/v1/keys/{id}/rotate"];

/// Beside a request that has a key: what all its tries have in common, for ids that are derived.
#[derive(Debug, Clone)]
pub(crate) struct Operation(pub(crate) CorrelationId);

/// Wraps the handlers, inside of what knows who asks.
pub(crate) async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if !concerns(&request) {
        return next.run(request).await;
    }
    answered(&state, request, next).await.unwrap_or_else(|refusal| refusal)
}

fn concerns(request: &Request) -> bool {
    request.method() == Method::POST
        && request.headers().contains_key(KEY)
        && !SECRET.contains(&route_of(request).as_str())
}

/// The path as the router knows it.
fn route_of(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or_else(|| request.uri().path().to_owned(), |m| m.as_str().to_owned())
}

async fn answered(state: &ApiState, request: Request, next: Next) -> Result<Response, Response> {
    let refused = IntoResponse::into_response;
    let key = key_of(request.headers()).map_err(refused)?;
    let access = request.extensions().get::<Access>().ok_or_else(|| refused(Problem::bug()))?;
    let (actor, grants) = (access.actor().to_owned(), access.grants());
    let route = route_of(&request);
    let (mut parts, body) = request.into_parts();
    // As a handler reads it, with its limit.
    let whole = Request::from_parts(parts.clone(), body);
    let body = Bytes::from_request(whole, state).await.map_err(IntoResponse::into_response)?;
    let media = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let scope = digest(&[actor.as_bytes(), route.as_bytes(), key.as_bytes()]);
    let uri = parts.uri.path_and_query().map_or("", |p| p.as_str());
    // With what they may: an answer is for who may still have it.
    let fingerprint = digest(&[uri.as_bytes(), media, &body, grants.as_bytes()]);

    let mut held = Held { state: state.clone(), scope, fingerprint, token: token(state), open: false };
    // Of the content too: the key may come again with another one when its answer was not kept, and that is another operation.
    let operation = Operation(CorrelationId::derive(&["once", &held.scope, &held.fingerprint]));
    let given = parts.headers.get(CORRELATION_HEADER).and_then(|v| v.to_str().ok());
    // Who names no correlation has the key for one, where it can be one.
    let correlation = match given.and_then(CorrelationId::parse) {
        Some(_) => None,
        None => Some(CorrelationId::parse(&key).unwrap_or_else(|| operation.0.clone())),
    };
    match state.store.requests().claim(held.claimed()).await {
        Ok(Claim::Yours) => held.open = true,
        // With the correlation that its first answer had.
        Ok(other) => {
            let mut response = taken(other, &key).map_err(refused)?;
            if let Some(correlation) = correlation {
                response.extensions_mut().insert(correlation);
            }
            return Ok(response);
        }
        Err(e) => return Err(refused(Problem::from(e))),
    }
    parts.extensions.insert(operation);
    if let Some(correlation) = &correlation {
        parts.extensions.insert(correlation.clone());
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let mut response = held.leave(response).await;
    if let Some(correlation) = correlation.filter(|_| response.status().is_success()) {
        response.extensions_mut().insert(correlation);
    }
    Ok(response)
}

/// A claim that is ours. Given up where it is dropped before there was an answer: the caller has hung up, the handler has
/// panicked or took too long.
struct Held {
    state: ApiState,
    scope: String,
    fingerprint: String,
    token: String,
    open: bool,
}

impl Held {
    fn claimed(&self) -> Claimed<'_> {
        Claimed { scope: &self.scope, fingerprint: &self.fingerprint, token: &self.token }
    }

    /// Leaves a success for who comes later; anything else gives the claim up.
    async fn leave(mut self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        // Whole in memory already, as every handler makes it.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let (requests, claimed) = (self.state.store.requests(), self.claimed());
        let secret = parts.extensions.get::<Secret>().is_some();
        let left = if parts.status.is_success() && body.len() <= MAX_ANSWER && !secret {
            requests.answer(claimed, &remembered(parts.status, &parts.headers, &body)).await.map(|_| ())
        } else {
            requests.release(claimed).await
        };
        if let Err(e) = left {
            // It is done all the same. The claim ends by itself, and sending it again finds what was made.
            tracing::warn!(error = %e, "the answer to an idempotency key could not be remembered");
        }
        self.open = false;
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (true, Ok(runtime)) = (self.open, tokio::runtime::Handle::try_current()) else { return };
        let take = std::mem::take::<String>;
        let (scope, fingerprint, token) =
            (take(&mut self.scope), take(&mut self.fingerprint), take(&mut self.token));
        let store = self.state.store.clone();
        runtime.spawn(async move {
            let claimed = Claimed { scope: &scope, fingerprint: &fingerprint, token: &token };
            if let Err(e) = store.requests().release(claimed).await {
                tracing::debug!(error = %e, "a claim was left to end by itself");
            }
        });
    }
}

fn remembered(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answer {
    let text = |name: &HeaderName| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()));
    Answer { status: status.as_u16(), headers: KEPT.iter().filter_map(text).collect(), body: body.to_vec() }
}

fn taken(claim: Claim, key: &str) -> Result<Response, Problem> {
    match claim {
        Claim::Answered(answer) => {
            let mut response = Response::new(Body::from(answer.body));
            *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            for (name, value) in answer.headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    response.headers_mut().insert(name, value);
                }
            }
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Claim::Other => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The idempotency key was used for another request",
            format!(
                "the key '{key}' came with another path, parameters or body before, or from somebody with other grants; take a new key for a new request"
            ),
        )),
        Claim::Running | Claim::Yours => Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency-key-in-use",
            "A request with this idempotency key is being answered",
            format!(
                "the key '{key}' came before and is not answered yet; ask again in some seconds (at the latest after a minute)"
            ),
        )),
    }
}

/// The key, with or without the quotes that the draft has around it.
fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let wrong = |why: &str| Err(Problem::parameters(vec![Flaw::new("Idempotency-Key", why)]));
    let mut all = headers.get_all(KEY).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return wrong("given twice") };
    let text = one.to_str().unwrap_or_default().trim();
    let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if bare.is_empty() || bare.len() > MAX_KEY || !bare.bytes().all(plain) {
        return wrong(
            "expected 1 to 255 visible ASCII characters, without quotes inside (a UUID, for example)",
        );
    }
    Ok(bare.to_owned())
}

/// SHA-256 over the parts, each behind its length, so that no two lists of parts collide.
fn digest(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells this try from every other.
fn token(state: &ApiState) -> String {
    state.next_correlation().to_string()
}

#[cfg(test)]
mod tests;
