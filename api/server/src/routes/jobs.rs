//! One job: what it is, whom it is about, what came before and after it, and why it waits or is dead.
//!
//! Ids of jobs are derived (`Cx::next_id`): the `n`th job that follows from a job is named by both. So what came before and
//! after is recognised without anything being kept for it: among the jobs that events name, and those that are there.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use trueup_engine::About;
use trueup_engine::store::{EventFilter, JobState, JobView};
use trueup_model::{CorrelationId, Event, IntentKey, JobId, RunId, Trigger};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{ApiState, Problem, params::Params};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(one))
}

/// Newest events looked through for its relatives.
const LOOKED_AT: usize = 500;
/// Events shown.
const SHOWN: usize = 20;
/// Jobs that one job may be followed by and still be recognised.
const CHILDREN: usize = 32;

/// What a job belongs to.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Lineage {
    #[serde(flatten)]
    pub about: About,
    /// Why the run began, while it holds its intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The job whose commit enqueued it, as far as events tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Jobs that followed from it, as far as events tell or they are still there.
    pub after: Vec<String>,
    /// What it caused, and what happened around it in its run; the newest 20, oldest first.
    pub events: Vec<Event>,
}

/// A job and its story.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JobStory {
    #[serde(flatten)]
    pub job: JobView,
    /// In one sentence: why it is where it is.
    pub why: String,
    /// Times it was given to a worker, as far as is counted: tries that ended in a retry, workers that died with it, and the
    /// one that holds it. What was put off at no cost is not counted.
    pub deliveries: u32,
    pub lineage: Lineage,
}

/// Shows one job with its lineage.
///
/// A job that has finished is gone; its traces are in the events.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    operation_id = "get_job",
    tag = "queues",
    params(("id" = String, Path, max_length = 128)),
    responses((status = OK, body = JobStory)),
)]
pub(crate) async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<JobStory>, Problem> {
    params.finish()?;
    let id = JobId::from_wire(super::name("job", &id)?);
    let Some(job) = state.store.job(&id).await? else {
        let mut problem = Problem::not_found("job", id.as_str());
        problem.detail += "; a job that has finished is gone, and what it caused is in the events";
        return Err(problem);
    };
    let depth = state.store.depths().await?.into_iter().find(|d| d.queue == job.queue);
    let lineage = lineage(&state, &job).await?;
    let why = why(&job, depth.is_some_and(|d| d.paused));
    let deliveries = job.attempts + job.rescued + u32::from(job.state == JobState::InFlight);
    Ok(Json(JobStory { why, deliveries, lineage, job }))
}

async fn lineage(state: &ApiState, job: &JobView) -> Result<Lineage, Problem> {
    let about = About::of_tree(&job.payload);
    let mut of = Lineage::default();
    let intent: Option<IntentKey> = about.intents.first().and_then(|i| i.parse().ok());
    let mut correlation = about.correlation_id.as_deref().and_then(CorrelationId::parse);
    // A batch serves many runs; only a job of one run belongs to it.
    if let (Some(intent), [run]) = (&intent, about.runs.as_slice()) {
        let record = state.store.intents(std::slice::from_ref(intent)).await?.pop().flatten();
        let active = record.and_then(|r| r.state.run).filter(|r| r.id.as_str() == run);
        of.trigger = active.as_ref().map(|r| r.trigger);
        let known = active.map(|r| r.correlation_id);
        correlation = correlation
            .or(known)
            .or_else(|| Some(trueup_model::job::correlation_of(&RunId::from_wire(run.as_str()))));
    }
    let filter = EventFilter { intent, correlation_id: correlation.clone(), ..EventFilter::default() };
    let mut events = Vec::new();
    if filter.intent.is_some() || filter.correlation_id.is_some() {
        events.extend(state.store.last_events(&filter, LOOKED_AT).await?.into_iter().map(|(_, e)| e));
    }
    let named: BTreeSet<&JobId> = events.iter().filter_map(|e| e.causation_id.as_ref()).collect();
    of.before = named.iter().find(|other| children(other).contains(&job.id)).map(ToString::to_string);
    let mut after: BTreeSet<JobId> = BTreeSet::new();
    let mine = children(&job.id);
    after.extend(mine.iter().filter(|c| named.contains(c)).cloned());
    let there = state.store.operations().whereabouts(&mine).await?;
    after.extend(mine.into_iter().zip(there).filter(|(_, place)| place.is_some()).map(|(id, _)| id));
    of.after = after.iter().map(ToString::to_string).collect();
    events.sort_by_key(|e| (e.created_at, e.seq));
    events.drain(..events.len().saturating_sub(SHOWN));
    of.events = events;
    of.about = About { correlation_id: correlation.map(|c| c.to_string()), ..about };
    Ok(of)
}

/// As `Cx::next_id` names them.
fn children(job: &JobId) -> Vec<JobId> {
    (0..CHILDREN).map(|n| JobId::derive(&[job.as_str(), &n.to_string()])).collect()
}

/// Why a job is where it is, for people.
fn why(job: &JobView, paused: bool) -> String {
    let because = job.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
    let at = job.at.map(|t| t.to_rfc3339()).unwrap_or_default();
    match job.state {
        JobState::Dead => format!("it died at {at}{because}"),
        JobState::Scheduled => format!("it waits until {at}{because}"),
        JobState::Ready if paused => "its queue is paused".into(),
        JobState::Ready => "it waits for a free worker".into(),
        JobState::InFlight => {
            let who = job.held_by.as_ref().map(|w| w.0.as_str()).unwrap_or_default();
            format!("worker {who} is at work on it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_recognised_as_its_parent_names_it() {
        let cx = |job: &JobId| trueup_model::job::Cx {
            now: trueup_model::DateTime::UNIX_EPOCH,
            job: job.clone(),
            partition: trueup_model::Partition(0),
            attempt: 1,
            started_at: trueup_model::DateTime::UNIX_EPOCH,
            trace: trueup_model::TraceParent::root(&["x"]),
        };
        let parent = JobId::derive(&["parent"]);
        assert!(children(&parent).contains(&cx(&parent).next_id(3)));
        assert!(!children(&parent).contains(&parent));
    }
}
