//! `GET /openapi.json`, and `GET /docs`: the reference page, which shows it.
//!
//! # Guarantees
//! The document is made once, at start. Whatever the page needs is in this binary: it asks no other host for anything.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::Redirect;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::ApiState;

/// Serves the document and the page.
pub(crate) fn routes(document: OpenApi) -> Router<ApiState> {
    let text: Arc<str> = document.to_json().unwrap_or_default().into();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) };
    // The validator would be another host's.
    let config = Config::from("/openapi.json")
        .validator_url("none")
        .deep_linking(true)
        .display_operation_id(true)
        .display_request_duration(true)
        .default_models_expand_depth(0)
        .filter(true);
    Router::new()
        .route("/openapi.json", get(answer))
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .merge(SwaggerUi::new("/docs").config(config))
}
