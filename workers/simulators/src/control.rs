//! `/_sim/…`: seeing and steering a simulator that runs in another process.
//!
//! `GET /_sim/tenants` · `GET /_sim/tenants/{t}` (counts) · `GET …/writes` · `POST …/mischief` ([`Mischief`]) ·
//! `POST …/troubles` ([`Planned`]) · `DELETE …/troubles` · `DELETE …/tokens` · `DELETE …/secret` (it is another then).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};

use crate::Simulator;
use crate::mischief::Mischief;
use crate::tenant::{Counts, Tenant, Write};
use crate::trouble::Planned;

type Refused = (StatusCode, String);

pub(crate) fn router() -> Router<Simulator> {
    Router::new()
        .route("/tenants", get(tenants))
        .route("/tenants/{tenant}", get(counts))
        .route("/tenants/{tenant}/writes", get(writes))
        .route("/tenants/{tenant}/mischief", post(mischief))
        .route("/tenants/{tenant}/troubles", post(trouble).delete(no_trouble))
        .route("/tenants/{tenant}/tokens", delete(revoke))
        .route("/tenants/{tenant}/secret", delete(rotate))
}

fn find(simulator: &Simulator, name: &str) -> Result<Arc<Tenant>, Refused> {
    simulator
        .find(name)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("no tenant '{}'", name.escape_default())))
}

async fn tenants(State(simulator): State<Simulator>) -> Json<Vec<String>> {
    Json(simulator.names())
}

async fn counts(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
) -> Result<Json<Counts>, Refused> {
    Ok(Json(find(&simulator, &name)?.counts()))
}

async fn writes(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
) -> Result<Json<Vec<Write>>, Refused> {
    Ok(Json(find(&simulator, &name)?.writes()))
}

async fn mischief(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Json(what): Json<Mischief>,
) -> Result<StatusCode, Refused> {
    let done = find(&simulator, &name)?.mischief(&what);
    done.map(|()| StatusCode::NO_CONTENT).map_err(|why| (StatusCode::NOT_FOUND, why))
}

async fn trouble(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Json(planned): Json<Planned>,
) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.trouble(planned);
    Ok(StatusCode::NO_CONTENT)
}

async fn no_trouble(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.no_more_trouble();
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(State(simulator): State<Simulator>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.revoke_tokens();
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(State(simulator): State<Simulator>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    find(&simulator, &name)?.rotate_secret();
    Ok(StatusCode::NO_CONTENT)
}
