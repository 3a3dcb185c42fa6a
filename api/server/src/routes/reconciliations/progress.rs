//! How far a reconciliation is: read from the state of its intents, which nobody else has to keep up to date.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trueup_engine::requests::{Progress as Step, Reconciliation, Requests};
use trueup_model::{Condition, CorrelationId, IntentKey, ReconciliationId, Time};
use utoipa::ToSchema;

use crate::Problem;

/// Longest wait that can be asked for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Longest for all reading and waiting of one request, so that the answer comes before the request's own end.
const WAITS: Duration = Duration::from_secs(25);
/// Callers that wait at once. Who comes when there are as many is answered at once, which is as true.
static WAITERS: Semaphore = Semaphore::const_new(256);
/// Between two looks: from, to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Chunks read in one go: with [`trueup_engine::requests::CHUNK`] as many intents as one call takes.
const CHUNKS: usize = 4;

/// How many of the intents are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReconciliationProgress)]
pub(crate) struct Progress {
    /// Not begun. A run that was under way when it was asked for does not count.
    waiting: u64,
    running: u64,
    finished: Finished,
    /// Deleted meanwhile.
    gone: u64,
    /// Paused or retired meanwhile.
    not_reconciled: u64,
    /// Not read: the store took too long (ask again), or has lost which they are. Left out where all was read.
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    unread: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(n: &u64) -> bool {
    *n == 0
}

/// Looked at, by what they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReconciliationFinished)]
pub(crate) struct Finished {
    in_sync: u64,
    drifted: u64,
    stale: u64,
    unreachable: u64,
    unknown: u64,
}

/// A reconciliation, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationView)]
pub(crate) struct View {
    id: ReconciliationId,
    /// Of the runs that are begun for it, and their events. Where a run was under way, or the plane's queue was full, the look is
    /// left to the next sweep, under a correlation id of its own.
    correlation_id: CorrelationId,
    /// Nothing waits and nothing runs any more.
    done: bool,
    accepted: u64,
    refused: u64,
    tenants: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<String>,
    actor: String,
    requested_at: Time,
    progress: Progress,
}

impl View {
    pub(super) fn of(head: Reconciliation, progress: Progress) -> Self {
        let Reconciliation { id, correlation_id, accepted, refused, tenants, .. } = head;
        let Reconciliation { selector, actor, requested_at, .. } = head;
        let done = progress.is_done();
        Self { id, correlation_id, done, accepted, refused, tenants, selector, actor, requested_at, progress }
    }
}

impl Progress {
    fn is_done(&self) -> bool {
        self.waiting + self.running + self.unread == 0
    }

    fn count(&mut self, step: Step) {
        *match step {
            Step::Waiting => &mut self.waiting,
            Step::Running => &mut self.running,
            Step::Gone => &mut self.gone,
            Step::NotReconciled => &mut self.not_reconciled,
            Step::Done(condition) => match condition {
                Condition::InSync => &mut self.finished.in_sync,
                Condition::Drifted => &mut self.finished.drifted,
                Condition::Stale => &mut self.finished.stale,
                Condition::Unreachable => &mut self.finished.unreachable,
                Condition::Unknown => &mut self.finished.unknown,
            },
        } += 1;
    }

    fn add(&mut self, other: &Self) {
        let Self { waiting, running, finished, gone, not_reconciled, unread: _ } = other;
        self.waiting += waiting;
        self.running += running;
        self.gone += gone;
        self.not_reconciled += not_reconciled;
        let Finished { in_sync, drifted, stale, unreachable, unknown } = finished;
        self.finished.in_sync += in_sync;
        self.finished.drifted += drifted;
        self.finished.stale += stale;
        self.finished.unreachable += unreachable;
        self.finished.unknown += unknown;
    }

    /// Intents that were read.
    fn total(&self) -> u64 {
        let Finished { in_sync, drifted, stale, unreachable, unknown } = self.finished;
        let finished = in_sync + drifted + stale + unreachable + unknown;
        self.waiting + self.running + finished + self.gone + self.not_reconciled
    }

    /// As it is when it is done, or when `wait` is over; what could not be read within [`WAITS`] is said to be unread.
    pub(super) async fn until_done(
        requests: &dyn Requests,
        head: &Reconciliation,
        wait: Duration,
    ) -> Result<Self, Problem> {
        let mut seen = Seen { requests, head, chunks: vec![None; head.chunks as usize] };
        // Both count from here, the first look included.
        let over = pin!(timeout(wait, pending::<()>()));
        let looking = timeout(WAITS, async {
            seen.look().await?;
            if wait.is_zero() {
                return Ok(());
            }
            let Ok(_waits) = WAITERS.try_acquire() else { return Ok(()) };
            match select(over, pin!(seen.until_done())).await {
                Either::Left(_) => Ok(()),
                Either::Right((ended, _)) => ended,
            }
        });
        match looking.await {
            Ok(Err(problem)) => Err(problem),
            Ok(Ok(())) | Err(_) => Ok(seen.sum()),
        }
    }
}

/// What one request has read, chunk by chunk. One that is through is not read again: what has finished stays so.
struct Seen<'a> {
    requests: &'a dyn Requests,
    head: &'a Reconciliation,
    /// Nothing for what was not read yet.
    chunks: Vec<Option<Progress>>,
}

impl Seen<'_> {
    /// Reads what is not through, some chunks in one go.
    async fn look(&mut self) -> Result<(), Problem> {
        let mut from = 0;
        while let Some(open) = self.chunks[from..].iter().position(|c| !c.is_some_and(|c| c.is_done())) {
            from += open;
            let upto = self.chunks.len().min(from + CHUNKS);
            let n = self.chunks[from..upto].iter().take_while(|c| !c.is_some_and(|c| c.is_done())).count();
            self.read(from, n).await?;
            from += n;
        }
        Ok(())
    }

    async fn read(&mut self, from: usize, n: usize) -> Result<(), Problem> {
        let chunks = self.requests.asked(self.head, from as u32, n as u32).await?;
        let keys: Vec<IntentKey> = chunks.iter().flatten().map(|asked| asked.0.clone()).collect();
        let mut standings = self.requests.standings(&keys).await?.into_iter();
        for (seen, chunk) in self.chunks[from..].iter_mut().zip(chunks) {
            let progress = seen.insert(Progress::default());
            for (asked, now) in chunk.iter().zip(&mut standings) {
                progress.count(asked.progress(now.as_ref()));
            }
        }
        Ok(())
    }

    async fn until_done(&mut self) -> Result<(), Problem> {
        let mut pause = PAUSES.0;
        loop {
            let sum = self.sum();
            if sum.is_done() {
                return Ok(());
            }
            // The more there is to read, the less often.
            let least = Duration::from_micros((sum.waiting + sum.running).saturating_mul(20));
            // Nothing to wake up for: the end of a run in sync leaves no event.
            let _ = timeout(pause.max(least).min(PAUSES.1), pending::<()>()).await;
            self.look().await?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn sum(&self) -> Progress {
        let mut sum = Progress::default();
        self.chunks.iter().flatten().for_each(|chunk| sum.add(chunk));
        sum.unread = self.head.accepted.saturating_sub(sum.total());
        sum
    }
}

/// `30s`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected whole seconds from 0s to {}s", MAX_WAIT.as_secs());
    let digits = text.strip_suffix('s').filter(|t| t.len() <= 2 && t.bytes().all(|b| b.is_ascii_digit()));
    let seconds: u64 = digits.and_then(|t| t.parse().ok()).ok_or_else(wrong)?;
    Some(Duration::from_secs(seconds)).filter(|d| *d <= MAX_WAIT).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
