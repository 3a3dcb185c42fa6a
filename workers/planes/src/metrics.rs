//! Calls made to planes, and intents checked by them: the one divided by the other is what observation costs.
//!
//! # Guarantees
//! Tenants and connections in labels are bounded. Both counters name a tenant alike, so that their ratio is exact.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use trueup_model::label::{Bounded, OTHER};
use trueup_model::{Lane, PlaneKind};

/// Of the process's own meter, which is there before the first call is made.
static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    let meter = global::meter("trueup");
    let counter =
        |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
    Counters {
        calls: counter(
            "trueup.plane.calls",
            "Calls sent to planes, tokens included, by the class of their answer.",
        ),
        checked: counter(
            "trueup.intents.checked",
            "Intents for which a plane was asked and did not ask to wait.",
        ),
    }
});
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

struct Counters {
    calls: Counter<u64>,
    checked: Counter<u64>,
}

#[derive(Debug, Default)]
struct Known {
    tenants: Bounded,
    connections: Bounded,
    /// Whose connection it is. At most [`trueup_model::label::MAX_VALUES`].
    whose: HashMap<String, (String, PlaneKind)>,
}

impl Known {
    fn connect(&mut self, connection: &str, tenant: &str, plane: PlaneKind) {
        if self.connections.admit(connection) == connection {
            self.whose.insert(connection.to_owned(), (self.tenants.admit(tenant).to_owned(), plane));
        }
    }

    /// Tenant, plane, connection.
    fn of(&self, connection: &str) -> (&str, &'static str, &str) {
        match self.whose.get_key_value(connection) {
            Some((connection, (tenant, plane))) => (tenant, plane.as_str(), connection),
            None => (OTHER, OTHER, OTHER),
        }
    }
}

fn known() -> std::sync::MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection was made: from now on its calls are counted under these names.
pub(crate) fn connected(connection: &str, tenant: &str, plane: PlaneKind) {
    known().connect(connection, tenant, plane);
}

/// A call was sent. `status`: of its answer, if there was one.
pub(crate) fn called(connection: &str, lane: Lane, status: Option<u16>) {
    let (tenant, plane, connection) = {
        let known = known();
        let (tenant, plane, connection) = known.of(connection);
        (tenant.to_owned(), plane, connection.to_owned())
    };
    COUNTERS.calls.add(
        1,
        &[
            KeyValue::new("tenant", tenant),
            KeyValue::new("plane", plane),
            KeyValue::new("connection", connection),
            KeyValue::new("lane", lane.as_str()),
            KeyValue::new("status_class", class(status)),
        ],
    );
}

/// A plane was asked about so many intents. What it asked to wait for is not among them: it comes back.
pub fn checked(tenant: &str, plane: PlaneKind, intents: u64) {
    let tenant = known().tenants.admit(tenant).to_owned();
    COUNTERS.checked.add(intents, &[KeyValue::new("tenant", tenant), KeyValue::new("plane", plane.as_str())]);
}

fn class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        // Apart from the others: the plane asks for patience.
        Some(429) => "429",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => OTHER,
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::label::MAX_VALUES;

    #[test]
    fn statuses_fall_into_few_classes() {
        for (status, expected) in [
            (Some(204), "2xx"),
            (Some(429), "429"),
            (Some(404), "4xx"),
            (Some(503), "5xx"),
            (Some(302), "3xx"),
            (Some(999), OTHER),
            (None, "none"),
        ] {
            assert_eq!(class(status), expected, "{status:?}");
        }
    }

    #[test]
    fn only_so_many_connections_have_a_name() {
        let mut known = Known::default();
        for n in 0..MAX_VALUES + 50 {
            known.connect(&format!("c{n}"), &format!("t{n}"), PlaneKind::Intune);
        }
        assert_eq!(known.whose.len(), MAX_VALUES);
        assert_eq!(known.of("c0"), ("t0", "intune", "c0"));
        assert_eq!(known.of(&format!("c{MAX_VALUES}")), (OTHER, OTHER, OTHER));
        assert_eq!(known.of("never connected"), (OTHER, OTHER, OTHER));
    }
}
