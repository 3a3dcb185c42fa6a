//! The published limits of Graph for Intune, in sliding windows of 20 s.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use trueup_model::{Duration, Time};

const WINDOW_MS: i64 = 20_000;

/// Requests in any 20 s: for one application registration in a tenant, and for all of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub app_requests: u32,
    pub app_writes: u32,
    pub device_requests: u32,
    pub device_writes: u32,
    /// A tenant may do this many times what one registration may.
    pub tenant_factor: u32,
}

impl Default for Limits {
    /// As published.
    fn default() -> Self {
        Self {
            app_requests: 1000,
            app_writes: 100,
            device_requests: 2000,
            device_writes: 200,
            tenant_factor: 2,
        }
    }
}

impl Limits {
    /// For benches of other things.
    pub fn none() -> Self {
        let many = u32::MAX / 4;
        Self {
            app_requests: many,
            app_writes: many,
            device_requests: many,
            device_writes: many,
            tenant_factor: 2,
        }
    }

    fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind { devices: false, write: false } => self.app_requests,
            Kind { devices: false, write: true } => self.app_writes,
            Kind { devices: true, write: false } => self.device_requests,
            Kind { devices: true, write: true } => self.device_writes,
        }
    }
}

/// What a 429 says about how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitStyle {
    /// Nothing, as Intune often does.
    Silent,
    Whole,
    /// With a fraction, as Graph sometimes does.
    Fraction,
    /// Each in turn.
    Mixed,
}

/// What a request counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) devices: bool,
    pub(crate) write: bool,
}

#[derive(Debug, Default)]
struct Window(VecDeque<(i64, u32)>, u32);

impl Window {
    fn used(&mut self, now: i64) -> u32 {
        while let Some((at, n)) = self.0.front().copied() {
            if at > now - WINDOW_MS {
                break;
            }
            self.0.pop_front();
            self.1 -= n;
        }
        self.1
    }
    fn add(&mut self, now: i64) {
        match self.0.back_mut() {
            Some((at, n)) if *at == now => *n += 1,
            _ => self.0.push_back((now, 1)),
        }
        self.1 += 1;
    }
    fn frees_in(&self, now: i64) -> i64 {
        self.0.front().map_or(0, |(at, _)| at + WINDOW_MS - now)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// By registration; `None` is the tenant.
    windows: HashMap<(Option<String>, Kind), Window>,
    refused: u64,
}

/// Refused: what `Retry-After` says, if anything.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TooMany(pub(crate) Option<String>);

impl Throttle {
    /// Counts a request, or refuses it. A refused one does not count.
    pub(crate) fn admit(
        &mut self,
        client: &str,
        kind: Kind,
        limits: &Limits,
        style: WaitStyle,
        now: Time,
    ) -> Result<(), TooMany> {
        let now = now.timestamp_millis();
        // A write is a request too.
        let kinds = [Some(Kind { write: false, ..kind }), kind.write.then_some(kind)];
        for kind in kinds.into_iter().flatten() {
            let limit = limits.of(kind);
            for (who, limit) in
                [(Some(client.to_owned()), limit), (None, limit.saturating_mul(limits.tenant_factor))]
            {
                let window = self.windows.entry((who, kind)).or_default();
                if window.used(now) >= limit {
                    let wait = window.frees_in(now);
                    self.refused += 1;
                    return Err(TooMany(words(style, self.refused, wait)));
                }
            }
        }
        for kind in kinds.into_iter().flatten() {
            for who in [Some(client.to_owned()), None] {
                self.windows.entry((who, kind)).or_default().add(now);
            }
        }
        Ok(())
    }
}

fn words(style: WaitStyle, turn: u64, wait_ms: i64) -> Option<String> {
    let wait = Duration::milliseconds(wait_ms.max(1));
    let whole = || Some((wait.num_milliseconds() as u64).div_ceil(1000).to_string());
    let fraction = || Some(format!("{:.3}", wait.num_milliseconds() as f64 / 1000.0));
    match (style, turn % 3) {
        (WaitStyle::Silent, _) | (WaitStyle::Mixed, 0) => None,
        (WaitStyle::Whole, _) | (WaitStyle::Mixed, 1) => whole(),
        _ => fraction(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide() {
        let limits = Limits { app_requests: 10, app_writes: 3, tenant_factor: 2, ..Limits::default() };
        let mut throttle = Throttle::default();
        let t = |ms: i64| Time::UNIX_EPOCH + Duration::milliseconds(ms);
        let (read, write) = (Kind { devices: false, write: false }, Kind { devices: false, write: true });
        let mut admit =
            |client: &str, kind, ms| throttle.admit(client, kind, &limits, WaitStyle::Fraction, t(ms));
        for i in 0..3 {
            assert_eq!(admit("a", write, i), Ok(()));
        }
        assert_eq!(
            admit("a", write, 500),
            Err(TooMany(Some("19.500".into()))),
            "100 writes are fewer than 1000 requests"
        );
        for i in 3..10 {
            assert_eq!(admit("a", read, i), Ok(()), "writes are requests too: {i}");
        }
        assert!(admit("a", read, 10).is_err());
        for i in 0..10 {
            assert_eq!(admit("b", read, 20 + i), Ok(()));
        }
        assert!(admit("c", read, 40).is_err(), "the tenant's own limit");
        assert!(admit("c", read, 19_999).is_err());
        assert_eq!(admit("c", read, 20_000), Ok(()));
        let device = Kind { devices: true, write: false };
        assert_eq!(admit("a", device, 41), Ok(()), "devices are counted apart");
    }

    /// Any twenty seconds, not those of some clock: what was used early in a window is given back early in the next.
    #[test]
    fn the_published_limits_hold_in_any_twenty_seconds() {
        for (devices, write, limit) in
            [(false, false, 1000), (false, true, 100), (true, false, 2000), (true, true, 200)]
        {
            let kind = Kind { devices, write };
            let mut throttle = Throttle::default();
            let mut admitted: Vec<i64> = Vec::new();
            // Twice what is allowed, evenly, for a minute.
            for ms in (0..60_000).step_by(20_000 / limit / 2) {
                let now = Time::UNIX_EPOCH + Duration::milliseconds(ms);
                if throttle.admit("a", kind, &Limits::default(), WaitStyle::Silent, now).is_ok() {
                    admitted.push(ms);
                }
            }
            let most = admitted
                .iter()
                .enumerate()
                .map(|(i, from)| admitted[i..].iter().take_while(|at| **at < from + WINDOW_MS).count());
            assert_eq!(most.max(), Some(limit), "{kind:?}");
            assert!(admitted.len() >= 3 * limit, "{kind:?}: nothing is refused that is allowed");
        }
    }

    #[test]
    fn three_ways_to_say_wait() {
        let said: Vec<_> = (1..=3).map(|turn| words(WaitStyle::Mixed, turn, 2_128)).collect();
        assert_eq!(said, [Some("3".into()), Some("2.128".into()), None]);
    }
}
