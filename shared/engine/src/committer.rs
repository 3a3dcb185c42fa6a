//! Sends finished executions to Redis in batches.
//!
//! # Guarantees
//! Every submission is answered, once. While Redis is away it waits (E12); an answer lost on the way is asked again and
//! then comes back as `LeaseLost`, because the first time had already ended the job.
//!
//! A batch forms while the one before it is under way: an idle fleet commits at once, a busy one 64 at a time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use trueup_model::commit::Committed;
use trueup_model::{Outcome, Partition};

use crate::EngineError;
use crate::store::{Ended, Incarnation, Store};
use crate::waiting::Patience;

/// Script calls under way at once. More only lengthens Redis's queue.
const CALLS: usize = 4;
/// Executions a call.
const BATCH: usize = 64;
/// Entries (events, writes, next jobs) a call, so that no call keeps Redis for long.
const WEIGHT: usize = 1024;

#[derive(Debug)]
struct Submission {
    to: (Partition, Incarnation),
    ended: Ended,
    answer: oneshot::Sender<Committed>,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Committer(mpsc::UnboundedSender<Submission>);

fn weight(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Done(c) => 1 + c.events.len() + c.writes.len() + c.next.len(),
        _ => 1,
    }
}

impl Committer {
    /// Runs until every clone is dropped.
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(run(store, rx));
        Self(tx)
    }

    /// Ends an execution. Unbounded by itself; the slots bound how many there can be.
    pub async fn commit(&self, p: Partition, who: &Incarnation, ended: Ended) -> Committed {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { to: (p, who.clone()), ended, answer };
        if self.0.send(submission).is_err() {
            return Committed::LeaseLost;
        }
        answered.await.unwrap_or(Committed::LeaseLost)
    }
}

async fn run(store: Arc<dyn Store>, mut rx: mpsc::UnboundedReceiver<Submission>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    let mut held: Option<Submission> = None;
    loop {
        let Ok(permit) = calls.clone().acquire_owned().await else { return };
        let first = match held.take() {
            Some(s) => s,
            None => match rx.recv().await {
                Some(s) => s,
                None => return,
            },
        };
        let mut total = weight(&first.ended.outcome);
        let mut batch = vec![first];
        while batch.len() < BATCH && total < WEIGHT {
            let Ok(next) = rx.try_recv() else { break };
            total += weight(&next.ended.outcome);
            if total > WEIGHT {
                held = Some(next);
                break;
            }
            batch.push(next);
        }
        let store = store.clone();
        tokio::spawn(async move {
            send(store.as_ref(), batch).await;
            drop(permit);
        });
    }
}

async fn send(store: &dyn Store, batch: Vec<Submission>) {
    type Group = (Vec<Ended>, Vec<oneshot::Sender<Committed>>);
    let mut groups: HashMap<(Partition, Incarnation), Group> = HashMap::new();
    for s in batch {
        let (ended, answers) = groups.entry(s.to).or_default();
        ended.push(s.ended);
        answers.push(s.answer);
    }
    for ((p, who), (ended, answers)) in groups {
        let results = insist(store, p, &who, &ended).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever waited may have gone; the commit counts all the same.
            let _ = answer.send(result);
        }
    }
}

async fn insist(store: &dyn Store, p: Partition, who: &Incarnation, ended: &[Ended]) -> Vec<Committed> {
    let mut patience = Patience::default();
    loop {
        match store.commit(p, who, ended).await {
            Ok(results) => {
                patience.over("commit");
                return results;
            }
            Err(e @ EngineError::Unavailable(_)) => patience.after("commit", &e).await,
            // Not our script's own word (credentials changed, a node that may not be asked): may be mended, so wait.
            Err(e @ EngineError::Refused(_)) if !e.to_string().contains("user_script") => {
                patience.after("commit", &e).await
            }
            Err(EngineError::Refused(_)) if ended.len() > 1 => {
                // One of them is bad; the others must not share its fate.
                let mut results = Vec::with_capacity(ended.len());
                for one in ended {
                    results.extend(Box::pin(insist(store, p, who, std::slice::from_ref(one))).await);
                }
                return results;
            }
            Err(EngineError::Refused(what)) => {
                tracing::error!(partition = %p, jobs = ended.len(), "a commit was refused: {what}");
                return vec![Committed::Malformed; ended.len()];
            }
        }
    }
}
