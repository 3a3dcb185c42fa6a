//! Runs: looks at intents, and what followed from them.
//!
//! A run is a part of its intent's state while it goes on, and is told by its events afterwards; it has no record of its own.
//!
//! # Guarantees
//! Whatever was not looked through is said (`jobs_cut`, `next`): no answer costs more than some thousand reads.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use trueup_engine::store::{EventFilter, JobState, JobView, Page};
use trueup_model::{
    CorrelationId, Event, IntentKey, IntentRecord, PlaneKind, Queue, RunId, StepName, Time, Trigger,
    job::correlation_of,
};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::{OfIntent, OfTenant, Paging};
use crate::identity::{Access, Permission};
use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// Events shown of one run.
const EVENTS: usize = 200;
/// Jobs looked through in each queue and state.
const JOBS: usize = 200;
/// Runs that an intent had before, among which one is looked for.
const BEFORE: u64 = 10_000;

/// A run that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Run)]
pub(crate) struct Active {
    id: RunId,
    intent: IntentKey,
    plane: PlaneKind,
    trigger: Trigger,
    correlation_id: CorrelationId,
    started_at: Time,
    /// Since it began, by the clock that decisions use.
    age_ms: u64,
}

impl Active {
    fn of(record: &IntentRecord, now: Time) -> Option<Self> {
        let run = record.state.run.as_ref()?;
        Some(Self {
            id: run.id.clone(),
            intent: record.intent.key.clone(),
            plane: record.intent.plane(),
            trigger: run.trigger,
            correlation_id: run.correlation_id.clone(),
            started_at: run.started_at,
            age_ms: u64::try_from((now - run.started_at).num_milliseconds()).unwrap_or(0),
        })
    }
}

/// The story of one run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunStory)]
pub(crate) struct Story {
    id: RunId,
    intent: IntentKey,
    /// Which of the intent's runs, from 1; nothing if it is none of the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// While it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<Active>,
    /// Of its events. A run that somebody asked for has that of the request, which is known only while it goes on.
    correlation_id: CorrelationId,
    /// What happened, at most the last 200, oldest first. A run that found everything in order leaves none.
    events: Vec<Event>,
    /// Its jobs that are not finished; for who may read the fleet.
    jobs: Vec<JobView>,
    /// A queue holds more jobs than were looked through.
    jobs_cut: bool,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(one))
}

