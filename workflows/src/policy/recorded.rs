//! A case as it is recorded with its decision, so that it can be decided again, under the same policy or another.
//!
//! # Guarantees
//! What is read back decides as the original did. What policy does not look at is left out: device ids, and the text of
//! differences that names no scope (it may be long, and it comes from outside).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_model::{Delta, Drift, DriftKind, Intent, Time, Trip};

use super::{Case as Live, scopes};

/// Version of the form; another one is refused.
const VERSION: u8 = 1;

/// A case that owns what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub intent: Intent,
    pub drift: Drift,
    pub opened_at: Time,
    pub now: Time,
    pub remedy: bool,
    pub exhausted: bool,
    pub held: Option<Trip>,
}

#[derive(Serialize, Deserialize)]
struct Form<I> {
    v: u8,
    intent: I,
    kind: DriftKind,
    delta: Vec<Delta>,
    affected_devices: u32,
    evidence_at: Time,
    opened_at: Time,
    now: Time,
    remedy: bool,
    exhausted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Trip>,
}

impl Live<'_> {
    /// For the event of its decision (`POLICY_DECIDED`, field `case`).
    pub fn record(&self) -> Value {
        let drift = self.drift;
        let mut delta: Vec<Delta> = drift.delta.iter().map(bare).collect();
        delta.sort();
        delta.dedup();
        let form = Form {
            v: VERSION,
            intent: self.intent,
            kind: drift.kind,
            delta,
            affected_devices: drift.affected_devices,
            evidence_at: drift.evidence_at,
            opened_at: self.opened_at,
            now: self.now,
            remedy: self.remedy,
            exhausted: self.exhausted,
            held: self.held.cloned(),
        };
        serde_json::to_value(form).unwrap_or_default()
    }
}

/// The difference without text that names no scope.
fn bare(delta: &Delta) -> Delta {
    let text = |side: &String| scopes::named(&delta.path, side).map(|_| side.clone()).unwrap_or_default();
    Delta { path: delta.path.clone(), desired: text(&delta.desired), observed: text(&delta.observed) }
}

impl Case {
    /// Reads what [`Live::record`] wrote; the error says what is wrong with it.
    pub fn read(value: &Value) -> Result<Self, String> {
        let form: Form<Intent> = Form::deserialize(value).map_err(|e| format!("not a recorded case: {e}"))?;
        if form.v != VERSION {
            return Err(format!(
                "a recorded case of version {}; this Trueup reads version {VERSION}",
                form.v
            ));
        }
        let mut drift = Drift::new(form.kind, form.delta, form.evidence_at);
        drift.affected_devices = form.affected_devices;
        let Form { intent, opened_at, now, remedy, exhausted, held, .. } = form;
        Ok(Self { intent, drift, opened_at, now, remedy, exhausted, held })
    }

    pub fn live(&self) -> Live<'_> {
        Live {
            intent: &self.intent,
            drift: &self.drift,
            opened_at: self.opened_at,
            now: self.now,
            remedy: self.remedy,
            exhausted: self.exhausted,
            held: self.held.as_ref(),
        }
    }
}
