//! Queues: what waits, what is stuck, and what an operator can do about it. What acts on jobs is in `selection`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use trueup_engine::operate::{BUCKET_S, BUCKETS, Flow, Passed};
use trueup_engine::store::{Admin, JobState, JobView, QueueDepth};
use trueup_engine::{About, JobFilter};
use trueup_model::{PlaneKind, Queue, StepName};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use super::selection::{self, Acted, MAX_REASON, Selection};
use crate::identity::Access;
use crate::manifest::with_suggestion;
use crate::params::{NO_CURSOR, Params};
use crate::problem::Flaw;
use crate::{ApiState, Problem};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(depths)).routes(routes!(jobs)).routes(routes!(act))
}

/// Jobs of each state that are read to tell whose they are.
const SAMPLED: usize = 100;
/// Most jobs in one answer that was filtered.
const FILTERED: usize = 100;

/// Jobs a second, over the last complete minute. Counted in the processes of the fleet and added up about once a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// New in the queue.
    pub enqueued: f64,
    /// Finished.
    pub done: f64,
    /// Put back to wait, at no cost.
    pub deferred: f64,
    /// Put back after a fault that cost an attempt.
    pub retried: f64,
    /// To the dead letters.
    pub dead: f64,
}

impl Rates {
    fn of(measured: &[Passed]) -> Self {
        let complete = &measured[..measured.len().saturating_sub(1)];
        let minute = &complete[complete.len().saturating_sub((60 / BUCKET_S) as usize)..];
        let seconds = (minute.len() as u64 * BUCKET_S).max(1) as f64;
        let rate = |of: fn(&Passed) -> u64| {
            let sum = minute.iter().map(of).sum::<u64>() as f64;
            (sum / seconds * 100.0).round() / 100.0
        };
        Self {
            enqueued: rate(|p| p.enqueued),
            done: rate(|p| p.done),
            deferred: rate(|p| p.deferred),
            retried: rate(|p| p.retried),
            dead: rate(|p| p.dead),
        }
    }
}

/// A queue with its numbers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    #[serde(flatten)]
    pub depth: QueueDepth,
    pub step: StepName,
    /// The plane, where the step touches one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<PlaneKind>,
    pub per_second: Rates,
    /// With `history=true`: measurements of ten seconds, the oldest first; the last one is still being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<Passed>>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// In the order of the chain.
    pub items: Vec<QueueView>,
}

/// Lists all queues with depths, ages and rates.
#[utoipa::path(
    get,
    path = "/v1/queues",
    operation_id = "list_queues",
    tag = "queues",
    params(("history" = Option<bool>, Query, description = "Also what passed through each in the last five minutes")),
    responses((status = OK, body = QueueList)),
)]
pub(crate) async fn depths(
    State(state): State<ApiState>,
    mut params: Params,
) -> Result<Json<QueueList>, Problem> {
    let history = params.flag("history").unwrap_or(false);
    params.finish()?;
    let depths = state.store.depths().await?;
    let flow = state.store.operations().flow().await?;
    let items = depths.into_iter().filter_map(|d| seen(d, &flow, history)).collect();
    Ok(Json(QueueList { items }))
}

fn seen(depth: QueueDepth, flow: &Flow, history: bool) -> Option<QueueView> {
    let queue: Queue = depth.queue.parse().ok()?;
    let nothing = vec![Passed::default(); BUCKETS];
    let measured = flow.get(&queue).unwrap_or(&nothing);
    Some(QueueView {
        depth,
        step: queue.step(),
        plane: queue.plane(),
        per_second: Rates::of(measured),
        history: history.then(|| measured.clone()),
    })
}

