//! What connections may ask of their planes, and who waits.

use std::sync::{Mutex, PoisonError};

use trueup_boot::metrics::Meter;
use trueup_boot::metrics::levels::{Labels, Levels};
use trueup_engine::budgets::{Breaker, ConnectionView};
use trueup_model::Lane;
use trueup_model::label::Bounded;

/// The gauges of all connections.
pub(super) struct Planes {
    names: Mutex<Names>,
    allowed: Levels,
    granted: Levels,
    left: Levels,
    per_check: Levels,
    waiting: Levels,
    open: Levels,
}

#[derive(Debug, Default)]
struct Names {
    tenants: Bounded,
    connections: Bounded,
}

impl Planes {
    pub(super) fn new(meter: &Meter) -> Self {
        let gauge = |name, what| Levels::register(meter, name, "", what);
        Self {
            names: Mutex::default(),
            allowed: gauge(
                "trueup.plane.calls.allowed",
                "Calls a second that a budget allows now; less than was configured after the plane refused some.",
            ),
            granted: gauge("trueup.plane.calls.granted", "Calls a second granted in the last minute."),
            left: gauge("trueup.plane.budget.left", "Share of a budget that is left, 0 to 1."),
            per_check: gauge("trueup.plane.calls.per_check", "Calls that a check has needed lately."),
            waiting: gauge("trueup.plane.waiting", "Callers that wait for their turn, by lane."),
            open: gauge(
                "trueup.plane.breaker_open",
                "1 while nothing is sent to the plane: it failed too often.",
            ),
        }
    }

    pub(super) fn show(&self, views: &[ConnectionView]) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut allowed, mut granted, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let (mut per_check, mut waiting, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for view in views {
            let place = names.place(view);
            let also = |name: &'static str, value: &str| {
                let mut labels = place.clone();
                labels.push((name, value.to_owned()));
                labels
            };
            for (budget, bucket) in view.connection.budgets.iter().zip(&view.buckets) {
                let labels = also("budget", &bucket.name);
                allowed.push((labels.clone(), bucket.rate / f64::from(budget.window_s.max(1))));
                granted.push((labels.clone(), bucket.spent / 60.0));
                left.push((labels.clone(), bucket.left));
                per_check.extend(bucket.per_check.map(|calls| (labels, calls)));
            }
            let lanes = Lane::ALL.iter().zip(view.waiting);
            waiting.extend(lanes.map(|(lane, n)| (also("lane", lane.as_str()), n as f64)));
            let shut = matches!(view.breaker, Breaker::Open { .. });
            open.push((place, f64::from(u8::from(shut))));
        }
        drop(names);
        for (levels, now) in [
            (&self.allowed, allowed),
            (&self.granted, granted),
            (&self.left, left),
            (&self.per_check, per_check),
            (&self.waiting, waiting),
            (&self.open, open),
        ] {
            levels.set(now);
        }
    }
}

impl Names {
    fn place(&mut self, view: &ConnectionView) -> Labels {
        let of = &view.connection;
        vec![
            ("tenant", self.tenants.admit(&of.tenant).to_owned()),
            ("plane", of.plane.as_str().to_owned()),
            ("connection", self.connections.admit(&of.connection).to_owned()),
        ]
    }
}
