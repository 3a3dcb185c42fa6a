//! `GET /v1/events/stream`: what happens, as it happens (Server-Sent Events).

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use trueup_engine::store::EventFilter;
use trueup_model::{CorrelationId, EventKind, IntentKey};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::{OfIntent, OfTenant};
use crate::identity::Access;
use crate::live::{self, Filter, Position, Standing};
use crate::problem::Flaw;
use crate::{ApiState, Problem, params::Params};

/// Sent by who comes back to a stream; goes before `?after=`, which is what they began with.
const LAST_EVENT_ID: &str = "last-event-id";
/// Longest position, in bytes: all partitions there can be.
const MAX_POSITION: usize = 4_096;

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(stream))
}

/// Follows events as they happen.
///
/// A stream of Server-Sent Events: `event` is the type (`DRIFT_DETECTED`), `data` the event as `/v1/events` has it, `id` the
/// position behind it. Coming back with `Last-Event-ID` (or `after`) misses nothing; without either the stream begins now.
/// Beside events there are `gap` (events that only the archive still has), `dropped` (nothing was read for too long) and
/// `ended` (come back: after some minutes, when the server stops, or when the key or token holds no more), and a comment from time to time.
#[utoipa::path(
    get,
    path = "/v1/events/stream",
    operation_id = "follow_events",
    tag = "events",
    params(
        OfTenant,
        OfIntent,
        ("type" = Option<EventKind>, Query, description = "Only this type"),
        ("correlation_id" = Option<String>, Query, description = "Only what this request or run caused", pattern = "^[A-Za-z0-9_-]{1,64}$"),
        ("after" = Option<String>, Query, description = "Where to begin: an `id` of this stream, or `after` of an answer of `/v1/events`", max_length = 512, example = "0:12,1:40"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same, as browsers send it when they come back", max_length = 4096),
    ),
    responses((status = OK, description = "Follows until the client goes", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let partitions = state.store.partitions();
    let tenant = params.tenant();
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    let kind: Option<EventKind> = params.word("type");
    let correlation_id = params.parsed("correlation_id", |t| {
        CorrelationId::parse(t).ok_or("expected at most 64 letters, digits, - and _")
    });
    let after = params.parsed("after", |t| Position::parse(t, partitions));
    params.finish()?;
    let came_back = match headers.get(LAST_EVENT_ID).map(|v| v.to_str().unwrap_or("(not text)")) {
        None | Some("") => None,
        Some(text) if text.len() > MAX_POSITION => return Err(wrong_id("too long".into())),
        Some(text) => Some(Position::parse(text, partitions).map_err(wrong_id)?),
    };
    let events = EventFilter { correlation_id, intent, kind, ..EventFilter::default() };
    let standing = Standing::of(&state, &headers, access.clone());
    let filter = Filter { tenant, events, access };
    live::stream(&state.live, &state.store, filter, standing, came_back.or(after)).await
}

fn wrong_id(why: String) -> Problem {
    Problem::parameters(vec![Flaw::new("Last-Event-ID", why)])
}
