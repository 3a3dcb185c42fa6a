//! `GET /v1/events`: what happened.
//!
//! Two ways to read: `?last=N` for the newest, and `?after=` to follow the streams, one sequence number per partition
//! (`0:12,1:40`). The answer's `after` goes into the next request; a consumer sees a gap by `seq`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_engine::store::EventFilter;
use trueup_model::{CorrelationId, Event, EventKind, IntentKey, Partition, Time};

use crate::problem::Flaw;
use crate::{ApiState, MAX_LIMIT, Problem, params::Params};

#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    partition: Partition,
    #[serde(flatten)]
    event: Event,
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    items: Vec<Placed>,
    /// For `?after=` of the next request.
    after: String,
}

/// `?correlation_id=&intent=&type=&since=&after=&limit=` or `…&last=`
pub(crate) async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Answer>, Problem> {
    let correlation_id = params.parsed("correlation_id", |t| {
        CorrelationId::parse(t).ok_or("expected at most 64 letters, digits, - and _")
    });
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    let kind: Option<EventKind> = params.word("type");
    let since: Option<Time> = params
        .parsed("since", |t| t.parse::<Time>().map_err(|_| "expected a time like 2026-01-06T00:00:00Z"));
    let after = params.parsed("after", |t| positions(t, state.store.partitions()));
    let last = params.number("last", 1..=MAX_LIMIT);
    let limit_given = params.number("limit", 1..=MAX_LIMIT);
    params.finish()?;
    if last.is_some() && (after.is_some() || limit_given.is_some()) {
        let why = "the newest are asked for: leave out 'after' and 'limit'";
        return Err(Problem::parameters(vec![Flaw::new("?last", why)]));
    }
    let filter = EventFilter { correlation_id, intent, kind, since };
    let mut after = after.unwrap_or_default();
    let found = match last {
        Some(n) => state.store.last_events(&filter, n).await?,
        None => state.store.events(&filter, &after, limit_given.unwrap_or(crate::DEFAULT_LIMIT)).await?,
    };
    let mut items = Vec::with_capacity(found.len());
    for (partition, event) in found {
        let seen = after.entry(partition.0).or_default();
        *seen = event.seq.max(*seen);
        items.push(Placed { partition, event });
    }
    let after = after.iter().map(|(p, seq)| format!("{p}:{seq}")).collect::<Vec<_>>().join(",");
    Ok(Json(Answer { items, after }))
}

fn positions(text: &str, partitions: u16) -> Result<BTreeMap<u16, u64>, String> {
    let mut found = BTreeMap::new();
    for part in text.split(',') {
        let pair = part
            .split_once(':')
            .and_then(|(p, seq)| Some((p.parse::<u16>().ok()?, seq.parse::<u64>().ok()?)));
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
        for wrong in ["", "0", "0:", ":1", "0:1,", "2:1", "0:1,0:2", "-1:2", "0:x"] {
            assert!(positions(wrong, 2).is_err(), "{wrong}");
        }
    }
}
