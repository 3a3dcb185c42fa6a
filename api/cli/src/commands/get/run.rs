//! `trueup get run`: one run as a story.

use serde::Deserialize;
use serde_json::Value;
use trueup_engine::JobView;
use trueup_model::{Event, IntentKey, Time, Trigger};

use super::shown::Shown;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::relative;
use crate::views;

/// As the API tells it.
#[derive(Debug, Deserialize)]
struct Story {
    id: String,
    intent: IntentKey,
    number: Option<u64>,
    active: Option<Active>,
    correlation_id: String,
    events: Vec<Event>,
    jobs: Vec<JobView>,
    jobs_cut: bool,
}

#[derive(Debug, Deserialize)]
struct Active {
    trigger: Trigger,
    started_at: Time,
}

pub(super) async fn look(cx: &Context, id: &str, query: &[(&'static str, String)]) -> Result<Shown, Failure> {
    let asked = cx.client.get(&["v1", "runs", id], query).await;
    let answer: Answer<Value> = asked.map_err(|failure| match failure.exit {
        Exit::NotFound => failure
            .advise("`trueup get runs` shows those that go on; name the intent with --intent TENANT/ID"),
        _ => failure,
    })?;
    Shown::of(
        cx,
        answer.body,
        |_| vec![id.to_owned()],
        |seen| {
            let story: Story = views::read(std::slice::from_ref(seen))?.swap_remove(0);
            Ok(text(&story, answer.now, cx.colour))
        },
    )
}

fn text(story: &Story, now: Time, colour: bool) -> String {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    let mut row = |field: &str, value: crate::table::Cell| table.row([field.into(), value]);
    row("run", story.id.as_str().into());
    row("intent", story.intent.to_string().into());
    row("number", story.number.map(|n| format!("{n} of this intent")).unwrap_or_default().into());
    row(
        "state",
        match &story.active {
            Some(run) => {
                let (trigger, began) = (views::wire(&run.trigger), relative(run.started_at, now));
                cell(format!("goes on ({trigger}), begun {began}"), Tone::Good)
            }
            None => "ended".into(),
        },
    );
    row("correlation", story.correlation_id.as_str().into());
    let mut out = table.render(colour);
    out += "\n";
    out += &match story.events.as_slice() {
        [] => "no events: nothing was found to tell, or not yet\n".to_owned(),
        events => views::events(events, now).render(colour),
    };
    if !story.jobs.is_empty() {
        out += "\n";
        out += &views::jobs(&story.jobs, now).render(colour);
    }
    if story.jobs_cut {
        out += "\nthe queues are long, and not all of their jobs were looked through\n";
    }
    out
}
