//! Which jobs an operator acts on, and acting on them.
//!
//! # Guarantees
//! One request looks at a bounded number of jobs and changes at most 256, however many match; `next` goes on. What dies
//! after the first request is not acted on, by the clocks of the workers: the newest death there was then is the end. Each part leaves an event with the selection and its count.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use trueup_engine::operate::{MAX_ACTED, MAX_LOOKED};
use trueup_engine::store::{By, JobState, JobView};
use trueup_engine::{Act, JobFilter};
use trueup_model::{DateTime, JobId, PlaneKind, Queue, Time};
use utoipa::ToSchema;

use crate::problem::Flaw;
use crate::{ApiState, Problem};

/// Characters of a reason to look for.
pub(super) const MAX_REASON: usize = 256;

/// Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Where {
    /// `dead` unless this says another. What is in flight is its worker's.
    state: Option<JobState>,
    #[schema(max_length = 128)]
    tenant: Option<String>,
    plane: Option<PlaneKind>,
    /// Contained in the reason, whatever its case.
    #[schema(max_length = 256)]
    reason: Option<String>,
    /// Dead for, or else enqueued, at least so many seconds ago.
    #[schema(maximum = 31_536_000)]
    older_than_s: Option<u64>,
}

/// Exactly one of `job`, `jobs`, `all` and `where`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Selection {
    #[schema(max_length = 128)]
    job: Option<String>,
    #[schema(max_items = 256)]
    jobs: Option<Vec<String>>,
    /// All dead jobs.
    all: bool,
    #[serde(rename = "where")]
    filter: Option<Where>,
    /// Only count.
    dry_run: bool,
    /// Most jobs changed by this request.
    #[schema(minimum = 1, maximum = 256)]
    limit: Option<usize>,
    /// Most jobs a second, over all requests: makes this part no larger, and the answer say how long to wait.
    #[schema(minimum = 1, maximum = 100_000)]
    rate: Option<u64>,
    /// `next` of the answer before.
    #[schema(max_length = 512)]
    cursor: Option<String>,
}

/// What became of it.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Acted {
    pub queue: String,
    pub action: String,
    pub dry_run: bool,
    /// Jobs changed; partitions, for pause and resume.
    pub changed: u64,
    /// Jobs that matched in this part of the queue.
    pub matched: u64,
    /// Jobs looked at.
    pub scanned: u64,
    /// Jobs that were named and not changed, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passed_over: BTreeMap<String, String>,
    /// `cursor` of the next request; nothing when all is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How long to wait before it, to keep to the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

fn invalid(pointer: &str, why: impl Into<String>) -> Problem {
    let why = why.into();
    Problem::invalid(why.clone(), vec![Flaw::new(pointer, why)])
}

/// Where a selection goes on: the store's cursor, and the newest death of when it began.
fn read_cursor(text: &str) -> Option<(&str, Time)> {
    let (place, until) = text.split_once('@')?;
    Some((place, DateTime::from_timestamp_millis(until.parse().ok()?)?))
}

pub(crate) async fn carry_out(
    state: &ApiState,
    queue: Queue,
    act: Act,
    selection: Selection,
    by: &By,
) -> Result<Acted, Problem> {
    let Selection { job, jobs, all, filter, .. } = &selection;
    let given = [job.is_some(), jobs.is_some(), *all, filter.is_some()];
    if given.into_iter().filter(|g| *g).count() != 1 {
        let why = r#"say which jobs, in one way: {"job": "job_…"}, {"jobs": […]}, {"all": true} (the dead) or {"where": {…}}"#;
        return Err(invalid("", why));
    }
    if selection.limit.is_some_and(|n| !(1..=MAX_ACTED).contains(&n)) {
        return Err(invalid("/limit", format!("expected a number from 1 to {MAX_ACTED}")));
    }
    if selection.rate.is_some_and(|n| !(1..=100_000).contains(&n)) {
        return Err(invalid("/rate", "expected a number from 1 to 100000"));
    }
    match (job, jobs) {
        (Some(one), _) => named(state, queue, act, std::slice::from_ref(one), true, &selection, by).await,
        (_, Some(many)) if many.len() > MAX_ACTED => {
            Err(invalid("/jobs", format!("{} jobs; name at most {MAX_ACTED}, or use a filter", many.len())))
        }
        (_, Some(many)) => named(state, queue, act, many, false, &selection, by).await,
        _ => matching(state, queue, act, selection, by).await,
    }
}

/// Jobs by their names.
async fn named(
    state: &ApiState,
    queue: Queue,
    act: Act,
    names: &[String],
    one: bool,
    selection: &Selection,
    by: &By,
) -> Result<Acted, Problem> {
    let ids = names.iter().map(|n| super::name("job", n).map(JobId::from_wire));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let mut acted = Acted {
        queue: queue.to_string(),
        action: act.as_str().into(),
        dry_run: selection.dry_run,
        scanned: ids.len() as u64,
        ..Acted::default()
    };
    let found = try_join_all(ids.iter().map(|id| state.store.job(id))).await?;
    let mut by_state: BTreeMap<JobState, Vec<_>> = BTreeMap::new();
    for (id, view) in ids.iter().zip(found) {
        match view
            .ok_or_else(|| "there is no such job; a job that has finished is gone".to_owned())
            .and_then(|v| fits(v, queue, act))
        {
            Ok(view) => by_state.entry(view.state).or_default().push((view.partition, view.id)),
            Err(why) => {
                acted.passed_over.insert(id.to_string(), why);
            }
        }
    }
    for (from, jobs) in by_state {
        acted.matched += jobs.len() as u64;
        if !selection.dry_run {
            acted.changed += state.store.operations().act(queue, from, &jobs, act, by, "").await?;
        }
    }
    if one && acted.matched == 0 {
        let why = acted.passed_over.into_values().next().unwrap_or_default();
        let shown = ids.first().map_or("", JobId::as_str);
        let mut problem = Problem::not_found("such job", shown);
        if !why.starts_with("there is no") {
            problem = Problem::new(StatusCode::CONFLICT, "job-elsewhere", "The job is not there", "");
        }
        problem.detail = format!("{shown}: {why}; see `trueup queue job {shown}`");
        return Err(problem);
    }
    Ok(acted)
}

