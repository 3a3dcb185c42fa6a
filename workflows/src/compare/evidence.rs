//! How fresh evidence must be to judge by.

use trueup_model::{Duration, Time};

/// How far clocks may differ that are in order.
const CLOCKS_DIFFER: Duration = Duration::minutes(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    pub now: Time,
    /// A report of a device older than this says nothing about now.
    pub stale_after: Duration,
    /// The last action, while its outcome is not known yet: evidence must be newer.
    pub last_action: Option<Time>,
}

impl Freshness {
    /// Why a device's report cannot be judged by, if so. `reported`: when the device checked in; `asked`: when the
    /// plane was asked, which counts where the plane does not tell.
    ///
    /// No report is fresher than the answer it came in. One from the future was stamped by a clock that is wrong: nobody
    /// can tell whether it came before or after an action, however often it is looked at.
    pub fn of_report(&self, reported: Option<Time>, asked: Time) -> Result<Time, String> {
        let asked = asked.min(self.now);
        let known = reported.filter(|at| *at <= asked + CLOCKS_DIFFER);
        let Some(at) = known else {
            return match (self.last_action, reported) {
                (None, _) => Ok(asked),
                (Some(_), None) => {
                    Err("the plane does not tell whether devices checked in since the last action".into())
                }
                (Some(_), Some(future)) => Err(format!(
                    "the last report is of {}, which is still to come: the device's clock is wrong, so nobody can tell \
                     whether it checked in since the last action",
                    shown(future)
                )),
            };
        };
        let at = at.min(asked);
        if self.last_action.is_some_and(|action| at <= action) {
            return Err(format!(
                "no device has checked in since the last action (last report {})",
                shown(at)
            ));
        }
        if self.now - at > self.stale_after {
            return Err(format!(
                "the last report is of {}, older than {}",
                shown(at),
                span(self.stale_after)
            ));
        }
        Ok(at)
    }

    /// The same for what the plane itself keeps: as fresh as the answer.
    pub fn of_answer(&self, asked: Time) -> Result<Time, String> {
        let asked = asked.min(self.now);
        match self.last_action {
            Some(action) if asked <= action => {
                Err(format!("the answer is of {}, before the last action", shown(asked)))
            }
            _ => Ok(asked),
        }
    }
}

fn shown(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn span(d: Duration) -> String {
    format!("{} h", d.num_hours())
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::DateTime;

    #[test]
    fn a_report_is_judged_by_when_it_was_made() {
        let t = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        // Asked at minute 600, decided a minute later; reports are stale after two hours. Last action, report, expected:
        // the time of the evidence, or words of the reason.
        type Row = (Option<i64>, Option<i64>, Result<i64, &'static str>);
        let table: [Row; 16] = [
            (None, None, Ok(600)),
            (None, Some(590), Ok(590)),
            (None, Some(481), Ok(481)),
            (None, Some(480), Err("older than 2 h")),
            (None, Some(604), Ok(600)),
            (None, Some(605), Ok(600)),
            (None, Some(606), Ok(600)),
            (None, Some(6_000), Ok(600)),
            (Some(550), None, Err("does not tell")),
            (Some(550), Some(549), Err("no device has checked in")),
            (Some(550), Some(550), Err("no device has checked in")),
            (Some(550), Some(551), Ok(551)),
            (Some(550), Some(603), Ok(600)),
            (Some(600), Some(603), Err("no device has checked in")),
            (Some(550), Some(606), Err("clock is wrong")),
            (Some(550), Some(6_000), Err("clock is wrong")),
        ];
        for (action, reported, expected) in table {
            let fresh =
                Freshness { now: t(601), stale_after: Duration::hours(2), last_action: action.map(t) };
            let judged = fresh.of_report(reported.map(t), t(600));
            match (&judged, expected) {
                (Ok(at), Ok(minutes)) => assert_eq!(*at, t(minutes), "{action:?} {reported:?}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{action:?} {reported:?}: {why}"),
                _ => panic!("{action:?} {reported:?}: {judged:?}"),
            }
        }
        // The answer's own clock may run ahead too.
        let fresh = Freshness { now: t(601), stale_after: Duration::hours(2), last_action: None };
        assert_eq!(fresh.of_report(Some(t(900)), t(900)), Ok(t(601)));
        assert_eq!(fresh.of_report(None, t(900)), Ok(t(601)));
    }
}
