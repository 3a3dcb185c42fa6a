//! What was read of the site a moment ago, so that many checks share one read.
//!
//! # Guarantees
//! - One reader per set and lane at a time; who comes meanwhile waits and uses what it brought. A look that somebody
//!   waits for does not queue behind a sweep.
//! - An answer is used if its read began after the caller asked, or if it is younger than the reuse time AND newer
//!   than the check demands AND nothing of ours changed the set since its read began.
//! - Memory is bounded by [`MAX_KEPT`] entries; a caller's own answers are whole all the same.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trueup_model::{Duration, Fault, Lane, Time};

/// Entries beyond which all are forgotten.
const MAX_KEPT: usize = 50_000;

/// Keys, and what each answer must be newer than.
pub(crate) type Wanted<K> = BTreeMap<K, Option<Time>>;
/// An answer with the time its read began.
pub(crate) type Answers<K, V> = HashMap<K, Result<(Time, V), Fault>>;

#[derive(Debug)]
struct Inner<K, V> {
    entries: HashMap<K, (Time, u64, V)>,
    /// Counts what happens, for order: the clock is too coarse.
    turn: u64,
    /// Reads that began before this turn do not count.
    changed: u64,
}

#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    inner: Mutex<Inner<K, V>>,
    flights: [tokio::sync::Mutex<()>; Lane::ALL.len()],
    reuse: Duration,
}

impl<K: Ord + std::hash::Hash + Clone, V: Clone> Kept<K, V> {
    pub(crate) fn new(reuse: Duration) -> Self {
        let inner = Inner { entries: HashMap::new(), turn: 0, changed: 0 };
        Self { inner: Mutex::new(inner), flights: Default::default(), reuse }
    }

    /// Answers for all keys, from memory where allowed, else by `load`.
    pub(crate) async fn get<F, Fut>(
        &self,
        lane: Lane,
        wanted: &Wanted<K>,
        now: impl Fn() -> Time,
        load: F,
    ) -> Answers<K, V>
    where
        F: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = HashMap<K, Result<V, Fault>>>,
    {
        let asked = self.next_turn();
        let mut answers = HashMap::with_capacity(wanted.len());
        if self.pick(wanted, asked, now(), &mut answers).is_empty() {
            return answers;
        }
        let _one = self.flights[lane as usize].lock().await;
        let missing = self.pick(wanted, asked, now(), &mut answers);
        if missing.is_empty() {
            return answers;
        }
        let (at, turn) = (now(), self.next_turn());
        let loaded = load(missing).await;
        let mut inner = self.lock();
        if inner.entries.len() + loaded.len() > MAX_KEPT {
            inner.entries.clear();
        }
        for (key, value) in loaded {
            if let Ok(value) = &value {
                inner.entries.insert(key.clone(), (at, turn, value.clone()));
            }
            answers.insert(key, value.map(|v| (at, v)));
        }
        answers
    }

    /// Something of ours changed the set: what was read before does not count any more.
    pub(crate) fn forget(&self) {
        let turn = self.next_turn();
        self.lock().changed = turn;
    }

    /// Takes what may be used; gives the keys that must be read, sorted.
    fn pick(&self, wanted: &Wanted<K>, asked: u64, now: Time, answers: &mut Answers<K, V>) -> Vec<K> {
        let inner = self.lock();
        let mut missing = Vec::new();
        for (key, newer_than) in wanted {
            if answers.contains_key(key) {
                continue;
            }
            let usable = inner.entries.get(key).filter(|(at, turn, _)| {
                let young = now - *at <= self.reuse && newer_than.is_none_or(|t| *at > t);
                *turn > inner.changed && (*turn > asked || young)
            });
            match usable {
                Some((at, _, value)) => {
                    answers.insert(key.clone(), Ok((*at, value.clone())));
                }
                None => missing.push(key.clone()),
            }
        }
        missing
    }

    fn next_turn(&self) -> u64 {
        let mut inner = self.lock();
        inner.turn += 1;
        inner.turn
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Rig {
        set: Kept<u32, u32>,
        now: Cell<i64>,
        loads: Cell<usize>,
    }

    impl Rig {
        fn new() -> Self {
            Self { set: Kept::new(Duration::seconds(30)), now: Cell::new(0), loads: Cell::new(0) }
        }
        async fn get(&self, key: u32, newer_than: Option<i64>) {
            let wanted = [(key, newer_than.map(|s| Time::UNIX_EPOCH + Duration::seconds(s)))].into();
            let now = || Time::UNIX_EPOCH + Duration::seconds(self.now.get());
            let load = |keys: Vec<u32>| {
                self.loads.set(self.loads.get() + 1);
                async move {
                    keys.into_iter().map(|k| (k, if k == 9 { Err(Fault::bug("x")) } else { Ok(k) })).collect()
                }
            };
            let answer = self.set.get(Lane::Sweep, &wanted, now, load).await.remove(&key).unwrap();
            assert_eq!(answer.is_ok(), key != 9);
        }
    }

    #[tokio::test]
    async fn is_reused_until_old_changed_or_demanded_newer() {
        let rig = Rig::new();
        for (step, now, key, newer_than, loads) in [
            ("first", 0, 1, None, 1),
            ("again", 0, 1, None, 1),
            ("a read of that very instant is not newer", 0, 1, Some(0), 2),
            ("young enough", 30, 1, Some(-1), 2),
            ("31 s are too old", 31, 1, None, 3),
            ("a failure is not kept", 31, 9, None, 4),
            ("a failure is not kept", 31, 9, None, 5),
        ] {
            rig.now.set(now);
            rig.get(key, newer_than).await;
            assert_eq!(rig.loads.get(), loads, "{step}");
        }
        rig.set.forget();
        rig.get(1, None).await;
        rig.get(1, None).await;
        assert_eq!(rig.loads.get(), 6, "forgotten once, read once");
    }

    #[tokio::test]
    async fn many_at_once_read_once() {
        let rig = Rig::new();
        futures::future::join_all((0..50).map(|_| rig.get(1, None))).await;
        assert_eq!(rig.loads.get(), 1);
    }
}