fn fits(view: JobView, queue: Queue, act: Act) -> Result<JobView, String> {
    if view.queue != queue.to_string() {
        return Err(format!("it is in queue {}", view.queue));
    }
    if act.applies_to(view.state) {
        return Ok(view);
    }
    Err(match view.state {
        JobState::InFlight => "a worker holds it; pause the queue, or ask again when it has ended".into(),
        _ => "it waits for its turn already".into(),
    })
}

/// All that match, a bounded part at a time.
async fn matching(
    state: &ApiState,
    queue: Queue,
    act: Act,
    selection: Selection,
    by: &By,
) -> Result<Acted, Problem> {
    let given = selection.filter.unwrap_or_default();
    let from = given.state.unwrap_or(JobState::Dead);
    if !act.applies_to(from) {
        let why = match from {
            JobState::InFlight => "what is in flight is its worker's; pause the queue, or drain the worker",
            _ => "jobs that are ready wait for their turn already",
        };
        return Err(invalid("/where/state", why));
    }
    for (pointer, text, max) in
        [("/where/tenant", &given.tenant, 128), ("/where/reason", &given.reason, MAX_REASON)]
    {
        if text.as_ref().is_some_and(|t| t.is_empty() || t.chars().count() > max) {
            return Err(invalid(pointer, format!("expected 1 to {max} characters")));
        }
    }
    let at = selection.cursor.as_deref().map(|text| {
        read_cursor(text)
            .ok_or_else(|| invalid("/cursor", "expected `next` of an answer to the same selection"))
    });
    let at = at.transpose()?;
    let mut filter = JobFilter {
        tenant: given.tenant,
        plane: given.plane,
        reason: given.reason,
        older_than: given.older_than_s.map(|s| Duration::from_secs(s.min(31_536_000))),
        ..JobFilter::of(from)
    };
    let mut acted = Acted {
        queue: queue.to_string(),
        action: act.as_str().into(),
        dry_run: selection.dry_run,
        ..Acted::default()
    };
    if selection.dry_run && filter.takes_all() {
        // Nothing has to be looked at to count them all.
        let depths = state.store.depths().await?;
        let depth = depths.into_iter().find(|d| d.queue == acted.queue).unwrap_or_default();
        acted.matched = match from {
            JobState::Dead => depth.dead,
            JobState::Scheduled => depth.scheduled,
            JobState::Ready => depth.ready,
            JobState::InFlight => depth.in_flight,
        };
        return Ok(acted);
    }
    let why = described(&filter);
    // Deaths are timed by the workers: our clock would pass over the newest of them where it is behind theirs.
    let until = match at {
        Some((_, until)) => until,
        None if from == JobState::Dead => {
            let newest = state.store.operations().newest_death(queue).await?.unwrap_or(by.now);
            // The cursor keeps milliseconds.
            DateTime::from_timestamp_millis(newest.timestamp_millis().saturating_add(1)).unwrap_or(newest)
        }
        None => by.now,
    };
    filter.until = (from == JobState::Dead).then_some(until);
    let rate = selection.rate.and_then(|r| usize::try_from(r).ok()).unwrap_or(usize::MAX);
    let most = if selection.dry_run { MAX_LOOKED } else { selection.limit.unwrap_or(MAX_ACTED).min(rate) };
    let cursor = at.map(|(place, _)| place);
    let looked = state.store.operations().look(queue, &filter, cursor, most, !selection.dry_run).await?;
    acted.scanned = looked.scanned;
    acted.matched = looked.jobs.len() as u64;
    acted.next = looked.next.map(|place| format!("{place}@{}", until.timestamp_millis()));
    if !selection.dry_run {
        let jobs: Vec<_> = looked.jobs.into_iter().map(|j| (j.partition, j.id)).collect();
        acted.changed = state.store.operations().act(queue, from, &jobs, act, by, &why).await?;
        if act == Act::Front {
            // What is at the front would be met again; and more than this is not a front any more.
            acted.next = None;
        }
        let pace = selection.rate.filter(|_| acted.next.is_some());
        acted.wait_ms = pace.map(|rate| acted.changed * 1_000 / rate);
    }
    Ok(acted)
}

/// As the audit keeps it.
fn described(filter: &JobFilter) -> String {
    let state = serde_json::to_value(filter.state).ok().and_then(|v| v.as_str().map(str::to_owned));
    let mut parts = vec![format!("state={}", state.unwrap_or_default())];
    parts.extend(filter.tenant.iter().map(|t| format!("tenant={t}")));
    parts.extend(filter.plane.iter().map(|p| format!("plane={p}")));
    parts.extend(filter.reason.iter().map(|r| format!("reason~{r}")));
    parts.extend(filter.older_than.iter().map(|t| format!("older-than={}s", t.as_secs())));
    parts.join(" ")
}
