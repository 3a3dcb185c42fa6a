//! How fresh evidence must be to judge by.

use trueup_model::{Duration, Time};

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
    pub fn of_report(&self, reported: Option<Time>, asked: Time) -> Result<Time, String> {
        let Some(at) = reported else {
            return match self.last_action {
                None => Ok(asked),
                Some(_) => {
                    Err("the plane does not tell whether devices checked in since the last action".into())
                }
            };
        };
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
