//! `trueup get events --watch`: events as they happen, over the API's stream.
//!
//! # Guarantees
//! A connection that is cut is made again, from behind the last event that was shown: none is missed and none is shown twice.
//! Where that cannot be (the archive has them already), it is said.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use trueup_client::{Error, EventStream, Message, Method};
use trueup_model::{Event, Time};

use super::shown::{on_signal, try_write};
use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::clean;
use crate::views::{details, read, tone_of};

/// Wait before coming back, as the API asks for.
const PAUSE: Duration = Duration::from_secs(2);
/// Events looked through for those that came while nobody followed.
const CATCH_UP: u32 = 1_000;
/// Widest column of names; longer ones move their line.
const WIDEST: usize = 48;

pub(super) struct Follow<'a> {
    cx: &'a Context,
    /// Which events, as both the list and the stream are asked.
    query: Vec<(&'static str, String)>,
    /// Behind what was shown.
    at: Option<String>,
    /// Where no position is known: what was shown, and since when it is looked for.
    shown: HashSet<String>,
    since: Option<Time>,
    /// All are of one correlation: it has no column.
    one_correlation: bool,
    width: usize,
    titled: bool,
    /// It was cut, and that was said.
    away: bool,
}

/// Why a connection ended without an error.
enum End {
    /// Nobody reads what is written.
    Unread,
    /// It is to be made again.
    Cut(Option<String>),
}

