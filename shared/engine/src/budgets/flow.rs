//! The state of one connection, and its rules as a pure function: what the memory twin runs, what `lua/draw.lua` and
//! `lua/learn.lua` do in Redis, and how both are shown. Times are real milliseconds.

use std::collections::{BTreeMap, HashMap};

use trueup_model::Budget;
use trueup_model::budget::{Health, Pass, Said};

use super::{
    Ask, Breaker, BucketView, CUT, ConnectionView, Drawn, GRANT, GRANT_S, Grant, Held, LATE, LEAST, Learned,
    Lesson, Pace, RECOVER, Registered, Wanted, ahead, interval_ms,
};

/// A grant is good for no less than this, whatever its window: a process cannot be more punctual.
const SOONEST_MS: f64 = 25.0;
/// A probe that says nothing for this long (real seconds: longer than a call can take) is given up.
pub(crate) const PROBE_S: f64 = 45.0;
/// Seconds between two cuts.
pub(crate) const CUT_EVERY_S: f64 = 5.0;
/// Names under which checks, and the turns they came in, are counted: no budget is called so.
pub(crate) const CHECKS: &str = "#checks";
pub(crate) const TURNS: &str = "#turns";

/// Real milliseconds of the even flow that one grant may hold.
pub(crate) fn span_ms(budget: &Budget, second: f64) -> f64 {
    (f64::from(budget.window_s.max(1)) * GRANT).min(GRANT_S) * second
}

pub(crate) fn window_ms(budget: &Budget, second: f64) -> f64 {
    f64::from(budget.window_s.max(1)) * second
}

pub(crate) fn grant(wanted: &Wanted, calls: u32, interval_ms: f64, second: f64) -> Grant {
    let good_for_ms = (window_ms(&wanted.budget, second) * LATE).max(SOONEST_MS);
    Grant { calls, interval_ms, good_for_ms }
}

/// When the next call flows, and what share of the rate is used since when.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    /// The theoretical arrival time of the next call.
    next: f64,
    share: f64,
    cut_at: f64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { next: 0.0, share: 1.0, cut_at: 0.0 }
    }
}

impl Bucket {
    fn share(&self, now: f64, second: f64) -> f64 {
        (self.share + (now - self.cut_at).max(0.0) / (60.0 * second) * RECOVER).min(1.0)
    }
}

/// Counts in this minute of the product's time and the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    minute: f64,
    current: f64,
    previous: f64,
}

