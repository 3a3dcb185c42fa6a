//! The ladder of remediation attempts: 1 h, 2 h, 4 h, then people (seed 000, "Remediation Policies").

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Time;

/// What the ladder says about an intent that is still drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// Make attempt number `n` (from 1) now.
    Attempt(u8),
    /// Too early; look again at this time.
    Wait(Time),
    /// All attempts were made, and the last wait is over.
    Escalate,
}

/// The waits after each attempt, in order. As many attempts as waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ladder {
    /// Seconds to wait after attempt 1, 2, …
    waits: Vec<u32>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { waits: vec![3_600, 7_200, 14_400] }
    }
}

impl Ladder {
    /// A ladder with other waits; at least one.
    pub fn new(waits: Vec<u32>) -> Option<Self> {
        (!waits.is_empty()).then_some(Self { waits })
    }
    pub fn attempts(&self) -> u8 {
        u8::try_from(self.waits.len()).unwrap_or(u8::MAX)
    }
    /// When the wait after attempt number `made` (from 1), made at `at`, is over.
    pub fn over(&self, made: u8, at: Time) -> Time {
        let wait =
            self.waits.get(usize::from(made.saturating_sub(1))).or(self.waits.last()).copied().unwrap_or(0);
        at + TimeDelta::seconds(i64::from(wait))
    }
    /// What to do for an intent that is still drifted `now`, after `made` attempts, the last of them at `last`.
    pub fn rung(&self, made: u8, last: Option<Time>, now: Time) -> Rung {
        let Some(last) = last.filter(|_| made > 0) else { return Rung::Attempt(1) };
        let over = self.over(made, last);
        if now < over {
            Rung::Wait(over)
        } else if made < self.attempts() {
            Rung::Attempt(made + 1)
        } else {
            Rung::Escalate
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn t(hours: i64, minutes: i64) -> Time {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours) + TimeDelta::minutes(minutes)
    }

    #[test]
    fn the_default_ladder_takes_seven_hours() {
        let ladder = Ladder::default();
        let table = [
            (0, None, t(0, 0), Rung::Attempt(1)),
            (1, Some(t(0, 0)), t(0, 59), Rung::Wait(t(1, 0))),
            (1, Some(t(0, 0)), t(1, 0), Rung::Attempt(2)),
            (2, Some(t(1, 0)), t(2, 59), Rung::Wait(t(3, 0))),
            (2, Some(t(1, 0)), t(3, 0), Rung::Attempt(3)),
            (3, Some(t(3, 0)), t(6, 59), Rung::Wait(t(7, 0))),
            (3, Some(t(3, 0)), t(7, 0), Rung::Escalate),
            (9, Some(t(3, 0)), t(7, 0), Rung::Escalate),
        ];
        for (made, last, now, expected) in table {
            assert_eq!(ladder.rung(made, last, now), expected, "{made} attempts, last {last:?}, now {now}");
        }
    }
}