impl<'a> Follow<'a> {
    pub(super) fn new(cx: &'a Context, query: Vec<(&'static str, String)>) -> Self {
        let one_correlation = query.iter().any(|(name, _)| *name == "correlation_id");
        let shown = HashSet::new();
        Self {
            cx,
            query,
            at: None,
            shown,
            since: None,
            one_correlation,
            width: 24,
            titled: false,
            away: false,
        }
    }

    /// Until ctrl-c. `last`: how many of the newest to begin with; `since`: none of those before.
    pub(super) async fn run(mut self, last: u32, since: Option<Time>) -> Result<Exit, Failure> {
        let shutdown = on_signal()?;
        shutdown.or(self.follow(last, since)).await.unwrap_or(Ok(Exit::Done))
    }

    async fn follow(&mut self, last: u32, since: Option<Time>) -> Result<Exit, Failure> {
        let (mut last, mut since) = (last, since);
        loop {
            let why = match self.connected(last, since).await {
                Ok(End::Unread) => return Ok(Exit::Done),
                Ok(End::Cut(why)) => why,
                Err(failure) if failure.exit == Exit::Unreachable && self.since.is_some() => {
                    Some(failure.what)
                }
                Err(failure) => return Err(failure),
            };
            if let Some(why) = why.filter(|_| !std::mem::replace(&mut self.away, true)) {
                self.cx.note(&format!("the stream was cut: {why}; coming back, nothing is missed"));
            }
            (last, since) = (CATCH_UP, self.since);
            // To wait is what the API asks for.
            let _ = tokio::time::timeout(PAUSE, std::future::pending::<()>()).await;
        }
    }

    /// One connection, to its end.
    async fn connected(&mut self, last: u32, since: Option<Time>) -> Result<End, Failure> {
        let headers = self.at.iter().map(|id| ("last-event-id", id.clone()));
        let request = self.cx.client.request(Method::GET, &["v1", "events", "stream"]);
        let mut stream = request.query(self.query.clone()).headers(headers).stream().await?;
        if std::mem::take(&mut self.away) {
            self.cx.note("following again");
        }
        // Opened first, so that nothing happens between the list and the stream.
        if self.at.is_none() && !self.listed(last, since).await? {
            return Ok(End::Unread);
        }
        self.read(&mut stream).await
    }

    /// What was there before the stream began. False: nobody reads.
    async fn listed(&mut self, last: u32, since: Option<Time>) -> Result<bool, Failure> {
        let mut query = self.query.clone();
        query.push(("last", last.max(1).to_string()));
        query.extend(since.map(|t| ("since", t.to_rfc3339())));
        let answer: Answer<Value> = self.cx.client.get(&["v1", "events"], &query).await?;
        self.since.get_or_insert(answer.now);
        if last == 0 {
            return Ok(true);
        }
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        for item in items {
            if !self.show(item)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read(&mut self, stream: &mut EventStream) -> Result<End, Failure> {
        loop {
            let next = stream.next().await;
            // Known from the beginning: a stream says where it is before anything happens.
            self.at = stream.position().map(str::to_owned).or(self.at.take());
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(End::Cut(None)),
                Err(Error::Unreachable { why, .. }) => return Ok(End::Cut(Some(why))),
                Err(error) => return Err(error.into()),
            };
            let Message { event, data, .. } = message;
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            match event.as_str() {
                // It ends from time to time so that it is asked anew who may read: no news.
                "ended" => {}
                "dropped" => self.cx.note("events came faster than they were read; going on where it ended"),
                "gap" => self.cx.note(&format!(
                    "events {} to {} of partition {} are missing here: {}",
                    data["from"],
                    data["to"],
                    data["partition"],
                    data["because"].as_str().unwrap_or_default()
                )),
                _ => {
                    if !self.show(data)? {
                        return Ok(End::Unread);
                    }
                }
            }
        }
    }

    /// Writes one event, unless it was written before. False: nobody reads.
    fn show(&mut self, event: Value) -> Result<bool, Failure> {
        let id = event["event_id"].as_str().unwrap_or_default().to_owned();
        // Later ones come by the position.
        if self.at.is_none() && !self.shown.insert(id.clone()) {
            return Ok(true);
        }
        if self.at.is_some() && self.shown.remove(&id) {
            return Ok(true);
        }
        Ok(match self.cx.output {
            Output::Json => try_write(&(self.cx.json_line(&event) + "\n")),
            Output::Name => try_write(&(clean(&id) + "\n")),
            Output::Table => {
                let event: Event = read(std::slice::from_ref(&event))?.swap_remove(0);
                let line = self.line(&event);
                try_write(&line)
            }
        })
    }

    /// A line of a table that is not known whole, so its columns only ever grow.
    fn line(&mut self, e: &Event) -> String {
        let intent =
            if e.intent.is_empty() { e.tenant.clone() } else { format!("{}/{}", e.tenant, e.intent) };
        let intent = if intent.is_empty() { "-".to_owned() } else { clean(&intent) };
        self.width = self.width.max(intent.chars().count().min(WIDEST));
        let (width, colour) = (self.width, self.cx.colour);
        let correlation =
            |text: &str| if self.one_correlation { String::new() } else { format!("{text:<36}  ") };
        let mut text = String::new();
        if !std::mem::replace(&mut self.titled, true) {
            let title = format!(
                "{:<20}  {:<24}  {:<width$}  {}DETAILS",
                "TIME",
                "EVENT",
                "INTENT",
                correlation("CORRELATION")
            );
            text += &(crate::table::Tone::Dim.paint(&title, colour) + "\n");
        }
        let kind = tone_of(e.event_type).paint(&format!("{:<24}", e.event_type.as_str()), colour);
        let at = e.created_at.format("%Y-%m-%dT%H:%M:%SZ");
        let line = format!(
            "{at:<20}  {kind}  {intent:<width$}  {}{}",
            correlation(&clean(e.correlation_id.as_str())),
            clean(&details(&e.event_data))
        );
        text += line.trim_end();
        text.push('\n');
        text
    }
}

impl Context {
    /// One of many results: a line of JSON, or a document of YAML.
    fn json_line(&self, value: &Value) -> String {
        match self.between_documents() {
            "" => crate::text::json_line(value),
            line => format!("{line}{}", self.json(value).trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_same_value_and_harmless() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\n", "b": [1, {}]});
        let line = crate::text::json_line(&value);
        assert!(!line.contains(['\n', '\u{9b}', '\u{202e}']), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
