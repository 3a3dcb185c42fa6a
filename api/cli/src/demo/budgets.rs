//! What the demo asked of its planes, beside what they allow.

use serde::Serialize;
use trueup_engine::budgets::{Breaker, ConnectionView, Pace};
use trueup_model::PlaneKind;

use crate::dev::{Dev, Simulators};
use crate::failure::Failure;
use crate::table::{Table, Tone, cell};

/// One budget of a connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spent {
    name: String,
    /// Allowed in any window.
    calls: u32,
    window_seconds: u32,
    /// Made since the start, as the plane counted them.
    made: u64,
    /// Allowed since the start.
    allowed: u64,
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Connection {
    connection: String,
    tenant: String,
    plane: PlaneKind,
    calls: u64,
    budgets: Vec<Spent>,
    /// As the plane counted them; none where it never refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_429: Option<u64>,
    breaker: Breaker,
}

/// What a simulated plane counted.
struct Counted {
    /// By the name of the budget.
    made: Vec<(&'static str, u64)>,
    calls: u64,
    refused: Option<u64>,
}

fn counted(simulators: &Simulators, view: &ConnectionView) -> Counted {
    let tenant = view.connection.tenant.as_str();
    match view.connection.plane {
        PlaneKind::Intune => {
            let c = simulators.graph.tenant(tenant).counts();
            let writes = c.app_writes + c.device_writes;
            let made = vec![("apps", c.app_calls), ("devices", c.device_calls), ("writes", writes)];
            Counted { made, calls: c.calls(), refused: Some(c.throttled) }
        }
        PlaneKind::Jamf => {
            let c = simulators.jamf.tenant(tenant).counts();
            Counted { made: vec![("calls", c.requests)], calls: c.requests, refused: Some(c.refused) }
        }
        PlaneKind::ConfigMgr => {
            let site = simulators.configmgr.tenant(tenant);
            let (calls, writes) = (site.counts().requests, site.writes().len() as u64);
            Counted { made: vec![("calls", calls), ("writes", writes)], calls, refused: None }
        }
        PlaneKind::Ansible => Counted { made: Vec::new(), calls: 0, refused: None },
    }
}

impl Connection {
    /// The connections with a budget, after so many seconds of shown time.
    pub(crate) async fn all(dev: &Dev, seconds: u64) -> Result<Vec<Self>, Failure> {
        let pace = Pace { now: dev.clock.now(), speed: dev.clock.speed() };
        let views = dev.store.budgets().connections(pace).await.map_err(super::unavailable)?;
        Ok(views
            .into_iter()
            .filter(|v| !v.connection.budgets.is_empty())
            .map(|v| Self::of(dev, v, seconds))
            .collect())
    }

    fn of(dev: &Dev, view: ConnectionView, seconds: u64) -> Self {
        let counted = counted(&dev.simulators, &view);
        let spent = |budget: &trueup_model::Budget| {
            let windows = seconds / u64::from(budget.window_s.max(1)) + 1;
            let made = counted.made.iter().find(|(name, _)| *name == budget.name).map_or(0, |(_, n)| *n);
            Spent {
                name: budget.name.clone(),
                calls: budget.calls,
                window_seconds: budget.window_s,
                made,
                allowed: u64::from(budget.calls) * windows,
            }
        };
        Self {
            budgets: view.connection.budgets.iter().map(spent).collect(),
            connection: view.connection.connection,
            tenant: view.connection.tenant,
            plane: view.connection.plane,
            calls: counted.calls,
            answered_429: counted.refused,
            breaker: view.breaker,
        }
    }

    /// Asked no more than it allows, and never refused.
    pub(crate) fn fine(&self) -> bool {
        self.calls > 0
            && self.answered_429.unwrap_or(0) == 0
            && self.breaker == Breaker::Closed
            && self.budgets.iter().all(|b| b.made <= b.allowed)
    }

    /// Share of the budget that is used most.
    fn used(&self) -> f64 {
        let share = |b: &Spent| b.made as f64 / b.allowed.max(1) as f64;
        self.budgets.iter().map(share).fold(0.0, f64::max)
    }
}

/// For people.
pub(crate) fn table(connections: &[Connection]) -> Table {
    let mut table = Table::new(&["CONNECTION", "CALLS", "ALLOWED", "USED", "429", "BREAKER"]);
    for c in connections {
        let allowed: Vec<String> =
            c.budgets.iter().map(|b| format!("{} {}/{} s", b.name, b.calls, b.window_seconds)).collect();
        let breaker = match c.breaker {
            Breaker::Closed => cell("closed", Tone::Good),
            Breaker::HalfOpen => cell("half open", Tone::Warn),
            Breaker::Open { .. } => cell("open", Tone::Bad),
        };
        table.row([
            c.connection.as_str().into(),
            c.calls.to_string().into(),
            allowed.join(", ").into(),
            format!("{:.1} %", c.used() * 100.0).into(),
            c.answered_429.map_or("never".into(), |n| n.to_string()).into(),
            breaker,
        ]);
    }
    table
}
