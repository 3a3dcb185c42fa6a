//! Whether a request may reach its handler: from where it comes, who sends it, and what the rules say.

use axum::RequestExt as _;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::identity::Access;
use crate::identity::rules::{self, Found, Rule};
use crate::{ApiState, Problem, guard};

/// Lets it pass with [`Access`] beside it, or answers.
pub(super) async fn admit(state: &ApiState, request: &mut Request) -> Result<(), Response> {
    let identity = &state.identity;
    guard::check(request, identity.is_open(), state.tls).map_err(Problem::into_response)?;
    let matched = request.extensions().get::<MatchedPath>().map(|m| m.as_str().to_owned());
    let found = matched.as_deref().map(|path| rules::of(request.method(), path));
    if found == Some(Found::Rule(Rule::Open)) {
        return Ok(());
    }
    let known = identity.authenticate(request.headers(), &state.store, state.clock.now()).await;
    let access = known.map_err(|problem| challenge(problem, request))?;
    match found {
        // There is no such route: the router says so.
        None => {}
        Some(Found::OtherMethods(allow)) => return Err(other_methods(request, &allow)),
        Some(Found::None) => return Err(unruled(matched.as_deref().unwrap_or_default()).into_response()),
        Some(Found::Rule(rule)) => enforce(rule, &access, request).await.map_err(Problem::into_response)?,
    }
    request.extensions_mut().insert(access);
    Ok(())
}

async fn enforce(rule: Rule, access: &Access, request: &mut Request) -> Result<(), Problem> {
    match rule {
        Rule::Open | Rule::Known | Rule::Handler(_) => Ok(()),
        Rule::Fleet(permission) => access.require(permission, None),
        Rule::Path(permission) => {
            let unreadable =
                || Problem::unreadable("the path is not well formed; encode names in it as UTF-8");
            let params = request.extract_parts::<RawPathParams>().await.map_err(|_| unreadable())?;
            let named = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value);
            let tenant = named.filter(|t| !t.is_empty()).ok_or_else(unreadable)?;
            if !access.sees(tenant) && !access.may(permission, Some(tenant)) {
                let shown: String = tenant.chars().take(128).collect();
                return Err(Problem::not_found("tenant that you may see called", &shown));
            }
            access.require(permission, Some(tenant))
        }
    }
}

/// 401 says how to prove who one is. A browser is asked for a key as a password.
fn challenge(problem: Problem, request: &Request) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let wants = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let page = wants.contains("text/html");
        let how = if page {
            r#"Basic realm="trueup: an API key as the password""#
        } else {
            r#"Bearer realm="trueup""#
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(how));
    }
    response
}

fn other_methods(request: &Request, allow: &str) -> Response {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut response = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, method, path).into_response();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// A bug of ours, answered so that nothing is open by accident.
fn unruled(path: &str) -> Problem {
    tracing::error!(path, "a route without a rule in identity/rules.rs; it is refused");
    let detail = format!("nobody may call {path} yet: this route has no rule; report this");
    Problem::new(StatusCode::FORBIDDEN, "no-rule", "A route without a rule", detail)
}
