//! Whether a fleet that shrank is believed. Pure.
//!
//! # Decides
//! A plane with a bad day answers `200` and an empty list. Believed, that is drift of everything, or an application that
//! does not exist. So a read of everything is held against the last one that was believed:
//! - nothing, where there was something: never believed, as long as this process remembers the something;
//! - fewer than half of at least [`FEW`]: believed when a read at least [`CONFIRMED_AFTER`] later says the same (not
//!   fewer than half of what the doubted one said, either).
//!
//! # Guarantees
//! What is not believed is a transient fault that says both numbers: the intents are `unreachable`, nothing drifts. While
//! there is doubt, everything is read once in [`AGAIN_AFTER`], however many ask.

use trueup_model::{Duration, Fault, Time};

/// Below this many, half of them may go without a doubt.
pub(crate) const FEW: usize = 10;
/// A second read that much later confirms the first.
pub(crate) const CONFIRMED_AFTER: Duration = Duration::minutes(3);
/// While there is doubt, the next read is this long after the last.
pub(crate) const AGAIN_AFTER: Duration = Duration::minutes(1);

/// What a read of everything counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// `applications`
    pub(crate) what: &'static str,
    pub(crate) n: usize,
    /// Whether none at all can be true.
    pub(crate) empty: Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// Not even the first time: somebody asked for one of them by name.
    Never,
    /// Only if there was never anything.
    AtFirst,
    /// As any other fall.
    Possible,
}

#[derive(Debug)]
struct Known {
    what: &'static str,
    n: usize,
    at: Time,
}

#[derive(Debug)]
struct Doubted {
    counts: Vec<Count>,
    first: Time,
    last: Time,
    fault: Fault,
}

/// What one set of things had, by kind.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    believed: Vec<Known>,
    doubted: Option<Doubted>,
}

impl Doubt {
    /// Why nothing is read now, if so.
    pub(crate) fn waits(&self, now: Time) -> Option<Fault> {
        let doubted = self.doubted.as_ref()?;
        (now - doubted.last < AGAIN_AFTER).then(|| doubted.fault.clone())
    }

    /// Whether everything must be read to settle a doubt.
    pub(crate) fn is_open(&self) -> bool {
        self.doubted.is_some()
    }

    /// Whether a read of everything, begun at `at`, is believed.
    pub(crate) fn judge(&mut self, counts: &[Count], at: Time) -> Result<(), Fault> {
        let Some(wrong) = counts.iter().find(|count| self.is_strange(count)) else {
            self.believe(counts, at);
            return Ok(());
        };
        let before = self.believed.iter().find(|k| k.what == wrong.what);
        let confirmed = wrong.n > 0 || wrong.empty == Empty::Possible;
        if let Some(doubted) = self.doubted.as_ref().filter(|d| confirmed && at - d.first >= CONFIRMED_AFTER)
        {
            let same = |count: &Count| {
                let then = doubted.counts.iter().find(|c| c.what == count.what);
                then.is_none_or(|then| count.n * 2 >= then.n)
            };
            if counts.iter().all(same) {
                tracing::warn!(
                    what = wrong.what,
                    now = wrong.n,
                    before = before.map(|k| k.n),
                    "a smaller fleet, believed"
                );
                self.believe(counts, at);
                return Ok(());
            }
        }
        let fault = refusal(wrong, before);
        let same =
            |d: &Doubted| counts.iter().all(|c| d.counts.iter().any(|o| o.what == c.what && c.n * 2 >= o.n));
        let first = self.doubted.take().filter(same).map_or(at, |d| d.first);
        self.doubted = Some(Doubted { counts: counts.to_vec(), first, last: at, fault: fault.clone() });
        Err(fault)
    }

    fn is_strange(&self, count: &Count) -> bool {
        let before = self.believed.iter().find(|k| k.what == count.what).map_or(0, |k| k.n);
        match (count.n, count.empty) {
            (0, Empty::Never) => true,
            (0, Empty::AtFirst) if before > 0 => true,
            (n, _) => before >= FEW && n * 2 < before,
        }
    }

    fn believe(&mut self, counts: &[Count], at: Time) {
        self.believed = counts.iter().map(|c| Known { what: c.what, n: c.n, at }).collect();
        self.doubted = None;
    }
}

