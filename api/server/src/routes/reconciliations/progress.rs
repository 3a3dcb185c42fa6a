//! How far a reconciliation is: read from the state of its intents, which nobody else has to keep up to date.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use trueup_engine::requests::{Asked, Progress as Step, Reconciliation};
use trueup_model::{Condition, CorrelationId, IntentKey, ReconciliationId, Time};
use utoipa::ToSchema;

use crate::{ApiState, Problem};

/// Longest wait that can be asked for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Longest that is really waited, so that the answer comes before the request's own end.
const WAITS: Duration = Duration::from_secs(25);
/// Callers that wait at once. Who comes when there are as many is answered at once, which is as true.
static WAITERS: Semaphore = Semaphore::const_new(256);
/// Between two looks: from, to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Chunks read in one go: with [`trueup_engine::requests::CHUNK`] as many intents as one call takes.
const CHUNKS: u32 = 4;

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
    /// Of its runs, and their events.
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
        self.waiting + self.running == 0
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

    pub(super) async fn read(state: &ApiState, head: &Reconciliation) -> Result<Self, Problem> {
        let (requests, mut progress) = (state.store.requests(), Self::default());
        for from in (0..head.chunks).step_by(CHUNKS as usize) {
            let chunks = requests.asked(head, from, CHUNKS).await?;
            let asked: Vec<Asked> = chunks.into_iter().flatten().collect();
            let keys: Vec<IntentKey> = asked.iter().map(|a| a.0.clone()).collect();
            let standings = requests.standings(&keys).await?;
            asked.iter().zip(&standings).for_each(|(a, now)| progress.count(a.progress(now.as_ref())));
        }
        Ok(progress)
    }

    /// As it is when it is done, or when the time is over.
    pub(super) async fn until_done(
        state: &ApiState,
        head: &Reconciliation,
        wait: Duration,
    ) -> Result<Self, Problem> {
        let first = Self::read(state, head).await?;
        let Ok(_waits) = WAITERS.try_acquire() else { return Ok(first) };
        if first.is_done() || wait.is_zero() {
            return Ok(first);
        }
        let mut latest = first;
        let looking = async {
            // The more there is to read, the less often.
            let least = Duration::from_micros(head.accepted.saturating_mul(20)).clamp(PAUSES.0, PAUSES.1);
            let mut pause = least;
            while !latest.is_done() {
                // Nothing to wake up for: the end of a run in sync leaves no event.
                let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
                latest = Self::read(state, head).await?;
                pause = (pause * 2).min(PAUSES.1);
            }
            Ok(())
        };
        match tokio::time::timeout(wait.min(WAITS), looking).await {
            Ok(Err(problem)) => Err(problem),
            Ok(Ok(())) | Err(_) => Ok(latest),
        }
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
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_or_refused() {
        for (text, seconds) in [("0s", Some(0)), ("7s", Some(7)), ("30s", Some(30))] {
            assert_eq!(wait(text).ok().map(|d| d.as_secs()), seconds, "{text}");
        }
        for text in ["", "s", "31s", "30", "1m", "-1s", "+1s", "030s", "1.5s", "9999999999999999999999s"] {
            assert!(wait(text).unwrap_err().contains("30s"), "{text}");
        }
    }
}