impl Count {
    fn add(&mut self, n: u32, now: f64, second: f64) {
        let minute = (now / (60.0 * second)).floor();
        if minute != self.minute {
            self.previous = if minute == self.minute + 1.0 { self.current } else { 0.0 };
            (self.minute, self.current) = (minute, 0.0);
        }
        self.current += f64::from(n);
    }
    /// In the last minute, as if the one before had been even.
    fn lately(&self, now: f64, second: f64) -> f64 {
        let at = now / (60.0 * second);
        match at.floor() - self.minute {
            0.0 => self.current + self.previous * (1.0 - at.fract()),
            1.0 => self.current * (1.0 - at.fract()),
            _ => 0.0,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Flow {
    health: Health,
    failure: String,
    buckets: BTreeMap<String, Bucket>,
    counts: BTreeMap<String, Count>,
}

impl Flow {
    pub(crate) fn draw(&mut self, ask: &Ask, now: f64) -> Drawn {
        let second = ask.at.second();
        for (name, n) in [(CHECKS, ask.looked.0), (TURNS, ask.looked.1)] {
            if n > 0 {
                self.counts.entry(name.into()).or_default().add(n, now, second);
            }
        }
        let before = self.health;
        let probe = match self.health.pass(now, PROBE_S * 1000.0) {
            Pass::Go => false,
            Pass::Probe => true,
            Pass::Wait { until, why } => {
                return Drawn::Wait { ms: until - now, why: Held::Plane(why, self.failure.clone()) };
            }
        };
        let mut longest: Option<(f64, &str)> = None;
        for wanted in &ask.wanted {
            let bucket = self.buckets.entry(wanted.budget.name.clone()).or_default();
            let interval = interval_ms(&wanted.budget, second);
            // The clock may have been set back.
            if bucket.next - now
                > 10.0 * window_ms(&wanted.budget, second) + interval * f64::from(wanted.need)
            {
                bucket.next = now;
            }
            let wait = bucket.next - now - ahead(ask.lane) * window_ms(&wanted.budget, second);
            if wait > 0.0 && longest.is_none_or(|(most, _)| wait > most) {
                longest = Some((wait, &wanted.budget.name));
            }
        }
        if let Some((ms, name)) = longest {
            self.health = before;
            return Drawn::Wait { ms, why: Held::Budget(name.to_owned()) };
        }
        let mut grants = Vec::with_capacity(ask.wanted.len());
        for wanted in &ask.wanted {
            let bucket = self.buckets.entry(wanted.budget.name.clone()).or_default();
            let interval = interval_ms(&wanted.budget, second) / bucket.share(now, second);
            let calls = if probe {
                wanted.need
            } else {
                let most = (span_ms(&wanted.budget, second) / interval).floor().max(1.0) as u32;
                wanted.want.min(most.max(wanted.need)).max(wanted.need)
            };
            bucket.next = bucket.next.max(now) + f64::from(calls) * interval;
            self.counts.entry(wanted.budget.name.clone()).or_default().add(calls, now, second);
            grants.push(grant(wanted, calls, interval, second));
        }
        Drawn::Granted { grants, probe, wary: self.health.is_wary() }
    }

    pub(crate) fn learn(&mut self, lesson: &Lesson, now: f64) -> Learned {
        let second = lesson.at.second();
        let mut wait_ms = None;
        match &lesson.said {
            Said::Fine => self.health.fine(now),
            Said::Failed { why } => {
                self.failure = crate::budgets::bounded(why).to_owned();
                self.health.failed(now, second);
            }
            Said::Crowded => self.cut(lesson, now),
            Said::AskedToWait { until } => {
                let told = until.map(|t| now + lesson.at.real_from_now(t));
                let (until, news) = self.health.asked_to_wait(now, told, second);
                if news {
                    self.cut(lesson, now);
                }
                wait_ms = Some((until - now).max(0.0));
            }
        }
        Learned { wait_ms, wary: self.health.is_wary() }
    }

    /// The plane refused what we thought was within its limits.
    fn cut(&mut self, lesson: &Lesson, now: f64) {
        let second = lesson.at.second();
        for budget in &lesson.buckets {
            let bucket = self.buckets.entry(budget.name.clone()).or_default();
            if now - bucket.cut_at >= CUT_EVERY_S * second {
                bucket.share = (bucket.share(now, second) * CUT).max(LEAST);
                bucket.cut_at = now;
            }
        }
    }

    /// From the fields of its hash in Redis.
    pub(crate) fn read(fields: &HashMap<String, String>) -> Self {
        let number = |field: &str| fields.get(field).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        let mut flow = Self {
            health: Health {
                not_before: number("not_before"),
                silent: number("silent") as u32,
                failures: number("failures") as u32,
                opened: number("opened") as u32,
                open_until: number("open_until"),
                probe_until: number("probe_until"),
            },
            failure: fields.get("failure").cloned().unwrap_or_default(),
            ..Self::default()
        };
        for (field, value) in fields {
            let (Some((kind, name)), Ok(value)) = (field.split_once(':'), value.parse::<f64>()) else {
                continue;
            };
            match kind {
                "next" => flow.buckets.entry(name.into()).or_default().next = value,
                "share" => flow.buckets.entry(name.into()).or_default().share = value,
                "cut_at" => flow.buckets.entry(name.into()).or_default().cut_at = value,
                "minute" => flow.counts.entry(name.into()).or_default().minute = value,
                "current" => flow.counts.entry(name.into()).or_default().current = value,
                "previous" => flow.counts.entry(name.into()).or_default().previous = value,
                _ => {}
            }
        }
        flow
    }

    pub(crate) fn view(
        &self,
        connection: Registered,
        under_way: u32,
        waiting: [u64; 3],
        now: f64,
        at: Pace,
    ) -> ConnectionView {
        let second = at.second();
        let lately = |name: &str| self.counts.get(name).map_or(0.0, |c| c.lately(now, second));
        let (checks, turns) = (lately(CHECKS), lately(TURNS));
        let bucket = |budget: &Budget| {
            let calls = f64::from(budget.calls);
            let spent = lately(&budget.name);
            let in_window = spent * f64::from(budget.window_s) / 60.0;
            let share = self.buckets.get(&budget.name).map_or(1.0, |b| b.share(now, second));
            BucketView {
                name: budget.name.clone(),
                rate: (calls * share).round(),
                spent: spent.round(),
                left: (1.0 - in_window / calls.max(1.0)).clamp(0.0, 1.0),
                per_check: (checks > 0.0).then(|| spent / checks),
            }
        };
        let h = &self.health;
        ConnectionView {
            buckets: connection.budgets.iter().map(bucket).collect(),
            under_way,
            waiting,
            breaker: match h.opened {
                0 => Breaker::Closed,
                _ if h.open_until > now => Breaker::Open { until: at.after_ms(h.open_until - now) },
                _ => Breaker::HalfOpen,
            },
            not_before: (h.not_before > now).then(|| at.after_ms(h.not_before - now)),
            failure: (h.failures > 0 || h.opened > 0).then(|| self.failure.clone()),
            checks: checks.round(),
            checks_per_turn: if turns > 0.0 { checks / turns } else { 0.0 },
            connection,
        }
    }
}
