//! A gauge whose numbers are read elsewhere and shown when somebody looks.
//!
//! # Guarantees
//! What was shown once and is gone is shown as zero, not as it was: a reader that never hears of the end would believe in
//! the last number for ever. (The SDK keeps the last value of every series it has seen.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Names and values of the labels of one series.
pub type Labels = Vec<(&'static str, String)>;

/// The numbers of one gauge, by their labels.
#[derive(Debug, Clone, Default)]
pub struct Levels(Arc<Mutex<BTreeMap<Labels, f64>>>);

impl Levels {
    /// A gauge of this name. `unit` as OpenTelemetry writes it: `s`, or empty.
    pub fn register(
        meter: &Meter,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        let levels = Self::default();
        let shown = levels.clone();
        meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| {
                for (labels, value) in shown.locked().iter() {
                    let labels: Vec<KeyValue> =
                        labels.iter().map(|(k, v)| KeyValue::new(*k, v.clone())).collect();
                    observer.observe(*value, &labels);
                }
            })
            .build();
        levels
    }

    /// These are the numbers now. A series that comes twice is added up.
    pub fn set(&self, now: impl IntoIterator<Item = (Labels, f64)>) {
        let mut levels = self.locked();
        levels.values_mut().for_each(|v| *v = 0.0);
        for (labels, value) in now {
            *levels.entry(labels).or_default() += value;
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Labels, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