/// Lists runs that go on.
///
/// Intents are looked through page by page: a page can be short, even empty, and have a `next`.
#[utoipa::path(
    get,
    path = "/v1/runs",
    operation_id = "list_runs",
    tag = "runs",
    params(
        OfTenant,
        OfIntent,
        ("plane" = Option<PlaneKind>, Query, description = "Only on this plane"),
        ("trigger" = Option<Trigger>, Query, description = "Only what began for this reason"),
        Paging,
    ),
    responses((status = OK, body = Page<Active>)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Page<Active>>, Problem> {
    let tenant = params.tenant();
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    let plane: Option<PlaneKind> = params.word("plane");
    let trigger: Option<Trigger> = params.word("trigger");
    let (limit, cursor) = (params.limit(), params.cursor());
    params.finish()?;
    let keep = |r: &IntentRecord| {
        r.state.run.as_ref().is_some_and(|run| trigger.is_none_or(|t| run.trigger == t))
            && tenant.as_ref().is_none_or(|t| r.intent.key.tenant == *t)
            && plane.is_none_or(|p| r.intent.plane() == p)
            && access.sees(&r.intent.key.tenant)
    };
    let now = state.clock.now();
    let shown = |records: Vec<IntentRecord>| records.iter().filter_map(|r| Active::of(r, now)).collect();
    if let Some(key) = intent {
        let record = super::intents::record(&state, &key).await?.filter(keep);
        return Ok(Json(Page {
            items: shown(record.into_iter().collect()),
            next: None,
            missing: Vec::new(),
        }));
    }
    let (store, scope) = (state.store.as_ref(), &super::scoped::scope(&access, tenant.as_deref()));
    let page = filtered(cursor, limit, keep, |c, n| super::scoped::list_intents(store, scope, c, n)).await?;
    let Page { items, next, missing } = page;
    Ok(Json(Page { items: shown(items), next, missing }))
}

/// Tells the story of one run.
///
/// Its events, and its jobs that are not finished. `intent` helps to find a run that left no event, and one that somebody asked
/// for and that has ended: the events of that one carry the correlation id of the request.
#[utoipa::path(
    get,
    path = "/v1/runs/{id}",
    operation_id = "get_run",
    tag = "runs",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9._-]{1,128}$", example = "run_0v2c4ae9k1m7q3x5z8bd"),
        OfIntent,
    ),
    responses((status = OK, body = Story)),
)]
pub(crate) async fn one(
    State(state): State<ApiState>,
    access: Access,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Story>, Problem> {
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    params.finish()?;
    let id = RunId::from_wire(super::name("run", &id)?);
    let (jobs, jobs_cut) = jobs_of(&state, &id).await?;
    let derived = correlation_of(&id);
    let of_jobs = || jobs.iter().find_map(|(intent, _)| intent.clone());
    let found = match intent.or_else(of_jobs) {
        Some(key) => Some(key),
        None => intent_of(&state, &derived).await?,
    };
    let missing = || {
        let mut problem = Problem::not_found("run", id.as_str());
        problem.detail += " that goes on or has left events; name its intent (?intent=TENANT/ID), see GET /v1/runs for those that \
                           go on, and GET /v1/events?intent= for what happened";
        problem
    };
    let key = found.filter(|key| access.sees(&key.tenant)).ok_or_else(missing)?;
    // What works for the run of another intent is nothing about this one, and maybe not for who asks.
    let jobs: Vec<_> = jobs.into_iter().filter(|(intent, _)| intent.as_ref() == Some(&key)).collect();
    let record = super::intents::record(&state, &key).await?;
    let active = record.as_ref().and_then(|r| Active::of(r, state.clock.now())).filter(|a| a.id == id);
    let number = record.as_ref().and_then(|r| number(r, &id));
    let correlation_id = active.as_ref().map_or(derived, |a| a.correlation_id.clone());
    let filter = EventFilter {
        correlation_id: Some(correlation_id.clone()),
        intent: Some(key.clone()),
        ..EventFilter::default()
    };
    let events: Vec<Event> =
        state.store.last_events(&filter, EVENTS).await?.into_iter().map(|(_, event)| event).collect();
    if active.is_none() && number.is_none() && events.is_empty() && jobs.is_empty() {
        return Err(missing());
    }
    let reads_fleet = access.may(Permission::ReadFleet, None);
    let jobs = jobs.into_iter().map(|(_, job)| job).filter(|_| reads_fleet).collect();
    Ok(Json(Story { id, intent: key, number, active, correlation_id, events, jobs, jobs_cut }))
}

/// Which of the intent's runs it is, from 1.
fn number(record: &IntentRecord, id: &RunId) -> Option<u64> {
    let mut state = record.state.clone();
    let newest = state.runs;
    (newest.saturating_sub(BEFORE)..newest).rev().find_map(|before| {
        state.runs = before;
        (state.next_run(&record.intent) == *id).then_some(before + 1)
    })
}

/// The intent that events of this correlation are about, where they are about one.
async fn intent_of(state: &ApiState, correlation: &CorrelationId) -> Result<Option<IntentKey>, Problem> {
    let filter = EventFilter { correlation_id: Some(correlation.clone()), ..EventFilter::default() };
    let events = state.store.last_events(&filter, 1).await?;
    let key = events.into_iter().map(|(_, e)| IntentKey::new(e.tenant, e.intent)).next();
    Ok(key.filter(|key| !key.tenant.is_empty() && !key.id.is_empty()))
}

/// Jobs that work for the run, with the intent that they name; and whether there are more than were looked through.
async fn jobs_of(
    state: &ApiState,
    run: &RunId,
) -> Result<(Vec<(Option<IntentKey>, JobView)>, bool), Problem> {
    let of_runs =
        [StepName::Query, StepName::Compare, StepName::Emit, StepName::Remediate, StepName::Escalate];
    let depths = state.store.depths().await?;
    let (mut found, mut cut) = (Vec::new(), false);
    for queue in Queue::all().into_iter().filter(|q| of_runs.contains(&q.step())) {
        let name = queue.to_string();
        let Some(depth) = depths.iter().find(|d| d.queue == name) else { continue };
        let states = [
            (JobState::Ready, depth.ready),
            (JobState::Scheduled, depth.scheduled),
            (JobState::InFlight, depth.in_flight),
            (JobState::Dead, depth.dead),
        ];
        for (place, _) in states.into_iter().filter(|(_, n)| *n > 0) {
            let jobs = state.store.jobs(queue, place, JOBS).await?;
            cut |= jobs.len() >= JOBS;
            found.extend(jobs.into_iter().filter_map(|job| Some((works_for(&job, run)?, job))));
        }
    }
    Ok((found, cut))
}

/// `Some` if it does; the intent, where the payload says so.
fn works_for(job: &JobView, run: &RunId) -> Option<Option<IntentKey>> {
    let is = |part: &serde_json::Value| part["run"] == run.as_str();
    let key = |part: &serde_json::Value| part["intent"].as_str().and_then(|text| text.parse().ok());
    if is(&job.payload) {
        return Some(key(&job.payload));
    }
    let batch = ["checks", "seen"].into_iter().filter_map(|field| job.payload[field].as_array()).flatten();
    batch.filter(|part| is(part)).map(key).next()
}
