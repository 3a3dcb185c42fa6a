//! The way to one connection: callers wait here, and one task lets them through in the order of their lanes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use trueup_engine::EngineError;
use trueup_engine::budgets::{Ask, Drawn, Held, Wanted};
use trueup_model::budget::Why;
use trueup_model::{Duration as Span, Fault, Lane, Time};
use trueup_planes::broker::{Cost, Limits, Permit};

use super::Fleet;
use super::credit::Credit;
use super::slot::{LEASE, Slot};

/// A caller waits so long, really, for its turn; then its job waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whose turn did not come is asked to come again after this, by the product's clock.
const COME_AGAIN: Span = Span::seconds(1);
/// Between two looks whether Redis is back.
const AWAY: Duration = Duration::from_millis(200);
/// Between two looks for a slot that another process may have freed.
const SLOTS: Duration = Duration::from_millis(50);
/// Draws in a row for one caller.
const DRAWS: usize = 3;

#[derive(Debug)]
struct Caller {
    lane: Lane,
    cost: Cost,
    deadline: Instant,
    reply: oneshot::Sender<Result<Permit, Fault>>,
}

/// What callers, and those who learn, tell the task.
#[derive(Debug, Default)]
struct Shared {
    /// A fine answer is news to the store.
    wary: AtomicBool,
    /// The plane asked this process to wait: kept here too, for when Redis is away.
    not_before: Mutex<Option<Time>>,
    /// Whenever that is news, what was granted before is void.
    asked: AtomicU64,
    checks: AtomicU32,
    turns: AtomicU32,
    freed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Gate {
    callers: mpsc::UnboundedSender<Caller>,
    shared: Arc<Shared>,
}

impl Gate {
    /// Ends when the value is dropped.
    pub(super) fn open(fleet: Arc<Fleet>, limits: Limits) -> Self {
        let (callers, arrivals) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let keeper = Keeper {
            credits: limits.budgets.iter().cloned().map(Credit::new).collect(),
            fleet,
            limits,
            arrivals,
            queues: Default::default(),
            slot: None,
            slots: 0,
            asked: 0,
            shared: shared.clone(),
        };
        tokio::spawn(keeper.run());
        Self { callers, shared }
    }

    pub(super) async fn admit(&self, lane: Lane, cost: &Cost) -> Result<Permit, Fault> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + PATIENCE;
        let _ = self.callers.send(Caller { lane, cost: cost.clone(), deadline, reply });
        answer.await.unwrap_or_else(|_| Err(Fault::transient("the process is stopping")))
    }

    pub(super) fn is_wary(&self) -> bool {
        self.shared.wary.load(Ordering::Relaxed)
    }
    pub(super) fn set_wary(&self, wary: bool) {
        self.shared.wary.store(wary, Ordering::Relaxed);
    }

    /// Nothing is sent before; false if that is known.
    pub(super) fn leave_alone(&self, until: Time) -> bool {
        let mut not_before = self.shared.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let news = not_before.is_none_or(|t| t < until);
        *not_before = (*not_before).max(Some(until));
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        news
    }

