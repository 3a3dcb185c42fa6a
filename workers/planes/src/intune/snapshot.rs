//! What was read of the plane a moment ago, so that many checks share one read.
//!
//! # Guarantees
//! - One reader per set and lane at a time; who comes meanwhile waits and uses what it brought. Who demands something
//!   newer does not wait for a sweep's reader, which may be long.
//! - An answer is used if its read began after the caller asked, or if it is younger than the reuse time AND newer
//!   than the check demands AND nothing of ours changed the thing since its read began.
//! - Things are read singly or all at once, whichever costs fewer calls (`weigh`). A whole read that lost most of what
//!   there was is not taken for the truth (`doubt`).
//! - Memory is bounded by the last whole read plus [`MAX_SINGLE`] single ones.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{PoisonError, RwLock};

use trueup_model::{Duration, Fault, Time};

use super::doubt::{Count, Doubt};
use super::weigh::Weigh;

/// Entries beyond which old ones are thrown out.
const MAX_SINGLE: usize = 50_000;

/// When a read began: by the clock, for people and for `newer_than`; by a counter, for order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) at: Time,
    pub(crate) turn: u64,
}

#[derive(Debug)]
struct Inner<V> {
    entries: HashMap<String, (Stamp, Option<V>)>,
    /// The last read of everything: what is not in `entries` did not exist then.
    whole: Option<Stamp>,
    whole_len: Option<usize>,
    /// Reads that began before this turn do not count for the key.
    changed: HashMap<String, u64>,
    weigh: Weigh,
    doubt: Doubt,
    turn: u64,
}

/// One kind of thing, by key.
#[derive(Debug)]
pub(crate) struct Dataset<V> {
    inner: RwLock<Inner<V>>,
    /// Of those who demand something newer, and of the others.
    flights: [tokio::sync::Mutex<()>; 2],
    reuse: Duration,
}

/// What a read brought. `None`: does not exist.
#[derive(Debug)]
pub(crate) struct Loaded<V> {
    /// Everything there is was read, not only what was asked for.
    pub(crate) whole: Option<Whole>,
    pub(crate) values: HashMap<String, Option<V>>,
    pub(crate) faults: HashMap<String, Fault>,
}

/// A read of everything.
#[derive(Debug)]
pub(crate) struct Whole {
    /// What it cost.
    pub(crate) calls: usize,
    /// What it found, to be believed or not.
    pub(crate) counts: Vec<Count>,
}

/// A value with the time its read began.
pub(crate) type Dated<V> = (Time, Option<V>);

