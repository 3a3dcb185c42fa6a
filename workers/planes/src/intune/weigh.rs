//! One by one, or everything at once? Pure.
//!
//! # Decides
//! A thing read singly costs a call, everything costs a call per page and then serves all who come within the reuse
//! time. Nobody knows who will come, so singles are read until they have cost, within one reuse time, what everything
//! would have: then everything is read. That costs at most twice what a prophet would have paid, whether checks come
//! sixty-four at once or one by one.

use trueup_model::{Duration, Time};

/// What everything is taken to cost before it was read once, in calls.
const UNKNOWN: usize = 20;

#[derive(Debug)]
pub(crate) struct Weigh {
    reuse: Duration,
    /// Calls that the last read of everything took.
    whole: Option<usize>,
    /// Calls spent on singles since `since`.
    spent: usize,
    since: Option<Time>,
}

impl Weigh {
    pub(crate) fn new(reuse: Duration) -> Self {
        Self { reuse, whole: None, spent: 0, since: None }
    }

    /// Whether to read everything rather than things that cost `singles` calls; notes what was decided.
    pub(crate) fn everything(&mut self, singles: usize, now: Time) -> bool {
        let whole = self.whole.unwrap_or(UNKNOWN);
        if self.since.is_none_or(|since| now - since > self.reuse) {
            (self.spent, self.since) = (0, Some(now));
        }
        let everything = self.spent + singles > whole;
        if everything {
            (self.spent, self.since) = (0, None);
        } else {
            self.spent += singles;
        }
        everything
    }

    /// Everything was read with this many calls.
    pub(crate) fn learn(&mut self, calls: usize) {
        self.whole = Some(calls.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Duration::seconds(seconds)
    }

    /// Of checks that come `batch` at a time every `every` seconds: the calls they cost in an hour.
    fn cost(batch: usize, every: usize, whole: usize) -> usize {
        let mut weigh = Weigh::new(Duration::seconds(225));
        weigh.learn(whole);
        let (mut calls, mut fresh_until) = (0, t(-1));
        for s in (0..3600).step_by(every) {
            let now = t(s as i64);
            if now <= fresh_until {
                continue;
            }
            if weigh.everything(batch, now) {
                calls += whole;
                fresh_until = now + Duration::seconds(225);
            } else {
                calls += batch;
            }
        }
        calls
    }

    #[test]
    fn never_more_than_twice_the_best() {
        // batch, seconds between, calls for everything
        for (batch, every, whole) in
            [(64, 2, 20), (2, 1, 20), (1, 1, 20), (1, 30, 20), (1, 225, 20), (64, 600, 20), (64, 600, 500)]
        {
            let hour = 3600 / every * batch;
            let best = hour.min(3600_usize.div_ceil(225) * whole);
            let got = cost(batch, every, whole);
            assert!(got <= 2 * best + whole, "{batch} every {every} s: {got}, best {best}");
        }
        assert_eq!(cost(1, 225, 20), 16, "a lone check never reads everything");
    }

    #[test]
    fn before_everything_was_read_once_a_batch_is_the_measure() {
        let mut weigh = Weigh::new(Duration::seconds(30));
        assert!(!weigh.everything(20, t(0)));
        assert!(weigh.everything(1, t(30)), "spent in the same reuse time");
        assert!(!weigh.everything(20, t(31)), "and then counted anew");
        assert!(!weigh.everything(20, t(62)));
    }
}