    pub(super) fn looked(&self, checks: usize) {
        self.shared.checks.fetch_add(u32::try_from(checks).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// The task.
struct Keeper {
    fleet: Arc<Fleet>,
    limits: Limits,
    arrivals: mpsc::UnboundedReceiver<Caller>,
    queues: [VecDeque<Caller>; 3],
    credits: Vec<Credit>,
    /// Taken for the next caller, where calls under way are limited.
    slot: Option<Slot>,
    slots: u64,
    asked: u64,
    shared: Arc<Shared>,
}

/// Why the first of the callers is not through yet.
struct NotYet {
    /// Really.
    again: Duration,
    /// When to come again, if that is known.
    until: Option<Time>,
    what: String,
    why: Option<Why>,
    /// Calls that need other budgets might get through.
    only_this_budget: bool,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            while let Ok(caller) = self.arrivals.try_recv() {
                self.queues[caller.lane as usize].push_back(caller);
            }
            let lanes = self.lanes();
            let Some(lane) = lanes.first().copied() else {
                self.slot = None;
                match self.arrivals.recv().await {
                    Some(caller) => self.queues[caller.lane as usize].push_back(caller),
                    None => return,
                }
                continue;
            };
            if let Err(not_yet) = self.serve_one_of(&lanes).await {
                self.put_off(&not_yet);
                self.rest(lane, not_yet.again).await;
            }
        }
    }

    /// Who waits for one budget holds up nobody who needs another: the next lane has its turn then.
    async fn serve_one_of(&mut self, lanes: &[Lane]) -> Result<(), NotYet> {
        let mut first: Option<NotYet> = None;
        for lane in lanes {
            match self.serve(*lane).await {
                Ok(()) => return Ok(()),
                Err(not_yet) if not_yet.only_this_budget => {
                    let soonest = first.as_ref().map_or(not_yet.again, |f| f.again.min(not_yet.again));
                    first = Some(NotYet { again: soonest, ..first.unwrap_or(not_yet) });
                }
                Err(not_yet) => return Err(first.unwrap_or(not_yet)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// The lanes in which somebody waits, the first one first; those who went away are forgotten.
    fn lanes(&mut self) -> Vec<Lane> {
        for queue in &mut self.queues {
            while queue.front().is_some_and(|c| c.reply.is_closed()) {
                queue.pop_front();
            }
        }
        Lane::ALL.into_iter().filter(|lane| !self.queues[*lane as usize].is_empty()).collect()
    }

    /// Lets the first caller of a lane through.
    async fn serve(&mut self, lane: Lane) -> Result<(), NotYet> {
        self.not_left_alone()?;
        self.have_slot(lane).await?;
        self.have_credit(lane).await?;
        let Some(caller) = self.queues[lane as usize].pop_front() else { return Ok(()) };
        for (name, n) in caller.cost.iter() {
            if let Some(credit) = self.credits.iter_mut().find(|c| c.budget.name == name) {
                credit.spend(n).await;
            }
        }
        let permit = self.slot.take().map_or_else(Permit::default, Permit::holding);
        // Whoever went away meanwhile wastes what was granted.
        let _ = caller.reply.send(Ok(permit));
        Ok(())
    }

    fn not_left_alone(&mut self) -> Result<(), NotYet> {
        let asked = self.shared.asked.load(Ordering::Relaxed);
        if asked != self.asked {
            self.asked = asked;
            self.credits.iter_mut().for_each(Credit::clear);
        }
        let until = *self.shared.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        match until.filter(|t| *t > self.fleet.clock.now()) {
            Some(until) => Err(NotYet {
                again: self.fleet.clock.real_until(until),
                until: Some(until),
                what: Why::AskedToWait.explain(""),
                why: Some(Why::AskedToWait),
                only_this_budget: false,
            }),
            None => Ok(()),
        }
    }

    async fn have_slot(&mut self, lane: Lane) -> Result<(), NotYet> {
        let Some(at_most) = self.limits.at_most else { return Ok(()) };
        if self.slot.as_ref().is_some_and(Slot::is_fresh) {
            return Ok(());
        }
        self.slot = None;
        self.slots += 1;
        let id = format!("{}/{}", self.fleet.who, self.slots);
        let (connection, budgets) = (&self.limits.connection, self.fleet.store.budgets());
        let taken = budgets.take_slot(connection, &id, at_most, lane, LEASE, self.fleet.pace()).await;
        let slot = |freed| Slot::new(self.fleet.clone(), connection, id, freed);
        match taken {
            Ok(true) => {
                self.slot = Some(slot(self.shared.freed.clone()));
                Ok(())
            }
            Ok(false) => {
                let what =
                    format!("the fleet has {at_most} calls under way already, as many as this plane bears");
                Err(NotYet { again: SLOTS, until: None, what, why: None, only_this_budget: false })
            }
            Err(e) => {
                // The answer may have been lost: it is freed, which wakes nobody, since there may have been none.
                drop(slot(Arc::default()));
                Err(away(&e))
            }
        }
    }

    /// Draws what the first caller of a lane lacks, and as much as those behind it want.
    async fn have_credit(&mut self, lane: Lane) -> Result<(), NotYet> {
        // While something is drawn, other credit may get too old.
        for _ in 0..DRAWS {
            if self.draw(lane).await? {
                return Ok(());
            }
        }
        Err(NotYet {
            again: AWAY,
            until: None,
            what: "not sent, what was drawn for it got too old".into(),
            why: None,
            only_this_budget: false,
        })
    }

    /// Whether the first caller of a lane has all it needs; if not, draws what it lacks.
    async fn draw(&mut self, lane: Lane) -> Result<bool, NotYet> {
        let queue = &self.queues[lane as usize];
        let Some(first) = queue.front() else { return Ok(true) };
        let now = Instant::now();
        let of = |cost: &Cost, name: &str| cost.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| n);
        let (mut wanted, mut lacking, mut limited) = (Vec::new(), Vec::new(), false);
        for (i, credit) in self.credits.iter_mut().enumerate() {
            let need = of(&first.cost, &credit.budget.name);
            limited |= need > 0;
            let left = credit.left(now);
            if need > left {
                let all =
                    queue.iter().fold(0u32, |sum, c| sum.saturating_add(of(&c.cost, &credit.budget.name)));
                wanted.push(Wanted { budget: credit.budget.clone(), need: need - left, want: all - left });
                lacking.push(i);
            }
        }
        if limited && lacking.is_empty() {
            return Ok(true);
        }
        let take = |n: &AtomicU32| n.swap(0, Ordering::Relaxed);
        let ask = Ask {
            connection: self.limits.connection.clone(),
            who: self.fleet.who.clone(),
            lane,
            wanted,
            waiting: [0, 1, 2].map(|lane| u32::try_from(self.queues[lane].len()).unwrap_or(u32::MAX)),
            looked: (take(&self.shared.checks), take(&self.shared.turns)),
            at: self.fleet.pace(),
        };
        match self.fleet.store.budgets().draw(&ask).await {
            Ok(Drawn::Granted { grants, wary, probe }) => {
                if wary {
                    self.shared.wary.store(true, Ordering::Relaxed);
                }
                if probe {
                    tracing::info!(connection = ask.connection, "trying whether the plane answers again");
                }
                for (i, grant) in lacking.into_iter().zip(grants) {
                    self.credits[i].add(grant, now);
                }
                Ok(!limited)
            }
            Ok(Drawn::Wait { ms, why }) => {
                let real = Duration::from_secs_f64(ms.clamp(0.1, 86_400_000.0) / 1000.0);
                let only_this_budget = matches!(why, Held::Budget(_));
                let (until, what, why) = match why {
                    Held::Plane(why, failure) => {
                        (Some(ask.at.after_ms(ms)), why.explain(&failure), Some(why))
                    }
                    Held::Budget(name) => (
                        None,
                        format!(
                            "not sent yet, the fleet's budget '{name}' for this connection is used up for now"
                        ),
                        None,
                    ),
                };
                Err(NotYet { again: real, until, what, why, only_this_budget })
            }
            Err(e) => Err(away(&e)),
        }
    }

    /// Sends away who would wait too long.
    fn put_off(&mut self, not_yet: &NotYet) {
        let next = Instant::now() + not_yet.again;
        let soonest = self.fleet.clock.now() + COME_AGAIN;
        let until = not_yet.until.map_or(soonest, |t| t.max(soonest));
        for queue in &mut self.queues {
            // In the order of their deadlines.
            while queue.front().is_some_and(|c| c.deadline <= next)
                && let Some(caller) = queue.pop_front()
            {
                let what = format!("{}: {}", self.limits.connection, not_yet.what);
                tracing::debug!(connection = self.limits.connection, lane = %caller.lane, %until, "put off: {what}");
                let why = not_yet.why.unwrap_or(Why::AskedToWait);
                let _ = caller.reply.send(Err(why.fault(until, what)));
            }
        }
    }

    /// Until it is time to look again, or somebody comes who goes first.
    async fn rest(&mut self, lane: Lane, again: Duration) {
        let until = Instant::now() + again;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.shared.freed.notified() => return,
                caller = self.arrivals.recv() => {
                    let Some(caller) = caller else { return };
                    let (first, impatient) = (caller.lane, caller.deadline <= until);
                    self.queues[first as usize].push_back(caller);
                    // Who would wait too long is told so at once, not when the rest is over.
                    if first < lane || impatient || self.lanes().is_empty() {
                        return;
                    }
                }
            }
        }
    }
}

fn away(e: &EngineError) -> NotYet {
    NotYet {
        again: AWAY,
        until: None,
        what: format!("not sent, nobody knows what is left of the budget: {e}"),
        why: None,
        only_this_budget: false,
    }
}
