//! Queues and jobs: what waits, what is stuck, and what an operator can do about it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use trueup_engine::store::{Admin, JobState, JobView};
use trueup_model::{JobId, Queue};

use super::Correlation;
use crate::identity::Access;
use crate::manifest::with_suggestion;
use crate::problem::Flaw;
use crate::{ApiState, Problem, params::Params};

/// `GET /v1/queues`
pub(crate) async fn depths(State(state): State<ApiState>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    Ok(Json(json!({"items": state.store.depths().await?})))
}

/// `GET /v1/queues/{queue}?state=&limit=`; all states if none is named.
pub(crate) async fn jobs(
    State(state): State<ApiState>,
    Path(queue): Path<String>,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let wanted: Option<JobState> = params.word("state");
    let limit = params.limit();
    params.finish()?;
    let queue = queue_named(&queue)?;
    let name = queue.to_string();
    let depth = state.store.depths().await?.into_iter().find(|d| d.queue == name);
    let all = [JobState::InFlight, JobState::Ready, JobState::Scheduled, JobState::Dead];
    let mut items: Vec<JobView> = Vec::new();
    for s in all.into_iter().filter(|s| wanted.is_none_or(|w| w == *s)) {
        let room = limit.saturating_sub(items.len());
        if room > 0 {
            items.extend(state.store.jobs(queue, s, room).await?);
        }
    }
    Ok(Json(json!({"queue": name, "depth": depth, "items": items})))
}

/// `GET /v1/jobs/{id}`; a job that has finished is gone, its traces are in the events.
pub(crate) async fn job(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    let id = JobId::from_wire(super::name("job", &id)?);
    state.store.job(&id).await?.map(Json).ok_or_else(|| Problem::not_found("job", id.as_str()))
}

/// Which jobs an action is for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    job: Option<String>,
    /// Up to 256 dead ones, oldest first.
    #[serde(default)]
    all: bool,
}

/// `POST /v1/queues/{queue}/{pause|resume|retry|discard}`. `retry` and `discard` need `{"job": …}` or `{"all": true}`.
pub(crate) async fn act(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((queue, action)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let queue = queue_named(&queue)?;
    let which: Which = super::json_body(&body)?.unwrap_or_default();
    let job = which.job.as_deref().map(|j| super::name("job", j).map(JobId::from_wire)).transpose()?;
    let what = match (action.as_str(), &job, which.all) {
        ("pause", None, false) => Admin::Pause,
        ("resume", None, false) => Admin::Resume,
        ("retry", Some(_), false) | ("retry", None, true) => Admin::Retry(job.clone()),
        ("discard", Some(_), false) | ("discard", None, true) => Admin::Discard(job.clone()),
        ("pause" | "resume", ..) => {
            let why = "the whole queue is paused or resumed: send no body";
            return Err(Problem::invalid(why, vec![Flaw::new("", why)]));
        }
        ("retry" | "discard", ..) => {
            let why = r#"say which dead jobs: {"job": "job_…"} or {"all": true}"#;
            return Err(Problem::invalid(why, vec![Flaw::new("", why)]));
        }
        (other, ..) => {
            let other: String = other.chars().take(64).collect();
            let mut problem = Problem::not_found("queue action", &other);
            problem.detail += " (known: pause, resume, retry, discard)";
            return Err(problem);
        }
    };
    let changed = state.store.admin(queue, &what, &state.by(&access, &correlation)).await?;
    match job {
        Some(job) if changed == 0 => {
            let mut problem = Problem::not_found("dead job", job.as_str());
            problem.detail += &format!(" in queue {queue}; see `trueup queue show {queue} --state dead`");
            Err(problem)
        }
        _ => Ok(Json(json!({"queue": queue.to_string(), "action": action, "changed": changed}))),
    }
}

fn queue_named(text: &str) -> Result<Queue, Problem> {
    let text: String = text.chars().take(64).collect();
    text.parse().map_err(|e: String| {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", with_suggestion(&e))
    })
}
