//! How many jobs of each queue this process may hold at once. A queue has its own slots, so that a plane that hangs
//! uses up nobody else's.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use trueup_model::{JobId, Partition, Queue};

/// The jobs that hold slots, and how many each: a job may come back before its lost first execution has ended.
type Held = Arc<Mutex<HashMap<(Partition, JobId), usize>>>;

#[derive(Debug)]
pub(crate) struct Slots {
    /// In the order in which queues are served.
    queues: Vec<(Queue, usize, Arc<AtomicUsize>)>,
    freed: Arc<Notify>,
    held: Held,
}

/// One held slot.
#[derive(Debug)]
pub(crate) struct Slot {
    used: Arc<AtomicUsize>,
    freed: Arc<Notify>,
    held: Held,
    by: (Partition, JobId),
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = held.get_mut(&self.by) {
            *n -= 1;
            if *n == 0 {
                held.remove(&self.by);
            }
        }
        drop(held);
        self.used.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_one();
    }
}

impl Slots {
    /// Queues with a capacity of 0 are not served.
    pub(crate) fn new(capacities: &BTreeMap<Queue, usize>) -> Self {
        let queues = Queue::all()
            .into_iter()
            .filter_map(|q| {
                capacities.get(&q).filter(|n| **n > 0).map(|n| (q, *n, Arc::new(AtomicUsize::new(0))))
            })
            .collect();
        Self { queues, freed: Arc::new(Notify::new()), held: Held::default() }
    }

    pub(crate) fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }

    /// Free slots of every served queue, in order.
    pub(crate) fn free(&self) -> Vec<(Queue, usize)> {
        self.queues
            .iter()
            .map(|(q, cap, used)| (*q, cap.saturating_sub(used.load(Ordering::Acquire))))
            .collect()
    }

    /// Tells how many jobs of each queue this process holds, wherever it is asked.
    pub(crate) fn gauge(&self) -> impl Fn() -> BTreeMap<String, usize> + Send + Sync + use<> {
        let queues: Vec<_> = self.queues.iter().map(|(q, _, used)| (q.to_string(), used.clone())).collect();
        move || queues.iter().map(|(q, used)| (q.clone(), used.load(Ordering::Acquire))).collect()
    }

    /// Whether at least half of the slots of some queue are free, so that a lease is worth its round trip.
    pub(crate) fn roomy(&self) -> bool {
        self.queues.iter().any(|(_, cap, used)| used.load(Ordering::Acquire) * 2 <= *cap)
    }

    pub(crate) fn in_use(&self) -> usize {
        self.queues.iter().map(|(_, _, used)| used.load(Ordering::Acquire)).sum()
    }

    pub(crate) fn take(&self, queue: Queue, by: (Partition, JobId)) -> Arc<Slot> {
        let used = self
            .queues
            .iter()
            .find(|(q, _, _)| *q == queue)
            .map_or_else(Arc::default, |(_, _, used)| used.clone());
        used.fetch_add(1, Ordering::AcqRel);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(by.clone()).or_default() += 1;
        Arc::new(Slot { used, freed: self.freed.clone(), held: self.held.clone(), by })
    }

    /// Whether this process has the job in its hands.
    pub(crate) fn holds(&self, p: Partition, job: &JobId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(p, job.clone()))
    }
}