impl<V: Clone> Dataset<V> {
    pub(crate) fn new(reuse: Duration) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            whole: None,
            whole_len: None,
            changed: HashMap::new(),
            weigh: Weigh::new(reuse),
            doubt: Doubt::default(),
            turn: 0,
        };
        Self { inner: RwLock::new(inner), flights: Default::default(), reuse }
    }

    /// Answers for all keys, from memory where allowed, else by `load` (keys, whether to read everything).
    pub(crate) async fn get<F, Fut>(
        &self,
        wanted: &HashMap<String, Option<Time>>,
        now: impl Fn() -> Time,
        load: F,
    ) -> HashMap<String, Result<Dated<V>, Fault>>
    where
        F: FnOnce(Vec<String>, bool) -> Fut,
        Fut: Future<Output = Result<Loaded<V>, Fault>>,
    {
        let asked = self.next_turn();
        let mut answers = HashMap::with_capacity(wanted.len());
        if self.pick(wanted, asked, now(), &mut answers).is_empty() {
            return answers;
        }
        let demands = wanted.values().any(Option::is_some);
        let _one = self.flights[usize::from(!demands)].lock().await;
        let missing = self.pick(wanted, asked, now(), &mut answers);
        if missing.is_empty() {
            return answers;
        }
        let stamp = Stamp { at: now(), turn: self.next_turn() };
        let everything = match self.decide(missing.len(), stamp.at) {
            Ok(everything) => everything,
            Err(fault) => {
                answers.extend(missing.into_iter().map(|key| (key, Err(fault.clone()))));
                return answers;
            }
        };
        let loaded = load(missing.clone(), everything).await;
        match loaded.and_then(|loaded| self.believe(stamp, loaded)) {
            Err(fault) => answers.extend(missing.into_iter().map(|key| (key, Err(fault.clone())))),
            Ok(loaded) => {
                for key in missing {
                    let answer = match (loaded.values.get(&key), loaded.faults.get(&key)) {
                        (_, Some(fault)) => Err(fault.clone()),
                        (Some(value), None) => Ok((stamp.at, value.clone())),
                        (None, None) if loaded.whole.is_some() => Ok((stamp.at, None)),
                        (None, None) => Err(Fault::bug(format!("'{key}' was not read"))),
                    };
                    answers.insert(key, answer);
                }
                self.keep(stamp, loaded);
            }
        }
        answers
    }

    /// Whether to read everything; an error if nothing may be read now.
    fn decide(&self, missing: usize, now: Time) -> Result<bool, Fault> {
        let mut inner = self.write();
        match inner.doubt.waits(now) {
            Some(fault) => Err(fault),
            None => Ok(inner.doubt.is_open() || inner.weigh.everything(missing, now)),
        }
    }

    fn believe(&self, stamp: Stamp, loaded: Loaded<V>) -> Result<Loaded<V>, Fault> {
        if let Some(whole) = &loaded.whole {
            let mut inner = self.write();
            inner.weigh.learn(whole.calls);
            inner.doubt.judge(&whole.counts, stamp.at)?;
        }
        Ok(loaded)
    }

    /// Something of ours changed `key`: what was read before does not count any more.
    pub(crate) fn forget(&self, key: &str) {
        let turn = self.next_turn();
        let mut inner = self.write();
        if inner.changed.len() >= MAX_SINGLE {
            // Too many to remember each: forget everything read so far instead.
            inner.changed.clear();
            inner.entries.clear();
            inner.whole = None;
        }
        inner.changed.insert(key.to_owned(), turn);
    }

    /// Takes what may be used; gives the keys that must be read, sorted.
    fn pick(
        &self,
        wanted: &HashMap<String, Option<Time>>,
        asked: u64,
        now: Time,
        answers: &mut HashMap<String, Result<Dated<V>, Fault>>,
    ) -> Vec<String> {
        let inner = self.read();
        let mut missing = Vec::new();
        for (key, newer_than) in wanted {
            if answers.contains_key(key) {
                continue;
            }
            let found = match (inner.entries.get(key), inner.whole) {
                (Some((stamp, value)), _) => Some((*stamp, value.clone())),
                (None, Some(stamp)) => Some((stamp, None)),
                (None, None) => None,
            };
            let usable = found.filter(|(stamp, _)| {
                let unchanged = inner.changed.get(key).is_none_or(|turn| stamp.turn > *turn);
                let young = now - stamp.at <= self.reuse && newer_than.is_none_or(|t| stamp.at > t);
                unchanged && (stamp.turn > asked || young)
            });
            match usable {
                Some((stamp, value)) => {
                    answers.insert(key.clone(), Ok((stamp.at, value)));
                }
                None => missing.push(key.clone()),
            }
        }
        missing.sort();
        missing
    }

    fn keep(&self, stamp: Stamp, loaded: Loaded<V>) {
        let mut inner = self.write();
        if loaded.whole.is_some() {
            if inner.whole.is_some_and(|whole| whole.turn > stamp.turn) {
                return;
            }
            inner.entries.retain(|_, (read, _)| read.turn > stamp.turn);
            inner.whole = Some(stamp);
            inner.whole_len = Some(loaded.values.len());
            inner.changed.retain(|_, turn| *turn > stamp.turn);
        } else if inner.entries.len() + loaded.values.len() > MAX_SINGLE + inner.whole_len.unwrap_or(0) {
            inner.entries.clear();
            inner.whole = None;
        }
        for (key, value) in loaded.values {
            if inner.changed.get(&key).is_some_and(|turn| *turn < stamp.turn) {
                inner.changed.remove(&key);
            }
            let entry = inner.entries.entry(key).or_insert_with(|| (stamp, None));
            if entry.0.turn <= stamp.turn {
                *entry = (stamp, value);
            }
        }
        for key in loaded.faults.keys() {
            // A whole read that could not read this one says nothing about it.
            let turn = stamp.turn;
            inner.changed.entry(key.clone()).and_modify(|t| *t = turn.max(*t)).or_insert(turn);
        }
    }

    fn next_turn(&self) -> u64 {
        let mut inner = self.write();
        inner.turn += 1;
        inner.turn
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner<V>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner<V>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Rig {
        set: Dataset<u32>,
        now: Mutex<Time>,
        loads: Mutex<Vec<Vec<String>>>,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                set: Dataset::new(Duration::seconds(30)),
                now: Mutex::new(Time::UNIX_EPOCH),
                loads: Mutex::default(),
            }
        }
        async fn get(&self, key: &str, newer_than: Option<Time>, whole: bool) -> Result<Dated<u32>, Fault> {
            let wanted = [(key.to_owned(), newer_than)].into();
            let load = |keys: Vec<String>, _| {
                self.loads.lock().unwrap().push(keys.clone());
                let values = keys.into_iter().filter(|k| k != "absent").map(|k| (k, Some(1))).collect();
                let whole = whole.then(|| Whole { calls: 1, counts: Vec::new() });
                async move { Ok(Loaded { whole, values, faults: HashMap::new() }) }
            };
            self.set.get(&wanted, || *self.now.lock().unwrap(), load).await.remove(key).unwrap()
        }
        fn pass(&self, seconds: i64) {
            *self.now.lock().unwrap() += Duration::seconds(seconds);
        }
        fn loads(&self) -> usize {
            self.loads.lock().unwrap().len()
        }
    }

    #[tokio::test]
    async fn is_reused_until_old_changed_or_demanded_newer() {
        let rig = Rig::new();
        let t0 = *rig.now.lock().unwrap();
        assert_eq!(rig.get("a", None, true).await, Ok((t0, Some(1))));
        assert_eq!(rig.get("absent", None, true).await, Ok((t0, None)));
        assert_eq!(rig.loads(), 1, "the second is answered by the whole read");
        rig.get("a", Some(t0), true).await.unwrap();
        assert_eq!(rig.loads(), 2, "a read of that very instant is not newer");
        rig.pass(30);
        rig.get("a", Some(t0 - Duration::seconds(1)), true).await.unwrap();
        assert_eq!(rig.loads(), 2);
        rig.pass(1);
        rig.get("a", None, true).await.unwrap();
        assert_eq!(rig.loads(), 3, "31 s are too old");
        rig.set.forget("a");
        rig.get("b", None, true).await.unwrap();
        assert_eq!(rig.loads(), 3);
        rig.get("a", None, false).await.unwrap();
        rig.get("a", None, false).await.unwrap();
        assert_eq!(rig.loads(), 4, "forgotten once, read once");
    }

    #[tokio::test]
    async fn many_at_once_read_once() {
        let rig = Rig::new();
        let all = futures::future::join_all((0..50).map(|_| rig.get("a", None, true))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(rig.loads(), 1);
    }

    #[tokio::test]
    async fn who_demands_something_newer_does_not_wait_for_a_sweep() {
        let rig = Rig::new();
        let wanted = [("a".to_owned(), None)].into();
        let never = |_, _| std::future::pending::<Result<Loaded<u32>, Fault>>();
        let sweep = rig.set.get(&wanted, || *rig.now.lock().unwrap(), never);
        let long_ago = Some(Time::UNIX_EPOCH - Duration::hours(1));
        let urgent = rig.get("a", long_ago, false);
        tokio::select! {
            biased;
            _ = sweep => panic!("it never ends"),
            answer = urgent => assert_eq!(answer.unwrap().1, Some(1)),
        }
    }
}
