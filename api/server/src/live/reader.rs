//! The one reader: takes what is new in the streams and puts it into the ring.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use serde::Serialize;
use trueup_engine::store::{EventFilter, Store};
use trueup_model::{Event, Partition};

use super::{BATCH, Live, Position, Sent};

/// Looks without any client after which reading ends.
const IDLE: u32 = 40;

/// Reads until nobody follows any more.
pub(super) async fn run(live: Arc<Live>, store: Arc<dyn Store>) {
    let mut looks = tokio::time::interval(live.pace.look);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut idle, mut away) = (0, false);
    loop {
        looks.tick().await;
        {
            let mut shared = live.shared();
            idle = if live.ring.receiver_count() == 0 { idle + 1 } else { 0 };
            // Under the lock, so that who joins meanwhile either finds a reader or begins one.
            if idle > IDLE {
                shared.reading = false;
                return;
            }
        }
        loop {
            let at = live.shared().at.clone();
            match store.events(&EventFilter::default(), at.as_map(), BATCH).await {
                Ok(events) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("the live tail of events goes on");
                    }
                    let full = events.len() >= BATCH;
                    put(&live, events);
                    if !full {
                        break;
                    }
                    // Those who follow come to read in between.
                    tokio::task::yield_now().await;
                }
                Err(e) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(error = %e, "the live tail of events waits for the store");
                    }
                    break;
                }
            }
        }
    }
}

/// Into the ring, in the order in which they were read.
fn put(live: &Live, events: Vec<(Partition, Event)>) {
    if events.is_empty() {
        return;
    }
    let mut shared = live.shared();
    let rendered = events.into_iter().map(|(partition, event)| {
        shared.at.set(partition.0, event.seq);
        let frame = frame(partition, &event, &shared.at);
        Sent { partition, event, frame }
    });
    // Nobody follows: then nobody misses it.
    let _ = live.ring.send(rendered.collect());
}

/// An event as it goes over the wire. JSON has no bare line breaks, so it is one line.
pub(super) fn frame(partition: Partition, event: &Event, behind: &Position) -> Bytes {
    #[derive(Serialize)]
    struct Placed<'a> {
        partition: Partition,
        #[serde(flatten)]
        event: &'a Event,
    }
    let data = serde_json::to_string(&Placed { partition, event }).unwrap_or_default();
    message(event.event_type.as_str(), Some(behind), &data)
}

/// A message of a stream.
pub(super) fn message(name: &str, behind: Option<&Position>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 96);
    if let Some(behind) = behind {
        // Writing into a string does not fail.
        let _ = writeln!(text, "id: {behind}");
    }
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text.into()
}
