//! What a connection's recent answers mean for the next call: wait because the plane asked to, or because it does not
//! answer at all (a circuit breaker).
//!
//! # Guarantees
//! Times are milliseconds of the caller's choice; `second` is how many of them make a second of the product's clock. A
//! plane that asks to wait without saying how long is left alone for 30 s, doubled up to 5 min. [`FAILURES`] failures in a
//! row open the breaker for 30 s, doubled up to 10 min; then one call at a time is let through until one is answered.
//! Answers to calls that were under way together count once.

/// Failures in a row that open the breaker.
pub const FAILURES: u32 = 5;
/// Seconds to wait after the first 429 that does not say how long.
pub const FIRST_WAIT_S: f64 = 30.0;
/// And at most, in seconds.
pub const LONGEST_WAIT_S: f64 = 300.0;
/// Seconds for which the breaker opens at first.
pub const FIRST_OPEN_S: f64 = 30.0;
/// And at most, in seconds.
pub const LONGEST_OPEN_S: f64 = 600.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Health {
    /// The plane asked that nothing is sent before.
    pub not_before: f64,
    /// Requests to wait in a row, without a time.
    pub silent: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Times in a row that the breaker opened; 0: it is closed.
    pub opened: u32,
    /// After this time one call may probe.
    pub open_until: f64,
    /// A probe is under way until this time at most.
    pub probe_until: f64,
}

/// Why nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    AskedToWait,
    /// The breaker is open.
    Open,
    /// The breaker is half open and another call probes.
    Probing,
}

impl Why {
    /// What it is to a caller. While another call tries the plane, its answer is worth waiting for.
    pub fn fault(self, until: crate::Time, what: String) -> crate::Fault {
        match self {
            Self::Open => crate::Fault::Away { until, what },
            Self::AskedToWait | Self::Probing => crate::Fault::Throttled { until, what },
        }
    }

    /// For people. `failure`: how the last one failed.
    pub fn explain(self, failure: &str) -> String {
        let broken = "not sent, the plane failed several times in a row and";
        match self {
            Self::AskedToWait => "not sent, the plane asked to wait".into(),
            Self::Open => format!("{broken} is left alone for a while (the last time: {failure})"),
            Self::Probing => format!("{broken} another call is trying it (the last time: {failure})"),
        }
    }
}

/// Whether a call may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pass {
    Go,
    /// This one call, whose outcome decides.
    Probe,
    Wait {
        until: f64,
        why: Why,
    },
}

impl Health {
    /// Whether anything is remembered that a fine answer would clear.
    pub fn is_wary(&self) -> bool {
        self.failures > 0 || self.opened > 0 || self.silent > 0
    }

    /// Asks for one call. A probe that says nothing for `probe_for` is given up.
    pub fn pass(&mut self, now: f64, probe_for: f64) -> Pass {
        if self.not_before > now {
            return Pass::Wait { until: self.not_before, why: Why::AskedToWait };
        }
        if self.opened == 0 {
            return Pass::Go;
        }
        if self.open_until > now {
            return Pass::Wait { until: self.open_until, why: Why::Open };
        }
        if self.probe_until > now {
            // It will be known soon.
            let until = self.probe_until.min(now + probe_for / 30.0);
            return Pass::Wait { until, why: Why::Probing };
        }
        self.probe_until = now + probe_for;
        Pass::Probe
    }

    /// An answer that is no trouble.
    pub fn fine(&mut self, now: f64) {
        if self.not_before <= now {
            self.silent = 0;
        }
        (self.failures, self.opened, self.open_until, self.probe_until) = (0, 0, 0.0, 0.0);
    }

    /// The plane asked to wait; gives until when, and whether this is news.
    pub fn asked_to_wait(&mut self, now: f64, until: Option<f64>, second: f64) -> (f64, bool) {
        let news = self.not_before <= now;
        let until = match until {
            Some(until) => until,
            None if !news => self.not_before,
            None => {
                let wait = (FIRST_WAIT_S * f64::from(1u32 << self.silent.min(8))).min(LONGEST_WAIT_S);
                self.silent += 1;
                now + wait * second
            }
        };
        self.not_before = self.not_before.max(until);
        // It answers, after all.
        (self.failures, self.opened, self.open_until, self.probe_until) = (0, 0, 0.0, 0.0);
        (self.not_before, news)
    }

    /// No answer, or one that says the plane is broken.
    pub fn failed(&mut self, now: f64, second: f64) {
        self.failures = self.failures.saturating_add(1);
        let half_open = self.opened > 0 && self.open_until <= now;
        if half_open || (self.opened == 0 && self.failures >= FAILURES) {
            let open = (FIRST_OPEN_S * f64::from(1u32 << self.opened.min(8))).min(LONGEST_OPEN_S);
            self.opened = self.opened.saturating_add(1);
            self.open_until = now + open * second;
            self.probe_until = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: f64 = 1000.0;

    #[test]
    fn opens_after_failures_in_a_row_and_doubles() {
        let mut h = Health::default();
        for _ in 0..4 {
            h.failed(0.0, S);
        }
        h.fine(0.0);
        for n in 0..5 {
            assert_eq!(h.pass(0.0, S), Pass::Go, "{n} failures");
            h.failed(0.0, S);
        }
        let mut now = 0.0;
        let mut opened = Vec::new();
        for _ in 0..7 {
            let Pass::Wait { until, why: Why::Open } = h.pass(now, S) else { panic!("not open: {h:?}") };
            h.failed(now, S);
            assert_eq!(h.pass(now, S), Pass::Wait { until, why: Why::Open }, "a straggler changes nothing");
            opened.push((until - now) / S);
            now = until;
            assert_eq!(h.pass(now, 60.0 * S), Pass::Probe);
            let soon = now + 2.0 * S;
            assert_eq!(h.pass(now, 60.0 * S), Pass::Wait { until: soon, why: Why::Probing }, "one probe");
            h.failed(now, S);
        }
        assert_eq!(opened, [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]);
        assert_eq!(h.pass(now + 600.0 * S, S), Pass::Probe);
        assert_eq!(h.pass(now + 601.0 * S, S), Pass::Probe, "a probe that is lost is replaced");
        h.fine(now);
        assert!(!h.is_wary() && h.pass(now, S) == Pass::Go);
    }

    #[test]
    fn waits_as_asked_and_longer_if_not_told() {
        let mut h = Health::default();
        let (mut now, mut waits) = (0.0, Vec::new());
        for _ in 0..6 {
            let (until, news) = h.asked_to_wait(now, None, S);
            assert!(news);
            assert_eq!(h.asked_to_wait(now, None, S), (until, false), "two at a time count once");
            h.fine(now);
            waits.push((until - now) / S);
            now = until;
        }
        assert_eq!(waits, [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]);
        h.fine(now);
        assert_eq!(h.asked_to_wait(now, Some(now + 7.0), S), (now + 7.0, true));
        assert_eq!(h.asked_to_wait(now, Some(now + 5.0), S), (now + 7.0, false), "never shorter");
        assert_eq!(h.pass(now, S), Pass::Wait { until: now + 7.0, why: Why::AskedToWait });
        assert_eq!(h.pass(now + 7.0, S), Pass::Go);
    }
}
