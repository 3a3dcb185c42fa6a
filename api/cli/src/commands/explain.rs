//! `trueup explain`: the story of one finding, for people.

use std::fmt::Write as _;

use serde_json::Value;
use trueup_model::{ApprovalState, FindingId, IntentRecord, Time};
use trueup_server::explain::Explanation;

use super::check::because;
use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Tone;
use crate::text::{clean, count, relative, words};
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup explain fnd_8h2k4m0qz1x3c5v7b9n2
  trueup explain 8h2k4m                       the beginning of an id is enough if it is the only one
  trueup explain contoso/vpn-lab              every open finding of an intent, or the one that was resolved last
  trueup explain fnd_8h2k4m --output json";

/// Letters of a whole id, after `fnd_`.
const WHOLE: usize = 20;

/// Tell why something was or was not remediated, and what comes next
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The finding's id, or the first 6 or more letters of it; or an intent, as TENANT/ID
    #[arg(value_name = "FINDING")]
    subject: String,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let by_intent = self.subject.contains('/');
        let ids = match self.subject.split_once('/') {
            Some((tenant, intent)) => of_intent(cx, tenant, intent).await?,
            None => vec![whole(cx, &self.subject).await?],
        };
        if cx.output == Output::Name {
            cx.write_names(ids.iter().map(String::as_str));
            return Ok(Exit::Done);
        }
        let mut told = Vec::new();
        let mut now = None;
        for id in &ids {
            let answer: Answer<Value> = cx.client.get(&["v1", "findings", id, "explain"], &[]).await?;
            now = Some(answer.now);
            told.push(answer.body);
        }
        if cx.output == Output::Json {
            // By its id it is one object; of an intent there may be some.
            cx.write_json(&if by_intent { Value::Array(told) } else { told.into_iter().next().unwrap_or_default() });
            return Ok(Exit::Done);
        }
        let told: Vec<Explanation> = views::read(&told)?;
        let stories: Vec<String> =
            told.iter().zip(now.into_iter().cycle()).map(|(told, now)| story(told, now, cx.colour)).collect();
        cx.write(&stories.join("\n"));
        Ok(Exit::Done)
    }
}

/// Its open findings; if there is none, the one that was resolved last.
async fn of_intent(cx: &Context, tenant: &str, intent: &str) -> Result<Vec<String>, Failure> {
    let key = format!("{tenant}/{intent}");
    let mut found = cx.client.list(&["v1", "findings"], &[("intent", key.clone())], 100).await?.items;
    if found.iter().any(|f| f["open"] == true) {
        found.retain(|f| f["open"] == true);
    } else {
        found.sort_by_key(|f| f["resolved_at"].as_str().map(str::to_owned));
        found.drain(..found.len().saturating_sub(1));
    }
    if found.is_empty() {
        return Err(no_drift(cx, tenant, intent).await?);
    }
    Ok(found.iter().filter_map(|f| f["id"].as_str().map(str::to_owned)).collect())
}

/// There is nothing to explain; what is known instead. An intent that does not exist is an error of its own.
async fn no_drift(cx: &Context, tenant: &str, intent: &str) -> Result<Failure, Failure> {
    let path = ["v1", "intents", tenant, intent];
    let record: IntentRecord = cx.client.get(&path, &[]).await?.body;
    let (key, condition) = (&record.intent.key, record.state.condition);
    let why = because(cx, key, condition).await.map(|why| format!(", because {why}")).unwrap_or_default();
    let what = format!("no drift was ever found on {key}: it is {}{why}", words(condition.as_str()));
    Ok(Failure::new(Exit::NotFound, what)
        .advise(format!("`trueup get intent {key}` shows when it was looked at; `trueup check {key} --wait` looks now")))
}

/// The whole id for what may be its beginning.
async fn whole(cx: &Context, given: &str) -> Result<String, Failure> {
    let letters = given.strip_prefix(FindingId::PREFIX).unwrap_or(given);
    if letters.len() >= WHOLE {
        return Ok(format!("{}{letters}", FindingId::PREFIX));
    }
    let found = cx.client.list(&["v1", "findings"], &[("prefix", given.to_owned())], 2).await?;
    let ids: Vec<&str> = found.items.iter().filter_map(|f| f["id"].as_str()).collect();
    match ids.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::new(Exit::NotFound, format!("no finding's id begins with '{given}'"))
            .advise("see `trueup get findings`")),
        many => Err(Failure::usage(format!("'{given}' is the beginning of more than one id"))
            .at(many.join(", "))
            .advise("give more letters")),
    }
}