/// Whose jobs are in a queue, by a sample.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TenantSample {
    /// How many jobs were read: the first of each state.
    pub sampled: usize,
    /// How many there are.
    pub of: u64,
    /// Jobs of the sample by tenant; a job of several counts for each.
    pub jobs: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueJobs {
    pub queue: String,
    pub depth: Option<QueueView>,
    /// With `by_tenant=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_tenant: Option<TenantSample>,
    pub items: Vec<JobView>,
    /// `cursor` of the next request, if a filter is given and there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Shows one queue and its jobs.
///
/// All states if none is named. A filter (`tenant`, `plane`, `reason`, `older_than`) goes through the jobs of one state, the dead
/// unless `state` says another, a bounded part of the queue per request: an answer can be short, even empty, and have a `next`.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}",
    operation_id = "list_jobs",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "Like query.intune", max_length = 64),
        ("state" = Option<JobState>, Query, description = "Only jobs in this state"),
        ("tenant" = Option<String>, Query, description = "Only jobs about this tenant", max_length = 128),
        ("plane" = Option<PlaneKind>, Query, description = "Only jobs about this plane"),
        ("reason" = Option<String>, Query, description = "Only jobs whose reason contains this, whatever its case", max_length = 256),
        ("older_than" = Option<usize>, Query, description = "Only jobs dead for, or else enqueued, at least so many seconds ago", minimum = 0, maximum = 31_536_000),
        ("by_tenant" = Option<bool>, Query, description = "Also whose jobs there are, by a sample"),
        ("limit" = Option<usize>, Query, description = "Most jobs of one answer, 100 unless told; no more than 100 where a filter is given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next` of the answer before", pattern = "^[0-9]{1,5}\\.[0-9]{1,9}$"),
    ),
    responses((status = OK, body = QueueJobs)),
)]
pub(crate) async fn jobs(
    State(state): State<ApiState>,
    Path(queue): Path<String>,
    mut params: Params,
) -> Result<Json<QueueJobs>, Problem> {
    let wanted: Option<JobState> = params.word("state");
    let tenant = params.tenant();
    let plane: Option<PlaneKind> = params.word("plane");
    let reason = params.parsed("reason", |text| {
        let fits = text.chars().count() <= MAX_REASON;
        fits.then(|| text.to_owned()).ok_or(format!("expected at most {MAX_REASON} characters"))
    });
    let older_than = params.number("older_than", 0..=31_536_000);
    let by_tenant = params.flag("by_tenant").unwrap_or(false);
    let limit = params.limit();
    let cursor = params.parsed("cursor", |text| place(text).ok_or(NO_CURSOR));
    params.finish()?;
    let queue = queue_named(&queue)?;
    let name = queue.to_string();
    let depth = state.store.depths().await?.into_iter().find(|d| d.queue == name);
    let flow = state.store.operations().flow().await?;
    let all = [JobState::InFlight, JobState::Ready, JobState::Scheduled, JobState::Dead];
    let (mut items, mut next): (Vec<JobView>, _) = (Vec::new(), None);
    let filter = JobFilter {
        tenant,
        plane,
        reason,
        older_than: older_than.map(|s| std::time::Duration::from_secs(s as u64)),
        ..JobFilter::of(wanted.unwrap_or(JobState::Dead))
    };
    if filter.takes_all() && cursor.is_none() {
        for s in all.into_iter().filter(|s| wanted.is_none_or(|w| w == *s)) {
            let room = limit.saturating_sub(items.len());
            if room > 0 {
                items.extend(state.store.jobs(queue, s, room).await?);
            }
        }
    } else {
        let operations = state.store.operations();
        let looked = operations.look(queue, &filter, cursor.as_deref(), limit.min(FILTERED), false).await?;
        let ids: Vec<_> = looked.jobs.into_iter().map(|j| j.id).collect();
        // With their payloads; who was ended meanwhile is left out.
        let found = try_join_all(ids.iter().map(|id| state.store.job(id))).await?;
        items.extend(found.into_iter().flatten().filter(|j| j.queue == name));
        next = looked.next;
    }
    let mut sample = None;
    if by_tenant {
        let mut of = TenantSample::default();
        for s in all {
            for job in state.store.jobs(queue, s, SAMPLED).await? {
                of.sampled += 1;
                About::of_tree(&job.payload)
                    .tenants
                    .into_iter()
                    .for_each(|t| *of.jobs.entry(t).or_default() += 1);
            }
        }
        of.of = depth.as_ref().map_or(0, |d| d.ready + d.scheduled + d.in_flight + d.dead);
        sample = Some(of);
    }
    let depth = depth.and_then(|d| seen(d, &flow, false));
    Ok(Json(QueueJobs { queue: name, depth, by_tenant: sample, items, next }))
}

