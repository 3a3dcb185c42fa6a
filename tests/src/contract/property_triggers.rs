//! Random histories of triggers and runs: never two runs of one intent, and no trigger is dropped (E9).
//!
//! Two sweeps and a run act on one intent in any order. A sweep reads the intent (`Look`) and later begins a run from
//! what it saw; it may have been overtaken meanwhile. Triggers are new manifests and `Dirty` marks. A trigger is
//! answered by the begin of a run after it; until then it must be visible: as "due" if no run is active, and at the end
//! of the run if one is.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trueup_engine::store::Store;
use trueup_model::commit::Committed;
use trueup_model::{Commit, IntentRecord};

use super::Fresh;
use super::given::*;

#[derive(Debug, Clone)]
enum Act {
    /// A new manifest.
    Apply,
    /// A `Dirty` mark by some job.
    Trigger,
    /// A sweep reads the intent.
    Look { sweep: usize },
    /// It begins a run, from what it saw, if that had none.
    Begin { sweep: usize },
    /// The active run writes its state.
    Step,
    /// The active run ends; the next check is far away, or never.
    End { parks: bool },
    /// The active run ends and the same commit carries a trigger.
    EndAndTrigger,
    /// A writer who saw an older rev.
    Stale,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Apply),
        3 => Just(Act::Trigger),
        4 => (0..2usize).prop_map(|sweep| Act::Look { sweep }),
        4 => (0..2usize).prop_map(|sweep| Act::Begin { sweep }),
        2 => Just(Act::Step),
        3 => any::<bool>().prop_map(|parks| Act::End { parks }),
        1 => Just(Act::EndAndTrigger),
        1 => Just(Act::Stale),
    ]
}

pub(crate) fn e9_one_run_at_a_time_and_no_trigger_is_dropped(
    fresh: &dyn Fresh,
    runtime: &tokio::runtime::Runtime,
) {
    let config = Config { cases: fresh.histories(), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(act(), 1..60), |acts| {
        runtime.block_on(async {
            let mut world = World::new(fresh).await;
            for act in acts {
                world.perform(&act).await;
                world.audit().await;
            }
            if world.active {
                world.perform(&Act::End { parks: true }).await;
                world.audit().await;
            }
        });
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

/// Later than anything in a history.
const FAR: i64 = 1_000_000;

struct World {
    store: Arc<dyn Store>,
    /// Names jobs, runs and manifests.
    acts: u64,
    /// A run is active.
    active: bool,
    /// A trigger came after the last run began.
    pending: bool,
    rev: u64,
    seen: [Option<IntentRecord>; 2],
}

impl World {
    async fn new(fresh: &dyn Fresh) -> Self {
        let store = fresh.store(1).await;
        applied(&*store, &intent("i")).await;
        Self { store, acts: 0, active: false, pending: true, rev: 0, seen: [None, None] }
    }

    async fn commit(&self, commit: Commit) -> Committed {
        carried_out(&*self.store, P, &format!("act {}", self.acts), commit).await
    }

    /// Writes a state; whoever saw the present rev succeeds, and nobody else.
    async fn write(&mut self, rev: u64, run: Option<u64>, ends_run: bool, trigger: bool) -> bool {
        let state = run.map_or(idle(self.acts), |n| running("i", n));
        let due = (ends_run && !trigger).then(|| t(FAR));
        let mut parts = vec![write("i", rev, state, due, ends_run)];
        if trigger {
            parts.push(dirty("i"));
        }
        let answer = self.commit(writes(parts)).await;
        assert_eq!(answer, if rev == self.rev { Committed::Yes } else { Committed::Conflict });
        self.rev += u64::from(answer == Committed::Yes);
        answer == Committed::Yes
    }

    async fn perform(&mut self, act: &Act) {
        self.acts += 1;
        match act {
            Act::Apply => {
                applied(&*self.store, &relabelled(intent("i"), &self.acts.to_string())).await;
                // Nobody who has read the old manifest may begin a run with it; a run that is active is left alone.
                self.rev += u64::from(!self.active);
                self.pending = true;
            }
            Act::Trigger => {
                assert_eq!(self.commit(writes(vec![dirty("i")])).await, Committed::Yes);
                self.pending = true;
            }
            Act::Look { sweep } => self.seen[*sweep] = Some(record(&*self.store, "i").await),
            Act::Begin { sweep } => {
                let Some(seen) = self.seen[*sweep].take().filter(|r| r.state.run.is_none()) else { return };
                if self.write(seen.rev, Some(self.acts), false, false).await {
                    assert!(!self.active, "two runs at a time");
                    (self.active, self.pending) = (true, false);
                }
            }
            Act::Step if self.active => {
                let run = record(&*self.store, "i").await.state.runs;
                assert!(self.write(self.rev, Some(run), false, false).await);
            }
            Act::End { parks } if self.active => {
                let due = (!parks).then(|| t(FAR));
                let end = writes(vec![write("i", self.rev, idle(self.acts), due, true)]);
                assert_eq!(self.commit(end).await, Committed::Yes);
                self.rev += 1;
                self.active = false;
            }
            Act::EndAndTrigger if self.active => {
                assert!(self.write(self.rev, None, true, true).await);
                (self.active, self.pending) = (false, true);
            }
            Act::Stale if self.rev > 0 => assert!(!self.write(self.rev - 1, None, true, true).await),
            Act::Step | Act::End { .. } | Act::EndAndTrigger | Act::Stale => {}
        }
    }

    async fn audit(&self) {
        let record = record(&*self.store, "i").await;
        assert_eq!((record.rev, record.state.run.is_some()), (self.rev, self.active));
        let is_due = !due(&*self.store, t(0)).await.is_empty();
        // Due if and only if a trigger waits and no run holds the intent.
        assert_eq!(is_due, self.pending && !self.active, "pending {}, active {}", self.pending, self.active);
    }
}