/// Seen, decided, happened, next. Everything that came from outside is cleaned.
fn story(told: &Explanation, now: Time, colour: bool) -> String {
    let finding = &told.finding;
    let mut out = String::new();
    let title = |text: &str| Tone::Dim.paint(text, colour);
    let state = if finding.open { Tone::Bad.paint("open", colour) } else { Tone::Good.paint("resolved", colour) };
    let (kind, severity) = (words(finding.kind.as_str()), views::wire(&finding.severity));
    let _ = writeln!(out, "{kind} on {} ({state}, severity {severity})", clean(&finding.intent.to_string()));
    let _ = writeln!(out, "{}", finding.id);

    let _ = writeln!(out, "\n{}", title("Seen"));
    let seen = &told.seen;
    let mut line = format!("first {}, last {}", relative(seen.since, now), relative(seen.last_seen_at, now));
    if let Some(at) = seen.resolved_at {
        line += &format!(", gone {}", relative(at, now));
    }
    if seen.affected_devices > 0 {
        line += &format!("; {} affected", count(seen.affected_devices as usize, "device"));
    }
    if seen.recurrences > 0 {
        line += &format!("; it came back {} after having been resolved", count(seen.recurrences as usize, "time"));
    }
    let _ = writeln!(out, "  {line}");
    for d in &seen.delta {
        let _ = writeln!(out, "  {}: meant {}, found {}", clean(&d.path), clean(&d.desired), clean(&d.observed));
    }

    let decided = &told.decided;
    let _ = writeln!(out, "\n{} {}", title("Decided:"), words(decided.verdict.as_str()));
    for reason in &decided.reasons {
        let (rule, says) = (clean(&reason.rule), words(reason.says.as_str()));
        let _ = writeln!(out, "  rule '{rule}' says {says}: {}", clean(&reason.because));
    }
    if let Some(at) = decided.not_before {
        let _ = writeln!(out, "  not before {} ({})", at.to_rfc3339(), relative(at, now));
    }
    if let Some(about) = &told.intent {
        let (ring, criticality, mode) = (views::wire(&about.ring), views::wire(&about.criticality), views::wire(&about.mode));
        let privileged = if about.privileged { ", privileged" } else { "" };
        let _ = writeln!(out, "  for ring {ring}, criticality {criticality}, mode {mode}{privileged}; policy {}", clean(&decided.policy));
    }

    for a in &told.approvals {
        let state = if a.state == ApprovalState::Open { "waits for an answer since" } else { "withdrawn; asked" };
        let _ = writeln!(out, "\n{} {} {} {}", title("Approval:"), views::wire(&a.kind), state, relative(a.opened_at, now));
        let _ = writeln!(out, "  {}", a.id);
        for step in &a.plan.actions {
            let _ = writeln!(out, "  would do: {}", clean(&step.summary));
        }
    }

    let _ = writeln!(out, "\n{}", title("Happened"));
    let attempts = &told.attempts;
    if attempts.made > 0 {
        let mut line = count(usize::from(attempts.made), "attempt");
        if let Some(at) = attempts.last_at {
            line += &format!(", the last {}", relative(at, now));
        }
        line += match (attempts.escalated, attempts.open) {
            (true, _) => "; escalated",
            (false, true) => "; whether it worked is not known yet",
            (false, false) => "",
        };
        let _ = writeln!(out, "  {line}");
    }
    for e in &told.events {
        let kind = views::tone_of(e.event_type).paint(&format!("{:<21}", e.event_type.as_str()), colour);
        let line = format!("  {:<12}{kind} {}", relative(e.created_at, now), clean(&views::details(&e.event_data)));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if told.events.is_empty() {
        let _ = writeln!(out, "  no events are kept about it");
    }

    let _ = writeln!(out, "\n{}", title("Next"));
    let when = told.next.at.map(|at| format!("{}: ", relative(at, now))).unwrap_or_default();
    let _ = writeln!(out, "  {when}{}", clean(&told.next.what));
    if !told.would_change.is_empty() {
        let _ = writeln!(out, "\n{}", title("What would change it"));
        for line in &told.would_change {
            let _ = writeln!(out, "  {}", clean(line));
        }
    }
    out
}
