//! `GET /v1/events`: what happened.
//!
//! Two ways to read: `?last=N` for the newest, and `?after=` to follow the streams, one sequence number per partition
//! (`0:12,1:40`). The answer's `after` goes into the next request; a consumer sees a gap by `seq`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_engine::store::EventFilter;
use trueup_model::{CorrelationId, Event, EventKind, Partition};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::OfIntent;
use crate::identity::Access;
use crate::problem::Flaw;
use crate::{ApiState, MAX_LIMIT, Problem, params::Params};

/// Events looked at for `last=` of somebody who does not see all of them.
const LOOKED_AT: usize = 20_000;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacedEvent)]
pub(crate) struct Placed {
    partition: Partition,
    #[serde(flatten)]
    event: Event,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Events)]
pub(crate) struct Answer {
    items: Vec<Placed>,
    /// For `?after=` of the next request.
    after: String,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Lists events.
///
/// Two ways to read: `last=N` for the newest, oldest of them first; or `after=` to follow the streams, one sequence number per
/// partition. The answer's `after` goes into the next request; a consumer sees a gap by `seq`.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "list_events",
    tag = "events",
    params(
        ("correlation_id" = Option<String>, Query, description = "Only what this request or run caused", pattern = "^[A-Za-z0-9_-]{1,64}$"),
        OfIntent,
        ("type" = Option<EventKind>, Query, description = "Only this type"),
        ("since" = Option<Time>, Query, description = "Only what happened at this time or later"),
        ("until" = Option<Time>, Query, description = "Only what happened before this time"),
        ("after" = Option<String>, Query, description = "Where the last answer ended: PARTITION:SEQ[,PARTITION:SEQ…]", pattern = "^([0-9]{1,5}:[0-9]{1,18}(,[0-9]{1,5}:[0-9]{1,18})*)?$", max_length = 4096, example = "0:12,1:40"),
        ("limit" = Option<usize>, Query, description = "Most events of one answer", minimum = 1, maximum = 1000),
        ("last" = Option<usize>, Query, description = "The newest so many, instead of `after` and `limit`", minimum = 1, maximum = 1000),
    ),
    responses((status = OK, body = Answer)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Answer>, Problem> {
    let correlation_id = params.parsed("correlation_id", |t| {
        CorrelationId::parse(t).ok_or("expected at most 64 letters, digits, - and _")
    });
    let intent = params.intent();
    let kind: Option<EventKind> = params.word("type");
    let (since, until) = (params.time("since"), params.time("until"));
    let after = params.text_or_nothing("after").map(|t| positions(&t, state.store.partitions()));
    let after = after.and_then(|read| params.noted("after", read));
    let last = params.number("last", 1..=MAX_LIMIT);
    let limit_given = params.number("limit", 1..=MAX_LIMIT);
    params.finish()?;
    if last.is_some() && (after.is_some() || limit_given.is_some()) {
        let why = "the newest are asked for: leave out 'after' and 'limit'";
        return Err(Problem::parameters(vec![Flaw::new("?last", why)]));
    }
    let filter = EventFilter { correlation_id, intent, kind, since, until };
    let mut after = after.unwrap_or_default();
    let found = match last {
        Some(n) => newest(&state, &access, &filter, n).await?,
        None => state.store.events(&filter, &after, limit_given.unwrap_or(crate::DEFAULT_LIMIT)).await?,
    };
    let mut items = Vec::with_capacity(found.len());
    for (partition, event) in found {
        let seen = after.entry(partition.0).or_default();
        *seen = event.seq.max(*seen);
        if access.sees(&event.tenant) {
            items.push(Placed { partition, event });
        }
    }
    let after = after.iter().map(|(p, seq)| format!("{p}:{seq}")).collect::<Vec<_>>().join(",");
    Ok(Json(Answer { items, after }))
}

/// The newest `n` that are there for who asks. Looks at no more than [`LOOKED_AT`], so there may be fewer.
async fn newest(
    state: &ApiState,
    access: &Access,
    filter: &EventFilter,
    n: usize,
) -> Result<Vec<(Partition, Event)>, Problem> {
    let mut wanted = n;
    loop {
        let mut found = state.store.last_events(filter, wanted).await?;
        let all = found.len() < wanted;
        found.retain(|(_, event)| access.sees(&event.tenant));
        if all || found.len() >= n || wanted >= LOOKED_AT {
            found.drain(..found.len().saturating_sub(n));
            return Ok(found);
        }
        wanted = (wanted * 8).min(LOOKED_AT);
    }
}

fn positions(text: &str, partitions: u16) -> Result<BTreeMap<u16, u64>, String> {
    let mut found = BTreeMap::new();
    for part in text.split(',') {
        let pair = part
            .split_once(':')
            .and_then(|(p, seq)| Some((p.parse::<u16>().ok()?, seq.parse::<u64>().ok()?)))
            // As far as a stream can count; what comes after it is asked for by adding one.
            .filter(|(_, seq)| *seq <= i64::MAX.unsigned_abs());
        let Some((p, seq)) = pair else {
            return Err("expected PARTITION:SEQ[,PARTITION:SEQ…], as the last answer gave it".into());
        };
        if p >= partitions {
            return Err(format!("there is no partition {p}; the last is {}", partitions.saturating_sub(1)));
        }
        if found.insert(p, seq).is_some() {
            return Err(format!("partition {p} is named twice"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_or_refused() {
        assert_eq!(positions("0:12,1:40", 2).unwrap(), BTreeMap::from([(0, 12), (1, 40)]));
        assert_eq!(positions("0:9223372036854775807", 1).unwrap(), BTreeMap::from([(0, i64::MAX as u64)]));
        for wrong in ["0:9223372036854775808", "0:18446744073709551615", "0:99999999999999999999"] {
            assert!(positions(wrong, 1).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "0:", ":1", "0:1,", "2:1", "0:1,0:2", "-1:2", "0:x"] {
            assert!(positions(wrong, 2).is_err(), "{wrong}");
        }
    }
}