fn refusal(count: &Count, before: Option<&Known>) -> Fault {
    let Count { what, n, .. } = count;
    let fleet = if *n == 0 { "an empty fleet" } else { "a much smaller fleet" };
    let then = match before {
        Some(Known { n, at, .. }) => format!("{} at {}", thousands(*n), at.format("%Y-%m-%d %H:%M:%SZ")),
        None => "although intents name some".into(),
    };
    let what_next = match (n, count.empty) {
        (0, Empty::Never) => "not believed; if it is true, delete the intents",
        (0, Empty::AtFirst) => "not believed; if it is true, restart the worker",
        _ => "not believed before a second look some minutes later says the same",
    };
    Fault::transient(format!("the plane reports {fleet}: {} {what}, {then}; {what_next}", thousands(*n)))
}

/// 2000 as `2,000`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(minutes: i64) -> Time {
        Time::UNIX_EPOCH + Duration::minutes(minutes)
    }

    fn of(n: usize, empty: Empty) -> [Count; 1] {
        [Count { what: "applications", n, empty }]
    }

    /// Reads one after the other, (minute, number): whether each is believed.
    fn story(empty: Empty, reads: &[(i64, usize)]) -> Vec<bool> {
        let mut doubt = Doubt::default();
        reads.iter().map(|(minute, n)| doubt.judge(&of(*n, empty), t(*minute)).is_ok()).collect()
    }

    #[test]
    fn shrinking_is_doubted_and_then_confirmed() {
        use Empty::{AtFirst, Never, Possible};
        type Case = (&'static str, Empty, &'static [(i64, usize)], &'static [bool]);
        let cases: [Case; 11] = [
            (
                "empty is never believed again",
                AtFirst,
                &[(0, 2000), (4, 0), (9, 0), (99, 0)],
                &[true, false, false, false],
            ),
            ("it may be empty at first", AtFirst, &[(0, 0), (1, 5)], &[true, true]),
            ("it was asked for by name", Never, &[(0, 0), (9, 0), (10, 5)], &[false, false, true]),
            ("half may go", AtFirst, &[(0, 2000), (4, 1000)], &[true, true]),
            (
                "more than half is confirmed",
                AtFirst,
                &[(0, 2000), (4, 900), (6, 900), (7, 880)],
                &[true, false, false, true],
            ),
            (
                "a doubt that grows begins anew",
                AtFirst,
                &[(0, 2000), (4, 900), (7, 100), (10, 100)],
                &[true, false, false, true],
            ),
            (
                "what recovers is believed",
                AtFirst,
                &[(0, 2000), (4, 900), (5, 2000), (8, 900)],
                &[true, false, true, false],
            ),
            ("a few may go", AtFirst, &[(0, 9), (1, 1)], &[true, true]),
            ("but not the last", AtFirst, &[(0, 1), (1, 0)], &[true, false]),
            ("unless that is possible", Possible, &[(0, 9), (1, 0)], &[true, true]),
            ("and then it is confirmed", Possible, &[(0, 99), (1, 0), (4, 0)], &[true, false, true]),
        ];
        for (name, empty, reads, expected) in cases {
            assert_eq!(story(empty, reads), expected, "{name}");
        }
    }

    #[test]
    fn says_both_numbers_and_waits_a_minute() {
        let mut doubt = Doubt::default();
        doubt.judge(&of(2000, Empty::AtFirst), t(0)).unwrap();
        let fault = doubt.judge(&of(0, Empty::AtFirst), t(4)).unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, Fault::Transient { .. }), "{text}");
        assert!(
            text.starts_with("the plane reports an empty fleet: 0 applications, 2,000 at 1970-01-01 00:00:00Z; not believed"),
            "{text}"
        );
        assert_eq!(doubt.waits(t(4)), Some(fault));
        assert_eq!(doubt.waits(t(5)), None);
        let smaller = doubt.judge(&of(12, Empty::AtFirst), t(5)).unwrap_err().to_string();
        assert!(smaller.contains("a much smaller fleet: 12 applications, 2,000 at"), "{smaller}");
    }

    #[test]
    fn one_kind_of_two_is_enough() {
        let two = |apps, assignments| {
            [
                Count { what: "applications", n: apps, empty: Empty::Never },
                Count { what: "assignments", n: assignments, empty: Empty::Possible },
            ]
        };
        let mut doubt = Doubt::default();
        doubt.judge(&two(2000, 5000), t(0)).unwrap();
        let text = doubt.judge(&two(2000, 0), t(4)).unwrap_err().to_string();
        assert!(text.contains("0 assignments, 5,000 at"), "{text}");
        doubt.judge(&two(2000, 0), t(7)).unwrap();
    }

    #[test]
    fn numbers_are_readable() {
        for (n, text) in [(0, "0"), (999, "999"), (2000, "2,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(n), text);
        }
    }
}
