//! Random histories of jobs and workers: every job is always in exactly one place (E4) and commits once (E1).
//!
//! A history is a list of acts by three workers on eight jobs: enqueue, lease, end in every way, end what is no longer
//! held, give back, fall silent, leave, come back under a new name, retry and discard. After every act the jobs are
//! audited; at the end everything is drained, and the events must tell of one commit for each time a job was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trueup_engine::store::{Admin, Ended, Incarnation, JobState, Store};
use trueup_model::commit::Committed;
use trueup_model::{Commit, Duration, JobId, Outcome, Time};

use super::Fresh;
use super::given::*;

const WORKERS: usize = 3;
const JOBS: usize = 8;

#[derive(Debug, Clone)]
enum Act {
    Enqueue {
        job: usize,
        delay: Option<i64>,
    },
    Lease {
        worker: usize,
        n: usize,
    },
    /// Ends the `nth` of all jobs the worker was ever given, held or not.
    End {
        worker: usize,
        nth: usize,
        how: How,
    },
    GiveBack {
        worker: usize,
        nth: usize,
    },
    Beat {
        worker: usize,
    },
    /// Time passes; all but this one beat.
    Silence {
        worker: usize,
    },
    Leave {
        worker: usize,
    },
    RetryDead,
    DiscardDead,
    Wait {
        seconds: i64,
    },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Done,
    DoneAndAgain,
    Defer,
    Retry,
    Dead,
}

