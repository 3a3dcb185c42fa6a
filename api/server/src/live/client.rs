//! One client: brought up to date from the store, then fed from the ring.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, watch};
use trueup_engine::EngineError;
use trueup_engine::store::{EventFilter, Store};
use trueup_model::{Event, Partition};

use super::reader::{frame, message};
use super::{BUFFER, LIFE, Live, Position, Sent, Standing, no_place};
use crate::Problem;
use crate::identity::Access;

/// Events read from the store in one go.
const PAGE: usize = 500;
/// How long who lost the stream is asked to wait before coming back.
const RETRY: Duration = Duration::from_secs(2);

/// What one client wants to see, and may.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) tenant: Option<String>,
    pub(crate) events: EventFilter,
    pub(crate) access: Access,
}

impl Filter {
    fn admits(&self, event: &Event) -> bool {
        self.tenant.as_ref().is_none_or(|t| *t == event.tenant)
            && self.events.admits(event)
            && self.access.sees(&event.tenant)
    }
}

/// Why a stream ends.
enum End {
    /// The client is gone, and hears nothing any more.
    Gone,
    TooSlow,
    /// They may not read any more, and why.
    Lost(String),
    Life,
    Stopping,
    Store(EngineError),
}

/// A stream of events from a position on; without one, from now on.
pub(crate) async fn stream(
    live: &Arc<Live>,
    store: &Arc<dyn Store>,
    filter: Filter,
    standing: Standing,
    after: Option<Position>,
) -> Result<Response, Problem> {
    let place = live.places.clone().try_acquire_owned().map_err(|_| no_place())?;
    let (to, mut from) = mpsc::channel::<Bytes>(BUFFER);
    // The last word has a place of its own.
    let last_word = to.clone().try_reserve_owned().map_err(|_| no_place())?;
    let (ring, now) = live.join(store).await?;
    let begins = after.unwrap_or_else(|| now.clone());
    let client = Client {
        live: live.clone(),
        store: store.clone(),
        filter,
        at: begins,
        ahead: BTreeMap::new(),
        ended: live.ended.subscribe(),
        to,
        _place: place,
    };
    live.count();
    tokio::spawn(async move {
        let mut client = client;
        let end = client.run(ring, now, standing).await;
        if let Some(word) = client.last_word(&end) {
            last_word.send(word);
        }
        let live = client.live.clone();
        drop(client);
        live.count();
    });
    let body = futures::stream::poll_fn(move |cx| from.poll_recv(cx)).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies would hold back what is to be seen at once.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Client {
    live: Arc<Live>,
    store: Arc<dyn Store>,
    filter: Filter,
    /// Behind the last event that was looked at for it, sent or not.
    at: Position,
    /// Partitions of which it has read more from the store than the ring had by then.
    ahead: BTreeMap<u16, u64>,
    ended: watch::Receiver<bool>,
    to: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Client {
    async fn run(
        &mut self,
        ring: broadcast::Receiver<Arc<[Sent]>>,
        now: Position,
        standing: Standing,
    ) -> End {
        let (mut ended, live) = (self.ended.clone(), self.live.clone());
        tokio::select! {
            end = self.follow(ring, now) => end,
            why = standing.lost(&live) => End::Lost(why),
            _ = ended.wait_for(|ended| *ended) => End::Stopping,
            _ = tokio::time::timeout(LIFE, std::future::pending::<()>()) => End::Life,
        }
    }

    async fn follow(&mut self, mut ring: broadcast::Receiver<Arc<[Sent]>>, mut now: Position) -> End {
        let hello = format!("retry: {}\nid: {}\n: following\n\n", RETRY.as_millis(), self.at);
        if let Err(end) = self.send(hello.into()).await {
            return end;
        }
        loop {
            if let Err(end) = self.catch_up(&now).await {
                return end;
            }
            match self.listen(&mut ring).await {
                // Pushed out of the ring before this client came to it: the store still has it.
                Ok(()) => match self.live.join(&self.store).await {
                    Ok(joined) => (ring, now) = joined,
                    Err(e) => return End::Store(e),
                },
                Err(end) => return end,
            }
        }
    }

    /// Reads on from the store up to where the ring begins.
    async fn catch_up(&mut self, upto: &Position) -> Result<(), End> {
        let behind = |at: &Position| upto.as_map().iter().any(|(p, seq)| at.get(*p) < *seq);
        self.check_against_the_end(upto).await?;
        while behind(&self.at) {
            let page = {
                let _turn = self.live.catching_up.acquire().await;
                let read = self.store.events(&EventFilter::default(), self.at.as_map(), PAGE).await;
                read.map_err(End::Store)?
            };
            let mut moved = false;
            for (p, event) in page {
                moved = true;
                let next = self.at.get(p.0) + 1;
                if event.seq > next && next > 1 {
                    let why = "these events are not in the store any more; look for them in the archive";
                    self.send(gap(p, next, event.seq - 1, why)).await?;
                }
                if self.filter.admits(&event) {
                    let bytes = frame(p, &event, &self.at.moved(p.0, event.seq));
                    self.send(bytes).await?;
                }
                self.at.set(p.0, event.seq);
            }
            if !moved {
                // Nothing is left of what was before it.
                upto.as_map().iter().for_each(|(p, seq)| self.at.set(*p, (*seq).max(self.at.get(*p))));
            }
        }
        // What came while it was read; the ring has it too.
        let beyond = self.at.as_map().iter().filter(|(p, seq)| **seq > upto.get(**p));
        self.ahead = beyond.map(|(p, seq)| (*p, *seq)).collect();
        Ok(())
    }

    /// A position that no stream has come to yet is not ours. (The ring may be a little behind the streams.)
    async fn check_against_the_end(&mut self, ring: &Position) -> Result<(), End> {
        if self.at.as_map().iter().all(|(p, seen)| *seen <= ring.get(*p)) {
            return Ok(());
        }
        let ends = Position::of(self.store.requests().event_ends().await.map_err(End::Store)?);
        for (p, seen) in self.at.as_map().clone() {
            let end = ends.get(p);
            if seen > end {
                let why = "the stream ends before the position given: it is of another store, or this one lost its newest events";
                self.send(gap(Partition(p), end + 1, seen, why)).await?;
                self.at.set(p, end);
            }
        }
        Ok(())
    }

    /// Feeds from the ring. `Ok`: it has run ahead.
    async fn listen(&mut self, ring: &mut broadcast::Receiver<Arc<[Sent]>>) -> Result<(), End> {
        let to = self.to.clone();
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(self.live.pace.beat, ring.recv()) => next,
                () = to.closed() => return Err(End::Gone),
            };
            match next {
                Ok(Ok(batch)) => {
                    for sent in batch.iter() {
                        self.pass_on(sent).await?;
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => return Ok(()),
                Ok(Err(broadcast::error::RecvError::Closed)) => return Err(End::Stopping),
                // With the position, so that a filter that lets little through does not make coming back costly.
                Err(_) => self.send(format!(": still following\nid: {}\n\n", self.at).into()).await?,
            }
        }
    }

    async fn pass_on(&mut self, sent: &Sent) -> Result<(), End> {
        let (p, seq) = (sent.partition, sent.event.seq);
        if self.ahead.get(&p.0).is_some_and(|known| seq >= *known) {
            self.ahead.remove(&p.0);
        }
        if seq <= self.at.get(p.0) {
            return Ok(());
        }
        if self.filter.admits(&sent.event) {
            // The id in the ring is behind where this client is, as long as it is ahead.
            let bytes = if self.ahead.is_empty() {
                sent.frame.clone()
            } else {
                frame(p, &sent.event, &self.at.moved(p.0, seq))
            };
            self.send(bytes).await?;
        }
        // Only now: what could not be sent is to come again.
        self.at.set(p.0, seq);
        Ok(())
    }

    async fn send(&self, bytes: Bytes) -> Result<(), End> {
        match tokio::time::timeout(self.live.pace.patience, self.to.send(bytes)).await {
            Ok(sent) => sent.map_err(|_| End::Gone),
            Err(_) => Err(End::TooSlow),
        }
    }

    fn last_word(&self, end: &End) -> Option<Bytes> {
        let mut then = "come back with the header Last-Event-ID (a browser does it by itself)";
        let (name, because) = match end {
            End::Gone => return None,
            End::TooSlow => {
                tracing::info!(
                    actor = self.filter.access.actor(),
                    "a client that follows events read nothing and is dropped"
                );
                ("dropped", "nothing was read for too long".to_owned())
            }
            End::Lost(why) => {
                tracing::info!(actor = self.filter.access.actor(), why, "a stream of events ended");
                then = "come back with a proof that holds, and with the header Last-Event-ID";
                ("ended", why.clone())
            }
            End::Life => ("ended", "a stream ends after some minutes".to_owned()),
            End::Stopping => ("ended", "this server is about to stop".to_owned()),
            End::Store(e) => {
                tracing::warn!(error = %e, "a stream of events ended");
                ("ended", "the store is not available".to_owned())
            }
        };
        let data = json!({"because": because, "then": then, "last_event_id": self.at.to_string()});
        Some(message(name, Some(&self.at), &data.to_string()))
    }
}

fn gap(p: Partition, from: u64, to: u64, because: &str) -> Bytes {
    let data = json!({"partition": p, "from": from, "to": to, "because": because});
    message("gap", None, &data.to_string())
}

#[cfg(test)]
mod tests;
