//! When planes were asked, how late that was, and how many calls a window held.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use trueup_model::job::Check;
use trueup_model::{
    Action, Criticality, Duration, EffectKey, Fault, IntentKey, Observed, Receipt, SharedClock, Target, Time,
};
use trueup_planes::Plane;
use trueup_workflows::transitions::next_slot;

/// One look at one intent.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) intent: IntentKey,
    pub(crate) asked: Time,
    pub(crate) answered: Time,
    pub(crate) seen: bool,
}

/// Which end of a look.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Asked,
    Answered,
}

pub(crate) type Looks = Arc<Mutex<Vec<Look>>>;

/// A plane, and a list of what it was asked.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) plane: Arc<dyn Plane>,
    pub(crate) clock: SharedClock,
    pub(crate) looks: Looks,
}

#[async_trait]
impl Plane for Watched {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let asked = self.clock.now();
        let answers = self.plane.observe(checks).await;
        let answered = self.clock.now();
        let looks = checks.iter().zip(&answers).map(|(check, answer)| Look {
            intent: check.intent.clone(),
            asked,
            answered,
            seen: answer.is_ok(),
        });
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).extend(looks);
        answers
    }
    async fn apply(&self, target: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        self.plane.apply(target, action, key).await
    }
    async fn probe(&self) -> Result<String, Fault> {
        self.plane.probe().await
    }
}

/// Seconds of the product's clock, sorted.
#[derive(Debug)]
pub(crate) struct Late {
    all: Vec<f64>,
    /// Not judged.
    left_out: usize,
}

impl Late {
    pub(crate) fn of(mut seconds: Vec<f64>) -> Self {
        assert!(!seconds.is_empty(), "nothing was measured");
        seconds.sort_by(f64::total_cmp);
        Self { all: seconds, left_out: 0 }
    }
    fn quantile(&self, q: f64) -> f64 {
        self.all[((self.all.len() - 1) as f64 * q).ceil() as usize]
    }
    /// Whether enough was judged for a p99.
    pub(crate) fn is_judged(&self) -> bool {
        self.all.len() >= 100
    }
    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99, most) = (self.quantile(0.5), self.p99(), self.quantile(1.0));
        write!(f, "p50 {p50:.2} p99 {p99:.2} max {most:.2} of {}", self.all.len())?;
        if self.left_out > 0 { write!(f, " and {} not judged", self.left_out) } else { Ok(()) }
    }
}

/// Product seconds before and behind a slot in which nothing else may stand still.
const AROUND: (i64, i64) = (1, 4);

/// How late the look of each slot between two times was. A slot without a look before the next one is late by a whole
/// interval. Slots at which the host itself stood still are not judged.
pub(crate) fn late(
    looks: &[Look],
    intents: &[IntentKey],
    stood_still: &[Range<Time>],
    (from, to): (Time, Time),
    end: End,
) -> Late {
    let interval = Criticality::Critical.interval();
    let (mut all, mut left_out) = (Vec::new(), 0);
    for key in intents {
        let mut mine: Vec<&Look> = looks.iter().filter(|l| l.intent == *key).collect();
        mine.sort_by_key(|l| l.asked);
        let mut slot = next_slot(key, Criticality::Critical, from);
        while slot < to {
            let look = mine.iter().find(|l| l.asked >= slot);
            let done = look.map_or(slot + interval, |l| match end {
                End::Asked => l.asked,
                End::Answered => l.answered,
            });
            let (before, behind) = (slot - Duration::seconds(AROUND.0), slot + Duration::seconds(AROUND.1));
            if stood_still.iter().any(|s| s.start < behind && s.end > before) {
                left_out += 1;
            } else {
                all.push(seconds(done.min(slot + interval) - slot));
            }
            slot += interval;
        }
    }
    Late { left_out, ..Late::of(all) }
}

pub(crate) fn seconds(d: Duration) -> f64 {
    d.num_milliseconds() as f64 / 1000.0
}

/// Most calls in any window. A sample is a time and all calls until then.
pub(crate) fn most_in(samples: &[(Time, u64)], window: Duration) -> u64 {
    let before = |t: Time| samples[samples.partition_point(|(s, _)| *s < t - window)].1;
    samples.iter().map(|(t, n)| n - before(*t)).max().unwrap_or(0)
}

/// Calls of each minute.
pub(crate) fn per_minute(samples: &[(Time, u64)], from: Time) -> Vec<u64> {
    let Some((last, total)) = samples.last() else { return Vec::new() };
    let until = |t: Time| samples.iter().find(|(s, _)| *s >= t).map_or(*total, |(_, n)| *n);
    (0..=(*last - from).num_minutes())
        .map(|m| until(from + Duration::minutes(m + 1)) - until(from + Duration::minutes(m)))
        .collect()
}
