//! `/_sim/…`: seeing and steering a simulator that runs in another process.
//!
//! `GET /_sim/tenants` · `GET /_sim/tenants/{t}` (counts) · `GET …/writes` · `POST …/mischief` ([`JamfMischief`]) ·
//! `POST …/troubles` ([`JamfPlanned`]) · `DELETE …/troubles` · `DELETE …/tokens`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};

use super::{JamfCounts, JamfMischief, JamfPlanned, JamfSimulator, JamfTenant, JamfWrite};

type Refused = (StatusCode, String);

pub(crate) fn router() -> Router<JamfSimulator> {
    Router::new()
        .route("/tenants", get(tenants))
        .route("/tenants/{tenant}", get(counts))
        .route("/tenants/{tenant}/writes", get(writes))
        .route("/tenants/{tenant}/mischief", post(mischief))
        .route("/tenants/{tenant}/troubles", post(trouble).delete(no_trouble))
        .route("/tenants/{tenant}/tokens", delete(revoke))
}

type Sim = State<JamfSimulator>;

fn find(simulator: &JamfSimulator, name: &str) -> Result<Arc<JamfTenant>, Refused> {
    let none = || (StatusCode::NOT_FOUND, format!("no tenant '{}'", name.escape_default()));
    simulator.find(name).ok_or_else(none)
}

async fn tenants(State(simulator): Sim) -> Json<Vec<String>> {
    Json(simulator.names())
}

async fn counts(State(simulator): Sim, Path(name): Path<String>) -> Result<Json<JamfCounts>, Refused> {
    Ok(Json(find(&simulator, &name)?.counts()))
}

async fn writes(State(simulator): Sim, Path(name): Path<String>) -> Result<Json<Vec<JamfWrite>>, Refused> {
    Ok(Json(find(&simulator, &name)?.writes()))
}

async fn mischief(
    State(simulator): Sim,
    Path(name): Path<String>,
    Json(what): Json<JamfMischief>,
) -> Result<StatusCode, Refused> {
    let done = find(&simulator, &name)?.mischief(&what);
    done.map(|()| StatusCode::NO_CONTENT).map_err(|why| (StatusCode::NOT_FOUND, why))
}

async fn trouble(
    State(simulator): Sim,
    Path(name): Path<String>,
    Json(planned): Json<JamfPlanned>,
) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.trouble(planned);
    Ok(StatusCode::NO_CONTENT)
}

async fn no_trouble(State(simulator): Sim, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.no_more_trouble();
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(State(simulator): Sim, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.revoke_tokens();
    Ok(StatusCode::NO_CONTENT)
}
