//! `trueup queue job`: one job as a story.

use serde_json::Value;
use trueup_model::Time;
use trueup_server::jobs::JobStory;

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, cell};
use crate::text::{clean, relative, span};
use crate::views::{self, tone_of_state, wire};

pub(super) async fn run(cx: &Context, id: &str) -> Result<Exit, Failure> {
    let answer: Answer<Value> = cx.client.get(&["v1", "jobs", id], &[]).await?;
    match cx.output {
        Output::Name => cx.write_names([id]),
        Output::Table => {
            let story: JobStory = views::read(std::slice::from_ref(&answer.body))?.swap_remove(0);
            cx.write(&table(&story, answer.now).render(cx.colour));
            if !story.lineage.events.is_empty() {
                cx.write("\n");
                cx.write(&views::events(&story.lineage.events, answer.now).render(cx.colour));
            }
            cx.write(&format!("\npayload ({} bytes):\n", story.job.payload_bytes));
            cx.write_json(&story.job.payload);
        }
        _ => cx.write_json(&answer.body),
    }
    Ok(Exit::Done)
}

fn table(story: &JobStory, now: Time) -> Table {
    let (job, lineage) = (&story.job, &story.lineage);
    let mut table = Table::new(&["FIELD", "VALUE"]);
    let mut row = |field: &str, value: crate::table::Cell| table.row([field.into(), value]);
    row("job", job.id.as_str().into());
    row("queue", format!("{} (partition {})", job.queue, job.partition).into());
    row("state", cell(wire(&job.state), tone_of_state(job.state)));
    row("why", story.why.as_str().into());
    if let Some(at) = job.at {
        row("at", format!("{} ({})", at.to_rfc3339(), relative(at, now)).into());
    }
    if let Some(ms) = job.age_ms {
        row("enqueued", format!("{} ago", span(ms)).into());
    }
    row(
        "attempts, rescued, deliveries",
        format!("{}, {}, {}", job.attempts, job.rescued, story.deliveries).into(),
    );
    if let Some(who) = &job.held_by {
        row("held by", who.0.as_str().into());
    }
    let list = |items: Vec<&str>| {
        let more = items.len().saturating_sub(5);
        let shown = items.into_iter().take(5).map(clean).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let about = &lineage.about;
    row("tenants", list(about.tenants.iter().map(String::as_str).collect()).into());
    row("intents", list(about.intents.iter().map(String::as_str).collect()).into());
    row("runs", list(about.runs.iter().map(String::as_str).collect()).into());
    row("trigger", lineage.trigger.as_ref().map(wire).unwrap_or_default().into());
    row("correlation", about.correlation_id.clone().unwrap_or_default().into());
    row("came from", lineage.before.clone().unwrap_or_default().into());
    row("followed by", list(lineage.after.iter().map(String::as_str).collect()).into());
    row("trace", job.traceparent.clone().unwrap_or_default().into());
    table
}
