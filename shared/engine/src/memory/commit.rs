//! The end of an execution: fence, validate, then carry out everything.

use trueup_model::commit::Committed;
use trueup_model::{Commit, JobId, Outcome, Queue, Write};

use crate::store::{Ended, Incarnation, well_formed};

use super::part::{Now, Part};
use super::queue::To;

impl Part {
    pub(super) fn end(&mut self, who: &Incarnation, ended: &Ended, at: Now) -> Committed {
        let state = self.queue(ended.queue);
        if !state.is_held_by(&ended.job, who) {
            return Committed::LeaseLost;
        }
        match &ended.outcome {
            Outcome::Done(commit) => {
                if let Err(refusal) = self.validate(commit) {
                    return refusal;
                }
                self.carry_out(ended, commit, at);
            }
            Outcome::Defer { at: due, because } => {
                if let (Some(job), Some(_)) = (state.get_mut(&ended.job), because) {
                    job.reason.clone_from(because);
                }
                state.put(&ended.job, To::At(*due));
            }
            Outcome::Retry { at: due, because } => {
                if let Some(job) = state.get_mut(&ended.job) {
                    job.attempts += 1;
                    job.reason = Some(because.clone());
                }
                state.put(&ended.job, To::At(*due));
            }
            Outcome::Dead { because } => self.bury(ended.queue, &ended.job, because, at),
        }
        Committed::Yes
    }

    fn validate(&self, commit: &Commit) -> Result<(), Committed> {
        if !well_formed(commit, self.id) {
            return Err(Committed::Malformed);
        }
        let fits = |write: &Write| match write {
            Write::State { intent, rev, .. } => {
                self.intents.get(intent).is_some_and(|k| k.record.rev == *rev)
            }
            Write::Dirty { .. }
            | Write::Finding(_)
            | Write::Approval(_)
            | Write::Notice(_)
            | Write::Taken(_) => true,
        };
        if commit.writes.iter().all(fits) { Ok(()) } else { Err(Committed::Conflict) }
    }

    /// The job goes first, so that it may enqueue its own id again (the tick does). States go before `Dirty` marks, so
    /// that a trigger in the commit that begins a run is remembered for its end.
    fn carry_out(&mut self, ended: &Ended, commit: &Commit, at: Now) {
        self.queue(ended.queue).forget(&ended.job);
        for event in &commit.events {
            self.append(event.clone());
        }
        let (states, others): (Vec<_>, Vec<_>) =
            commit.writes.iter().partition(|w| matches!(w, Write::State { .. }));
        for write in states.into_iter().chain(others) {
            self.write(write, at);
        }
        for next in &commit.next {
            let traceparent = ended.traceparent.clone();
            self.queue(next.queue).add(&next.id, next.job.encode(), traceparent, next.at, at.lease);
        }
    }

    /// To the dead letters, with the reason and an event.
    pub(super) fn bury(&mut self, queue: Queue, job: &JobId, because: &str, at: Now) {
        let state = self.queue(queue);
        if let Some(stored) = state.get_mut(job) {
            stored.reason = Some(because.to_owned());
            stored.died = Some(at.event);
        }
        state.put(job, To::DeadLetters);
        self.append_job_dead(queue, job, because, at.event);
    }
}
