//! Planes: whether they answer, and whether their budgets last. The API never talks to a plane; what it knows of them the
//! workers have written down.

use std::collections::BTreeMap;

use serde_json::Value;
use trueup_engine::budgets::{Breaker, ConnectionView};
use trueup_model::{Duration, Lane, Time};

use super::{Check, State};
use crate::text::{clean, count, relative};

/// A plane that asks for more patience than this is worth a word.
const PATIENCE: Duration = Duration::minutes(10);
/// Share of a budget that is left when it is used up.
const USED_UP: f64 = 0.02;

pub(super) fn connections(views: &[ConnectionView], now: Time) -> Vec<Check> {
    views.iter().map(|view| connection(view, now)).collect()
}

fn connection(view: &ConnectionView, now: Time) -> Check {
    let of = &view.connection;
    let name = format!("connection {}", of.connection);
    let failure = view.failure.as_deref().map(clean);
    let failed = failure.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    match view.breaker {
        Breaker::Open { until } => {
            let found = format!(
                "{} does not answer{failed}; nothing is sent until {}",
                of.plane,
                relative(until, now)
            );
            let advice = "see whether the plane is up and can be reached from the workers; it is tried again by itself";
            return Check::not(State::Bad, &name, found, advice);
        }
        Breaker::HalfOpen => {
            let found = format!("{} is tried again, one call at a time{failed}", of.plane);
            return Check::not(State::Warning, &name, found, "wait a minute, then look again");
        }
        Breaker::Closed => {}
    }
    if let Some(until) = view.not_before.filter(|t| *t - now > PATIENCE) {
        let found = format!("{} asked us to wait until {}", of.plane, relative(until, now));
        let advice = "its quota is used up, perhaps by others: see the plane's own view of it, and `budgets` of the connection";
        return Check::not(State::Warning, &name, found, advice);
    }
    let hurried = view.waiting[Lane::Write as usize] + view.waiting[Lane::Urgent as usize];
    if let Some(bucket) = view.buckets.iter().find(|b| b.left < USED_UP && hurried > 0) {
        let found = format!(
            "budget '{}' is used up, and {} wait for it",
            bucket.name,
            count(hurried as usize, "caller")
        );
        let advice =
            "raise `budgets` of the connection if the plane allows more; `trueup planes` shows where it goes";
        return Check::not(State::Warning, &name, found, advice);
    }
    if let Some(why) = failure {
        let found = format!("the last call to {} failed: {why}", of.plane);
        return Check::not(
            State::Warning,
            &name,
            found,
            "it is tried again by itself; look again in a minute",
        );
    }
    let spent: f64 = view.buckets.iter().map(|b| b.spent).fold(0.0, f64::max);
    let known = if view.buckets.is_empty() {
        String::new()
    } else {
        format!(", {spent:.0} calls in the last minute")
    };
    Check::ok(&name, format!("{} answers{known}", of.plane))
}

/// That a plane does not answer shows in the intents that could not be observed.
pub(super) fn reached(summary: &Value) -> Vec<Check> {
    let planes = summary.pointer("/intents/by_plane").and_then(Value::as_object).into_iter().flatten();
    let planes: BTreeMap<&String, &Value> = planes.collect();
    planes
        .into_iter()
        .map(|(plane, by)| {
            let of = |condition: &str| by[condition].as_u64().unwrap_or_default() as usize;
            let all =
                by.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum::<u64>() as usize;
            let (name, unreachable) = (format!("plane {plane}"), of("unreachable"));
            if unreachable == 0 {
                return Check::ok(&name, format!("{}, none unreachable", count(all, "intent")));
            }
            let state = if unreachable == all { State::Bad } else { State::Warning };
            let advice =
                "see the last answers: `trueup get events --type CONDITION_CHANGED`, and the workers' logs";
            Check::not(state, &name, format!("{unreachable} of {} unreachable", count(all, "intent")), advice)
        })
        .collect()
}