fn act() -> impl Strategy<Value = Act> {
    let worker = 0..WORKERS;
    let how = prop_oneof![
        4 => Just(How::Done), 1 => Just(How::DoneAndAgain), 1 => Just(How::Defer), 1 => Just(How::Retry), 1 => Just(How::Dead)
    ];
    prop_oneof![
        6 => (0..JOBS, prop::option::of(1..20i64)).prop_map(|(job, delay)| Act::Enqueue { job, delay }),
        6 => (worker.clone(), 1..4usize).prop_map(|(worker, n)| Act::Lease { worker, n }),
        8 => (worker.clone(), 0..16usize, how).prop_map(|(worker, nth, how)| Act::End { worker, nth, how }),
        2 => (worker.clone(), 0..16usize).prop_map(|(worker, nth)| Act::GiveBack { worker, nth }),
        2 => worker.clone().prop_map(|worker| Act::Beat { worker }),
        3 => worker.clone().prop_map(|worker| Act::Silence { worker }),
        1 => worker.prop_map(|worker| Act::Leave { worker }),
        1 => Just(Act::RetryDead),
        1 => Just(Act::DiscardDead),
        2 => (1..20i64).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

pub(crate) fn e1_e4_every_job_is_in_one_place_and_commits_once(
    fresh: &dyn Fresh,
    runtime: &tokio::runtime::Runtime,
) {
    let config = Config { cases: fresh.histories(), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(act(), 1..80), |acts| {
        runtime.block_on(async {
            let mut world = World::new(fresh).await;
            for act in acts {
                world.perform(fresh, &act).await;
                world.audit().await;
            }
            world.drain(fresh).await;
        });
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

/// The store, and what we know of it without asking it.
struct World {
    store: Arc<dyn Store>,
    now: Time,
    workers: Vec<Incarnation>,
    /// How many lives each worker has had; names the next.
    lives: usize,
    /// Every job each incarnation was ever given, in order.
    given: BTreeMap<Incarnation, Vec<JobId>>,
    /// Who holds which job.
    held: BTreeMap<JobId, Incarnation>,
    /// Jobs that were accepted and have not finished yet.
    alive: BTreeSet<JobId>,
    /// How often each job was accepted, less the lives an operator discarded.
    accepted: BTreeMap<JobId, usize>,
}

impl World {
    async fn new(fresh: &dyn Fresh) -> Self {
        let store = fresh.store(1).await;
        let mut world = Self {
            store,
            now: t(0),
            workers: Vec::new(),
            lives: 0,
            given: BTreeMap::new(),
            held: BTreeMap::new(),
            alive: BTreeSet::new(),
            accepted: BTreeMap::new(),
        };
        for _ in 0..WORKERS {
            let born = world.born().await;
            world.workers.push(born);
        }
        world
    }

    async fn born(&mut self) -> Incarnation {
        self.lives += 1;
        let who = Incarnation(format!("life {}", self.lives));
        self.beat(&who).await;
        who
    }

    /// Beats, and follows what the beat took from others.
    async fn beat(&mut self, who: &Incarnation) -> bool {
        let beat = self.store.beat(P, who).await.unwrap();
        let mut taken = 0;
        for (job, holder) in self.held.clone() {
            let view = self.store.job(&job).await.unwrap().unwrap();
            if view.held_by.as_ref() != Some(&holder) {
                assert!(matches!(view.state, JobState::Ready | JobState::Dead), "{view:?}");
                assert_ne!(&holder, who, "nobody takes from itself");
                self.held.remove(&job);
                taken += 1;
            }
        }
        assert_eq!(beat.rescued + beat.worn_out, taken, "a beat tells what it took");
        beat.declared_dead
    }

    /// A worker of the fleet beats; one that was declared dead goes on under a new name.
    async fn heartbeat(&mut self, worker: usize) {
        let who = self.workers[worker].clone();
        if self.beat(&who).await {
            assert!(!self.held.values().any(|w| *w == who), "declared dead with a job in hand");
            self.workers[worker] = self.born().await;
        }
    }

    fn nth_given(&self, worker: usize, nth: usize) -> Option<JobId> {
        let given = self.given.get(&self.workers[worker])?;
        given.get(nth % given.len().max(1)).cloned()
    }

    async fn perform(&mut self, fresh: &dyn Fresh, act: &Act) {
        match act {
            Act::Enqueue { job, delay } => {
                let name = job.to_string();
                let at = delay.map(|d| self.now + Duration::seconds(d));
                let new = trueup_engine::store::NewJob { at, ..job_of(&name) };
                let accepted = self.store.enqueue(P, &[new]).await.unwrap() == 1;
                assert_eq!(
                    accepted,
                    self.alive.insert(id(&name)),
                    "accepted if and only if it was not there"
                );
                *self.accepted.entry(id(&name)).or_default() += usize::from(accepted);
            }
            Act::Lease { worker, n } => self.lease(*worker, *n).await,
            Act::End { worker, nth, how } => {
                if let Some(job) = self.nth_given(*worker, *nth) {
                    self.end(*worker, &job, *how).await;
                }
            }
            Act::GiveBack { worker, nth } => {
                if let Some(job) = self.nth_given(*worker, *nth) {
                    let who = &self.workers[*worker];
                    self.store.give_back(P, who, &[(job.clone(), emit())]).await.unwrap();
                    if self.held.get(&job) == Some(who) {
                        self.held.remove(&job);
                    }
                }
            }
            Act::Beat { worker } => self.heartbeat(*worker).await,
            Act::Silence { worker } => {
                fresh.lease_time_passes().await;
                // Twice: who was silent itself judges nobody.
                for other in (0..WORKERS).filter(|w| w != worker).chain((0..WORKERS).filter(|w| w != worker))
                {
                    self.heartbeat(other).await;
                }
            }
            Act::Leave { worker } => {
                let who = self.workers[*worker].clone();
                self.store.leave(P, &who).await.unwrap();
                self.held.retain(|_, w| *w != who);
                self.workers[*worker] = self.born().await;
            }
            Act::RetryDead => {
                let dead = self.store.jobs(emit(), JobState::Dead, 100).await.unwrap().len();
                let retried = self.store.admin(emit(), &Admin::Retry(None), &by("operator")).await.unwrap();
                assert_eq!(retried, dead as u64);
            }
            Act::DiscardDead => {
                let dead = self.store.jobs(emit(), JobState::Dead, 100).await.unwrap();
                let discarded =
                    self.store.admin(emit(), &Admin::Discard(None), &by("operator")).await.unwrap();
                assert_eq!(discarded, dead.len() as u64);
                for view in dead {
                    self.alive.remove(&view.id);
                    *self.accepted.entry(view.id).or_default() -= 1;
                }
            }
            Act::Wait { seconds } => self.now += Duration::seconds(*seconds),
        }
    }

    async fn lease(&mut self, worker: usize, n: usize) {
        let who = self.workers[worker].clone();
        for job in lease(&*self.store, &who, emit(), n, self.now).await {
            assert!(self.alive.contains(&job.id), "{} is gone", job.id);
            let before = self.held.insert(job.id.clone(), who.clone());
            assert_eq!(before, None, "{} has a holder", job.id);
            self.given.entry(who.clone()).or_default().push(job.id);
        }
    }

    async fn end(&mut self, worker: usize, job: &JobId, how: How) {
        let who = self.workers[worker].clone();
        let at = self.now + Duration::seconds(5);
        let mut commit = Commit { events: vec![an_event(job.as_str())], ..Commit::default() };
        if matches!(how, How::DoneAndAgain) {
            commit.next.push(trueup_model::Next {
                id: job.clone(),
                queue: emit(),
                job: some_job(),
                at: Some(at),
            });
        }
        let outcome = match how {
            How::Done | How::DoneAndAgain => Outcome::Done(commit),
            How::Defer => Outcome::Defer { at, because: None },
            How::Retry => Outcome::Retry { at, because: "again".into() },
            How::Dead => Outcome::Dead { because: "enough".into() },
        };
        let ended = Ended { job: job.clone(), queue: emit(), outcome, traceparent: None };
        let answer = end(&*self.store, &who, ended).await;
        let held = self.held.get(job) == Some(&who);
        assert_eq!(
            answer == Committed::Yes,
            held,
            "{answer:?}; only the holder ends a job, and the holder does"
        );
        assert!(held || answer == Committed::LeaseLost);
        if held {
            self.held.remove(job);
            match how {
                How::Done => drop(self.alive.remove(job)),
                How::DoneAndAgain => *self.accepted.entry(job.clone()).or_default() += 1,
                How::Defer | How::Retry | How::Dead => {}
            }
        }
    }

    /// Each job that lives is in one place, and no other is anywhere; who holds it is who we think.
    async fn audit(&self) {
        let mut places: BTreeMap<JobId, Vec<JobState>> = BTreeMap::new();
        for state in [JobState::Ready, JobState::Scheduled, JobState::InFlight, JobState::Dead] {
            for view in self.store.jobs(emit(), state, 1000).await.unwrap() {
                assert_eq!(view.held_by.as_ref(), self.held.get(&view.id), "{view:?}");
                places.entry(view.id).or_default().push(state);
            }
        }
        let listed: BTreeSet<JobId> = places.keys().cloned().collect();
        assert_eq!(listed, self.alive, "lost, or come back");
        assert!(places.values().all(|p| p.len() == 1), "in two places: {places:?}");
    }

    /// Everybody dies; one who comes after finishes all there is.
    async fn drain(&mut self, fresh: &dyn Fresh) {
        fresh.lease_time_passes().await;
        self.workers = vec![self.born().await];
        for round in 0.. {
            assert!(round < 200, "never done: {:?}", self.alive);
            self.heartbeat(0).await;
            self.store.admin(emit(), &Admin::Retry(None), &by("operator")).await.unwrap();
            self.now += Duration::seconds(1000);
            self.lease(0, 64).await;
            let finisher = self.workers[0].clone();
            for (job, _) in self.held.clone().into_iter().filter(|(_, who)| *who == finisher) {
                self.end(0, &job, How::Done).await;
            }
            self.audit().await;
            if self.alive.is_empty() {
                break;
            }
        }
        let mut commits: BTreeMap<JobId, usize> = BTreeMap::new();
        for e in events_of(&*self.store, trueup_model::EventKind::ConditionChanged).await {
            *commits.entry(JobId::from_wire(e.event_data["name"].as_str().unwrap())).or_default() += 1;
        }
        self.accepted.retain(|_, n| *n > 0);
        assert_eq!(commits, self.accepted, "one commit for each time it was accepted");
    }
}

fn job_of(name: &str) -> trueup_engine::store::NewJob {
    job(name, emit())
}