/// Where a look at jobs goes on: a partition, and jobs passed there.
fn place(text: &str) -> Option<String> {
    let (partition, passed) = text.split_once('.')?;
    let number =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    (number(partition, 5) && number(passed, 9)).then(|| text.to_owned())
}

/// What can be done to a queue, in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum QueueAction {
    /// Nothing is leased from it until it is resumed.
    Pause,
    Resume,
    Retry,
    Discard,
    Front,
}

/// Pauses or resumes a queue, or acts on its jobs.
///
/// `pause` and `resume` take no body. `retry`, `discard` and `front` (the next to be worked on) act on one job, on a list of
/// jobs, or on all that match a filter: a bounded part per request, at most 256 jobs. Go on with `next` until there is none;
/// `rate` makes the parts as small as a second's worth and says how long to wait between them. `dry_run` only counts. What a
/// worker holds is never touched.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/{action}",
    operation_id = "act_on_queue",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "Like query.intune", max_length = 64),
        ("action" = inline(QueueAction), Path, description = "What to do"),
    ),
    request_body(content = Option<Selection>, description = "Which jobs; nothing for pause and resume"),
    responses(
        (status = OK, body = Acted),
        (status = CONFLICT, description = "The one job named is not where this can be done to it"),
    ),
)]
pub(crate) async fn act(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((queue, action)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Result<Json<Acted>, Problem> {
    let queue = queue_named(&queue)?;
    let what = serde_json::from_value::<QueueAction>(serde_json::Value::String(action.clone()));
    let Ok(what) = what else {
        let other: String = action.chars().take(64).collect();
        let mut problem = Problem::not_found("queue action", &other);
        problem.detail += " (known: pause, resume, retry, discard, front)";
        return Err(problem);
    };
    let selection: Option<Selection> = super::json_body(&body)?;
    let by = state.by(&access, &correlation);
    let act = match what {
        QueueAction::Pause | QueueAction::Resume => {
            if selection.is_some_and(|s| s != Selection::default()) {
                let why = "the whole queue is paused or resumed: send no body";
                return Err(Problem::invalid(why, vec![Flaw::new("", why)]));
            }
            let what = if what == QueueAction::Pause { Admin::Pause } else { Admin::Resume };
            let changed = state.store.admin(queue, &what, &by).await?;
            return Ok(Json(Acted { queue: queue.to_string(), action, changed, ..Acted::default() }));
        }
        QueueAction::Retry => trueup_engine::Act::Retry,
        QueueAction::Discard => trueup_engine::Act::Discard,
        QueueAction::Front => trueup_engine::Act::Front,
    };
    selection::carry_out(&state, queue, act, selection.unwrap_or_default(), &by).await.map(Json)
}

fn queue_named(text: &str) -> Result<Queue, Problem> {
    let text: String = text.chars().take(64).collect();
    text.parse().map_err(|e: String| {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", with_suggestion(&e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_complete_minute() {
        let mut measured = vec![Passed { done: 999, ..Passed::default() }; BUCKETS];
        for (n, passed) in measured.iter_mut().rev().take(7).enumerate() {
            // The current measurement is not complete and does not count.
            *passed = Passed { enqueued: 20, done: if n == 0 { 500 } else { 10 }, ..Passed::default() };
        }
        let rates = Rates::of(&measured);
        assert_eq!((rates.enqueued, rates.done, rates.retried), (2.0, 1.0, 0.0));
        assert_eq!(Rates::of(&[]), Rates::default());
    }
}
